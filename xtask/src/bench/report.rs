//! What all benches report alike: where it was measured, a table of what was measured, what that says beside what was
//! promised, and the file for machines.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::json;

use super::Options;
use super::load::Counted;
use crate::error::{Error, Result};
use crate::table::Table;
use crate::{environment, term};

/// The machine it was measured on.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    processor: String,
    kernel: String,
    /// The number of threads that run at once; every server has as many workers.
    #[serde(rename = "workers")]
    cores: usize,
    /// The load average of the minute before the bench: how far to trust what depends on it.
    #[serde(rename = "load_average")]
    busy: f64,
}

impl Machine {
    /// Looks around.
    pub(super) fn look() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let loadavg = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            processor: model.map_or("unknown processor", |(_, name)| name.trim()).to_owned(),
            kernel: kernel.trim().to_owned(),
            cores: environment::cores(),
            busy: loadavg.split(' ').next().and_then(|one| one.parse().ok()).unwrap_or(f64::NAN),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, kernel, cores, busy } = self;
        write!(f, "{processor}, {cores} workers, Linux {kernel}, load average {busy:.1} before")
    }
}

/// A number that is measured each round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figure {
    /// The heading of its column.
    pub(super) name: &'static str,
    /// What follows the number.
    pub(super) unit: &'static str,
    pub(super) decimals: usize,
    /// What all rounds together say.
    pub(super) of_all: fn(Vec<f64>) -> f64,
}

impl Figure {
    /// One of which the middle of all rounds is told.
    pub(super) const fn median(name: &'static str, unit: &'static str, decimals: usize) -> Self {
        Self { name, unit, decimals, of_all: median }
    }

    /// One that is told once, or added up over all rounds.
    pub(super) const fn sum(name: &'static str) -> Self {
        Self { name, unit: "", decimals: 0, of_all: |values| values.iter().sum() }
    }

    /// `value` as a table has it.
    pub(super) fn spoken(&self, value: f64) -> String {
        format!("{value:.*}{}", self.decimals, self.unit)
    }
}

pub(super) const P50: Figure = Figure::median("p50 ms", "", 2);
pub(super) const P99: Figure = Figure::median("p99 ms", "", 2);

/// The latencies of a stretch of load.
pub(super) fn latencies(counted: &Counted) -> [(Figure, f64); 2] {
    [(P50, milliseconds(counted.p50)), (P99, milliseconds(counted.p99))]
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The figures of one round.
pub(super) type Sample = Vec<(Figure, f64)>;

/// The figures of one thing on one server.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) server: &'static str,
    /// More of what it is, for the end of its line.
    pub(super) about: String,
    #[serde(serialize_with = "rounds")]
    pub(super) rounds: Vec<Sample>,
}

impl Row {
    /// Nothing is measured yet.
    pub(super) fn new(what: impl Into<String>, server: &'static str, about: impl Into<String>) -> Self {
        Self { what: what.into(), server, about: about.into(), rounds: Vec::new() }
    }

    /// Every value of a figure, in the order of the rounds.
    pub(super) fn values(&self, name: &str) -> Vec<f64> {
        let all = self.rounds.iter().flatten();
        all.filter(|(figure, _)| figure.name == name).map(|(_, value)| *value).collect()
    }

    /// The value of a figure in all rounds together; NaN if it was not measured.
    pub(super) fn value(&self, figure: &Figure) -> f64 {
        (figure.of_all)(self.values(figure.name))
    }

    /// The last round in a line.
    pub(super) fn last(&self) -> String {
        let figures = self.rounds.last().into_iter().flatten().map(|(figure, value)| {
            let name = if figure.unit.is_empty() { format!(" {}", figure.name) } else { String::new() };
            format!("{}{name}", figure.spoken(*value))
        });
        let Self { what, server, .. } = self;
        format!("{what}, {server}: {}", figures.collect::<Vec<_>>().join(", "))
    }
}

/// Every round by the names of its figures, which may come several times in one.
fn rounds<S: Serializer>(rounds: &[Sample], to: S) -> std::result::Result<S::Ok, S::Error> {
    let round = |sample: &Sample| {
        let mut round = BTreeMap::<String, Vec<f64>>::new();
        for (Figure { name, unit, .. }, value) in sample {
            round.entry(format!("{name}{unit}")).or_default().push(*value);
        }
        round
    };
    to.collect_seq(rounds.iter().map(round))
}

