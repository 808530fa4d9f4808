//! What the bench found: the table for people, the JSON for machines.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::Case;
use crate::bench::report::{Line, Machine, bar, median};
use crate::term;

/// Memory for one idle connection in the clear: at most this many bytes. Of one that is encrypted, the most is its TLS.
const TARGET: f64 = 2.0 * KIB;
const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * KIB;

/// The resident memory of all processes of a server, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// Warmed up, without connections.
    pub(super) before: u64,
    /// With all of them.
    pub(super) with: u64,
}

impl Memory {
    fn each(self, connections: u32) -> f64 {
        (self.with as f64 - self.before as f64) / f64::from(connections)
    }
}

/// What came out of a case, a round each.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) case: Case,
    pub(super) nginx: Vec<Memory>,
    pub(super) medusa: Vec<Memory>,
}

impl Finding {
    /// Nothing is measured yet.
    pub(super) fn new(case: Case) -> Self {
        Self { case, nginx: Vec::new(), medusa: Vec::new() }
    }

    /// The last round in a line.
    pub(super) fn last(&self, connections: u32) -> String {
        let of = |side: &[Memory]| side.last().map_or(f64::NAN, |memory| memory.each(connections) / KIB);
        let Self { case, nginx, medusa } = self;
        format!("{}: nginx {:.2} KiB, medusa {:.2} KiB for each", case.name, of(nginx), of(medusa))
    }
}

/// All of it.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) machine: Machine,
    /// The neighbour's version.
    pub(super) nginx: String,
    pub(super) connections: u32,
    pub(super) hold: Duration,
    pub(super) findings: Vec<Finding>,
}

impl Report {
    /// The median of the bytes for each connection.
    fn each(&self, side: &[Memory]) -> f64 {
        median(side.iter().map(|memory| memory.each(self.connections)).collect())
    }
}

/// The table, with a picture of what each connection takes.
pub(super) fn table(report: &Report) -> String {
    let Report { machine, nginx, connections, hold, findings } = report;
    let rounds = findings.first().map_or(0, |finding| finding.medusa.len());
    let mut text =
        format!("\n{machine}, {nginx}\n{connections} connections, held for {hold:?}, {rounds} rounds\n\n");
    text += &term::bold("connections     server   MiB before   MiB with them   KiB for each\n");
    for finding in findings {
        let sides = [(finding.case.name, "nginx", &finding.nginx), ("", "medusa", &finding.medusa)];
        for (label, server, side) in sides {
            let mebibytes =
                |of: fn(&Memory) -> u64| median(side.iter().map(|m| of(m) as f64 / MIB).collect());
            let _infallible = writeln!(
                text,
                "{label:<14}  {server:<6} {:>12.1} {:>15.1} {:>14.2}",
                mebibytes(|memory| memory.before),
                mebibytes(|memory| memory.with),
                report.each(side) / KIB,
            );
        }
    }
    text += &term::bold("\nKiB for each connection of ours\n");
    for finding in findings {
        picture(&mut text, report, finding);
    }
    text.truncate(text.trim_end().len());
    text
}

/// The same for the table of all benches.
pub(super) fn lines(report: &Report) -> Vec<Line> {
    let line = |finding: &Finding| {
        let (ours, theirs) = (report.each(&finding.medusa), report.each(&finding.nginx));
        Line {
            what: format!("an idle connection, {}", finding.case.name),
            ours: format!("{:.1} KiB", ours / KIB),
            theirs: format!("nginx {:.1} KiB", theirs / KIB),
            ratio: format!("{:.2}", ours / theirs),
            target: (!finding.case.tls).then(|| (format!("at most {:.0} KiB", TARGET / KIB), ours <= TARGET)),
        }
    };
    report.findings.iter().map(line).collect()
}

/// How many columns stand for the target.
const UNIT: f64 = 30.0;

fn picture(text: &mut String, report: &Report, finding: &Finding) {
    let ours = report.each(&finding.medusa);
    let bar = bar(ours / TARGET * UNIT);
    let (bar, verdict) = match ours <= TARGET {
        _ if finding.case.tls => (bar, String::new()),
        true => (term::green(&bar), format!("; target {:.0} met", TARGET / KIB)),
        false => (term::red(&bar), format!("; target {:.0} missed", TARGET / KIB)),
    };
    let _infallible = writeln!(text, "{:<14}  {bar} {:.2}{verdict}", finding.case.name, ours / KIB);
}

/// The same, with every measurement.
pub(super) fn as_json(report: &Report) -> Value {
    let mut machine = report.machine.as_json();
    machine["nginx"] = report.nginx.clone().into();
    let side = |side: &[Memory]| {
        let rounds = side.iter().map(|memory| json!({ "before": memory.before, "with": memory.with }));
        json!({ "bytes_for_each": report.each(side), "rounds": rounds.collect::<Vec<_>>() })
    };
    let cases = report.findings.iter().map(|finding| {
        json!({
            "name": finding.case.name,
            "target_met": (!finding.case.tls).then(|| report.each(&finding.medusa) <= TARGET),
            "nginx": side(&finding.nginx),
            "medusa": side(&finding.medusa),
        })
    });
    json!({
        "machine": machine,
        "connections": report.connections,
        "held_seconds": report.hold.as_secs_f64(),
        "target_bytes": TARGET,
        "cases": cases.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(medusa: &[u64]) -> Report {
        let memory = |each: &u64| Memory { before: 1 << 20, with: (1 << 20) + each * 1000 };
        let case = Case { name: "plain", tls: false, asked: true };
        let nginx = vec![memory(&1024)];
        let finding = Finding { case, nginx, medusa: medusa.iter().map(memory).collect() };
        Report {
            machine: Machine::look(),
            nginx: "nginx/1".to_owned(),
            connections: 1000,
            hold: Duration::from_secs(5),
            findings: vec![finding],
        }
    }

    #[test]
    fn the_table_tells_the_median_and_the_verdict() {
        let met = table(&report(&[1024, 1024, 90_000]));
        assert!(met.contains("                medusa          1.0             2.0           1.00"), "{met}");
        assert!(met.contains(&format!("{} 1.00; target 2 met", "█".repeat(15))), "{met}");
        assert!(table(&report(&[9000])).contains("8.79; target 2 missed"));
    }

    #[test]
    fn a_server_that_shrank_is_no_panic() {
        assert!((Memory { before: 2000, with: 1000 }.each(10) + 100.0).abs() < 1e-9);
    }

    #[test]
    fn the_json_holds_every_round() {
        let json = as_json(&report(&[1024, 1024]));
        assert_eq!(json["cases"][0]["target_met"], true);
        assert_eq!(json["cases"][0]["medusa"]["rounds"].as_array().map(Vec::len), Some(2));
    }
}
