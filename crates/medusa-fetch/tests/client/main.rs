//! The client against real servers, which are made to misbehave where that is the point.
#![expect(clippy::unwrap_used, reason = "tests")]

mod answers;
mod bounds;
mod origin;
mod tls;