/// A thing that is measured again and again.
pub(super) struct Measured<'a> {
    pub(super) row: Row,
    /// Measures it once, by stretches of so many seconds.
    pub(super) sample: Box<dyn FnMut(u32) -> Result<Sample> + 'a>,
}

/// Measures all once a round, every second round backwards, so that a machine that grows slower over time does so for all
/// alike.
pub(super) fn measure(mut all: Vec<Measured<'_>>, options: &Options<'_>) -> Result<Vec<Row>> {
    for round in 1..=options.rounds {
        let forth = all.iter_mut();
        let order: Box<dyn Iterator<Item = _>> =
            if round % 2 == 1 { Box::new(forth) } else { Box::new(forth.rev()) };
        for Measured { row, sample } in order {
            row.rounds.push(sample(options.seconds)?);
            term::note(&format!("round {round}/{}, {}", options.rounds, row.last()));
        }
    }
    Ok(all.into_iter().map(|measured| measured.row).collect())
}

/// The ratio in each round of `ours` beside `theirs`: load that comes and goes spoils both alike.
pub(super) fn ratios(ours: &Row, theirs: &Row, figure: &Figure) -> Vec<f64> {
    let [ours, theirs] = [ours, theirs].map(|row| row.values(figure.name));
    ours.into_iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
}

/// The result of a bench for one thing, beside what was promised.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Line {
    /// What was measured.
    pub(super) what: String,
    #[serde(rename = "medusa")]
    pub(super) ours: String,
    /// What it is compared with, and its figure; empty where there is nothing to compare.
    #[serde(rename = "beside")]
    pub(super) theirs: String,
    /// Ours divided by theirs, and how far to trust it.
    pub(super) ratio: String,
    /// What was promised, and whether it holds.
    pub(super) target: Option<(String, bool)>,
}

/// The lines as a table.
pub(super) fn verdicts(lines: &[Line]) -> Table {
    let mut table = Table::new(["", "Medusa", "beside", "ratio", "target"]);
    for Line { what, ours, theirs, ratio, target } in lines {
        let target = target.as_ref().map_or_else(String::new, |(target, met)| {
            if *met { target.clone() } else { format!("**{target}, missed**") }
        });
        table.row([what, ours, theirs, ratio, &target]);
    }
    table
}

/// All that a bench found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// What the numbers cannot say: who the neighbour is, how it was pressed.
    pub(super) notes: Vec<String>,
    pub(super) rows: Vec<Row>,
    #[serde(rename = "verdicts")]
    pub(super) lines: Vec<Line>,
}

/// What the file for machines has.
#[derive(Serialize)]
struct Written<'a> {
    machine: &'a Machine,
    rounds: u32,
    seconds: u32,
    #[serde(flatten)]
    report: &'a Report,
}

impl Report {
    /// Prints the tables, writes the file of `--json`, and returns the lines for the table of all benches.
    pub(super) fn finish(self, options: &Options<'_>) -> Result<Vec<Line>> {
        let Options { rounds, seconds, machine, given } = options;
        term::answer(&self.told(machine));
        if let Some(path) = &given.json {
            let json = json!(Written { machine, rounds: *rounds, seconds: *seconds, report: &self });
            fs::write(path, format!("{json:#}\n")).map_err(Error::io("write", path))?;
        }
        Ok(self.lines)
    }

    fn told(&self, machine: &Machine) -> String {
        let mut text = format!("\n{machine}\n");
        text.extend(self.notes.iter().map(|note| format!("{note}\n")));
        format!("{text}\n{}\n{}", self.table(), verdicts(&self.lines)).trim_end().to_owned()
    }

    fn table(&self) -> Table {
        let mut figures: Vec<Figure> = Vec::new();
        for (figure, _) in self.rows.iter().flat_map(|row| row.rounds.iter().flatten()) {
            if figures.iter().all(|known| known.name != figure.name) {
                figures.push(*figure);
            }
        }
        let mut table = Table::new(
            ["", "server"].into_iter().chain(figures.iter().map(|figure| figure.name)).chain([""]),
        );
        let mut before = "";
        for row in &self.rows {
            let cell = |column: &Figure| {
                // Columns of one name may differ in their units.
                let own = row.rounds.iter().flatten().find(|(figure, _)| figure.name == column.name);
                own.map_or_else(|| "-".to_owned(), |(figure, _)| figure.spoken(row.value(figure)))
            };
            // What is told of the row above is not told again.
            let is_new = row.what != before;
            let told = |text: &str| if is_new { text.to_owned() } else { String::new() };
            let cells = figures.iter().map(cell);
            let first = [told(&row.what), row.server.to_owned()];
            table.row(first.into_iter().chain(cells).chain([told(&row.about)]));
            before = &row.what;
        }
        table
    }
}

