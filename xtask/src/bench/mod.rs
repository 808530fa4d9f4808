//! `cargo xtask bench`: measurements that compare, each in one run on one machine.
//!
//! A number from another day or another machine says little; so each bench runs what it compares in turn and reports
//! the ratio. What benches share: [`load`] drives a server and reads what the load generator counted, [`nginx`] and
//! [`medusa`] start servers, [`side`] is such a server, [`tls`] its certificate, [`compare`] measures two sides in turn
//! and tells the ratio, [`report`] has the parts of every report. A new bench is a module beside [`http`], and a line in
//! [`BENCHES`].

mod compare;
mod http;
mod idle;
mod live;
mod load;
mod log;
mod medusa;
mod nginx;
mod preempt;
mod report;
mod side;
mod site;
mod tls;
mod websocket;

use std::path::PathBuf;

use crate::cli::{Arguments, Command};
use crate::error::{Error, Result};
use crate::term;

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "bench",
    usage: "NAME [OPTIONS]",
    summary: "Measure in comparison, in the same run on the same machine",
    help: include_str!("help.txt"),
    run,
};

/// A bench.
#[derive(Debug)]
struct Bench {
    /// The word that selects it.
    name: &'static str,
    run: fn(&Options) -> Result<Vec<report::Line>>,
    /// Rounds, unless the user says otherwise.
    rounds: u32,
    /// Seconds, unless the user says otherwise.
    seconds: u32,
    /// The options it takes beside those that all take.
    takes: &'static [&'static str],
}

/// Every bench, in the order of the help.
const BENCHES: [Bench; 7] = [
    Bench { name: "http", run: http::run, rounds: 5, seconds: 5, takes: &["--case", "--against"] },
    Bench { name: "websocket", run: websocket::run, rounds: 5, seconds: 5, takes: &[] },
    Bench { name: "idle", run: idle::run, rounds: 1, seconds: 15, takes: &["--case", "--connections"] },
    Bench { name: "log", run: log::run, rounds: 3, seconds: 5, takes: &["--case"] },
    Bench { name: "preempt", run: preempt::run, rounds: 5, seconds: 5, takes: &[] },
    Bench { name: "site", run: site::run, rounds: 3, seconds: 3, takes: &[] },
    Bench { name: "live", run: live::run, rounds: 3, seconds: 20, takes: &[] },
];

/// Options of the benches.
#[derive(Debug)]
struct Options {
    /// How often everything is measured.
    rounds: u32,
    /// Seconds of each stretch of load (of holding still, for idle connections).
    seconds: u32,
    /// Where every sample is written.
    json: Option<PathBuf>,
    /// The cases to measure, by name; all when not given.
    cases: Option<Vec<String>>,
    /// The number of connections that are held.
    connections: Option<u32>,
    /// Another build of the program, which takes nginx's place.
    against: Option<PathBuf>,
}

impl Options {
    /// The load of the run, for the head of its report.
    fn spoken(&self, load: &load::Load) -> String {
        format!("{load} -d{}s, {} rounds", self.seconds, self.rounds)
    }

    /// What was done to each of several servers, for the head of the report.
    fn spoken_each(&self) -> String {
        format!("{} rounds of {} s for each server, no errors", self.rounds, self.seconds)
    }

    /// The `names` that are to be measured. A name nobody knows is an error.
    fn chosen<'a>(&self, names: &[&'a str]) -> Result<Vec<&'a str>> {
        let Some(cases) = &self.cases else { return Ok(names.to_vec()) };
        if let Some(unknown) = cases.iter().find(|case| !names.contains(&case.as_str())) {
            let names = names.join(", ");
            return Err(Error::Usage(format!("there is no case `{unknown}`; the cases are {names}")));
        }
        Ok(names.iter().copied().filter(|name| cases.iter().any(|case| case == name)).collect())
    }
}

