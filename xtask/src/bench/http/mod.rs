//! `bench http`: server CPU per request for a small file and for a script handler, beside nginx.
//!
//! Invariant: both servers are asked for the same bytes before any load: what differs is the server alone.

mod report;

use std::fs;
use std::path::Path;

use self::report::{Case, Report, Sample, Series};
use super::load::Load;
use super::medusa::Medusa;
use super::report::{Machine, write_json};
use super::side::Side;
use super::{Options, nginx};
use crate::error::{Error, Result};
use crate::{fetch, term};

/// The site, as a user would write it; no `log`, so no access log.
const SITE: &str = r#"-- The site of `cargo xtask bench http`.
web = medusa.http.server { listen = "127.0.0.1:0" }
web:mount("/", medusa.handler.files("public"))
web:mount("/hello/{name}", medusa.handler.script("hello.luau"))
"#;
/// The script handler.
const HELLO: &str = "return function(req) return \"Hello, \" .. req.params.name .. \"!\\n\" end\n";
/// What is asked for: a name for the table, and a path.
const CASES: [(&str, &str); 2] = [("4 KB file", "/4k.bin"), ("script handler", "/hello/world")];
/// The size of the file, in bytes.
const FILE_SIZE: usize = 4096;
/// Our CPU per request divided by nginx's: at most this much.
const TARGET: f64 = 0.90;

/// Runs the bench and prints its table.
pub(super) fn run(options: &Options) -> Result {
    let medusa = Medusa::build()?;
    let folder = tempfile::tempdir().map_err(Error::io("create", "a temporary folder"))?;
    let machine = Machine::look();
    let [ours, theirs] = start_both(&medusa, folder.path(), machine.cores)?;
    let mut cases = Vec::new();
    for (name, path) in CASES {
        same_answer(&theirs, &ours, path)?;
        cases.push(measure(name, path, &theirs, &ours, options)?);
    }
    theirs.stop()?;
    ours.stop()?;
    let report = Report { machine, nginx: nginx::version()?, load: options.spoken(), target: TARGET, cases };
    term::answer(&report::table(&report));
    write_json(options, &report::as_json(&report))
}

fn start_both(medusa: &Medusa, folder: &Path, workers: usize) -> Result<[Side; 2]> {
    let public = folder.join("public");
    fs::create_dir(&public).map_err(Error::io("create", &public))?;
    let file = public.join("4k.bin");
    fs::write(&file, vec![b'm'; FILE_SIZE]).map_err(Error::io("write", &file))?;
    let theirs = nginx::start(folder, &public, workers)?;
    let ours = medusa.start(folder, &[("site.luau", SITE), ("hello.luau", HELLO)], workers)?;
    Ok([ours, theirs])
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
    for side in [theirs, ours] {
        side.press(Load::warm_up(), path)?;
    }
    let load = Load::lasting(options.seconds);
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
    let before = side.cpu_time();
    let counted = side.press(load, path)?;
    Ok(Sample { cpu: side.cpu_time().saturating_sub(before), counted })
}
