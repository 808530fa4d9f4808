//! Two servers pressed in turn, and what each used for a unit of work.
//!
//! Invariant: a round presses every subject on both sides once; the order of the sides is swapped every round, so that a
//! machine that grows slower over time does so for both.

use std::fmt;

use super::Options;
use super::load::{Counted, WARM_UP};
use super::report::{Figure, Line, Machine, Report, Row, Sample, latencies, ratios, spread};
use super::side::Side;
use crate::error::Result;
use crate::term;

/// The unit that work is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Request,
    /// A connection with one request.
    Connection,
    /// A message there and back.
    Message,
    /// 10⁹ bytes, heads included.
    Gigabyte,
}

/// A result that is good enough.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Goal {
    /// Nothing is promised.
    Open,
    /// Our CPU divided by the neighbour's is at most this.
    AtMost(f64),
    /// Our CPU for the subject of this name divided by that for this one is at least so much.
    Gain { over: &'static str, at_least: f64 },
}

/// The work that is measured: the same for both sides.
pub(super) struct Subject<'a> {
    /// Its name in the report.
    pub(super) name: &'static str,
    /// How it is pressed on, in words.
    pub(super) load: String,
    pub(super) unit: Unit,
    pub(super) goal: Goal,
    pub(super) ours: &'a Side,
    /// The neighbour, unless it cannot do this.
    pub(super) theirs: Option<&'a Side>,
    pub(super) press: Press<'a>,
}

/// Presses on a side for so many seconds.
pub(super) type Press<'a> = Box<dyn Fn(&Side, u32) -> Result<Counted> + 'a>;

/// The figures of a subject, the neighbour's first.
struct Finding {
    theirs: Option<Row>,
    ours: Row,
    cpu: Figure,
    goal: Goal,
}

/// Warms up, measures every subject once a round, and reports.
pub(super) fn run(
    subjects: &[Subject<'_>],
    machine: Machine,
    mut notes: Vec<String>,
    options: &Options,
) -> Result<Report> {
    for subject in subjects {
        for side in subject.theirs.into_iter().chain([subject.ours]) {
            (subject.press)(side, WARM_UP)?;
        }
    }
    let mut findings: Vec<Finding> = subjects.iter().map(Finding::of).collect();
    for round in 0..options.rounds {
        for (subject, finding) in subjects.iter().zip(&mut findings) {
            subject.round(round, options.seconds, finding)?;
            for row in finding.theirs.iter().chain([&finding.ours]) {
                term::note(&format!("round {}/{}, {}", round + 1, options.rounds, row.last()));
            }
        }
    }
    notes.push(format!("{} rounds of {} s for each server, no errors", options.rounds, options.seconds));
    let lines = findings.iter().map(|finding| finding.line(&findings)).collect();
    let rows =
        findings.into_iter().flat_map(|finding| finding.theirs.into_iter().chain([finding.ours])).collect();
    Ok(Report { machine, notes, rows, lines })
}

impl Subject<'_> {
    fn round(&self, round: u32, seconds: u32, finding: &mut Finding) -> Result {
        let theirs = self.theirs.zip(finding.theirs.as_mut());
        let mut sides: Vec<(&Side, &mut Row)> =
            theirs.into_iter().chain([(self.ours, &mut finding.ours)]).collect();
        if round % 2 == 1 {
            sides.reverse();
        }
        for (side, row) in sides {
            let before = side.cpu_time();
            let counted = (self.press)(side, seconds)?;
            row.rounds.push(self.unit.sample(side.cpu_time().saturating_sub(before).as_secs_f64(), &counted));
        }
        Ok(())
    }
}

impl Unit {
    /// The amount of it that was done.
    fn amount(self, counted: &Counted) -> f64 {
        match self {
            Self::Gigabyte => counted.bytes as f64 / 1e9,
            Self::Request | Self::Connection | Self::Message => counted.requests as f64,
        }
    }

    /// The figure of a server's CPU for each.
    pub(super) fn cpu(self) -> Figure {
        const NAME: &str = "CPU for each";
        match self {
            Self::Gigabyte => Figure::median(NAME, " s/GB", 3),
            Self::Request => Figure::median(NAME, " µs/request", 2),
            Self::Connection => Figure::median(NAME, " µs/connection", 0),
            Self::Message => Figure::median(NAME, " µs/message", 2),
        }
    }

    /// A stretch of load for which a server used so many seconds of CPU.
    pub(super) fn sample(self, cpu: f64, counted: &Counted) -> Sample {
        let (scale, rate) = match self {
            Self::Gigabyte => (1.0, Figure::median("rate", " GB/s", 2)),
            Self::Request | Self::Connection | Self::Message => (1e6, Figure::median("rate", " /s", 0)),
        };
        let amount = self.amount(counted);
        let seconds = counted.requests as f64 / counted.per_second;
        let [p50, p99] = latencies(counted);
        vec![(self.cpu(), cpu * scale / amount), (rate, amount / seconds), p50, p99]
    }
}

