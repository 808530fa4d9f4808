//! `bench log`: what a record costs, by where it goes.
//!
//! Every case is a server of its own that answers the same small file, with one thing different: its log. What it uses
//! above the server without a log is the cost of the records. Beside it nginx, without a log and with a buffered one.
//!
//! Invariant: a record that did not arrive was not free of charge by accident: the report tells of every case how many
//! records its sink has lost.

mod cases;
mod lookups;
mod receiver;

use medusa_testkit::Site;
use serde_json::Value;

use self::cases::{CASES, Logged};
use self::lookups::Lookups;
use self::receiver::Receivers;
use super::compare::{self, Goal, Subject, Unit};
use super::load::{Asks, Load, Wrk};
use super::medusa::Medusa;
use super::nginx::Nginx;
use super::report::{Figure, Line, P99, Report, Row, Sample, median, ratios};
use super::side::{Side, Wire};
use super::{Options, medusa};
use crate::error::Result;

/// The file that is asked for, in bytes: the smaller the answer, the more its record weighs.
const FILE_SIZE: usize = 4096;
/// Cached lookups per second of a core: at least so many.
const LOOKUPS: f64 = 1e6;

/// Runs the bench and prints its table.
pub(super) fn run(options: &Options<'_>) -> Result<Vec<Line>> {
    let names: Vec<&str> = CASES.iter().map(|case| case.name).chain([lookups::NAME]).collect();
    let chosen = options.chosen(&names)?;
    // Without it there is nothing to compare with.
    let cases = CASES.into_iter().filter(|case| case.name == cases::NONE || chosen.contains(&case.name));
    let medusa = Medusa::build()?;
    let site = Site::new().file("public/4k.bin", vec![b'm'; FILE_SIZE]);
    let receivers = Receivers::start()?;
    let start = |case| Servers::start(case, &site, &medusa, &receivers);
    let all: Vec<Servers> = cases.map(start).collect();
    let subjects: Vec<Subject<'_>> = all.iter().map(Servers::subject).collect();
    let mut rows = compare::rows(&subjects, options)?;
    drop(subjects);
    let mut notes = vec![
        medusa_testkit::Nginx::version(),
        format!("{}, {}, a file of 4 KB", options.spoken_each(), Wrk::USUAL),
    ];
    for one in &all {
        let status = one.ours.ours().status();
        notes.extend(host_names(one.case.name, &status));
        rows.iter_mut().filter(|row| one.is(row)).for_each(|row| row.rounds.push(records(&status)));
    }
    let mut lines: Vec<Line> = all.iter().filter_map(|one| one.line(&all, &rows)).collect();
    if chosen.contains(&lookups::NAME) {
        lines.extend(lookups::measure()?.into_iter().map(|Lookups { what, per_second }| Line {
            what: format!("cached lookups, {what}"),
            ours: format!("{:.2} million/s of a core", per_second / 1e6),
            target: Some(("at least 1 million".to_owned(), per_second >= LOOKUPS)),
            ..Line::default()
        }));
    }
    all.into_iter().for_each(Servers::stop);
    Report { notes, rows, lines }.finish(options)
}

/// The servers of a case.
struct Servers {
    case: Logged,
    theirs: Option<Side>,
    ours: Side,
}

impl Servers {
    fn start(case: Logged, site: &Site, medusa: &Medusa, receivers: &Receivers) -> Self {
        let public = site.at("public");
        let ours = medusa.start(Site::script(&case.site(&public, receivers)), Wire::Plain);
        let log = site.at(&format!("{}.log", case.name));
        let nginx = case
            .nginx
            .map(|logged| Nginx { access_log: logged.then_some(log.as_path()), ..Nginx::new(&public) });
        Self { case, theirs: nginx.map(|nginx| nginx.start()), ours }
    }

