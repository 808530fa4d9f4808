//! Two servers pressed in turn, and what each used for a unit of work.

use std::fmt;

use super::Options;
use super::load::{Counted, WARM_UP};
use super::medusa;
use super::report::{Figure, Line, Measured, Row, Sample, latencies, measure, ratios, spread};
use super::side::Side;
use crate::error::Result;

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

/// Warms up, then measures every subject once a round on both sides, the neighbour first.
pub(super) fn rows(subjects: &[Subject<'_>], options: &Options<'_>) -> Result<Vec<Row>> {
    let all = || subjects.iter().flat_map(|subject| subject.sides().map(move |side| (subject, side)));
    all().try_for_each(|(subject, side)| (subject.press)(side, WARM_UP).map(drop))?;
    measure(all().map(|(subject, side)| subject.on(side)).collect(), options)
}

/// What the rows of every subject say.
pub(super) fn lines(subjects: &[Subject<'_>], rows: &[Row]) -> Vec<Line> {
    subjects.iter().map(|subject| line(subject.name, &subject.unit.cpu(), subject.goal, rows)).collect()
}

impl Subject<'_> {
    fn sides(&self) -> impl Iterator<Item = &Side> {
        self.theirs.into_iter().chain([self.ours])
    }

    fn on<'a>(&'a self, side: &'a Side) -> Measured<'a> {
        let sample = |seconds| {
            let before = side.cpu_time();
            let counted = (self.press)(side, seconds)?;
            let cpu = side.cpu_time().saturating_sub(before);
            Ok(self.unit.sample(cpu.as_secs_f64(), &counted))
        };
        Measured { row: Row::new(self.name, side.name, &self.load), sample: Box::new(sample) }
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

/// The rows of a subject: ours, and the neighbour's.
fn of<'a>(name: &str, rows: &'a [Row]) -> Option<(&'a Row, Option<&'a Row>)> {
    let find = |ours| rows.iter().find(|row| row.what == name && (row.server == medusa::NAME) == ours);
    Some((find(true)?, find(false)))
}

fn line(name: &str, cpu: &Figure, goal: Goal, rows: &[Row]) -> Line {
    let Some((ours, theirs)) = of(name, rows) else { return Line::default() };
    // Of the medians: those of the rounds tell how far to trust it.
    let ratio = theirs.map(|theirs| ours.value(cpu) / theirs.value(cpu));
    let target = match goal {
        Goal::Open => None,
        Goal::AtMost(most) => ratio.map(|ratio| (format!("at most {most:.2}"), ratio <= most)),
        Goal::Gain { over, at_least } => of(over, rows).map(|(base, _)| {
            let gain = base.value(cpu) / ours.value(cpu);
            (format!("{at_least:.1} times the work of \"{over}\": {gain:.1}"), gain >= at_least)
        }),
    };
    let spoken = |row: &Row| cpu.spoken(row.value(cpu));
    Line {
        what: name.to_owned(),
        ours: spoken(ours),
        theirs: theirs.map_or_else(String::new, |theirs| format!("{} {}", theirs.server, spoken(theirs))),
        ratio: theirs.zip(ratio).map_or_else(String::new, |(theirs, ratio)| {
            let rounds = spread(ratios(ours, theirs, cpu));
            let (_, rounds) = rounds.split_once(' ').unwrap_or_default();
            format!("{ratio:.2} {rounds}")
        }),
        target,
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
    fn rows(name: &str, unit: Unit, nginx: &[f64], medusa: &[f64]) -> Vec<Row> {
        let counted = Counted {
            requests: 1000,
            bytes: 2_000_000_000,
            per_second: 2000.0,
            p50: Duration::from_millis(1),
            p99: Duration::from_millis(3),
            ..Counted::default()
        };
        let sides = [("nginx", nginx), ("medusa", medusa)].into_iter().filter(|(_, cpu)| !cpu.is_empty());
        let row = |(server, cpu): (_, &[f64])| Row {
            rounds: cpu.iter().map(|us| unit.sample(us * 1e-3, &counted)).collect(),
            ..Row::new(name, server, "wrk -t2")
        };
        sides.map(row).collect()
    }

    #[test]
    fn the_line_tells_cpu_ratio_and_verdict() {
        let of = |nginx: &[f64], medusa: &[f64]| {
            let rows = rows("4 KB", Unit::Request, nginx, medusa);
            line("4 KB", &Unit::Request.cpu(), Goal::AtMost(0.9), &rows)
        };
        let met = of(&[10.0, 10.0, 50.0], &[8.0, 8.0, 8.0]);
        assert_eq!((met.ours.as_str(), met.theirs.as_str()), ("8.00 µs/request", "nginx 10.00 µs/request"));
        assert_eq!(met.ratio, "0.80 (0.16 to 0.80)");
        assert_eq!(met.target, Some(("at most 0.90".to_owned(), true)));
        let missed = of(&[10.0], &[10.0]);
        assert!(missed.target.is_some_and(|(_, met)| !met));
    }

    #[test]
    fn gigabytes_are_counted_as_such() {
        let rows = rows("1 MB", Unit::Gigabyte, &[100.0], &[100.0]);
        assert_eq!(line("1 MB", &Unit::Gigabyte.cpu(), Goal::Open, &rows).ours, "0.050 s/GB");
        assert!(rows[1].last().contains("4.00 GB/s"), "{}", rows[1].last());
    }

    #[test]
    fn a_gain_is_over_another_subject_and_what_the_neighbour_cannot_do_has_no_ratio() {
        let goal = Goal::Gain { over: "1 deep", at_least: 4.0 };
        let base = rows("1 deep", Unit::Request, &[10.0], &[10.0]);
        let rows = [base, rows("16 deep", Unit::Request, &[], &[2.0])].concat();
        let deep = line("16 deep", &Unit::Request.cpu(), goal, &rows);
        assert_eq!(deep.target, Some(("4.0 times the work of \"1 deep\": 5.0".to_owned(), true)));
        assert_eq!((deep.theirs.as_str(), deep.ratio.as_str()), ("", ""));
    }
}
