//! The audit log: who did what to a running server, so that it cannot be changed unnoticed afterwards.
//!
//! - [`record`]: one record, as a line of JSON;
//! - [`chain`]: the MACs that tie each to the one before, and the head that says where the log ends;
//! - [`check`]: is a log whole? and which record is the first that is not;
//! - [`files`]: where it all is, for readers;
//! - [`writer`]: the one writer;
//! - [`log`]: the writer in its thread, with a queue, quotas and anchors;
//! - [`auditor`]: what a session tells.
//!
//! **Invariant:** what changes the server is on the disk before it is done ([`Auditor::strict`]). What looks is never
//! refused because it cannot be recorded.
//!
//! What it cannot do: whoever has the key can write any log, and whoever can write the files can put back an old log with
//! its old head. An anchor that was taken elsewhere shows both.

pub mod auditor;
pub mod chain;
pub mod check;
pub mod files;
pub mod log;
mod quota;
pub mod record;
#[cfg(test)]
mod tests;
pub mod writer;

pub use auditor::{Audited, Auditor};
pub use chain::{ChainKey, Head, Mac};
pub use check::{Fault, FaultKind, Findings, LogLine, ToldDamage};
pub use files::{AuditFiles, ReadError};
pub use log::{AuditLog, tell_anchor};
pub use record::{Effect, Outcome, Record, RecordKind, Text, Who};
pub use writer::{AuditError, LogLimits, LogWriter};
