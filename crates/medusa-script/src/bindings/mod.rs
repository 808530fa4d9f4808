//! What scripts can reach: the `medusa` table, `site`, `print`, `require`.
//!
//! A module here is one part of that table. Each has the same shape: an `install` that makes the functions, and
//! [`DOCS`](crate::docs) from which the type definitions and the reference are generated; a test compares the two with
//! the VM. `everywhere` and `main_script` install them in a worker's VM and in a main VM.

pub(crate) mod auth;
mod command_table;
pub(crate) mod cookie;
pub(crate) mod dns;
pub(crate) mod events;
pub(crate) mod everywhere;
pub(crate) mod fetch;
pub(crate) mod handler;
pub(crate) mod handlers;
mod help;
pub(crate) mod help_docs;
pub(crate) mod history;
pub(crate) mod http;
pub(crate) mod json;
pub(crate) mod log;
pub(crate) mod main_script;
pub(crate) mod monitor;
mod print;
pub(crate) mod probe;
pub(crate) mod runs;
pub(crate) mod shared;
pub(crate) mod site;
pub(crate) mod time;
pub(crate) mod timer;
pub(crate) mod top;
pub(crate) mod trace;
pub(crate) mod upgrade;
pub(crate) mod url;
pub(crate) mod versions;

pub use self::help::help;
