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
use super::Options;
use super::compare::{self, Subject};
use super::medusa::Medusa;
use super::nginx::Nginx;
use super::report::{Line, Report};
use super::side::{Side, Wire};
use super::tls::{self, Identity};
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
}

/// Runs the bench and prints its table.
pub(super) fn run(options: &Options<'_>) -> Result<Vec<Line>> {
    let groups = options.chosen(&GROUPS)?;
    let other = options.given.against.as_deref().map(Medusa::other).transpose()?;
    let cases = CASES.into_iter().filter(|case| groups.contains(&case.group));
    let cases: Vec<Case> =
        cases.map(|case| if other.is_some() { case.against_another_build() } else { case }).collect();
    let medusa = Medusa::build()?;
    let site = Site::new();
    let pairs = start(&medusa, other.as_ref(), &site, &cases)?;
    let mut notes = vec![match &options.given.against {
        Some(program) => format!("another build, {}", program.display()),
        None => medusa_testkit::Nginx::version(),
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
    Report { notes, rows, lines }.finish(options)
}

/// Starts both servers with every listener that a case needs.
fn start(medusa: &Medusa, other: Option<&Medusa>, site: &Site, cases: &[Case]) -> Result<Vec<Pair>> {
    site::write_documents(site);
    let public = site.at("public");
    let mut pairs = Vec::new();
    let compress = cases.iter().any(|case| case.group == "compress");
    let listeners = [Listener::Plain, Listener::H2c, Listener::Tls].into_iter();
    for listener in listeners.filter(|of| cases.iter().any(|case| case.listener == *of)) {
        let wire = match listener {
            Listener::Plain => Wire::Plain,
            Listener::H2c => Wire::H2c,
            Listener::Tls => Wire::Tls(Arc::new(Identity::make(site.path())?)),
        };
        let start = |medusa: &Medusa| medusa.start(site::scripts(&public, listener, compress), wire.clone());
        let theirs = if let Some(other) = other {
            start(other)
        } else {
            let nginx = Nginx { wire: wire.clone(), ..Nginx::new(&public) };
            nginx.start()
        };
        pairs.push(Pair { listener, ours: start(medusa), theirs });
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
        theirs: (!case.alone).then_some(&pair.theirs),
        press: Box::new(|side, seconds| side.press(&case.load, seconds, case.path)),
    }
}

/// Asks both once, and tells what is worth a note.
fn rehearse(case: &Case, pair: &Pair) -> Result<Option<String>> {
    let Case { name, path, answer, alone, .. } = *case;
    let mut sides = (!alone).then_some(&pair.theirs).into_iter().chain([&pair.ours]);
    let expected = match answer {
        Answer::Counted => {
            sides.try_for_each(|side| side.press(&case.load, 1, path).map(drop))?;
            return Ok(None);
        }
        Answer::Same => (200, None),
        Answer::Missing => (404, None),
        Answer::Coded(coding) => (200, Some(coding)),
    };
    let mut bodies = Vec::new();
    for side in sides {
        let answer = get(side, path, expected.1);
        let got = (answer.status, answer.header("content-encoding"));
        if got != expected {
            return Err(side.fault(&format!("answered {got:?} for {path}, and must {expected:?}")));
        }
        bodies.push((side.name, answer.body));
    }
    let sizes = bodies.iter().map(|(name, body)| format!("{name} sends {} bytes", body.len()));
    let sizes = sizes.collect::<Vec<_>>().join(", ");
    if answer == Answer::Same && bodies.iter().any(|(_, body)| *body != bodies[0].1) {
        return Err(Error::Found(format!("for {path}, both must send the same body, but {sizes}")));
    }
    let is_told = alone || matches!(answer, Answer::Coded(_));
    Ok(is_told.then(|| format!("{name}: {sizes}{}", if alone { "; nginx cannot" } else { "" })))
}

fn get(side: &Side, path: &str, coding: Option<&str>) -> Response {
    let headers: Vec<_> = coding.map(|coding| ("Accept-Encoding", coding)).into_iter().collect();
    let mut client = Client::connect(side.address);
    if let Some(identity) = side.identity() {
        client = client.encrypted(&identity.authority, tls::NAME);
    }
    client.give_up_after(PATIENCE);
    client.read_at_most(MOST);
    client.request("GET", path, &headers)
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
