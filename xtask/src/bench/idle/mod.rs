//! `bench idle`: memory for each connection that does nothing, beside nginx.
//!
//! Invariant: every number is of a server of its own. What a server once needed it seldom gives back, so a second
//! measurement of the same process would count less than there is.

mod accepted;
mod herd;
mod report;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::herd::Herd;
use self::report::{Finding, Memory, Report};
use super::load::{Load, Wrk};
use super::medusa::Medusa;
use super::nginx::Nginx;
use super::report::{Line, Machine, write_json};
use super::side::{Side, Wire};
use super::tls::Identity;
use super::{Options, nginx};
use crate::error::{Error, Result};
use crate::term;

/// Connections, unless the user says otherwise.
const CONNECTIONS: u32 = 10_000;
/// Files that client and server need beside the connections.
const OTHER_FILES: u64 = 2000;
/// What is asked for, and how many bytes it has.
const PATH: &str = "/tiny.bin";
const SIZE: usize = 128;

/// A kind of connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Case {
    name: &'static str,
    tls: bool,
    /// It has made a request and waits for another; otherwise it has not sent a byte.
    asked: bool,
}

/// Every case, in the order of the report.
const CASES: [Case; 4] = [
    Case { name: "plain", tls: false, asked: true },
    Case { name: "plain-mute", tls: false, asked: false },
    Case { name: "tls", tls: true, asked: true },
    Case { name: "tls-mute", tls: true, asked: false },
];

/// What all measurements share.
#[derive(Debug)]
struct Stage<'a> {
    medusa: Medusa,
    folder: &'a Path,
    identity: Arc<Identity>,
    workers: usize,
    connections: u32,
    /// How long the connections are held.
    hold: Duration,
}

/// Runs the bench and prints its table.
pub(super) fn run(options: &Options) -> Result<Vec<Line>> {
    let chosen = options.chosen(&CASES.map(|case| case.name))?;
    let connections = options.connections.unwrap_or(CONNECTIONS);
    allow_files(u64::from(connections) + OTHER_FILES)?;
    let folder = tempfile::tempdir().map_err(Error::io("create", "a temporary folder"))?;
    let public = folder.path().join("public");
    fs::create_dir(&public).map_err(Error::io("create", &public))?;
    fs::write(public.join(&PATH[1..]), vec![b'm'; SIZE]).map_err(Error::io("write", &public))?;
    let machine = Machine::look();
    let stage = Stage {
        medusa: Medusa::build()?,
        folder: folder.path(),
        identity: Arc::new(Identity::make(folder.path())?),
        workers: machine.cores,
        connections,
        hold: Duration::from_secs(options.seconds.into()),
    };
    let cases = CASES.into_iter().filter(|case| chosen.contains(&case.name));
    let mut findings: Vec<Finding> = cases.map(Finding::new).collect();
    for round in 0..options.rounds {
        for finding in &mut findings {
            stage.round(round, finding)?;
            term::note(&format!("round {}/{}, {}", round + 1, options.rounds, finding.last(connections)));
        }
    }
    let report = Report { machine, nginx: nginx::version()?, connections, hold: stage.hold, findings };
    term::answer(&report::table(&report));
    write_json(options, &report::as_json(&report))?;
    Ok(report::lines(&report))
}

/// Lets this process and its children (the servers) have so many files open.
fn allow_files(needed: u64) -> Result {
    let limit = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if enough(limit.current) {
        return Ok(());
    }
    let maximum = if enough(limit.maximum) { limit.maximum } else { Some(needed) };
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).map_err(|errno| {
        Error::Found(format!(
            "{needed} files must be open at once, and the limit of {} cannot be raised ({errno}): run it as root, or \
             with fewer --connections",
            limit.maximum.unwrap_or(u64::MAX)
        ))
    })
}

impl Stage<'_> {
    fn round(&self, round: u32, finding: &mut Finding) -> Result {
        let case = finding.case;
        if round % 2 == 1 {
            finding.medusa.push(self.measure(case, self.start_medusa(case)?)?);
        }
        finding.nginx.push(self.measure(case, self.start_nginx(case)?)?);
        if round.is_multiple_of(2) {
            finding.medusa.push(self.measure(case, self.start_medusa(case)?)?);
        }
        Ok(())
    }

    fn measure(&self, case: Case, side: Side) -> Result<Memory> {
        side.press(&Load::Wrk(Wrk::USUAL), 1, PATH)?;
        let before = side.resident_in_all();
        let herd = Herd::open(&side, self.connections, case.asked)?;
        accepted::wait(&side, &herd, self.connections)?;
        herd.hold(&side, self.hold)?;
        let memory = Memory { before, with: side.resident_in_all() };
        drop(herd);
        side.stop()?;
        Ok(memory)
    }

    fn wire(&self, case: Case) -> Wire {
        if case.tls { Wire::Tls(Arc::clone(&self.identity)) } else { Wire::Plain }
    }

    fn start_nginx(&self, case: Case) -> Result<Side> {
        let folder = self.fresh("nginx")?;
        let nginx = Nginx {
            public: &self.folder.join("public"),
            workers: self.workers,
            // One worker may accept them all.
            connections: self.connections + 100,
            wire: self.wire(case),
            access_log: None,
        };
        nginx.start(&folder)
    }

    fn start_medusa(&self, case: Case) -> Result<Side> {
        let folder = self.fresh("medusa")?;
        let tls = if case.tls { r#", tls = { cert = "cert.pem", key = "key.pem" }"# } else { "" };
        let public = self.folder.join("public");
        let site = format!(
            r#"-- The site of `cargo xtask bench idle`.
web = medusa.http.server {{ listen = "127.0.0.1:0", limits = {{ idle = 600, head = 600, handshake = 600 }}{tls} }}
web:mount("/", medusa.handler.files("{}"))
"#,
            public.display()
        );
        self.medusa.start(&folder, &[("site.luau", site.as_str())], self.workers, self.wire(case))
    }

    /// A path for a server's folder, without what an earlier one left there.
    fn fresh(&self, name: &str) -> Result<std::path::PathBuf> {
        let folder = self.folder.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))?;
        }
        Ok(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_nobody_may_have_is_told_with_its_cure() {
        // Above the kernel's own ceiling (fs.nr_open) for root as well.
        let error = allow_files(u64::from(u32::MAX)).expect_err("too many").to_string();
        assert!(error.contains("4294967295 files") && error.contains("--connections"), "{error}");
        allow_files(1).expect("always");
    }
}
