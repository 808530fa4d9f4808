//! End to end: the real program, from outside. One module per theme, one program for all of them.
//!
//! What needs the machine for itself, as it measures or presses, has `under_load` in its name: the test runner runs these
//! alone (`.config/nextest.toml`).

mod attach;
mod audit;
mod bad_input;
mod bounds;
mod budgets;
mod cli;
mod clients;
mod dns;
mod early_answers;
mod event_streams;
mod events;
mod excerpts;
mod fetch;
mod files;
mod forms;
mod framing;
mod full_vm;
mod guide;
mod headers;
mod history;
mod host_memory;
mod http1;
mod http2;
mod journald;
mod kept;
mod limits;
mod listeners;
mod live;
mod live_files;
mod log;
mod log_changes;
mod log_loss;
mod log_restart;
mod log_stall;
mod malformed;
mod monitor;
mod pauses;
mod proxies;
mod reload;
mod resolving;
mod rotation;
mod sample_site;
mod saved;
mod sealed;
mod shutdown;
mod slow_attacks;
mod streams;
mod support;
mod syslog;
mod tls;
mod told;
mod websocket;
mod zones;
