//! Two servers pressed in turn, and what each used for a unit of work.
//!
//! Invariant: a round presses every subject on both sides once; the order of the sides is swapped every round, so that a
//! machine that grows slower over time does so for both.

mod report;

use std::fmt;
use std::time::Duration;

pub(super) use self::report::{Report, finish};
use super::Options;
use super::load::{Counted, WARM_UP};
use super::report::median;
use super::side::Side;
use crate::error::Result;
use crate::term;

/// What work is counted in.
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

/// What is good enough.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Goal {
    /// Nothing is promised.
    Open,
    /// Our CPU divided by the neighbour's is at most this.
    AtMost(f64),
    /// Our CPU for the subject of this name divided by that for this one is at least so much.
    Gain { over: &'static str, at_least: f64 },
}

/// What is measured: the same work for both sides.
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

/// One stretch of load on one server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// What all processes of the server used.
    pub(super) cpu: Duration,
    /// What the load generator counted.
    pub(super) counted: Counted,
}

/// The samples of one server, a round each.
#[derive(Debug, Clone, Default)]
pub(super) struct Series(pub(super) Vec<Sample>);

/// What came out of a subject.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) name: &'static str,
    pub(super) load: String,
    pub(super) unit: Unit,
    pub(super) goal: Goal,
    pub(super) theirs: Option<(&'static str, Series)>,
    pub(super) ours: Series,
}

/// Warms up, then measures every subject once a round.
pub(super) fn measure(subjects: &[Subject<'_>], options: &Options) -> Result<Vec<Finding>> {
    for subject in subjects {
        for side in subject.theirs.into_iter().chain([subject.ours]) {
            (subject.press)(side, WARM_UP)?;
        }
    }
    let mut findings: Vec<Finding> = subjects.iter().map(Finding::of).collect();
    for round in 0..options.rounds {
        for (subject, finding) in subjects.iter().zip(&mut findings) {
            subject.round(round, options.seconds, finding)?;
            term::note(&format!("round {}/{}, {}", round + 1, options.rounds, finding.last()));
        }
    }
    Ok(findings)
}

impl Subject<'_> {
    fn round(&self, round: u32, seconds: u32, finding: &mut Finding) -> Result {
        let ours_first = round % 2 == 1;
        if ours_first {
            finding.ours.0.push(self.sample(self.ours, seconds)?);
        }
        if let (Some(side), Some((_, series))) = (self.theirs, &mut finding.theirs) {
            series.0.push(self.sample(side, seconds)?);
        }
        if !ours_first {
            finding.ours.0.push(self.sample(self.ours, seconds)?);
        }
        Ok(())
    }

    fn sample(&self, side: &Side, seconds: u32) -> Result<Sample> {
        let before = side.cpu_time();
        let counted = (self.press)(side, seconds)?;
        Ok(Sample { cpu: side.cpu_time().saturating_sub(before), counted })
    }
}

impl Unit {
    /// How much of it was done.
    fn amount(self, counted: &Counted) -> f64 {
        match self {
            Self::Gigabyte => counted.bytes as f64 / 1e9,
            Self::Request | Self::Connection | Self::Message => counted.requests as f64,
        }
    }

    /// How much of it was done each second.
    fn rate(self, counted: &Counted) -> f64 {
        let seconds = counted.requests as f64 / counted.per_second;
        self.amount(counted) / seconds
    }

    /// Seconds for each, in the words of a table.
    fn spoken(self, seconds: f64) -> String {
        match self {
            Self::Gigabyte => format!("{seconds:.3} s/GB"),
            Self::Request => format!("{:.2} µs/request", seconds * 1e6),
            Self::Connection => format!("{:.0} µs/connection", seconds * 1e6),
            Self::Message => format!("{:.2} µs/message", seconds * 1e6),
        }
    }

    fn spoken_rate(self, rate: f64) -> String {
        match self {
            Self::Gigabyte => format!("{rate:.2} GB/s"),
            Self::Request | Self::Connection | Self::Message => format!("{rate:.0} /s"),
        }
    }
}

impl Series {
    /// The median of what `of` says of each sample.
    fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        median(self.0.iter().map(of).collect())
    }

    /// Seconds of server CPU for each unit of work, the median of the rounds.
    fn cpu(&self, unit: Unit) -> f64 {
        self.median(|sample| sample.cpu_for_each(unit))
    }
}

impl Sample {
    fn cpu_for_each(&self, unit: Unit) -> f64 {
        self.cpu.as_secs_f64() / unit.amount(&self.counted)
    }
}

impl Finding {
    fn of(subject: &Subject<'_>) -> Self {
        Self {
            name: subject.name,
            load: subject.load.clone(),
            unit: subject.unit,
            goal: subject.goal,
            theirs: subject.theirs.map(|side| (side.name, Series::default())),
            ours: Series::default(),
        }
    }

    /// Our CPU divided by the neighbour's, both medians. Below 1 we are cheaper.
    fn ratio(&self) -> Option<f64> {
        let (_, theirs) = self.theirs.as_ref()?;
        Some(self.ours.cpu(self.unit) / theirs.cpu(self.unit))
    }

    /// The lowest and the highest ratio of a round: how far to trust the median.
    fn spread(&self) -> (f64, f64) {
        let theirs = self.theirs.iter().flat_map(|(_, series)| &series.0);
        let each = |sample: &Sample| sample.cpu_for_each(self.unit);
        let ratios = self.ours.0.iter().zip(theirs).map(|(ours, theirs)| each(ours) / each(theirs));
        ratios.fold((f64::INFINITY, 0.0), |(low, high), ratio| (ratio.min(low), ratio.max(high)))
    }

    /// The last round in a line.
    fn last(&self) -> impl fmt::Display {
        let of = |series: &Series| {
            let cpu = series.0.last().map_or(f64::NAN, |sample| sample.cpu_for_each(self.unit));
            self.unit.spoken(cpu)
        };
        let theirs = self.theirs.as_ref().map(|(name, series)| format!("{name} {}, ", of(series)));
        format!("{}: {}medusa {}", self.name, theirs.unwrap_or_default(), of(&self.ours))
    }
}

/// By hand: what presses is a function.
impl fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("name", &self.name).field("load", &self.load).finish_non_exhaustive()
    }
}