    fn subject(&self) -> Subject<'_> {
        let load = Load::Wrk(Wrk { asks: self.case.asks, ..Wrk::USUAL });
        Subject {
            name: self.case.name,
            load: self.case.about.to_owned(),
            unit: Unit::Request,
            goal: Goal::Open,
            ours: &self.ours,
            theirs: self.theirs.as_ref(),
            press: Box::new(move |side, seconds| side.press(&load, seconds, "/4k.bin")),
        }
    }

    /// Whether a row is that of our server.
    fn is(&self, row: &Row) -> bool {
        row.what == self.case.name && row.server == medusa::NAME
    }

    /// The cost that a record adds to the case without one.
    fn line(&self, all: &[Self], rows: &[Row]) -> Option<Line> {
        let base = if self.case.asks == Asks::Singly { cases::NONE } else { cases::ADDRESSES };
        let row = |of: &Self| rows.iter().find(|row| of.is(row));
        let other = |name: &str| {
            let other = all.iter().find(|one| one.case.name == name && one.case.name != self.case.name)?;
            Some((row(other)?, other.case.about))
        };
        let (ours, (base, about)) = (row(self)?, other(base)?);
        let (cpu, goals) = (Unit::Request.cpu(), self.case.goals);
        let of = median(ratios(ours, base, &cpu));
        let mut target: Option<(String, bool)> =
            goals.cpu.map(|most| (format!("at most {most:.2}"), of <= most));
        let mut ratio = format!("{of:.2}");
        if let (Some(most), Some((file, _))) = (goals.p99, other(cases::FILE)) {
            let of = median(ratios(ours, file, &P99));
            ratio = format!("{ratio}; p99 {of:.2} of that with the file");
            target = Some((format!("p99 at most {most:.2}"), of <= most));
        }
        let [with, without] = [ours, base].map(|row| row.value(&cpu));
        Some(Line {
            what: format!("access log: {}", self.case.about),
            ours: format!("{}, {}", cpu.spoken(with), rate(with, without)),
            theirs: format!("{about} {}", cpu.spoken(without)),
            ratio,
            target,
        })
    }

    fn stop(self) {
        self.theirs.into_iter().chain([self.ours]).for_each(Side::stop);
    }
}

/// What became of the records, as a server's status has it.
fn records(status: &Value) -> Sample {
    ["written", "lost", "spilled"].map(|name| (Figure::sum(name), sum(status, "log.", name) as f64)).to_vec()
}

/// What became of the names of those who asked, if they were looked up.
fn host_names(case: &str, status: &Value) -> Option<String> {
    let found = ["named", "late", "not_asked", "nameless"].map(|name| sum(status, "log.resolving", name));
    let all: u64 = found.iter().sum();
    let [named, late, not_asked, nameless] = found.map(|of| of as f64 * 100.0 / all as f64);
    (all > 0).then(|| {
        format!(
            "{case}: {all} records, {named:.0} % with a name; {late:.1} % had to go before it came, {not_asked:.1} % were \
             not asked for, {nameless:.1} % had none"
        )
    })
}

/// The number of records that a second of CPU makes and sends, if a request takes so many microseconds with and
/// without one; a dash if that is in the noise.
fn rate(with: f64, without: f64) -> String {
    let each = with - without;
    if each > 1e-3 { format!("{:.0} records/CPU s", 1e6 / each) } else { "-".to_owned() }
}

/// The sum of `name` in the parts of a status whose kind begins with `kind`. One with sinks inside it has no numbers of its
/// own of what they have.
fn sum(status: &Value, kind: &str, name: &str) -> u64 {
    let children = status["children"].as_array();
    let below: u64 = children.into_iter().flatten().map(|child| sum(child, kind, name)).sum();
    let found = status["kind"].as_str().is_some_and(|of| of.starts_with(kind));
    let has_sinks = status["kind"] == "log.resolving" && kind != "log.resolving";
    below + if found && !has_sinks { status[name].as_u64().unwrap_or(0) } else { 0 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn records_of_all_sinks_are_added_up() {
        let status = json!({ "kind": "site", "children": [
            { "kind": "http.server", "requests": 7, "lost": 9 },
            { "kind": "log.resolving", "named": 4, "late": 1, "lost": 0, "children": [
                { "kind": "log.file", "written": 5, "lost": 2 },
                { "kind": "log.syslog", "written": 1, "lost": 0, "spilled": 6 },
            ] },
        ] });
        let sums = ["written", "lost", "spilled"].map(|name| sum(&status, "log.", name));
        assert_eq!(sums, [6, 2, 6]);
        assert_eq!(sum(&status, "log.resolving", "named"), 4);
    }

    #[test]
    fn what_a_record_costs_is_what_it_adds() {
        assert_eq!(rate(11.0, 10.0), "1000000 records/CPU s");
        assert_eq!(rate(10.0, 11.0), "-");
    }
}