/// The middle one; of an even number, the mean of the two in the middle. NaN for none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.get(middle) {
        None => f64::NAN,
        Some(upper) if values.len() % 2 == 1 => *upper,
        Some(upper) => f64::midpoint(values[middle - 1], *upper),
    }
}

/// The highest. NaN for none.
pub(super) fn highest(values: Vec<f64>) -> f64 {
    values.into_iter().fold(f64::NAN, f64::max)
}

/// `1.02 (0.98 to 1.10)`: the median, and how far to trust it.
pub(super) fn spread(values: Vec<f64>) -> String {
    let low = values.iter().copied().fold(f64::NAN, f64::min);
    let (middle, high) = (median(values.clone()), highest(values));
    format!("{middle:.2} ({low:.2} to {high:.2})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Given;

    #[test]
    fn the_median_is_not_moved_by_one_wild_round() {
        assert!((median(vec![9.0, 1.0, 5.0]) - 5.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 100.0, 2.0]) - 3.0).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
        assert_eq!(spread(vec![2.0, 4.0, 1.0]), "2.00 (1.00 to 4.00)");
    }

    /// Of two servers in two rounds.
    fn report() -> Report {
        const CPU: Figure = Figure::median("CPU for each", " µs/request", 2);
        const LARGE: Figure = Figure::median("CPU for each", " s/GB", 3);
        let row = |what, server, figure, values: [f64; 2]| Row {
            rounds: values.map(|value| vec![(figure, value)]).to_vec(),
            ..Row::new(what, server, "wrk")
        };
        let line = |target| Line { what: "4 KB".to_owned(), target, ..Line::default() };
        Report {
            notes: vec!["a note".to_owned()],
            rows: vec![
                row("4 KB", "nginx", CPU, [10.0, 12.0]),
                row("4 KB", "medusa", CPU, [8.0, 6.0]),
                row("1 MB", "medusa", LARGE, [0.5, 0.5]),
            ],
            lines: vec![
                line(Some(("at most 0.9".to_owned(), true))),
                line(Some(("at most 0.5".to_owned(), false))),
            ],
        }
    }

    #[test]
    fn rounds_go_back_and_forth_and_rows_stay_in_their_order() {
        const AT: Figure = Figure::median("at", "", 0);
        let clock = std::cell::Cell::new(0.0);
        let measured = |what| {
            let sample = |seconds| {
                clock.set(clock.get() + f64::from(seconds));
                Ok(vec![(AT, clock.get())])
            };
            Measured { row: Row::new(what, "medusa", ""), sample: Box::new(sample) }
        };
        let rows =
            measure(vec![measured("a"), measured("b")], &options(3, &Given::default())).expect("measured");
        assert_eq!(rows[0].what, "a");
        let at = [0, 1].map(|row: usize| rows[row].values(AT.name));
        assert_eq!(at, [[5.0, 20.0, 25.0], [10.0, 15.0, 30.0]]);
    }

    fn options(rounds: u32, given: &Given) -> Options<'_> {
        Options { rounds, seconds: 5, machine: Machine::look(), given }
    }

    #[test]
    fn the_tables_tell_medians_in_their_units_and_what_is_missed() {
        let table = report().told(&Machine::look());
        let rows = [
            "\na note\n",
            "4 KB  nginx   11.00 µs/request  wrk\n",
            "      medusa   7.00 µs/request\n",
            "1 MB  medusa        0.500 s/GB  wrk\n",
            "**at most 0.5, missed**",
        ];
        for row in rows {
            assert!(table.contains(row), "{row}\nis not in\n{table}");
        }
        assert!(!table.contains("**at most 0.9"), "{table}");
    }

    #[test]
    fn ratios_are_those_of_the_rounds() {
        let Report { rows, .. } = report();
        assert_eq!(ratios(&rows[1], &rows[0], &rows[0].rounds[0][0].0), [0.8, 0.5]);
    }

    #[test]
    fn the_json_holds_every_round() {
        let json = json!(report());
        assert_eq!(json["rows"][0]["rounds"][1]["CPU for each µs/request"][0], 12.0);
        assert_eq!(json["verdicts"][1]["target"], json!(["at most 0.5", false]));
    }
}
