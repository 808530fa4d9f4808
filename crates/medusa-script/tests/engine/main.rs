//! The engine with real workers and sockets: scripts, statements, reloads, budgets, sandbox.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

mod budgets;
mod fetch;
mod handlers;
mod reload;
mod statements;
