//! What a comparison found: the table for people, the JSON for machines.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Finding, Goal, Series, Unit};
use crate::bench::Options;
use crate::bench::load::Counted;
use crate::bench::report::{Line, Machine, bar, write_json};
use crate::error::Result;
use crate::term;

/// All of it.
#[derive(Debug)]
pub(in crate::bench) struct Report {
    pub(in crate::bench) machine: Machine,
    /// The neighbour and its version.
    pub(in crate::bench) neighbour: String,
    /// What the numbers cannot say.
    pub(in crate::bench) notes: Vec<String>,
    pub(in crate::bench) findings: Vec<Finding>,
}

/// Prints the table, writes the file of `--json`, and returns the lines for the table of all benches.
pub(in crate::bench) fn finish(report: &Report, options: &Options) -> Result<Vec<Line>> {
    term::answer(&table(report, options));
    write_json(options, &as_json(report, options))?;
    Ok(report.findings.iter().map(|finding| line(finding, &report.findings)).collect())
}

fn line(finding: &Finding, all: &[Finding]) -> Line {
    let Finding { name, unit, ours, theirs, goal, .. } = finding;
    let (low, high) = finding.spread();
    let target = match *goal {
        Goal::Open => None,
        Goal::AtMost(most) => finding.ratio().map(|ratio| (format!("at most {most:.2}"), ratio <= most)),
        Goal::Gain { over, at_least } => {
            let gain = all.iter().find(|finding| finding.name == over).map(|base| gain_of(finding, base));
            gain.map(|gain| {
                (format!("{at_least:.1} times the work of \"{over}\": {gain:.1}"), gain >= at_least)
            })
        }
    };
    Line {
        what: (*name).to_owned(),
        ours: unit.spoken(ours.cpu(*unit)),
        theirs: theirs
            .as_ref()
            .map(|(name, series)| format!("{name} {}", unit.spoken(series.cpu(*unit))))
            .unwrap_or_default(),
        ratio: finding.ratio().map(|ratio| format!("{ratio:.2} ({low:.2} to {high:.2})")).unwrap_or_default(),
        target,
    }
}

/// The table, with a picture of each ratio.
fn table(report: &Report, options: &Options) -> String {
    let Report { machine, neighbour, notes, findings } = report;
    let (rounds, seconds) = (options.rounds, options.seconds);
    let mut text =
        format!("\n{machine}, {neighbour}\n{rounds} rounds of {seconds} s for each server, no errors\n");
    for note in notes {
        let _infallible = writeln!(text, "{note}");
    }
    text += &term::bold(&format!(
        "\n{:<24}  {:<6} {:>20} {:>12} {:>9} {:>9}  {}\n",
        "case", "server", "CPU for each", "rate", "p50 ms", "p99 ms", "load"
    ));
    for finding in findings {
        rows(&mut text, finding);
    }
    if findings.iter().any(|finding| finding.theirs.is_some()) {
        text += &term::bold("\nour CPU, the neighbour's = 1.00\n");
    }
    for finding in findings {
        picture(&mut text, finding);
        gain(&mut text, finding, findings);
    }
    text.truncate(text.trim_end().len());
    text
}

fn rows(text: &mut String, finding: &Finding) {
    let theirs = finding.theirs.as_ref().map(|(name, series)| (*name, series));
    let sides = theirs.into_iter().chain([("medusa", &finding.ours)]);
    for (row, (server, series)) in sides.enumerate() {
        let (label, load) = if row == 0 { (finding.name, finding.load.as_str()) } else { ("", "") };
        let unit = finding.unit;
        let milliseconds =
            |of: fn(&Counted) -> Duration| series.median(|sample| of(&sample.counted).as_secs_f64() * 1e3);
        let line = format!(
            "{label:<24}  {server:<6} {:>20} {:>12} {:>9.2} {:>9.2}  {load}",
            unit.spoken(series.cpu(unit)),
            unit.spoken_rate(series.median(|sample| unit.rate(&sample.counted))),
            milliseconds(|counted| counted.p50),
            milliseconds(|counted| counted.p99),
        );
        let _infallible = writeln!(text, "{}", line.trim_end());
    }
}

