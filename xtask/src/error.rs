//! The reason why a command ended early, in words for the person at the terminal.

use std::io;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};

/// The reason why a command could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line was not understood. Exit code 2.
    #[error("{0}\nSee `cargo xtask help`.")]
    Usage(String),
    /// A program could not be started.
    #[error("cannot start `{command}`: {source}")]
    Start { command: String, source: io::Error },
    /// A program ran and failed; it has printed its own reason.
    #[error("`{command}` failed ({status})")]
    Failed { command: String, status: ExitStatus },
    /// The file system or a socket said no.
    #[error("cannot {what}: {source}")]
    Io { what: String, source: io::Error },
    /// A check found what it looks for, or something answered other than it must.
    #[error("{0}")]
    Found(String),
}

impl Error {
    /// For `map_err`: names what was tried. Reads as "cannot `verb` `path`: ...".
    pub(crate) fn io(verb: &str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let what = format!("{verb} {}", path.as_ref().display());
        move |source| Self::Io { what, source }
    }

    /// 2 for a command line that was not understood, 1 for everything else.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

/// The result of every command.
pub(crate) type Result<T = ()> = std::result::Result<T, Error>;
