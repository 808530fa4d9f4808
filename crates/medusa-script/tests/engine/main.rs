//! The engine with real workers and sockets: scripts, statements, reloads, budgets, sandbox.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

mod body;
mod budgets;
mod events;
mod fetch;
mod forms;
mod handlers;
mod log_parts;
mod modules;
mod prompt;
mod reload;
mod remote_logs;
mod statements;
