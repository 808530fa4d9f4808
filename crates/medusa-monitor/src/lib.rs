//! The way into a running server: sessions that run statements, reload, ask for its status, stop it.
//!
//! - [`session`]: a session, whatever way it came, on the [`Control`] of the server;
//! - [`identity`], [`authorize`](mod@authorize): who has one, and what that allows;
//! - [`runs`]: what of scripts is running;
//! - [`sessions`]: those that are open; [`news`]: what they are told without asking;
//! - [`protocol`]: what is said, as lines of JSON; [`commands`]: the same, typed as statements;
//! - [`state`]: the state directory, which one server at a time holds, and the unix socket in it;
//! - [`socket`]: the sessions on that socket;
//! - [`ssh`]: the sessions over SSH; [`classic`]: those of clients from 1997;
//! - [`arrivals`]: connections that are to log in, and [`login_files`]: what says who may;
//! - [`statement`]: what all that show lines do for one;
//! - [`client`]: the other end, for a command line;
//! - [`terminal`]: a prompt on a terminal, whichever way its bytes come;
//! - [`audit`]: the record of what sessions do.
//!
//! Nothing here knows what reloading or stopping takes: that is the [`Control`] the sessions are given.
//!
//! **Invariant:** on the control socket only the user the server runs as, and root, are ever listened to. Whoever gets in
//! there can do whatever the server can, so a session of anyone else is refused before its first byte is read.

mod arrivals;
pub mod audit;
pub mod authorize;
pub mod classic;
pub mod client;
mod commands;
#[cfg(test)]
mod fake;
pub mod identity;
mod json;
mod login_files;
pub mod news;
pub mod protocol;
pub mod runs;
pub mod session;
pub mod sessions;
pub mod socket;
pub mod ssh;
pub mod state;
mod statement;
pub mod terminal;

pub use arrivals::LoginCounters;
pub use audit::AuditLog;
pub use authorize::{Refusal, authorize};
pub use client::{CallError, Client, ConnectError, Replies, Requests};
pub use commands::looks_first;
pub use identity::{FrontEnd, Identity, Role};
pub use login_files::LoginFileError;
pub use news::{News, NewsRoom, OnTrial, PromptState, TrialInfo};
pub use protocol::{ChangeInfo, Completion, Done, Failure, GenerationInfo, Killed, Op, TimerInfo};
pub use runs::{NoRunId, RunId, RunInfo, RunList};
pub use session::{Control, Monitor};
pub use sessions::{Full, MAX_SESSIONS, SessionInfo, Sessions, shown_line};
pub use state::{ControlSocket, StateDir, StateError};
