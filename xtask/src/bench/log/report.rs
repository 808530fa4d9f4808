//! What the bench found: the table for people, the JSON for machines.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Sample;
use super::cases::{self, Case};
use super::lookups::Lookups;
use crate::bench::Options;
use crate::bench::report::{Line, Machine, bar, median, write_json};
use crate::error::Result;
use crate::term;

/// Cached lookups per second of a core: at least so many.
const LOOKUPS: f64 = 1e6;

/// What became of a case's records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Records {
    written: u64,
    lost: u64,
    spilled: u64,
    names: Names,
}

/// What a resolving log has found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Names {
    named: u64,
    nameless: u64,
    late: u64,
    not_asked: u64,
}

impl Records {
    /// Adds up what the sinks in a status say; one with sinks inside it has no numbers of its own.
    pub(super) fn in_status(status: &Value) -> Self {
        let children = status["children"].as_array().into_iter().flatten();
        let mut sum = children.map(Self::in_status).fold(Self::default(), |a, b| Self {
            written: a.written + b.written,
            lost: a.lost + b.lost,
            spilled: a.spilled + b.spilled,
            names: if a.names == Names::default() { b.names } else { a.names },
        });
        let field = |name: &str| status[name].as_u64().unwrap_or(0);
        if status["kind"] == "log.resolving" {
            sum.names = Names {
                named: field("named"),
                nameless: field("nameless"),
                late: field("late"),
                not_asked: field("not_asked"),
            };
        } else if status["kind"].as_str().is_some_and(|kind| kind.starts_with("log.")) {
            sum.written += field("written");
            sum.lost += field("lost");
            sum.spilled += field("spilled");
        }
        sum
    }
}

/// What came out of a case, a round each.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) case: Case,
    pub(super) nginx: Vec<Sample>,
    pub(super) medusa: Vec<Sample>,
    pub(super) records: Records,
}

impl Finding {
    /// Nothing is measured yet.
    pub(super) fn new(case: Case) -> Self {
        Self { case, nginx: Vec::new(), medusa: Vec::new(), records: Records::default() }
    }

    /// The last round in a line.
    pub(super) fn last(&self) -> String {
        let of = |side: &[Sample]| side.last().map_or(f64::NAN, |sample| sample.each() * 1e6);
        let nginx =
            if self.nginx.is_empty() { String::new() } else { format!("nginx {:.2}, ", of(&self.nginx)) };
        format!("{}: {nginx}medusa {:.2} µs/request", self.case.name, of(&self.medusa))
    }

    /// The case that this one adds a record to.
    fn base<'a>(&self, all: &'a [Self]) -> Option<&'a Self> {
        let base = if self.case.clients > 0 { "addresses" } else { cases::NONE };
        all.iter().find(|finding| finding.case.name == base && finding.case.name != self.case.name)
    }
}

impl Sample {
    /// Seconds of CPU for each request.
    fn each(&self) -> f64 {
        self.cpu.as_secs_f64() / self.counted.requests as f64
    }
}

/// All of it.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) nginx: String,
    pub(super) findings: Vec<Finding>,
    /// Cached lookups, if they were measured.
    pub(super) lookups: Vec<Lookups>,
}

/// Prints the table, writes the file of `--json`, and returns the lines for the table of all benches.
pub(super) fn finish(report: &Report, options: &Options) -> Result<Vec<Line>> {
    term::answer(&table(report, options));
    write_json(options, &as_json(report, options))?;
    let findings = report.findings.iter().filter_map(|finding| line(finding, &report.findings));
    let lookups = report.lookups.iter().map(|Lookups { what, per_second }| Line {
        what: format!("cached lookups, {what}"),
        ours: format!("{:.2} million/s of a core", per_second / 1e6),
        target: Some(("at least 1 million".to_owned(), *per_second >= LOOKUPS)),
        ..Line::default()
    });
    Ok(findings.chain(lookups).collect())
}

fn line(finding: &Finding, all: &[Finding]) -> Option<Line> {
    let base = finding.base(all)?;
    let of = ratio(&finding.medusa, &base.medusa, Sample::each);
    Some(Line {
        what: format!("access log: {}", finding.case.about),
        ours: format!("{:.2} µs/request", cpu(&finding.medusa) * 1e6),
        theirs: format!("{} {:.2} µs/request", base.case.about, cpu(&base.medusa) * 1e6),
        ratio: format!("{of:.2}"),
        target: finding.case.goals.cpu.map(|most| (format!("at most {most:.2}"), of <= most)),
    })
}

fn cpu(side: &[Sample]) -> f64 {
    median(side.iter().map(Sample::each).collect())
}

fn p99(side: &[Sample]) -> f64 {
    median(side.iter().map(|sample| sample.counted.p99.as_secs_f64()).collect())
}

/// What each round says of `here` beside `there`, and the middle of that: load that comes and goes spoils both alike.
fn ratio(here: &[Sample], there: &[Sample], of: fn(&Sample) -> f64) -> f64 {
    median(here.iter().zip(there).map(|(here, there)| of(here) / of(there)).collect())
}

fn table(report: &Report, options: &Options) -> String {
    let Report { machine, nginx, findings, lookups } = report;
    let mut text = format!(
        "\n{machine}, {nginx}\n{} rounds of {} s for each server, wrk -t2 -c64, a file of 4 KB\n",
        options.rounds, options.seconds
    );
    text += &term::bold(&format!(
        "\n{:<10} {:<7} {:>11} {:>9} {:>12} {:>8} {:>10} {:>10} {:>10}  {}\n",
        "log", "server", "µs/request", "of none", "records/CPU s", "p99 ms", "written", "lost", "spilled", ""
    ));
    for finding in findings {
        rows(&mut text, finding, findings);
    }
    text += &term::bold("\nCPU for each request, without a log = 1.00\n");
    for finding in findings {
        picture(&mut text, finding, findings);
    }
    for finding in findings {
        names(&mut text, finding);
    }
    for Lookups { what, per_second } in lookups {
        let verdict = if *per_second >= LOOKUPS { "met" } else { "missed" };
        let _infallible = writeln!(
            text,
            "cached lookups, {what}: {:.2} million per second of a core; target 1 {verdict}",
            per_second / 1e6
        );
    }
    text
}

