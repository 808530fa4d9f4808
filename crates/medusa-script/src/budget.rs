//! The time that a script may use, and why one did not finish.

use std::sync::Arc;
use std::time::Duration;

/// The time that a script may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// CPU time, to within a few milliseconds.
    pub(crate) cpu: Duration,
    /// Wall-clock time, waiting included; but for a request's body, which has limits of its own ([`Waited`]).
    pub(crate) wall: Duration,
}

/// The time that a script has been waiting for what must not count against its budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Waited {
    /// The sum of it.
    pub(crate) total: Duration,
    /// Whether it waits just now.
    pub(crate) now: bool,
}

impl Budget {
    /// The budget of a handler's answer to one request: one second of CPU, 30 of waiting.
    pub(crate) const REQUEST: Self = Self { cpu: Duration::from_secs(1), wall: Duration::from_secs(30) };
    /// The budget of one statement from a prompt, and of the script itself at start-up and reload.
    pub(crate) const STATEMENT: Self = Self { cpu: Duration::from_secs(5), wall: Duration::from_mins(1) };
    /// The budget of one run of a timer.
    pub(crate) const TIMER: Self = Self { cpu: Duration::from_secs(1), wall: Duration::from_mins(1) };
}

/// The reason why a script did not finish.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    /// It used more CPU time than it may; the error carries the traceback.
    #[error("used more than {0:?} of CPU time: {1}")]
    Cpu(Duration, mlua::Error),
    /// It took longer than it may.
    #[error("took longer than {0:?}")]
    Wall(Duration),
    /// Its VM is at its memory limit, and it is to blame.
    #[error("the VM is at its memory limit: {0}")]
    Memory(mlua::Error),
    /// Its VM is at its memory limit, for which others are to blame.
    #[error("others had filled the VM to its memory limit: {0}")]
    Crowded(mlua::Error),
    /// Somebody has ended it.
    #[error("stopped: it was ended by {0}")]
    Ended(Arc<str>),
    /// An error of its own.
    #[error("{0}")]
    Script(mlua::Error),
}
