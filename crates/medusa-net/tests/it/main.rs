//! Workers and listeners from the outside, with real threads and sockets.
//!
//! Some tests change limits of the whole process. nextest runs each test in a process of its own; so must whoever runs
//! them otherwise (`--test-threads 1` is not enough).

mod exhaustion;
mod finish;
mod listen;
mod proxy;
mod serve;
mod support;
mod tls;
mod workers;
