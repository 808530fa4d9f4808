//! `bench handlers`: what a request costs in a wrapper, and behind the proxy, beside nginx and `haproxy`.

mod proxied;
mod wrappers;

use super::Options;
use super::compare::{self, Subject};
use super::medusa::Medusa;
use super::report::{Line, Report};
use crate::error::Result;

/// What `--case` chooses.
const GROUPS: [&str; 2] = ["wrappers", "proxy"];

/// Runs the bench and prints its table.
pub(super) fn run(options: &Options<'_>) -> Result<Vec<Line>> {
    let groups = options.chosen(&GROUPS)?;
    let mut report = Report { notes: Vec::new(), rows: Vec::new(), lines: Vec::new() };
    if groups.contains(&"wrappers") {
        report.lines = wrappers::measure()?;
    }
    if groups.contains(&"proxy") {
        let sides = proxied::Sides::start(&Medusa::build()?);
        let subjects: Vec<Subject<'_>> = sides.subjects();
        report.rows = compare::rows(&subjects, options)?;
        report.lines.extend(compare::lines(&subjects, &report.rows));
        drop(subjects);
        sides.stop();
        report.notes = vec![proxied::neighbours(), options.spoken_each()];
    }
    report.finish(options)
}
