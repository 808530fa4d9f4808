//! `bench http`: server CPU for each unit of work, beside nginx.
//!
//! Invariant: all cases are tried once before any load: both servers must answer as the case says, with the same bytes
//! where it says so. What differs then is the server alone, and a server that lacks something says so in the first
//! second, not in the last minute.

mod cases;
mod site;

use std::sync::Arc;
use std::time::Duration;

use medusa_testkit::{Client, Response, Site};

use self::cases::{Answer, CASES, Case, GROUPS, Listener};
use super::compare::{self, Subject};
use super::medusa::Medusa;
use super::nginx::Nginx;
use super::report::{Line, Machine, Report};
use super::side::{Side, Wire};
use super::tls::{self, Identity};
use super::{Options, nginx};
use crate::error::{Error, Result};

/// The largest answer that is compared, in bytes: the largest file and its head.
const MOST: usize = 101_000_000;
/// The time that the largest answer may take to begin or go on.
const PATIENCE: Duration = Duration::from_secs(30);

/// Both servers with the same listener.
#[derive(Debug)]
struct Pair {
    listener: Listener,
    ours: Side,
    theirs: Side,
    /// Our script.
    _scripts: Site,
}

/// Runs the bench and prints its table.
pub(super) fn run(options: &Options<'_>) -> Result<Vec<Line>> {
    let groups = options.chosen(&GROUPS)?;
    let mut cases: Vec<Case> = CASES.into_iter().filter(|case| groups.contains(&case.group)).collect();
    let other = options.given.against.as_deref().map(Medusa::other).transpose()?;
    if other.is_some() {
        cases.iter_mut().for_each(Case::against_another_build);
    }
    let medusa = Medusa::build()?;
    let site = Site::new();
    let machine = Machine::look();
    let pairs = start(&medusa, other.as_ref(), &site, machine.cores, &cases)?;
    let mut notes = vec![match &options.given.against {
        Some(program) => format!("another build, {}", program.display()),
        None => nginx::version()?,
    }];
    for case in &cases {
        notes.extend(rehearse(case, pair_of(&pairs, case)?)?);
    }
    notes.extend(tls_notes(&pairs)?);
    let subjects: Vec<Subject<'_>> =
        cases.iter().map(|case| Ok(subject(case, pair_of(&pairs, case)?))).collect::<Result<_>>()?;
    let rows = compare::rows(&subjects, options)?;
    let lines = compare::lines(&subjects, &rows);
    drop(subjects);
    for pair in pairs {
        pair.theirs.stop();
        pair.ours.stop();
    }
    notes.push(options.spoken_each());
    Report { machine, notes, rows, lines }.finish(options)
}

/// Starts both servers with every listener that a case needs.
fn start(
    medusa: &Medusa,
    other: Option<&Medusa>,
    site: &Site,
    workers: usize,
    cases: &[Case],
) -> Result<Vec<Pair>> {
    site::write_documents(site);
    let public = site.at("public");
    let mut pairs = Vec::new();
    for (listener, name) in [(Listener::Plain, "plain"), (Listener::H2c, "h2c"), (Listener::Tls, "tls")] {
        if cases.iter().all(|case| case.listener != listener) {
            continue;
        }
        let wire = match listener {
            Listener::Plain => Wire::Plain,
            Listener::H2c => Wire::H2c,
            Listener::Tls => Wire::Tls(Arc::new(Identity::make(site.path())?)),
        };
        let compress = cases.iter().any(|case| case.group == "compress");
        let scripts = site::scripts(&public, listener, compress);
        let ours = medusa.start(&scripts, workers, wire.clone());
        let theirs = if let Some(other) = other {
            other.start(&scripts, workers, wire)
        } else {
            let nginx = Nginx { wire, ..Nginx::new(&public, workers) };
            nginx.start(&site.at(&format!("nginx-{name}")))?
        };
        pairs.push(Pair { listener, ours, theirs, _scripts: scripts });
    }
    Ok(pairs)
}

