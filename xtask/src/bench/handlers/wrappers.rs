//! What a request costs in each wrapper, alone on a thread.

use crate::bench::report::Line;
use crate::cmd::Cmd;
use crate::error::{Error, Result};

/// The most that a wrapper may cost a request, in nanoseconds.
const MOST: f64 = 300.0;

/// Runs the example of `medusa-http`, and reads what it prints.
pub(super) fn measure() -> Result<Vec<Line>> {
    let example = Cmd::cargo("run --release --locked --package medusa-http --example wrappers");
    let output = example.output()?;
    let text = String::from_utf8_lossy(&output);
    let lines: Vec<Line> = text.lines().filter_map(parse).map(line).collect();
    if lines.is_empty() {
        return Err(Error::Found(format!("`{example}` printed no cost:\n{text}")));
    }
    Ok(lines)
}

/// Reads `cors             41 ns each request`.
fn parse(line: &str) -> Option<(&str, f64)> {
    let (name, cost) = line.strip_suffix(" ns each request")?.split_once(' ')?;
    Some((name, cost.trim().parse().ok()?))
}

fn line((name, cost): (&str, f64)) -> Line {
    Line {
        what: format!("the wrapper {name}, each request"),
        ours: format!("{cost:.0} ns"),
        target: Some((format!("at most {MOST} ns"), cost <= MOST)),
        ..Line::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_read() {
        assert_eq!(parse("cors             41 ns each request"), Some(("cors", 41.0)));
        assert_eq!(parse("handler         120 ns alone"), None);
    }
}
