//! `bench handlers`: what a request costs in a wrapper, behind a function, and behind the proxy, beside nginx and `haproxy`.

mod functions;
mod proxied;
mod wrappers;

use super::Options;
use super::compare;
use super::medusa::Medusa;
use super::report::{Line, Report};
use crate::error::Result;

/// What `--case` chooses.
const GROUPS: [&str; 3] = ["wrappers", "functions", "proxy"];

/// Runs the bench and prints its table.
pub(super) fn run(options: &Options<'_>) -> Result<Vec<Line>> {
    let groups = options.chosen(&GROUPS)?;
    let mut report = Report { notes: Vec::new(), rows: Vec::new(), lines: Vec::new() };
    if groups.contains(&"wrappers") {
        report.lines = wrappers::measure()?;
    }
    if groups.iter().any(|group| *group != "wrappers") {
        let medusa = Medusa::build()?;
        let wrapped = groups.contains(&"functions").then(|| functions::start(&medusa));
        let proxied = groups.contains(&"proxy").then(|| proxied::Sides::start(&medusa));
        let mut subjects: Vec<_> = wrapped.iter().flat_map(functions::subjects).collect();
        subjects.extend(proxied.iter().flat_map(proxied::Sides::subjects));
        report.rows = compare::rows(&subjects, options)?;
        report.lines.extend(compare::lines(&subjects, &report.rows));
        report.notes.extend(proxied.iter().map(|_| proxied::neighbours()));
        report.notes.push(options.spoken_each());
        drop(subjects);
        wrapped.into_iter().for_each(super::side::Side::stop);
        proxied.into_iter().for_each(proxied::Sides::stop);
    }
    report.finish(options)
}
