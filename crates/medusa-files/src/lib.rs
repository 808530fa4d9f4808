//! The files that the server itself reads and writes: users, keys, logs, scripts, its state.
//!
//! - [`regular`]: they are opened with care and read within bounds;
//! - [`FileStamp`] tells one state of a file from another;
//! - [`OwnPath`] is the path of one, by which whoever serves files knows it.
//!
//! **Invariant:** what an [`OwnPath`] names is known as the server's own before anything is read of it, until that is dropped.

mod own;
pub mod regular;
mod stamp;

pub use own::{OwnKind, OwnPath, Suspicion, changes, named_below, suspect, would_lie_below};
pub use stamp::{FileIdentity, FileStamp};
