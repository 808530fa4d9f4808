//! A server under load.
//!
//! Invariant: no stretch of load with an error in it is counted: a server that fails fast must not win.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::load::{Counted, Errors, Load, Target};
use super::tls::Identity;
use crate::error::{Error, Result};
use crate::process_tree;
use crate::server::{Server, spoken_status};

/// How long a server may take to end after the load.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// What is spoken on a listener.
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
    server: Server,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// What it speaks there.
    pub(super) wire: Wire,
}

impl Side {
    /// `server`, to be called `name` in messages.
    pub(super) fn new(name: &'static str, server: Server, address: SocketAddr, wire: Wire) -> Self {
        Self { name, server, address, wire }
    }

    /// Presses on `path`. An error of the server is an error here.
    pub(super) fn press(&self, load: &Load, seconds: u32, path: &str) -> Result<Counted> {
        let target = Target { address: self.address, path, identity: self.identity() };
        self.accept(load.press(seconds, target)?, path, load)
    }

    /// `counted`, if nothing went wrong in it.
    pub(super) fn accept(&self, counted: Counted, path: &str, load: &impl fmt::Display) -> Result<Counted> {
        if counted.errors == Errors::default() && counted.requests > 0 {
            return Ok(counted);
        }
        Err(self.fault(&format!(
            "must answer requests for {path} without an error ({load}), but answered {}; errors: {}",
            counted.requests, counted.errors,
        )))
    }

    /// Whom clients meet there; `None` where the connection is not encrypted.
    pub(super) fn identity(&self) -> Option<&Identity> {
        match &self.wire {
            Wire::Tls(identity) => Some(identity),
            Wire::Plain | Wire::H2c => None,
        }
    }

    /// The error that it did `what`, with its last lines.
    pub(super) fn fault(&self, what: &str) -> Error {
        Error::Found(format!("{} {what}; its last lines:\n{}", self.name, self.server.last_lines()))
    }

    /// What all its processes have used so far.
    pub(super) fn cpu_time(&self) -> Duration {
        process_tree::cpu_time(self.server.pid())
    }

    /// The memory its main process holds, in bytes.
    pub(super) fn resident(&self) -> u64 {
        process_tree::resident(self.server.pid())
    }

    /// The memory all its processes hold, in bytes; pages they share count in each.
    pub(super) fn resident_in_all(&self) -> u64 {
        let main = self.server.pid();
        process_tree::descendants(main).into_iter().chain([main]).map(process_tree::resident).sum()
    }

    /// Ends it; ending otherwise than with exit code 0 is an error.
    pub(super) fn stop(mut self) -> Result {
        let status = self.server.stop(ENDS_WITHIN)?;
        if status.success() {
            return Ok(());
        }
        Err(self.fault(&format!("ended with {} after the load, not 0", spoken_status(status))))
    }
}
