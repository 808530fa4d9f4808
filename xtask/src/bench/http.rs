//! `bench http`: server CPU per request for a small file and for a script handler, beside nginx.
//!
//! Invariant: both servers are asked for the same bytes before any load, and no sample with an error counts: a server
//! that fails fast must not win.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;

use super::load::{Counted, Load};
use super::report::{self, Case, Machine, Report, Sample, Series};
use super::{medusa, nginx};
use crate::error::{Error, Result};
use crate::server::{Server, spoken_status};
use crate::{fetch, process_tree, term};

/// What may be chosen.
#[derive(Debug)]
pub(super) struct Options {
    /// Rounds for each case.
    pub(super) rounds: u32,
    /// Seconds of load for each server and round.
    pub(super) seconds: u32,
    /// Where every sample is written.
    pub(super) json: Option<PathBuf>,
}

/// What is asked for: a name for the table, and a path.
const CASES: [(&str, &str); 2] = [("4 KB file", "/4k.bin"), ("script handler", "/hello/world")];
/// The size of the file, in bytes.
const FILE_SIZE: usize = 4096;
/// Our CPU per request divided by nginx's: at most this much.
const TARGET: f64 = 0.90;
/// Load generator threads and connections.
const THREADS: u32 = 2;
const CONNECTIONS: u32 = 64;
/// Seconds of load that are not counted, for each server and case: caches fill, the allocator settles.
const WARM_UP: u32 = 2;
/// How long a server may take to end at the end.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// A server under load.
struct Side {
    name: &'static str,
    server: Server,
    address: SocketAddr,
}

/// Runs the bench and prints its table.
pub(super) fn run(options: &Options) -> Result {
    medusa::build()?;
    let folder = tempfile::tempdir().map_err(Error::io("create", "a temporary folder"))?;
    let workers = available_parallelism().map_or(1, std::num::NonZero::get);
    let [ours, theirs] = start_both(folder.path(), workers)?;
    let mut cases = Vec::new();
    for (name, path) in CASES {
        same_answer(&theirs, &ours, path)?;
        cases.push(measure(name, path, &theirs, &ours, options)?);
    }
    stop(theirs)?;
    stop(ours)?;
    let report = Report {
        machine: Machine::look(nginx::version()?, workers),
        load: format!("wrk -t{THREADS} -c{CONNECTIONS} -d{}s, {} rounds", options.seconds, options.rounds),
        target: TARGET,
        cases,
    };
    term::answer(&report::table(&report));
    match &options.json {
        Some(path) => report::write_json(&report, path),
        None => Ok(()),
    }
}

fn start_both(folder: &Path, workers: usize) -> Result<[Side; 2]> {
    let public = folder.join("public");
    fs::create_dir(&public).map_err(Error::io("create", &public))?;
    let file = public.join("4k.bin");
    fs::write(&file, vec![b'm'; FILE_SIZE]).map_err(Error::io("write", &file))?;
    let (server, address) = nginx::start(folder, &public, workers)?;
    let theirs = Side { name: "nginx", server, address };
    let (server, address) = medusa::start(folder, workers)?;
    let ours = Side { name: "medusa", server, address };
    Ok([ours, theirs])
}

fn stop(mut side: Side) -> Result {
    let status = side.server.stop(ENDS_WITHIN)?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Found(format!(
            "{} ended with {} after the load, not 0; its last lines:\n{}",
            side.name,
            spoken_status(status),
            side.server.last_lines()
        )))
    }
}

/// Both must answer 200 with the same body, or the comparison means nothing.
fn same_answer(theirs: &Side, ours: &Side, path: &str) -> Result {
    let expected = fetch::get(theirs.address, path)?;
    let got = fetch::get(ours.address, path)?;
    if expected.status == 200 && expected == got {
        return Ok(());
    }
    Err(Error::Found(format!(
        "for {path}, nginx answered {} with {} bytes and medusa {} with {} bytes; both must answer 200 with the same \
         body",
        expected.status,
        expected.body.len(),
        got.status,
        got.body.len()
    )))
}

fn measure(
    name: &'static str,
    path: &'static str,
    theirs: &Side,
    ours: &Side,
    options: &Options,
) -> Result<Case> {
    let warm_up = Load { threads: THREADS, connections: CONNECTIONS, seconds: WARM_UP };
    for side in [theirs, ours] {
        sample(side, warm_up, path)?;
    }
    let load = Load { seconds: options.seconds, ..warm_up };
    let mut case = Case { name, path, nginx: Series::default(), medusa: Series::default() };
    for round in 0..options.rounds {
        let ours_first = round % 2 == 1;
        if ours_first {
            case.medusa.0.push(sample(ours, load, path)?);
        }
        case.nginx.0.push(sample(theirs, load, path)?);
        if !ours_first {
            case.medusa.0.push(sample(ours, load, path)?);
        }
        term::note(&progress(&case, round + 1, options.rounds));
    }
    Ok(case)
}

fn progress(case: &Case, round: u32, rounds: u32) -> String {
    let last = |series: &Series| series.0.last().map_or(0.0, Sample::cpu_per_request);
    let (nginx, medusa) = (last(&case.nginx), last(&case.medusa));
    format!("{}, round {round}/{rounds}: nginx {nginx:.2} µs, medusa {medusa:.2} µs", case.name)
}

/// One stretch of load on one server.
fn sample(side: &Side, load: Load, path: &str) -> Result<Sample> {
    let before = process_tree::cpu_time(side.server.pid());
    let counted = load.press(side.address, path)?;
    let cpu = process_tree::cpu_time(side.server.pid()).saturating_sub(before);
    refuse_errors(side, path, &counted)?;
    Ok(Sample { cpu, counted })
}

fn refuse_errors(side: &Side, path: &str, counted: &Counted) -> Result {
    if counted.errors == 0 && counted.requests > 0 {
        return Ok(());
    }
    Err(Error::Found(format!(
        "{} answered {} requests for {path} with {} errors, and none is allowed; its last lines:\n{}",
        side.name,
        counted.requests,
        counted.errors,
        side.server.last_lines()
    )))
}