fn rows(text: &mut String, finding: &Finding, all: &[Finding]) {
    let Finding { case, nginx, medusa, records } = finding;
    let base = finding.base(all);
    if !nginx.is_empty() {
        let of = base.map_or(1.0, |base| ratio(nginx, &base.nginx, Sample::each));
        let line = format!(
            "{:<10} {:<7} {:>11.2} {of:>9.2} {:>12} {:>8.2}",
            case.name,
            "nginx",
            cpu(nginx) * 1e6,
            per_second(cpu(nginx), base.map(|base| cpu(&base.nginx))),
            p99(nginx) * 1e3
        );
        let _infallible = writeln!(text, "{}", line.trim_end());
    }
    let of = base.map_or(1.0, |base| ratio(medusa, &base.medusa, Sample::each));
    let _infallible = writeln!(
        text,
        "{:<10} {:<7} {:>11.2} {of:>9.2} {:>12} {:>8.2} {:>10} {:>10} {:>10}  {}",
        if nginx.is_empty() { case.name } else { "" },
        "medusa",
        cpu(medusa) * 1e6,
        per_second(cpu(medusa), base.map(|base| cpu(&base.medusa))),
        p99(medusa) * 1e3,
        records.written,
        records.lost,
        records.spilled,
        case.about
    );
}

/// What the log of names found, its warm-up included.
fn names(text: &mut String, finding: &Finding) {
    let Names { named, nameless, late, not_asked } = finding.records.names;
    let all = named + nameless + late + not_asked;
    if all > 0 {
        let share = |of: u64| of as f64 * 100.0 / all as f64;
        let _infallible = writeln!(
            text,
            "\n{}: {all} records, {:.0} % with a name; {:.1} % had to go before it came, {:.1} % were not asked for, \
             {:.1} % had none",
            finding.case.name,
            share(named),
            share(late),
            share(not_asked),
            share(nameless)
        );
    }
}

/// How many records a second of CPU makes and sends, if a request without one takes `base`; a dash if that is in the
/// noise.
fn per_second(with: f64, base: Option<f64>) -> String {
    match base.map(|base| with - base) {
        Some(each) if each > 1e-9 => format!("{:.0}", 1.0 / each),
        _ => "-".to_owned(),
    }
}

/// How many columns stand for 1.00.
const UNIT: f64 = 40.0;

fn picture(text: &mut String, finding: &Finding, all: &[Finding]) {
    let Some(base) = finding.base(all) else { return };
    let of = ratio(&finding.medusa, &base.medusa, Sample::each);
    let verdict = |value: f64, goal: Option<f64>| {
        let verdict = |most| format!("; target {most:.2} {}", if value <= most { "met" } else { "missed" });
        goal.map_or_else(String::new, verdict)
    };
    let mut line = format!(
        "{:<10} {} {of:.2}{}",
        finding.case.name,
        bar(of * UNIT),
        verdict(of, finding.case.goals.cpu)
    );
    let file = all.iter().find(|finding| finding.case.name == cases::FILE);
    if let (Some(goal), Some(file)) = (finding.case.goals.p99, file) {
        let of = ratio(&finding.medusa, &file.medusa, |sample| sample.counted.p99.as_secs_f64());
        let _infallible = write!(line, "; p99 {of:.2} of that with the file{}", verdict(of, Some(goal)));
    }
    let _infallible = writeln!(text, "{line}");
}

fn as_json(report: &Report, options: &Options) -> Value {
    let samples = |side: &[Sample]| -> Vec<Value> {
        let one = |sample: &Sample| {
            let mut json = sample.counted.as_json();
            json["cpu_seconds"] = sample.cpu.as_secs_f64().into();
            json
        };
        side.iter().map(one).collect()
    };
    let finding = |finding: &Finding| {
        json!({
            "name": finding.case.name,
            "about": finding.case.about,
            "nginx": samples(&finding.nginx),
            "medusa": samples(&finding.medusa),
            "written": finding.records.written,
            "lost": finding.records.lost,
            "spilled": finding.records.spilled,
        })
    };
    json!({
        "machine": report.machine.as_json(),
        "neighbour": report.nginx,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "cases": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "cached_lookups_per_second": report.lookups.iter().map(|of| json!({ &of.what: of.per_second })).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_all_sinks_are_added_up() {
        let status = json!({ "kind": "site", "children": [
            { "kind": "http.server", "requests": 7 },
            { "kind": "log.resolving", "named": 4, "late": 1, "lost": 0, "children": [
                { "kind": "log.file", "written": 5, "lost": 2 },
                { "kind": "log.syslog", "written": 1, "lost": 0, "spilled": 6 },
            ] },
        ] });
        assert_eq!(
            Records::in_status(&status),
            Records {
                written: 6,
                lost: 2,
                spilled: 6,
                names: Names { named: 4, late: 1, ..Names::default() }
            }
        );
    }

    #[test]
    fn what_a_record_costs_is_what_it_adds() {
        assert_eq!(per_second(11e-6, Some(10e-6)), "1000000");
        assert_eq!(per_second(10e-6, Some(11e-6)), "-");
        assert_eq!(per_second(10e-6, None), "-");
    }
}