/// How many columns stand for 1.00.
const UNIT: f64 = 40.0;

fn picture(text: &mut String, finding: &Finding) {
    let Some(ratio) = finding.ratio() else { return };
    let bar = bar(ratio * UNIT);
    let (bar, verdict) = match finding.goal {
        Goal::AtMost(most) if ratio <= most => (term::green(&bar), format!("; target {most:.2} met")),
        Goal::AtMost(most) => (term::red(&bar), format!("; target {most:.2} missed")),
        Goal::Open | Goal::Gain { .. } => (bar, String::new()),
    };
    let (low, high) = finding.spread();
    let _infallible =
        writeln!(text, "{:<24}  {bar} {ratio:.2} (rounds {low:.2} to {high:.2}){verdict}", finding.name);
}

/// How much more work a second of CPU does here than in another subject.
fn gain(text: &mut String, finding: &Finding, all: &[Finding]) {
    let Goal::Gain { over, at_least } = finding.goal else { return };
    let Some(base) = all.iter().find(|finding| finding.name == over) else { return };
    let gain = gain_of(finding, base);
    let verdict = if gain >= at_least { "met" } else { "missed" };
    let theirs = match (&finding.theirs, &base.theirs) {
        (Some((name, here)), Some((_, there))) => {
            format!(", {name}'s {:.1} times", of_series(there, base.unit, here, finding.unit))
        }
        _ => String::new(),
    };
    let _infallible = writeln!(
        text,
        "{:<24}  our CPU does {gain:.1} times the work of \"{over}\"{theirs}; target {at_least:.1} {verdict}",
        finding.name
    );
}

fn gain_of(finding: &Finding, base: &Finding) -> f64 {
    of_series(&base.ours, base.unit, &finding.ours, finding.unit)
}

fn of_series(base: &Series, base_unit: Unit, series: &Series, unit: Unit) -> f64 {
    base.cpu(base_unit) / series.cpu(unit)
}

/// The same, with every sample.
fn as_json(report: &Report, options: &Options) -> Value {
    let mut machine = report.machine.as_json();
    machine["neighbour"] = report.neighbour.clone().into();
    let findings = report.findings.iter().map(|finding| finding_as_json(finding, &report.findings));
    json!({
        "machine": machine,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "notes": report.notes,
        "cases": findings.collect::<Vec<_>>(),
    })
}

fn finding_as_json(finding: &Finding, all: &[Finding]) -> Value {
    let mut json = json!({
        "name": finding.name,
        "load": finding.load,
        "unit": format!("{:?}", finding.unit).to_lowercase(),
        "ratio": finding.ratio(),
        "medusa": series_as_json(&finding.ours, finding.unit),
    });
    if let Some((name, series)) = &finding.theirs {
        json[*name] = series_as_json(series, finding.unit);
    }
    match finding.goal {
        Goal::Open => {}
        Goal::AtMost(most) => {
            json["target"] = most.into();
            json["target_met"] = finding.ratio().is_some_and(|ratio| ratio <= most).into();
        }
        Goal::Gain { over, at_least } => {
            json["target"] = at_least.into();
            let base = all.iter().find(|finding| finding.name == over);
            let gain = base.map(|base| gain_of(finding, base));
            json["gain"] = gain.into();
            json["target_met"] = gain.is_some_and(|gain| gain >= at_least).into();
        }
    }
    json
}

