//! Log servers that are not ours, `rsyslog` and `syslog-ng`, each run for one test in a directory of its own and on a
//! loopback address of its own.
//!
//! Both listen by every transport that syslog has and append what they understood of each message to one file, as a JSON
//! object per line: [`LogServer::messages`] reads it back. [`logger`] is the client to compare with.
//!
//! **Invariant:** a message is in the file as soon as the server has read it, and a server that was stopped comes back
//! with the same addresses and the same file.

mod message;
mod rsyslog;
mod syslog_ng;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use tempfile::TempDir;

use crate::address::OwnAddress;
use crate::{Authority, Process, Signal, run, wait};

pub use message::Message;

/// Where both listen, on their own address.
const UDP: u16 = 1514;
const TCP_LF: u16 = 1514;
const TCP_OCTET: u16 = 1601;
const TLS: u16 = 6514;
/// Only rsyslog has it.
const RELP: u16 = 2514;
const RELP_TLS: u16 = 2515;

/// The number of the last messages that a failing test shows.
const SHOWN: usize = 20;

/// A log server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `rsyslogd`, of the Debian packages rsyslog, rsyslog-gnutls and rsyslog-relp.
    Rsyslog,
    /// `syslog-ng`, of the Debian package syslog-ng-core, which cannot be installed beside rsyslog:
    /// `cargo xtask ci packages` unpacks it below `target/`.
    SyslogNg,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Rsyslog, Self::SyslogNg];

    fn configuration(self, at: &Place) -> String {
        match self {
            Self::Rsyslog => rsyslog::configuration(at),
            Self::SyslogNg => syslog_ng::configuration(at),
        }
    }

    fn command(self, at: &Place) -> Command {
        match self {
            Self::Rsyslog => rsyslog::command(at),
            Self::SyslogNg => syslog_ng::command(at),
        }
    }
}

/// The home of one log server.
#[derive(Debug)]
struct Place {
    directory: TempDir,
    address: OwnAddress,
}

impl Place {
    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The path of a file, as a configuration has it. Temporary directories have no quotes in their names.
    fn quoted(&self, name: &str) -> String {
        format!("\"{}\"", self.file(name).display())
    }

    #[track_caller]
    fn write(&self, name: &str, content: &str) {
        let path = self.file(name);
        fs::write(&path, content).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }
}

/// Sends a message by `logger` of util-linux: the client to compare with.
///
/// # Panics
///
/// It fails.
#[track_caller]
pub fn logger<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) {
    run("logger", args).success();
}

/// A log server, running or stopped. Ended when it is dropped.
#[derive(Debug)]
pub struct LogServer {
    kind: Kind,
    place: Place,
    process: Option<Process>,
}

impl LogServer {
    /// Starts one and waits until it listens.
    ///
    /// # Panics
    ///
    /// It is not installed, or does not listen within [`PATIENCE`](crate::PATIENCE).
    #[track_caller]
    pub fn start(kind: Kind) -> Self {
        let mut server = Self::stopped(kind);
        server.restart();
        server
    }

