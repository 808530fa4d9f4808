//! `bench idle`: memory for each connection that does nothing, beside nginx.
//!
//! Invariant: every number is of a server of its own. What a server once needed it seldom gives back, so a second
//! measurement of the same process would count less than there is.

mod accepted;
mod herd;

use std::sync::Arc;
use std::time::Duration;

use medusa_testkit::Site;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::herd::Herd;
use super::load::{Load, Wrk};
use super::medusa::Medusa;
use super::nginx::Nginx;
use super::report::{Figure, Line, Measured, Report, Row, Sample};
use super::side::{Side, Wire};
use super::tls::Identity;
use super::{Options, medusa, report};
use crate::error::{Error, Result};

/// Connections, unless the user says otherwise.
const CONNECTIONS: u32 = 10_000;
/// Files that client and server need beside the connections.
const OTHER_FILES: u64 = 2000;
/// Memory for one idle connection in the clear: at most so many KiB. Of one that is encrypted, the most is its TLS.
const TARGET: f64 = 2.0;

const BEFORE: Figure = Figure::median("MiB before", "", 1);
const WITH: Figure = Figure::median("MiB with them", "", 1);
const EACH: Figure = Figure::median("KiB for each", "", 2);

/// What is asked for, and how many bytes it has.
const PATH: &str = "/tiny.bin";
const SIZE: usize = 128;

/// A kind of connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    name: &'static str,
    tls: bool,
    /// It has made a request and waits for another; otherwise it has not sent a byte.
    asked: bool,
}

/// Every case, in the order of the report.
const CASES: [Kept; 4] = [
    Kept { name: "plain", tls: false, asked: true },
    Kept { name: "plain-mute", tls: false, asked: false },
    Kept { name: "tls", tls: true, asked: true },
    Kept { name: "tls-mute", tls: true, asked: false },
];

/// The setting that all measurements share.
#[derive(Debug)]
struct Idle {
    medusa: Medusa,
    site: Site,
    identity: Arc<Identity>,
    connections: u32,
}

/// Runs the bench and prints its table.
pub(super) fn run(options: &Options<'_>) -> Result<Vec<Line>> {
    let chosen = options.chosen(&CASES.map(|case| case.name))?;
    let connections = options.given.connections.unwrap_or(CONNECTIONS);
    allow_files(u64::from(connections) + OTHER_FILES)?;
    let site = Site::new().file(&format!("public{PATH}"), vec![b'm'; SIZE]);
    let stage = &Idle {
        medusa: Medusa::build()?,
        identity: Arc::new(Identity::make(site.path())?),
        site,
        connections,
    };
    let cases: Vec<Kept> = CASES.into_iter().filter(|case| chosen.contains(&case.name)).collect();
    let on = |case: Kept, server: &'static str| Measured {
        row: Row::new(case.name, server, ""),
        sample: Box::new(move |seconds| {
            stage.measure(case, server == medusa::NAME, Duration::from_secs(seconds.into()))
        }),
    };
    let measured = cases.iter().flat_map(|&case| ["nginx", medusa::NAME].map(|server| on(case, server)));
    let rows = report::measure(measured.collect(), options)?;
    let lines = cases.iter().zip(rows.chunks(2)).map(|(case, rows)| line(case, &rows[0], &rows[1])).collect();
    let Options { seconds, rounds, .. } = options;
    let held = format!("{connections} connections, held for {seconds} s, {rounds} rounds");
    Report { notes: vec![medusa_testkit::Nginx::version(), held], rows, lines }.finish(options)
}

fn line(case: &Kept, theirs: &Row, ours: &Row) -> Line {
    let [ours, theirs] = [ours, theirs].map(|row| row.value(&EACH));
    Line {
        what: format!("an idle connection, {}", case.name),
        ours: format!("{ours:.1} KiB"),
        theirs: format!("nginx {theirs:.1} KiB"),
        ratio: format!("{:.2}", ours / theirs),
        target: (!case.tls).then(|| (format!("at most {TARGET:.0} KiB"), ours <= TARGET)),
    }
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

impl Idle {
    /// Starts a server, and measures it while the connections are held for this time.
    fn measure(&self, case: Kept, is_ours: bool, hold: Duration) -> Result<Sample> {
        let side = if is_ours {
            self.medusa.start(self.script(case), self.wire(case))
        } else {
            self.start_nginx(case)
        };
        side.press(&Load::Wrk(Wrk::USUAL), 1, PATH)?;
        let before = side.mebibytes();
        let herd = Herd::open(&side, self.connections, case.asked)?;
        accepted::wait(&side, &herd, self.connections)?;
        herd.hold(&side, hold)?;
        let with = side.mebibytes();
        drop(herd);
        side.stop();
        let each = (with - before) * 1024.0 / f64::from(self.connections);
        Ok(vec![(BEFORE, before), (WITH, with), (EACH, each)])
    }

    fn wire(&self, case: Kept) -> Wire {
        if case.tls { Wire::Tls(Arc::clone(&self.identity)) } else { Wire::Plain }
    }

    fn start_nginx(&self, case: Kept) -> Side {
        let public = self.site.at("public");
        // One worker may accept them all.
        let connections = self.connections + 100;
        Nginx { connections, wire: self.wire(case), ..Nginx::new(&public) }.start()
    }

    fn script(&self, case: Kept) -> Site {
        let tls = if case.tls { r#", tls = { cert = "cert.pem", key = "key.pem" }"# } else { "" };
        Site::script(&format!(
            r#"-- The site of `cargo xtask bench idle`.
web = medusa.http.server {{ listen = "127.0.0.1:0", limits = {{ idle = 600, head = 600, handshake = 600 }}{tls} }}
web:mount("/", medusa.handler.files("{}"))
"#,
            self.site.at("public").display()
        ))
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
