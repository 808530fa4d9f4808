//! What a comparison found: the table for people, the JSON for machines.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::load::Counted;
use crate::error::{Error, Result};
use crate::term;

/// One stretch of load on one server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// What all processes of the server used.
    pub(super) cpu: Duration,
    /// What the load generator counted.
    pub(super) counted: Counted,
}

impl Sample {
    /// Microseconds of server CPU for each request.
    pub(super) fn cpu_per_request(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.counted.requests.max(1) as f64
    }
}

/// The samples of one server, a round each.
#[derive(Debug, Clone, Default)]
pub(super) struct Series(pub(super) Vec<Sample>);

impl Series {
    /// The median of what `of` says of each sample.
    fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        median(self.0.iter().map(of).collect())
    }

    /// The median of the CPU per request, in microseconds.
    fn cpu(&self) -> f64 {
        self.median(Sample::cpu_per_request)
    }
}

/// One thing that both servers were asked for.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) nginx: Series,
    pub(super) medusa: Series,
}

impl Case {
    /// Our CPU per request divided by nginx's, both medians. Below 1 we are cheaper.
    fn ratio(&self) -> f64 {
        self.medusa.cpu() / self.nginx.cpu()
    }

    /// The lowest and the highest ratio of a round: how far to trust the median.
    fn spread(&self) -> (f64, f64) {
        let rounds = self.medusa.0.iter().zip(&self.nginx.0);
        let ratios = rounds.map(|(ours, theirs)| ours.cpu_per_request() / theirs.cpu_per_request());
        ratios.fold((f64::INFINITY, 0.0), |(low, high), ratio| (ratio.min(low), ratio.max(high)))
    }
}

/// Where it was measured.
#[derive(Debug)]
pub(super) struct Machine {
    processor: String,
    kernel: String,
    nginx: String,
    workers: usize,
}

impl Machine {
    /// Looks around.
    pub(super) fn look(nginx: String, workers: usize) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            processor: model.map_or("unknown processor", |(_, name)| name.trim()).to_owned(),
            kernel: kernel.trim().to_owned(),
            nginx,
            workers,
        }
    }
}

/// All of it.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) load: String,
    /// The highest ratio that is good enough.
    pub(super) target: f64,
    pub(super) cases: Vec<Case>,
}

/// The table, with a picture of each ratio.
pub(super) fn table(report: &Report) -> String {
    let Machine { processor, kernel, nginx, workers } = &report.machine;
    let mut text =
        format!("\n{processor}, {workers} workers, Linux {kernel}, {nginx}\n{}, no errors\n\n", report.load);
    text += &term::bold("case              server   CPU µs/request   requests/s      p50 ms      p99 ms\n");
    for case in &report.cases {
        rows(&mut text, case);
    }
    text += &term::bold("\nour CPU per request, nginx's = 1.00\n");
    for case in &report.cases {
        picture(&mut text, case, report.target);
    }
    text.truncate(text.trim_end().len());
    text
}

fn rows(text: &mut String, case: &Case) {
    for (label, server, series) in [(case.name, "nginx", &case.nginx), ("", "medusa", &case.medusa)] {
        let milliseconds =
            |of: fn(&Counted) -> Duration| series.median(|sample| of(&sample.counted).as_secs_f64() * 1e3);
        let _infallible = writeln!(
            text,
            "{label:<16}  {server:<6} {:>16.2} {:>12.0} {:>11.2} {:>11.2}",
            series.cpu(),
            series.median(|sample| sample.counted.per_second),
            milliseconds(|counted| counted.p50),
            milliseconds(|counted| counted.p99),
        );
    }
}

/// How many columns stand for 1.00.
const UNIT: f64 = 40.0;
/// The widest bar, in columns: a ratio beyond it is still told by its number.
const WIDEST: usize = 60;

fn picture(text: &mut String, case: &Case, target: f64) {
    let ratio = case.ratio();
    let met = ratio <= target;
    let bar = bar(ratio);
    let bar = if met { term::green(&bar) } else { term::red(&bar) };
    let verdict = if met { "met" } else { "missed" };
    let (low, high) = case.spread();
    let _infallible = writeln!(
        text,
        "{:<16}  {bar} {ratio:.2} (rounds {low:.2} to {high:.2}); target {target:.2} {verdict}",
        case.name
    );
}

