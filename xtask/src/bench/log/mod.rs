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
mod report;

use std::fs;
use std::path::Path;
use std::time::Duration;

use self::cases::{CASES, Case};
use self::receiver::Receivers;
use self::report::{Finding, Report};
use super::load::{Counted, Load, WARM_UP, Wrk};
use super::medusa::Medusa;
use super::nginx::Nginx;
use super::report::{Line, Machine};
use super::side::{Side, Wire};
use super::{Options, nginx};
use crate::error::{Error, Result};
use crate::term;

/// The file that is asked for, in bytes: the smaller the answer, the more its record weighs.
const FILE_SIZE: usize = 4096;
/// Connections each of nginx's workers has room for.
const CONNECTIONS: u32 = 4096;

/// One stretch of load on one server.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// What all its processes used.
    cpu: Duration,
    counted: Counted,
}

/// Runs the bench and prints its table.
pub(super) fn run(options: &Options) -> Result<Vec<Line>> {
    let names: Vec<&str> = CASES.iter().map(|case| case.name).chain([lookups::NAME]).collect();
    let chosen = options.chosen(&names)?;
    // Without it there is nothing to compare with.
    let cases = CASES.into_iter().filter(|case| case.name == cases::NONE || chosen.contains(&case.name));
    let medusa = Medusa::build()?;
    let folder = tempfile::tempdir().map_err(Error::io("create", "a temporary folder"))?;
    let folder = folder.path();
    let machine = Machine::look();
    let public = folder.join("public");
    fs::create_dir(&public).map_err(Error::io("create", &public))?;
    let file = public.join("4k.bin");
    fs::write(&file, vec![b'm'; FILE_SIZE]).map_err(Error::io("write", &file))?;

    let receivers = Receivers::start(folder)?;
    let mut findings = Vec::new();
    let mut sides = Vec::new();
    for case in cases {
        sides.push(Sides::start(&case, folder, &public, &medusa, &receivers, machine.cores)?);
        findings.push(Finding::new(case));
    }
    measure(&sides, &mut findings, options)?;
    for (sides, finding) in sides.into_iter().zip(&mut findings) {
        finding.records = sides.records(&medusa)?;
        sides.stop()?;
    }
    let lookups = chosen.contains(&lookups::NAME).then(lookups::measure).transpose()?.unwrap_or_default();
    receivers.stop()?;
    report::finish(&Report { machine, nginx: nginx::version()?, findings, lookups }, options)
}

/// The servers of a case.
struct Sides {
    folder: std::path::PathBuf,
    ours: Side,
    theirs: Option<Side>,
    load: Load,
}

impl Sides {
    fn start(
        case: &Case,
        folder: &Path,
        public: &Path,
        medusa: &Medusa,
        receivers: &Receivers,
        workers: usize,
    ) -> Result<Self> {
        let home = folder.join(case.name.replace(' ', "-"));
        let site = case.site(public, receivers);
        let ours = medusa.start(&home, &[("site.luau", &site)], workers, Wire::Plain)?;
        let log = home.join("nginx.log");
        let nginx = case.nginx.as_ref().map(|logged| Nginx {
            public,
            workers,
            connections: CONNECTIONS,
            wire: Wire::Plain,
            access_log: logged.then_some(log.as_path()),
        });
        let theirs = nginx.map(|nginx| nginx.start(&home.join("nginx"))).transpose()?;
        let load = Load::Wrk(Wrk { clients: case.clients, ..Wrk::USUAL });
        Ok(Self { folder: home, ours, theirs, load })
    }

    fn press(&self, side: &Side, seconds: u32) -> Result<Sample> {
        let before = side.cpu_time();
        let counted = side.press(&self.load, seconds, "/4k.bin")?;
        Ok(Sample { cpu: side.cpu_time().saturating_sub(before), counted })
    }

    /// What became of the records, as the server's status has it.
    fn records(&self, medusa: &Medusa) -> Result<report::Records> {
        let status = medusa.status(&self.folder)?;
        Ok(report::Records::in_status(&status))
    }

    fn stop(self) -> Result {
        self.ours.stop()?;
        self.theirs.map_or(Ok(()), Side::stop)
    }
}

/// Warms up, then presses on every server once a round; every second round backwards.
fn measure(sides: &[Sides], findings: &mut [Finding], options: &Options) -> Result {
    for of in sides {
        for side in of.theirs.iter().chain([&of.ours]) {
            of.press(side, WARM_UP)?;
        }
    }
    for round in 0..options.rounds {
        let mut order: Vec<(&Sides, &mut Finding)> = sides.iter().zip(&mut *findings).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for (of, finding) in order {
            if let Some(theirs) = &of.theirs {
                finding.nginx.push(of.press(theirs, options.seconds)?);
            }
            finding.medusa.push(of.press(&of.ours, options.seconds)?);
            term::note(&format!("round {}/{}, {}", round + 1, options.rounds, finding.last()));
        }
    }
    Ok(())
}
