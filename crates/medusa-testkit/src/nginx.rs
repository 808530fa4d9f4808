//! `nginx`: a proxy in front of ours, or a server beside it.

use std::net::SocketAddr;

use rustix::process::Signal;

use crate::configured;
use crate::{Process, Site, run};

/// Programs of administrators are not in everybody's `PATH`.
const PROGRAM: &str = "/usr/sbin/nginx";

/// One that runs, in a folder of its own.
#[derive(Debug)]
pub struct Nginx {
    address: SocketAddr,
    process: Process,
    folder: Site,
}

impl Nginx {
    /// Starts one by what `configuration` says for the address it is given, and waits until it listens there. It stays in
    /// the foreground, and says on standard error what it has to say.
    ///
    /// # Panics
    ///
    /// It is not installed (Debian: `apt-get install nginx`), or does not listen within [`PATIENCE`](crate::PATIENCE).
    #[track_caller]
    pub fn start(configuration: impl FnOnce(SocketAddr) -> String) -> Self {
        let text = |address| {
            format!("daemon off; pid nginx.pid; error_log stderr notice;\n{}", configuration(address))
        };
        let args = ["-c", "nginx.conf", "-e", "stderr", "-p", "."];
        let (address, process, folder) = configured::start(PROGRAM, &args, "nginx.conf", text);
        Self { address, process, folder }
    }

    /// The version, as it says it.
    ///
    /// # Panics
    ///
    /// It is not installed.
    #[track_caller]
    pub fn version() -> String {
        run(PROGRAM, ["-v"]).stderr.trim().trim_start_matches("nginx version: ").to_owned()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its folder, which relative paths begin at.
    pub fn folder(&self) -> &Site {
        &self.folder
    }

    /// Its process; that of the master, if it has workers.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Ends it by SIGTERM, which must be a good end.
    #[track_caller]
    pub fn terminate(mut self) {
        self.process.signal(Signal::TERM);
        self.process.finish().success();
    }
}