fn run(mut arguments: Arguments) -> Result {
    let rounds = arguments.count("--rounds", 1000)?;
    let seconds = arguments.count("--seconds", 3600)?;
    let json = arguments.value("--json")?.map(Into::into);
    let cases = arguments.value("--case")?;
    let connections = arguments.count("--connections", 1_000_000)?;
    let against = arguments.value("--against")?.map(PathBuf::from);
    let name = arguments.word();
    arguments.finish()?;
    if name.as_deref() == Some(ALL) {
        if cases.is_some() || connections.is_some() || against.is_some() || json.is_some() {
            return Err(Error::Usage(format!("`bench {ALL}` takes --rounds and --seconds only")));
        }
        return run_all(rounds, seconds);
    }
    let bench = find(name.as_deref())?;
    for (option, given) in [
        ("--case", cases.is_some()),
        ("--connections", connections.is_some()),
        ("--against", against.is_some()),
    ] {
        if given && !bench.takes.contains(&option) {
            return Err(Error::Usage(format!("`bench {}` does not take {option}", bench.name)));
        }
    }
    (bench.run)(&Options {
        rounds: rounds.unwrap_or(bench.rounds),
        seconds: seconds.unwrap_or(bench.seconds),
        json,
        cases: cases.map(|cases| cases.split(',').map(str::to_owned).collect()),
        connections,
        against,
    })
    .map(drop)
}

/// The word for every bench, one after the other.
const ALL: &str = "all";

/// Runs every bench, and prints one table of what they found, also of those before one that fails. What holds still and does
/// not press keeps its own time, and so does what makes a number of changes within it.
fn run_all(rounds: Option<u32>, seconds: Option<u32>) -> Result {
    let mut lines = Vec::new();
    let found = BENCHES.iter().try_for_each(|bench| {
        let presses = !["idle", "live"].contains(&bench.name);
        let options = Options {
            rounds: rounds.filter(|_| presses).unwrap_or(bench.rounds),
            seconds: seconds.filter(|_| presses).unwrap_or(bench.seconds),
            json: None,
            cases: None,
            connections: None,
            against: None,
        };
        lines.extend((bench.run)(&options)?);
        Ok(())
    });
    term::answer(&format!("\n{}\n\n{}", report::Machine::look(), report::verdicts(&lines).markdown()));
    found
}

fn find(name: Option<&str>) -> Result<&'static Bench> {
    let names = BENCHES.iter().map(|bench| bench.name).chain([ALL]).collect::<Vec<_>>().join(", ");
    let Some(name) = name else {
        return Err(Error::Usage(format!("name a bench; the benches are {names}")));
    };
    let bench = BENCHES.iter().find(|bench| bench.name == name);
    bench.ok_or_else(|| Error::Usage(format!("there is no bench `{name}`; the benches are {names}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(cases: Option<&[&str]>) -> Options {
        let cases = cases.map(|cases| cases.iter().map(|&case| case.to_owned()).collect());
        Options { rounds: 1, seconds: 1, json: None, cases, connections: None, against: None }
    }

    #[test]
    fn cases_are_chosen_in_their_own_order() {
        let names = ["a", "b", "c"];
        assert_eq!(options(None).chosen(&names).expect("all"), names);
        assert_eq!(options(Some(&["c", "a", "c"])).chosen(&names).expect("two"), ["a", "c"]);
        let error = options(Some(&["a", "d"])).chosen(&names).expect_err("unknown").to_string();
        assert!(error.starts_with("there is no case `d`; the cases are a, b, c"), "{error}");
    }

    #[test]
    fn the_help_tells_of_every_bench() {
        for bench in &BENCHES {
            assert!(COMMAND.help.contains(&format!("\n  {} ", bench.name)), "{}", bench.name);
            assert!(find(Some(bench.name)).is_ok());
        }
        assert!(
            find(Some("htpt"))
                .expect_err("unknown")
                .to_string()
                .contains("http, websocket, idle, log, preempt, site, live, all")
        );
    }
}
