//! The files that the server itself reads and writes: users, keys, logs, scripts, its state.
//!
//! - [`regular`]: they are opened with care and read within bounds;
//! - [`FileStamp`] tells one state of a file from another.

pub mod regular;
mod stamp;

pub use stamp::{FileIdentity, FileStamp};
