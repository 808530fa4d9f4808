//! `cargo xtask bench`: measurements that compare, each in one run on one machine.
//!
//! A number from another day or another machine says little; so each bench runs what it compares in turn and reports
//! the ratio. What benches share: [`load`] drives a server and reads what the load generator counted, [`nginx`] and
//! [`medusa`] start servers, [`side`] is such a server, [`tls`] its certificate, [`compare`] measures two sides in turn
//! and tells the ratio, [`report`] has the parts of every report. A new bench is a module beside [`http`], and a line in
//! [`BENCHES`].

mod compare;
mod handlers;
mod http;
mod idle;
mod live;
mod load;
mod log;
mod logins;
mod medusa;
mod nginx;
mod preempt;
mod report;
mod side;
mod site;
mod tls;
mod websocket;

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, value_parser};

use self::report::Machine;
use crate::error::{Error, Result};
use crate::term;

/// Measures in comparison, in the same run on the same machine
#[derive(Debug, Args)]
#[command(long_about = include_str!("help.txt"))]
pub(crate) struct BenchArgs {
    #[arg(value_parser = PossibleValuesParser::new(BENCHES.iter().map(|bench| bench.name).chain([ALL])))]
    name: String,
    /// Rounds; one round measures everything that is compared once, in turn. 5 when not given (idle: 1, log, logins,
    /// site and live: 3)
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Seconds of each stretch of load (idle: of holding still). 5 when not given (idle: 15, site: 3, live: 20)
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=3600))]
    seconds: Option<u32>,
    #[command(flatten)]
    given: Given,
}

/// A bench.
#[derive(Debug)]
struct Bench {
    /// The word that selects it.
    name: &'static str,
    run: fn(&Options<'_>) -> Result<Vec<report::Line>>,
    /// Rounds, unless the user says otherwise.
    rounds: u32,
    /// Seconds, unless the user says otherwise.
    seconds: u32,
    /// The options it takes beside those that all take.
    takes: &'static [&'static str],
}

/// Every bench, in the order of the help.
const BENCHES: [Bench; 9] = [
    Bench { name: "http", run: http::run, rounds: 5, seconds: 5, takes: &["--case", "--against"] },
    Bench { name: "websocket", run: websocket::run, rounds: 5, seconds: 5, takes: &[] },
    Bench { name: "idle", run: idle::run, rounds: 1, seconds: 15, takes: &["--case", "--connections"] },
    Bench { name: "log", run: log::run, rounds: 3, seconds: 5, takes: &["--case"] },
    Bench { name: "handlers", run: handlers::run, rounds: 5, seconds: 5, takes: &["--case"] },
    Bench { name: "logins", run: logins::run, rounds: 3, seconds: 5, takes: &[] },
    Bench { name: "preempt", run: preempt::run, rounds: 5, seconds: 5, takes: &[] },
    Bench { name: "site", run: site::run, rounds: 3, seconds: 3, takes: &[] },
    Bench { name: "live", run: live::run, rounds: 3, seconds: 20, takes: &[] },
];

/// What may be given for some benches.
#[derive(Debug, Default, Args)]
struct Given {
    /// http, idle, log and handlers: only these cases
    #[arg(long = "case", value_name = "A,B", value_delimiter = ',')]
    cases: Option<Vec<String>>,
    /// http: another build of the program in nginx's place, of an older commit for one; each case may cost 1.03 of what
    /// it costs there
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// idle: how many connections; 10000 when not given
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000_000))]
    connections: Option<u32>,
    /// Also write every sample to FILE
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Options of a bench.
#[derive(Debug)]
struct Options<'a> {
    /// How often everything is measured.
    rounds: u32,
    /// Seconds of each stretch of load (of holding still, for idle connections).
    seconds: u32,
    /// Before the bench.
    machine: Machine,
    given: &'a Given,
}

impl Options<'_> {
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
        let Some(cases) = &self.given.cases else { return Ok(names.to_vec()) };
        if let Some(unknown) = cases.iter().find(|case| !names.contains(&case.as_str())) {
            let names = names.join(", ");
            return Err(Error::Usage(format!("there is no case `{unknown}`; the cases are {names}")));
        }
        Ok(names.iter().copied().filter(|name| cases.iter().any(|case| case == name)).collect())
    }
}

impl BenchArgs {
    pub(crate) fn run(&self) -> Result {
        let Given { cases, against, connections, json } = &self.given;
        let given = [
            ("--case", cases.is_some()),
            ("--against", against.is_some()),
            ("--connections", connections.is_some()),
            ("--json", json.is_some()),
        ];
        let given: Vec<&str> = given.into_iter().filter(|(_, is)| *is).map(|(option, _)| option).collect();
        let refuse = |option: &str| Error::Usage(format!("`bench {}` does not take {option}", self.name));
        let Some(bench) = BENCHES.iter().find(|bench| bench.name == self.name) else {
            return given.first().map_or_else(|| self.run_all(), |option| Err(refuse(option)));
        };
        match given.iter().find(|option| **option != "--json" && !bench.takes.contains(option)) {
            Some(option) => Err(refuse(option)),
            None => (bench.run)(&self.options(bench)).map(drop),
        }
    }

    fn options(&self, bench: &Bench) -> Options<'_> {
        // What holds still and does not press keeps its own time among all, and so does what makes a number of changes.
        let own = self.name == ALL && ["idle", "live"].contains(&bench.name);
        let [rounds, seconds] = [self.rounds, self.seconds].map(|given| given.filter(|_| !own));
        Options {
            rounds: rounds.unwrap_or(bench.rounds),
            seconds: seconds.unwrap_or(bench.seconds),
            machine: Machine::look(),
            given: &self.given,
        }
    }

    /// Runs every bench, and prints one table of what they found, also of those before one that fails.
    fn run_all(&self) -> Result {
        let mut lines = Vec::new();
        let found = BENCHES.iter().try_for_each(|bench| {
            lines.extend((bench.run)(&self.options(bench))?);
            Ok(())
        });
        term::answer(&format!("\n{}\n\n{}", Machine::look(), report::verdicts(&lines).markdown()));
        found
    }
}

/// The word for every bench, one after the other.
const ALL: &str = "all";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_chosen_in_their_own_order() {
        let names = ["a", "b", "c"];
        let chosen = |cases: Option<&[&str]>| {
            let cases = cases.map(|cases| cases.iter().map(|&case| case.to_owned()).collect());
            Options {
                rounds: 1,
                seconds: 1,
                machine: Machine::look(),
                given: &Given { cases, ..Given::default() },
            }
            .chosen(&names)
        };
        assert_eq!(chosen(None).expect("all"), names);
        assert_eq!(chosen(Some(&["c", "a", "c"])).expect("two"), ["a", "c"]);
        let error = chosen(Some(&["a", "d"])).expect_err("unknown").to_string();
        assert!(error.starts_with("there is no case `d`; the cases are a, b, c"), "{error}");
    }

    #[test]
    fn the_help_tells_of_every_bench() {
        for bench in &BENCHES {
            assert!(include_str!("help.txt").contains(&format!("\n  {} ", bench.name)), "{}", bench.name);
        }
    }
}
