//! What the comparison found: the table for people, the JSON for machines.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::load::Counted;
use crate::bench::report::{Machine, bar, median};
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

/// All of it.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) machine: Machine,
    /// The neighbour's version.
    pub(super) nginx: String,
    pub(super) load: String,
    /// The highest ratio that is good enough.
    pub(super) target: f64,
    pub(super) cases: Vec<Case>,
}

/// The table, with a picture of each ratio.
pub(super) fn table(report: &Report) -> String {
    let Report { machine, nginx, load, .. } = report;
    let mut text = format!("\n{machine}, {nginx}\n{load}, no errors\n\n");
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

fn picture(text: &mut String, case: &Case, target: f64) {
    let ratio = case.ratio();
    let met = ratio <= target;
    let bar = bar(ratio * UNIT);
    let bar = if met { term::green(&bar) } else { term::red(&bar) };
    let verdict = if met { "met" } else { "missed" };
    let (low, high) = case.spread();
    let _infallible = writeln!(
        text,
        "{:<16}  {bar} {ratio:.2} (rounds {low:.2} to {high:.2}); target {target:.2} {verdict}",
        case.name
    );
}

/// The same, with every sample.
pub(super) fn as_json(report: &Report) -> Value {
    let mut machine = report.machine.as_json();
    machine["nginx"] = report.nginx.clone().into();
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
        "machine": machine,
        "load": report.load,
        "target": report.target,
        "cases": cases.collect::<Vec<_>>(),
    })
}

fn series_as_json(series: &Series) -> Value {
    let rounds = series.0.iter().map(|sample| {
        let mut round = sample.counted.as_json();
        round["cpu_seconds"] = sample.cpu.as_secs_f64().into();
        round
    });
    json!({ "cpu_us_per_request": series.cpu(), "rounds": rounds.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::load::Errors;

    /// A series of 1,000 requests a round, of which each took this many microseconds.
    fn series(cpu: &[u64]) -> Series {
        let counted = Counted {
            requests: 1000,
            per_second: 2000.0,
            p50: Duration::from_millis(1),
            p99: Duration::from_millis(3),
            max: Duration::from_millis(9),
            errors: Errors::default(),
        };
        Series(cpu.iter().map(|us| Sample { cpu: Duration::from_micros(us * 1000), counted }).collect())
    }

    fn report(nginx: &[u64], medusa: &[u64]) -> Report {
        let case = Case { name: "4 KB file", path: "/4k.bin", nginx: series(nginx), medusa: series(medusa) };
        Report {
            machine: Machine::look(),
            nginx: "nginx/1".to_owned(),
            load: "wrk".to_owned(),
            target: 0.9,
            cases: vec![case],
        }
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
    fn the_json_holds_every_round() {
        let json = as_json(&report(&[10, 10], &[8, 9]));
        let case = &json["cases"][0];
        assert_eq!(case["target_met"], true);
        assert_eq!(case["medusa"]["rounds"].as_array().map(Vec::len), Some(2));
        assert_eq!(case["nginx"]["rounds"][0]["requests"], 1000);
    }
}
