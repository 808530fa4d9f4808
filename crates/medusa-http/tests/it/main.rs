//! Handlers behind real connections: what becomes of their responses.

mod ends;
mod panic;
mod support;
mod upgrade;
