//! Cached lookups: the resolver alone, in a program of its own.

use crate::cmd::Cmd;
use crate::error::{Error, Result};

/// Its name among the cases.
pub(super) const NAME: &str = "lookups";

/// Lookups per second of one core, as `crates/medusa-dns/benches/cached.rs` prints them.
pub(super) fn measure() -> Result<f64> {
    let bench = Cmd::cargo("bench --locked --package medusa-dns --bench cached");
    let output = bench.output()?;
    let text = String::from_utf8_lossy(&output);
    let rate =
        text.lines().find_map(|line| line.strip_prefix("cached lookups per second: ")?.trim().parse().ok());
    rate.ok_or_else(|| Error::Found(format!("`{bench}` printed no rate:\n{text}")))
}
