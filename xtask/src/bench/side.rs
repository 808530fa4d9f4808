//! A server under load.
//!
//! Invariant: no stretch of load with an error in it is counted: a server that fails fast must not win.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use medusa_testkit::{Haproxy, Nginx, Process, Server, Site, cpu, memory, process};

use super::load::{Counted, Load, Target, errors};
use super::tls::Identity;
use crate::error::{Error, Result};

/// The number of a server's last lines that stand in the message of an error.
const LAST_LINES: usize = 40;

/// The protocol spoken on a listener.
#[derive(Debug, Clone)]
pub(super) enum Wire {
    /// HTTP/1.1 in the clear.
    Plain,
    /// HTTP/2 in the clear, by prior knowledge.
    H2c,
    /// HTTP/1.1 and HTTP/2 over TLS.
    Tls(Arc<Identity>),
}

/// A running server and where it listens.
#[derive(Debug)]
pub(super) struct Side {
    /// What it is called in messages.
    pub(super) name: &'static str,
    pub(super) running: Running,
    /// Its address.
    pub(super) address: SocketAddr,
    /// What it speaks there.
    pub(super) wire: Wire,
    /// The script of ours.
    pub(super) _site: Option<Site>,
}

/// The server that runs.
#[derive(Debug)]
pub(super) enum Running {
    Ours(Server),
    Nginx(Nginx),
    Haproxy(Haproxy),
}

impl Side {
    /// Presses on `path`. An error of the server is an error here.
    pub(super) fn press(&self, load: &Load, seconds: u32, path: &str) -> Result<Counted> {
        let target = Target { address: self.address, path, identity: self.identity() };
        self.accept(load.press(seconds, target)?, path, load)
    }

    /// `counted`, if nothing went wrong in it.
    pub(super) fn accept(&self, counted: Counted, path: &str, load: &impl fmt::Display) -> Result<Counted> {
        let errors = errors(&counted);
        if errors.is_empty() && counted.requests > 0 {
            return Ok(counted);
        }
        Err(self.fault(&format!(
            "must answer requests for {path} without an error ({load}), but answered {}; errors: {errors}",
            counted.requests,
        )))
    }

    /// The identity that clients meet there; `None` where the connection is not encrypted.
    pub(super) fn identity(&self) -> Option<&Identity> {
        match &self.wire {
            Wire::Tls(identity) => Some(identity),
            Wire::Plain | Wire::H2c => None,
        }
    }

    /// The error that it did `what`, with its last lines.
    pub(super) fn fault(&self, what: &str) -> Error {
        Error::Found(format!(
            "{} {what}; its last lines:\n{}",
            self.name,
            last_lines(&self.process().stderr().text())
        ))
    }

    /// The server, if it is ours.
    pub(super) fn ours(&self) -> &Server {
        match &self.running {
            Running::Ours(server) => server,
            Running::Nginx(_) | Running::Haproxy(_) => {
                panic!("{} does not know what only ours can do", self.name)
            }
        }
    }

    /// The time that all its processes have used so far, in user and system time.
    pub(super) fn cpu_time(&self) -> Duration {
        self.processes().map(cpu::time).sum()
    }

    /// The memory all its processes hold, in MiB; pages they share count in each.
    pub(super) fn mebibytes(&self) -> f64 {
        self.processes().map(memory::resident).sum::<u64>() as f64 / f64::from(1 << 20)
    }

    /// Ends it; ending otherwise than with exit code 0 is a panic.
    pub(super) fn stop(self) {
        match self.running {
            Running::Ours(server) => drop(server.terminate()),
            Running::Nginx(nginx) => nginx.terminate(),
            Running::Haproxy(haproxy) => haproxy.terminate(),
        }
    }

    fn processes(&self) -> impl Iterator<Item = u32> {
        let main = self.process().pid();
        std::iter::once(main).chain(process::children(main))
    }

    fn process(&self) -> &Process {
        match &self.running {
            Running::Ours(server) => server.process(),
            Running::Nginx(nginx) => nginx.process(),
            Running::Haproxy(haproxy) => haproxy.process(),
        }
    }
}

/// The last of what a server has said.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}
