//! Medusa: an internet server driven by a script, changed while it runs.
//!
//! The parts are wired together here, and nowhere else:
//!
//! - [`run`] is the whole program: command line in, exit code out; [`run_with`] is that with handlers of one's own;
//! - [`handler`] is what those are made of (`docs/embedding.md` has the way, and `examples/embed` a program);
//! - [`serve`] is a server without the command line, to be embedded;
//! - [`target`] is what a path means: a script, a directory with one, or a directory to be served as it is;
//! - the rest, one module per command, is private.
//!
//! ```no_run
//! use medusa::serve::{Options, serve};
//! use medusa::target::Target;
//!
//! let target = Target::find(Some("site".as_ref()), "/srv".as_ref())?;
//! let stopped = serve(Options::new(target))?;
//! println!("{} connections were finished", stopped.finished);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Invariant:** the process's environment, its arguments and its exit code are known to `cli` alone.

mod attach;
mod audit;
mod check;
mod cli;
mod generate;
pub mod handler;
mod init;
mod logging;
mod passwd;
mod remote;
mod replay;
pub mod serve;
pub mod target;
mod term;
mod top;

pub use cli::{run, run_with};
