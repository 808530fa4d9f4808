//! `dnsmasq`: the name server of small networks, which answers from a file of hosts.
//!
//! It says less than `unbound`: there is no SOA in what it answers of names that do not exist.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use crate::{OwnAddress, Process, Signal};

/// For UDP and TCP.
const PORT: u16 = 5353;

/// A running `dnsmasq`. Killed when it is dropped.
#[derive(Debug)]
pub struct Dnsmasq {
    process: Process,
    address: OwnAddress,
    directory: TempDir,
}

impl Dnsmasq {
    /// Starts it with a file of hosts (`hosts(5)`) and with further words for its command line, such as
    /// `--txt-record=name,text`. Names under `example` that it does not know do not exist; others it refuses to answer.
    ///
    /// # Panics
    ///
    /// It does not start: it is not installed, or does not understand a word.
    #[track_caller]
    pub fn start(hosts: &str, more: &[&str]) -> Self {
        let address = OwnAddress::claim();
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::write(directory.path().join("hosts"), hosts).expect("its own directory");
        // Programs of administrators are not in everybody's PATH.
        let mut command = Command::new("/usr/sbin/dnsmasq");
        command
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--log-facility=-",
                "--user=",
                "--pid-file=",
            ])
            .args(["--no-resolv", "--no-hosts", "--bind-interfaces", "--local=/example/", "--local-ttl=30"])
            .arg(format!("--addn-hosts={}", directory.path().join("hosts").display()))
            .arg(format!("--listen-address={}", address.ip()))
            .arg(format!("--port={PORT}"))
            .args(more);
        let process = Process::start(&mut command);
        process.stderr().wait_for("started, version");
        process.stderr().wait_for("hosts - ");
        Self { process, address, directory }
    }

    /// The address at which it answers over UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        self.address.port(PORT)
    }

    /// Writes its file of hosts anew, and has it read that.
    #[track_caller]
    pub fn change(&mut self, hosts: &str) {
        fs::write(self.directory.path().join("hosts"), hosts).expect("its own directory");
        let before = self.process.stderr().count();
        self.process.signal(Signal::HUP);
        self.process.stderr().wait_for_from(before, "hosts - ");
    }
}
