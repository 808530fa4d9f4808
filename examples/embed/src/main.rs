//! A program with a Medusa server in it, which brings handlers of its own along: `cargo run -p embed -- serve examples/embed/site`.
//!
//! [`count`] is a handler, [`timed`] a wrapper, [`shout`] a `tower` service. `site/site.luau` mounts them, beside what does the
//! same in Luau.

mod count;
mod shout;
mod timed;

use std::process::ExitCode;

use medusa::handler::{RustHandlers, TowerService};

fn main() -> ExitCode {
    let handlers = RustHandlers::default()
        .handler("count", count::Count)
        .handler("shout", TowerService::new("shout", shout::Shout))
        .wrapper("timed", timed::Timed::new);
    medusa::run_with(std::env::args_os(), handlers)
}