impl Finding {
    fn of(subject: &Subject<'_>) -> Self {
        let theirs = subject.theirs.map(|side| Row::new(subject.name, side.name, &subject.load));
        let (what, about) = if theirs.is_some() { ("", "") } else { (subject.name, subject.load.as_str()) };
        let ours = Row::new(what, "medusa", about);
        Self { theirs, ours, cpu: subject.unit.cpu(), goal: subject.goal }
    }

    fn name(&self) -> &str {
        self.theirs.as_ref().map_or(&self.ours.what, |theirs| &theirs.what)
    }

    fn line(&self, all: &[Self]) -> Line {
        let Self { theirs, ours, cpu, goal } = self;
        // Of the medians: those of the rounds tell how far to trust it.
        let ratio = theirs.as_ref().map(|theirs| ours.value(cpu) / theirs.value(cpu));
        let target = match *goal {
            Goal::Open => None,
            Goal::AtMost(most) => ratio.map(|ratio| (format!("at most {most:.2}"), ratio <= most)),
            Goal::Gain { over, at_least } => all.iter().find(|finding| finding.name() == over).map(|base| {
                let gain = base.ours.value(&base.cpu) / ours.value(cpu);
                (format!("{at_least:.1} times the work of \"{over}\": {gain:.1}"), gain >= at_least)
            }),
        };
        Line {
            what: self.name().to_owned(),
            ours: cpu.spoken(ours.value(cpu)),
            theirs: theirs.as_ref().map_or_else(String::new, |theirs| {
                format!("{} {}", theirs.server, cpu.spoken(theirs.value(cpu)))
            }),
            ratio: theirs.as_ref().zip(ratio).map_or_else(String::new, |(theirs, ratio)| {
                let rounds = spread(ratios(ours, theirs, cpu));
                let (_, rounds) = rounds.split_once(' ').unwrap_or_default();
                format!("{ratio:.2} {rounds}")
            }),
            target,
        }
    }
}

/// By hand: what presses is a function.
impl fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("name", &self.name).field("load", &self.load).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// 1,000 requests and 2 GB in each round, of which each request took this many microseconds.
    fn finding(name: &str, unit: Unit, goal: Goal, nginx: &[f64], medusa: &[f64]) -> Finding {
        let counted = Counted {
            requests: 1000,
            bytes: 2_000_000_000,
            per_second: 2000.0,
            p50: Duration::from_millis(1),
            p99: Duration::from_millis(3),
            ..Counted::default()
        };
        let row = |server, cpu: &[f64]| Row {
            rounds: cpu.iter().map(|us| unit.sample(us * 1e-3, &counted)).collect(),
            ..Row::new(name, server, "wrk -t2")
        };
        let theirs = (!nginx.is_empty()).then(|| row("nginx", nginx));
        Finding { theirs, ours: row("medusa", medusa), cpu: unit.cpu(), goal }
    }

    #[test]
    fn the_line_tells_cpu_ratio_and_verdict() {
        let goal = Goal::AtMost(0.9);
        let met = finding("4 KB", Unit::Request, goal, &[10.0, 10.0, 50.0], &[8.0, 8.0, 8.0]).line(&[]);
        assert_eq!((met.ours.as_str(), met.theirs.as_str()), ("8.00 µs/request", "nginx 10.00 µs/request"));
        assert_eq!(met.ratio, "0.80 (0.16 to 0.80)");
        assert_eq!(met.target, Some(("at most 0.90".to_owned(), true)));
        let missed = finding("4 KB", Unit::Request, goal, &[10.0], &[10.0]).line(&[]);
        assert!(missed.target.is_some_and(|(_, met)| !met));
    }

    #[test]
    fn gigabytes_are_counted_as_such() {
        let finding = finding("1 MB", Unit::Gigabyte, Goal::Open, &[100.0], &[100.0]);
        assert_eq!(finding.line(&[]).ours, "0.050 s/GB");
        assert!(finding.ours.last().contains("4.00 GB/s"), "{}", finding.ours.last());
    }

    #[test]
    fn a_gain_is_over_another_subject_and_what_the_neighbour_cannot_do_has_no_ratio() {
        let goal = Goal::Gain { over: "1 deep", at_least: 4.0 };
        let base = finding("1 deep", Unit::Request, Goal::Open, &[10.0], &[10.0]);
        let deep = finding("16 deep", Unit::Request, goal, &[], &[2.0]).line(&[base]);
        assert_eq!(deep.target, Some(("4.0 times the work of \"1 deep\": 5.0".to_owned(), true)));
        assert_eq!((deep.theirs.as_str(), deep.ratio.as_str()), ("", ""));
    }
}