    /// One that is configured and has not been started yet: [`restart`](Self::restart) does.
    #[track_caller]
    pub fn stopped(kind: Kind) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let place = Place { directory, address: OwnAddress::claim() };
        let authority = Authority::new("a log server's authority");
        let issued = authority.server(&[&place.address.ip().to_string(), "localhost"]);
        for (name, content) in
            [("ca.pem", authority.pem()), ("cert.pem", &issued.cert), ("key.pem", &issued.key)]
        {
            place.write(name, content);
        }
        place.write("configuration", &kind.configuration(&place));
        place.write("received", "");
        Self { kind, place, process: None }
    }

    /// Starts it after it was stopped, and waits until it listens.
    ///
    /// # Panics
    ///
    /// It runs already, or does not listen within [`PATIENCE`](crate::PATIENCE).
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "{:?} runs already", self.kind);
        let process = Process::start(&mut self.kind.command(&self.place));
        let pid = process.pid();
        self.process = Some(process);
        wait::until("the log server listens", || self.listens(pid).then_some(()));
    }

    /// Stops it by SIGTERM and waits for its end; returns what it has said of its clients and itself. What it had not read
    /// from its sockets by then is gone.
    ///
    /// # Panics
    ///
    /// It does not run, or does not end within [`PATIENCE`](crate::PATIENCE).
    #[track_caller]
    pub fn stop(&mut self) -> String {
        let mut process = self.process.take().expect("a log server that runs");
        process.signal(Signal::TERM);
        let status = process.wait();
        assert_eq!(status.code(), Some(0), "SIGTERM ended {:?} with {status}", self.kind);
        for socket in [self.unix_datagram(), self.unix_datagram_rfc5424(), self.unix_stream()] {
            // Those that it leaves behind would refuse its next run, and tell clients another story than a missing file.
            let _gone = fs::remove_file(socket);
        }
        process.finish().stderr
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its process.
    ///
    /// # Panics
    ///
    /// It does not run.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("a log server that runs").pid()
    }

    /// A datagram socket that takes what programs of this machine write to `/dev/log`: RFC 3164 without a host name.
    pub fn unix_datagram(&self) -> PathBuf {
        self.place.file("log")
    }

    /// A datagram socket for RFC 5424.
    pub fn unix_datagram_rfc5424(&self) -> PathBuf {
        self.place.file("log5424")
    }

    /// A stream socket that takes a message per line, of either form.
    pub fn unix_stream(&self) -> PathBuf {
        self.place.file("stream")
    }

    /// The address that takes datagrams, of either form.
    pub fn udp(&self) -> SocketAddr {
        self.place.address.port(UDP)
    }

    /// The address that takes a message per line, of either form.
    pub fn tcp_lf(&self) -> SocketAddr {
        self.place.address.port(TCP_LF)
    }

    /// The address that takes messages with their length before them, of either form.
    pub fn tcp_octet(&self) -> SocketAddr {
        self.place.address.port(TCP_OCTET)
    }

    /// The same, encrypted. Its certificate is for this address and for `localhost`.
    pub fn tls(&self) -> SocketAddr {
        self.place.address.port(TLS)
    }

    /// The address at which rsyslog takes messages by RELP, of either form.
    pub fn relp(&self) -> SocketAddr {
        self.place.address.port(RELP)
    }

    /// The same, encrypted.
    pub fn relp_tls(&self) -> SocketAddr {
        self.place.address.port(RELP_TLS)
    }

    /// The certificate of the authority behind its own, PEM.
    pub fn ca(&self) -> PathBuf {
        self.place.file("ca.pem")
    }

    /// Its certificate and its key, PEM: rsyslog asks the clients of its RELP for one of the same authority.
    pub fn identity(&self) -> [PathBuf; 2] {
        ["cert.pem", "key.pem"].map(|name| self.place.file(name))
    }

    /// The file of what it receives, a JSON object per line.
    pub fn file(&self) -> PathBuf {
        self.place.file("received")
    }

    /// The messages it has received so far.
    #[track_caller]
    pub fn messages(&self) -> Vec<Message> {
        let text = fs::read(self.file()).expect("the file was made before the server");
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        String::from_utf8_lossy(&text[..whole]).lines().map(Message::parse).collect()
    }

    /// The messages it has received, once they are `count` messages.
    ///
    /// # Panics
    ///
    /// They do not come within [`PATIENCE`](crate::PATIENCE), or there are more.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Message> {
        let enough = || Some(self.messages()).filter(|messages| messages.len() >= count);
        let messages = wait::until(&format!("there are {count} messages"), enough);
        assert_eq!(messages.len(), count, "{messages:#?}");
        messages
    }

    /// The first message whose text contains `part`, now or when it comes.
    ///
    /// # Panics
    ///
    /// It does not come within [`PATIENCE`](crate::PATIENCE).
    #[track_caller]
    pub fn wait_for_text(&self, part: &str) -> Message {
        let find = || self.messages().into_iter().find(|message| message.text.contains(part));
        wait::until(&format!("a message with {part:?} comes"), find)
    }

    /// Whether all its sockets are there.
    fn listens(&self, pid: u32) -> bool {
        let paths = [self.unix_datagram(), self.unix_datagram_rfc5424(), self.unix_stream()];
        paths.iter().all(|path| path.exists())
            && bound(pid, "tcp", &[self.tcp_lf(), self.tcp_octet(), self.tls()])
            && (self.kind != Kind::Rsyslog || bound(pid, "tcp", &[self.relp(), self.relp_tls()]))
            && bound(pid, "udp", &[self.udp()])
    }
}

impl Drop for LogServer {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let stderr = self.process.as_ref().map(|process| process.stderr().text()).unwrap_or_default();
        let read = |name| fs::read_to_string(self.place.file(name)).unwrap_or_default();
        let (internal, received) = (read("internal"), read("received"));
        let last = received.lines().rev().take(SHOWN).collect::<Vec<_>>().join("\n");
        eprintln!(
            "--- what {:?} said ---\n{stderr}{internal}--- received, last first ---\n{last}\n---",
            self.kind
        );
    }
}

/// Whether all these IPv4 addresses are listened on, or bound. Asked of the system, as a server would take a connection
/// that only looks for a client that says nothing, and report it.
fn bound(pid: u32, protocol: &str, addresses: &[SocketAddr]) -> bool {
    let table = fs::read_to_string(format!("/proc/{pid}/net/{protocol}")).unwrap_or_default();
    addresses.iter().all(|address| table.contains(&table_entry(*address)))
}

/// An address with no peer, as `proc_net(5)` writes it: hexadecimal, the address in the machine's byte order.
fn table_entry(address: SocketAddr) -> String {
    let SocketAddr::V4(address) = address else { panic!("{address} is not an IPv4 address") };
    let ip = u32::from_ne_bytes(address.ip().octets());
    format!(" {ip:08X}:{:04X} 00000000:0000 ", address.port())
}