fn series_as_json(series: &Series, unit: Unit) -> Value {
    let rounds = series.0.iter().map(|sample| {
        let mut round = sample.counted.as_json();
        round["cpu_seconds"] = sample.cpu.as_secs_f64().into();
        round
    });
    json!({ "cpu_seconds_for_each": series.cpu(unit), "rounds": rounds.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::compare::Sample;

    /// A series of 1,000 requests and 2 GB a round, of which each request took this many microseconds.
    fn series(cpu: &[u64]) -> Series {
        let counted = Counted {
            requests: 1000,
            bytes: 2_000_000_000,
            per_second: 2000.0,
            p50: Duration::from_millis(1),
            p99: Duration::from_millis(3),
            ..Counted::default()
        };
        Series(cpu.iter().map(|us| Sample { cpu: Duration::from_micros(us * 1000), counted }).collect())
    }

    fn finding(name: &'static str, unit: Unit, goal: Goal, nginx: &[u64], medusa: &[u64]) -> Finding {
        let theirs = (!nginx.is_empty()).then(|| ("nginx", series(nginx)));
        Finding { name, load: "wrk -t2".to_owned(), unit, goal, theirs, ours: series(medusa) }
    }

    fn told(findings: Vec<Finding>) -> (String, Value) {
        let options =
            Options { rounds: 3, seconds: 5, json: None, cases: None, connections: None, against: None };
        let report = Report {
            machine: Machine::look(),
            neighbour: "nginx/1".to_owned(),
            notes: vec!["a note".to_owned()],
            findings,
        };
        (table(&report, &options), as_json(&report, &options))
    }

    #[test]
    fn the_table_tells_cpu_ratio_and_verdict() {
        let goal = Goal::AtMost(0.9);
        let (met, _) = told(vec![finding("4 KB", Unit::Request, goal, &[10, 10, 50], &[8, 8, 8])]);
        assert!(
            met.contains("nginx      10.00 µs/request      2000 /s      1.00      3.00  wrk -t2\n"),
            "{met}"
        );
        assert!(met.contains("0.80 (rounds 0.16 to 0.80); target 0.90 met"), "{met}");
        assert!(met.contains("\na note\n"), "{met}");
        let (missed, _) = told(vec![finding("4 KB", Unit::Request, goal, &[10], &[10])]);
        assert!(missed.contains("1.00 (rounds 1.00 to 1.00); target 0.90 missed"), "{missed}");
    }

    #[test]
    fn gigabytes_are_counted_as_such() {
        let (table, _) = told(vec![finding("1 MB", Unit::Gigabyte, Goal::Open, &[100], &[100])]);
        assert!(table.contains("0.050 s/GB    4.00 GB/s"), "{table}");
        assert!(!table.contains("target"), "{table}");
    }

    #[test]
    fn a_gain_is_told_for_both_sides() {
        let goal = Goal::Gain { over: "1 deep", at_least: 4.0 };
        let (table, json) = told(vec![
            finding("1 deep", Unit::Request, Goal::Open, &[10], &[10]),
            finding("16 deep", Unit::Request, goal, &[5], &[2]),
        ]);
        let line = "our CPU does 5.0 times the work of \"1 deep\", nginx's 2.0 times; target 4.0 met";
        assert!(table.contains(line), "{table}");
        assert!(json["cases"][1]["gain"].as_f64().is_some_and(|gain| (gain - 5.0).abs() < 1e-9));
        assert_eq!(json["cases"][1]["target_met"], true);
    }

    #[test]
    fn what_the_neighbour_cannot_do_has_no_ratio() {
        let (table, json) = told(vec![finding("zstd", Unit::Request, Goal::Open, &[], &[10])]);
        assert!(table.contains("\nzstd                      medusa     10.00 µs/request"), "{table}");
        assert!(!table.contains("1.00\n"), "{table}");
        assert_eq!(json["cases"][0]["ratio"], Value::Null);
        assert_eq!(json["cases"][0]["nginx"], Value::Null);
    }

    #[test]
    fn the_json_holds_every_round() {
        let (_, json) = told(vec![finding("4 KB", Unit::Request, Goal::AtMost(0.9), &[10, 10], &[8, 9])]);
        let case = &json["cases"][0];
        assert_eq!(case["target_met"], true);
        assert_eq!(case["medusa"]["rounds"].as_array().map(Vec::len), Some(2));
        assert_eq!(case["nginx"]["rounds"][0]["requests"], 1000);
    }
}
