//! A server under load.
//!
//! Invariant: no stretch of load with an error in it is counted: a server that fails fast must not win.

use std::net::SocketAddr;
use std::time::Duration;

use super::load::{Counted, Errors, Load};
use crate::error::{Error, Result};
use crate::process_tree;
use crate::server::{Server, spoken_status};

/// How long a server may take to end after the load.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// A running server and where it listens.
#[derive(Debug)]
pub(super) struct Side {
    name: &'static str,
    server: Server,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

impl Side {
    /// `server`, to be called `name` in messages.
    pub(super) fn new(name: &'static str, server: Server, address: SocketAddr) -> Self {
        Self { name, server, address }
    }

    /// Presses on `path`. An error of the server is an error here.
    pub(super) fn press(&self, load: Load, path: &str) -> Result<Counted> {
        let counted = load.press(self.address, path)?;
        if counted.errors == Errors::default() && counted.requests > 0 {
            return Ok(counted);
        }
        Err(Error::Found(format!(
            "{} must answer requests for {path} without an error, but answered {}; errors: {}; its last lines:\n{}",
            self.name,
            counted.requests,
            counted.errors,
            self.server.last_lines()
        )))
    }

    /// What all its processes have used so far.
    pub(super) fn cpu_time(&self) -> Duration {
        process_tree::cpu_time(self.server.pid())
    }

    /// The memory its main process holds, in bytes.
    pub(super) fn resident(&self) -> u64 {
        process_tree::resident(self.server.pid())
    }

    /// Ends it; ending otherwise than with exit code 0 is an error.
    pub(super) fn stop(mut self) -> Result {
        let status = self.server.stop(ENDS_WITHIN)?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Found(format!(
            "{} ended with {} after the load, not 0; its last lines:\n{}",
            self.name,
            spoken_status(status),
            self.server.last_lines()
        )))
    }
}
