//! The engine with real workers and sockets: scripts, statements, reloads, budgets, sandbox.

mod support;

mod budgets;
mod handlers;
mod reload;
mod statements;