fn pair_of<'a>(pairs: &'a [Pair], case: &Case) -> Result<&'a Pair> {
    let pair = pairs.iter().find(|pair| pair.listener == case.listener);
    pair.ok_or_else(|| Error::Found(format!("no server has the listener of the case {}", case.name)))
}

fn subject<'a>(case: &'a Case, pair: &'a Pair) -> Subject<'a> {
    Subject {
        name: case.name,
        load: case.load.to_string(),
        unit: case.unit,
        goal: case.goal,
        ours: &pair.ours,
        theirs: case.answer.of_both().then_some(&pair.theirs),
        press: Box::new(|side, seconds| side.press(&case.load, seconds, case.path)),
    }
}

/// Asks both once, and tells what is worth a note.
fn rehearse(case: &Case, pair: &Pair) -> Result<Option<String>> {
    let Pair { ours, theirs, .. } = pair;
    match case.answer {
        Answer::Same => same(case, theirs, ours),
        Answer::Missing => {
            for side in [theirs, ours] {
                let status = get(side, case.path, &[]).status;
                if status != 404 {
                    return Err(side.fault(&format!("answered {status} for {}, not 404", case.path)));
                }
            }
            Ok(None)
        }
        Answer::Coded(coding) => {
            let [theirs, ours] = [coded(theirs, case.path, coding)?, coded(ours, case.path, coding)?];
            Ok(Some(format!("{}: {} sends {theirs} bytes, medusa {ours}", case.name, pair.theirs.name)))
        }
        Answer::OursCoded(coding) => {
            let ours = coded(ours, case.path, coding)?;
            Ok(Some(format!("{}: medusa sends {ours} bytes; nginx does not know {coding}", case.name)))
        }
        Answer::OursAlone => Ok(Some(format!("{}: nginx cannot", case.name))),
        Answer::Counted => {
            for side in [theirs, ours] {
                side.press(&case.load, 1, case.path)?;
            }
            Ok(None)
        }
    }
}

/// Both must answer 200 with the same body.
fn same(case: &Case, theirs: &Side, ours: &Side) -> Result<Option<String>> {
    let expected = get(theirs, case.path, &[]);
    let got = get(ours, case.path, &[]);
    if expected.status == 200 && got.status == 200 && expected.body == got.body {
        return Ok(None);
    }
    Err(Error::Found(format!(
        "for {}, {} answered {} with {} bytes and medusa {} with {} bytes; both must answer 200 with the same body",
        case.path,
        theirs.name,
        expected.status,
        expected.body.len(),
        got.status,
        got.body.len()
    )))
}

/// The size of the body in this coding.
fn coded(side: &Side, path: &str, coding: &str) -> Result<usize> {
    let response = get(side, path, &[("Accept-Encoding", coding)]);
    if response.status == 200 && response.header("content-encoding") == Some(coding) {
        return Ok(response.body.len());
    }
    Err(side.fault(&format!(
        "was asked for {path} in {coding} and answered {} in {}",
        response.status,
        response.header("content-encoding").unwrap_or("no coding")
    )))
}

fn get(side: &Side, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut client = Client::connect(side.address);
    if let Some(identity) = side.identity() {
        client = client.encrypted(&identity.authority, tls::NAME);
    }
    client.give_up_after(PATIENCE);
    client.read_at_most(MOST);
    client.request("GET", path, headers)
}

/// The notes that the encrypted cases rest on: the ratio of two servers that do not compute the same would mislead.
fn tls_notes(pairs: &[Pair]) -> Result<Vec<String>> {
    let Some(pair) = pairs.iter().find(|pair| pair.listener == Listener::Tls) else {
        return Ok(Vec::new());
    };
    let agreed = |side: &Side| tls::agreed_with_openssl(side.address);
    Ok(vec![
        format!(
            "TLS: ECDSA P-256 certificate; the load generators, and nginx, on {}",
            tls::openssl_version()?
        ),
        format!(
            "TLS of wrk and h2load with {}: {}; with medusa: {}",
            pair.theirs.name,
            agreed(&pair.theirs)?,
            agreed(&pair.ours)?
        ),
    ])
}