fn bar(ratio: f64) -> String {
    let columns = (ratio * UNIT).round().clamp(1.0, WIDEST as f64) as usize;
    "█".repeat(columns)
}

/// Writes every sample.
pub(super) fn write_json(report: &Report, path: &Path) -> Result {
    let text = format!("{:#}\n", as_json(report));
    fs::write(path, text).map_err(Error::io("write", path))
}

fn as_json(report: &Report) -> Value {
    let Machine { processor, kernel, nginx, workers } = &report.machine;
    let cases = report.cases.iter().map(|case| {
        json!({
            "name": case.name,
            "path": case.path,
            "ratio": case.ratio(),
            "target_met": case.ratio() <= report.target,
            "nginx": series_as_json(&case.nginx),
            "medusa": series_as_json(&case.medusa),
        })
    });
    json!({
        "machine": { "processor": processor, "kernel": kernel, "workers": workers, "nginx": nginx },
        "load": report.load,
        "target": report.target,
        "cases": cases.collect::<Vec<_>>(),
    })
}

fn series_as_json(series: &Series) -> Value {
    let rounds = series.0.iter().map(|sample| {
        json!({
            "cpu_seconds": sample.cpu.as_secs_f64(),
            "requests": sample.counted.requests,
            "requests_per_second": sample.counted.per_second,
            "p50_seconds": sample.counted.p50.as_secs_f64(),
            "p99_seconds": sample.counted.p99.as_secs_f64(),
        })
    });
    json!({ "cpu_us_per_request": series.cpu(), "rounds": rounds.collect::<Vec<_>>() })
}

/// The middle one; of an even number, the mean of the two in the middle. NaN for none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.get(middle) {
        None => f64::NAN,
        Some(upper) if values.len() % 2 == 1 => *upper,
        Some(upper) => f64::midpoint(values[middle - 1], *upper),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A series of 1,000 requests a round, of which each took this many microseconds.
    fn series(cpu: &[u64]) -> Series {
        let counted = Counted {
            requests: 1000,
            per_second: 2000.0,
            p50: Duration::from_millis(1),
            p99: Duration::from_millis(3),
            errors: 0,
        };
        Series(cpu.iter().map(|us| Sample { cpu: Duration::from_micros(us * 1000), counted }).collect())
    }

    fn report(nginx: &[u64], medusa: &[u64]) -> Report {
        let machine = Machine {
            processor: "P".to_owned(),
            kernel: "6".to_owned(),
            nginx: "nginx/1".to_owned(),
            workers: 2,
        };
        let case = Case { name: "4 KB file", path: "/4k.bin", nginx: series(nginx), medusa: series(medusa) };
        Report { machine, load: "wrk".to_owned(), target: 0.9, cases: vec![case] }
    }

    #[test]
    fn the_median_is_not_moved_by_one_wild_round() {
        assert!((median(vec![9.0, 1.0, 5.0]) - 5.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 100.0, 2.0]) - 3.0).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn the_table_tells_cpu_ratio_and_verdict() {
        let met = table(&report(&[10, 10, 50], &[8, 8, 8]));
        assert!(met.contains("nginx             10.00         2000        1.00        3.00"), "{met}");
        assert!(met.contains("0.80 (rounds 0.16 to 0.80); target 0.90 met"), "{met}");
        let missed = table(&report(&[10], &[10]));
        assert!(missed.contains("1.00 (rounds 1.00 to 1.00); target 0.90 missed"), "{missed}");
    }

    #[test]
    fn a_bar_is_as_long_as_its_ratio_and_never_off_the_screen() {
        assert_eq!(bar(0.5).chars().count(), 20);
        assert_eq!(bar(0.0).chars().count(), 1);
        assert_eq!(bar(1000.0).chars().count(), WIDEST);
        assert_eq!(bar(f64::NAN).chars().count(), 0);
    }

    #[test]
    fn the_json_holds_every_round() {
        let json = as_json(&report(&[10, 10], &[8, 9]));
        let case = &json["cases"][0];
        assert_eq!(case["target_met"], true);
        assert_eq!(case["medusa"]["rounds"].as_array().map(Vec::len), Some(2));
        assert_eq!(case["nginx"]["rounds"][0]["requests"], 1000);
    }
}
