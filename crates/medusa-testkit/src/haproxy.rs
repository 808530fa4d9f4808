//! `haproxy`: a proxy beside ours.

use std::net::SocketAddr;

use rustix::process::Signal;

use crate::configured;
use crate::{Process, Site, run};

/// Programs of administrators are not in everybody's `PATH`.
const PROGRAM: &str = "/usr/sbin/haproxy";

/// One that runs, in a folder of its own.
#[derive(Debug)]
pub struct Haproxy {
    address: SocketAddr,
    process: Process,
    _folder: Site,
}

impl Haproxy {
    /// Starts one by what `configuration` says for the address it is given, and waits until it listens there. It stays in
    /// the foreground.
    ///
    /// # Panics
    ///
    /// It is not installed (Debian: `apt-get install haproxy`), or does not listen within [`PATIENCE`](crate::PATIENCE).
    #[track_caller]
    pub fn start(configuration: impl FnOnce(SocketAddr) -> String) -> Self {
        let args = ["-db", "-f", "haproxy.cfg"];
        let (address, process, folder) = configured::start(PROGRAM, &args, "haproxy.cfg", configuration);
        Self { address, process, _folder: folder }
    }

    /// The version, as it says it.
    ///
    /// # Panics
    ///
    /// It is not installed.
    #[track_caller]
    pub fn version() -> String {
        let told = run(PROGRAM, ["-v"]).stdout;
        let first = told.lines().next().unwrap_or_default();
        first.split(' ').take(3).collect::<Vec<_>>().join(" ")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Ends it by SIGUSR1, upon which it closes what is idle and ends well.
    #[track_caller]
    pub fn terminate(mut self) {
        self.process.signal(Signal::USR1);
        self.process.finish().success();
    }
}
