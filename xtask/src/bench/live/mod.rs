//! `bench live`: what changes of a running server cost those who use it.
//!
//! A thousand statements of one session change what is pressed on, while sessions and streams go on beside it. What is
//! promised is not a speed: no request may fail, and nothing that is open may end.

mod changes;
mod long_lived;

use std::sync::atomic::AtomicBool;

use medusa_testkit::OwnAddress;

use self::changes::{CHANGES, Changes};
use self::long_lived::LongLived;
use super::load::{Asks, Counted, Load, WARM_UP, Wrk};
use super::medusa::Medusa;
use super::report::{Figure, Line, Measured, Report, Row, highest, milliseconds};
use super::side::{Side, Wire};
use super::{Options, medusa, report};
use crate::error::Result;
use crate::threads;

/// The mounts of the site; beside those that are changed and those of the long-lived they are only there.
const MOUNTS: u32 = 1_000;
/// What wrk asks for, all of it changed meanwhile.
const PATHS: &[&str] = &["/function", "/script", "/files/page.txt", "/wrapped"];
const LOAD: Load = Load::Wrk(Wrk { asks: Asks::For(PATHS), ..Wrk::USUAL });
/// The memory that the server may hold more after the last round than after the first, in MiB: all that a thousand changes
/// leave behind is bounded, and there after the first.
const GROWTH: f64 = 16.0;
/// The multiple of the quiet p99 that it may be beside the changes.
const SLOWER: f64 = 1.2;

const REQUESTS: Figure = Figure::sum("requests");
const QUIET: Figure = Figure::median("p99 ms", "", 2);
const BESIDE: Figure = Figure::median("beside changes", "", 2);
/// Of the server's reports: the middle and the longest of a round.
const PUBLISHED: Figure = Figure::median("publish µs", "", 0);
const LONGEST: Figure = Figure { name: "longest", unit: "", decimals: 0, of_all: highest };
/// After a round.
const MEMORY: Figure = Figure { name: "MiB after", unit: "", decimals: 1, of_all: highest };

/// Runs the bench and prints its tables.
pub(super) fn run(options: &Options<'_>) -> Result<Vec<Line>> {
    let medusa = Medusa::build()?;
    let side = medusa.start(changes::site(MOUNTS), Wire::Plain);
    let spare = OwnAddress::claim();
    let mut long_lived = LongLived::open(&side)?;
    let mut changes = Changes::begin(side.ours(), spare.port(1514));
    side.press(&LOAD, WARM_UP, PATHS[0])?;
    let before = side.mebibytes();
    let sample = |seconds| {
        let (quiet, ()) = stretch(&side, &mut long_lived, seconds, |_| Ok(()))?;
        let change = |over: &AtomicBool| changes.make(&side, seconds, over);
        let (counted, published) = stretch(&side, &mut long_lived, seconds, change)?;
        Ok(vec![
            (REQUESTS, counted.requests as f64),
            (QUIET, milliseconds(quiet.p99)),
            (BESIDE, milliseconds(counted.p99)),
            (PUBLISHED, report::median(published.clone())),
            (LONGEST, highest(published)),
            (MEMORY, side.mebibytes()),
        ])
    };
    let row = Row::new(format!("{CHANGES} changes"), medusa::NAME, format!("{MOUNTS} mounts"));
    let rows = report::measure(vec![Measured { row, sample: Box::new(sample) }], options)?;
    let lines = lines(&rows[0], before, long_lived.len());
    drop((long_lived, changes));
    side.stop();
    Report { notes: vec![options.spoken(&LOAD)], rows, lines }.finish(options)
}

/// A stretch of load with what is open going on beside it, and what `change` does, until the load is over. Returns what was
/// counted, and what came of `change`.
fn stretch<T: Send>(
    side: &Side,
    long_lived: &mut LongLived,
    seconds: u32,
    change: impl FnOnce(&AtomicBool) -> Result<T> + Send,
) -> Result<(Counted, T)> {
    let use_it = |over: &AtomicBool| threads::beside(|_| long_lived.live(over), || change(over));
    let press = || side.press(&LOAD, seconds, PATHS[0]);
    let ((dropped, changed), counted) = threads::beside(use_it, press);
    // What is wrong with the changes may be why a request failed.
    let changed = changed?;
    let Some(first) = dropped.first() else { return Ok((counted?, changed)) };
    let count = dropped.len();
    Err(side.fault(&format!("must not drop what is open, but dropped {count}; the first: {first}")))
}

fn lines(row: &Row, before: f64, long_lived: usize) -> Vec<Line> {
    let [requests, quiet, beside, published, longest] =
        [REQUESTS, QUIET, BESIDE, PUBLISHED, LONGEST].map(|figure| row.value(&figure));
    let memory = row.values(MEMORY.name);
    let grown = memory.last().zip(memory.first()).map_or(f64::NAN, |(last, first)| last - first);
    let after = memory.iter().map(|memory| format!("{memory:.1}")).collect::<Vec<_>>().join(", ");
    vec![
        Line {
            what: format!("beside {CHANGES} changes a round"),
            // A run with either ends before it is told.
            ours: format!(
                "0 of {requests:.0} requests failed, 0 of {long_lived} sessions and streams dropped"
            ),
            target: Some(("0 and 0".to_owned(), true)),
            ..Line::default()
        },
        Line {
            what: "p99 beside changes".to_owned(),
            ours: format!("{beside:.2} ms"),
            theirs: format!("quiet {quiet:.2} ms"),
            ratio: format!("{:.2}", beside / quiet),
            target: Some((format!("at most {SLOWER:.1}"), beside / quiet <= SLOWER)),
        },
        Line {
            what: format!("publication with {MOUNTS} mounts"),
            ours: format!("{published:.0} µs, {longest:.0} at most"),
            ..Line::default()
        },
        Line {
            what: format!("memory after each {CHANGES} changes"),
            ours: format!("{after} MiB"),
            theirs: format!("{before:.1} MiB before"),
            ratio: String::new(),
            target: Some((format!("{GROWTH} MiB more after the first"), grown <= GROWTH)),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_grows_from_round_to_round_misses_the_target() {
        let row = |after: [f64; 2]| Row {
            rounds: after.map(|after| vec![(MEMORY, after)]).to_vec(),
            ..Row::new("", "medusa", "")
        };
        let met = |after| lines(&row(after), 10.0, 250)[3].target.as_ref().is_some_and(|(_, met)| *met);
        assert!(met([50.0, 60.0]));
        assert!(!met([50.0, 67.0]));
    }
}
