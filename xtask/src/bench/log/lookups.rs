//! Cached lookups: the resolver alone, in a program of its own.

use crate::cmd::Cmd;
use crate::error::{Error, Result};

/// Its name among the cases.
pub(super) const NAME: &str = "lookups";

/// The number that a core can do in a second.
#[derive(Debug)]
pub(super) struct Lookups {
    /// What is looked up: `name`, `v4 ptr`.
    pub(super) what: String,
    pub(super) per_second: f64,
}

/// Runs the example of `medusa-dns`, and reads what it prints.
pub(super) fn measure() -> Result<Vec<Lookups>> {
    let example = Cmd::cargo("run --release --locked --package medusa-dns --example cached");
    let output = example.output()?;
    let text = String::from_utf8_lossy(&output);
    let found: Vec<Lookups> = text.lines().filter_map(parse).collect();
    if found.is_empty() {
        return Err(Error::Found(format!("`{example}` printed no rate:\n{text}")));
    }
    Ok(found)
}

/// Reads `v4 ptr      1770000 cached lookups/s/core, 565 ns each, 1 threads`.
fn parse(line: &str) -> Option<Lookups> {
    let (before, _) = line.split_once(" cached lookups/s/core")?;
    let (what, rate) = before.rsplit_once(' ')?;
    Some(Lookups { what: what.trim().to_owned(), per_second: rate.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read() {
        let found =
            parse("v4 ptr      1770000 cached lookups/s/core, 565 ns each, 1 threads").expect("a rate");
        assert_eq!(found.what, "v4 ptr");
        assert!((found.per_second - 1.77e6).abs() < 1.0);
        assert!(parse("asked          9000 names/s, one server on loopback").is_none());
    }
}
