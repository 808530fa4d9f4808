//! The Luau engine: the main VM, the workers' VMs, their budgets and sandbox, and the `medusa.*` API.
//!
//! - [`engine`]: the thread on which the main VM lives, and the [`Engine`] handle;
//! - `main_vm`, `main_vms`, `timers`, `inline`, `functions`, `transaction`: scripts, statements, timers, handlers given as functions,
//!   and what they change;
//! - `log`: functions in the way of log records;
//! - `recipe`, `history_file`, `trial_record`, `state_file`, `live_files`: what the next start is made of, and earlier generations;
//! - `require`: files of scripts, and the modules they load;
//! - `handler_files`, `worker`, `handover`: handlers given as files, the VM of every worker that runs them, and what one leaves to
//!   the one that takes its place;
//! - `wrap`, `passage`: handlers given as functions or files before others, and the way between the two;
//! - `rust_handlers`: handlers that a program which embeds the server brings along;
//! - `websocket`: a session with a client;
//! - `vm`, `memory`, `preempt`, `budget`, `task`, `slow_lane`, `natives`, `overrun`: one VM, its sandbox, how it gives way and is stopped;
//! - `chunk`, `probe`: files as they were loaded, and breakpoints in them;
//! - `runs`, `top`: what of all that is running, for who looks on and ends some of it; the server in numbers;
//! - `request`, `forms`, `respond`, `producer`, `events`: what a handler is given and gives back;
//! - `json`, `options`, `call_site`, `context`: what several bindings are made with;
//! - `syntax`, `places`, `complete`: what a prompt is told of statements, functions and names;
//! - `bindings`, [`mod@reference`]: what scripts can reach, and its documentation, of which `docs` is the form.
//!
//! **Invariants:** this is the only crate that knows mlua. A script is stopped at its budget wherever it is, and nothing it
//! does blocks a worker for longer than a slice. A script or statement that fails has changed nothing.

mod bindings;
mod budget;
mod call;
mod call_site;
mod chunk;
mod commands;
mod complete;
mod context;
mod counted;
mod docs;
mod engine;
mod engine_context;
mod error;
mod events;
mod fields;
mod forms;
mod functions;
mod handler_files;
mod handover;
mod history_file;
mod inline;
mod json;
mod live_files;
mod log;
mod logins;
mod luau;
mod main_vm;
mod main_vms;
mod memory;
mod natives;
mod options;
mod overrun;
mod passage;
mod places;
mod preempt;
mod print;
mod probe;
mod producer;
mod recipe;
pub mod reference;
mod request;
mod require;
mod respond;
mod runs;
mod rust_handlers;
mod sentinel;
mod shared;
mod slow_lane;
mod state_file;
mod syntax;
mod task;
mod timers;
mod top;
mod traced;
mod transaction;
mod trial_record;
mod vm;
mod websocket;
mod worker;
mod wrap;

pub use bindings::help;
pub use engine::{Address, Engine, Evaluated, Loaded, Program, ProgramSource, SessionHandle, check};
pub use error::ScriptError;
pub use main_vm::incomplete;
pub use rust_handlers::RustHandlers;
pub use syntax::OpenText;
pub use traced::show_traced;
pub use transaction::ProgressSender;
