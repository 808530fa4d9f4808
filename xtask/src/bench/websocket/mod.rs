//! `bench websocket`: server CPU for each echoed message, beside nginx with lua-resty-websocket.
//!
//! nginx itself speaks no WebSocket; Debian's nginx with LuaJIT and this library is the nearest to a handler in our
//! script. It does not check that text is UTF-8, which RFC 6455 §8.1 asks of us, so the comparison leans its way.

mod client;

use self::client::Echo;
use super::compare::{self, Goal, Report, Subject, Unit};
use super::medusa::Medusa;
use super::nginx::Nginx;
use super::report::{Line, Machine};
use super::side::{Side, Wire};
use super::{Options, nginx};
use crate::error::{Error, Result};

const SITE: &str = r#"-- The site of `cargo xtask bench websocket`.
web = medusa.http.server { listen = "127.0.0.1:0" }
web:mount("/echo", medusa.handler.script("echo.luau"))
"#;
const ECHO: &str = "\
return function(req)
\treturn req:websocket(function(ws)
\t\tfor message in ws do
\t\t\tws:send(message)
\t\tend
\tend)
end
";
/// Room for the connections of the bench, in each of nginx's workers.
const CONNECTIONS: u32 = 1024;

/// What is echoed: a chat's pace, a busy feed, and bulk.
const CASES: [(&str, Echo); 3] = [
    ("64 bytes", Echo { size: 64, in_flight: 1 }),
    ("64 bytes, 16 in flight", Echo { size: 64, in_flight: 16 }),
    ("16 KiB, 4 in flight", Echo { size: 16 * 1024, in_flight: 4 }),
];

/// Runs the bench and prints its table.
pub(super) fn run(options: &Options) -> Result<Vec<Line>> {
    let medusa = Medusa::build()?;
    let folder = tempfile::tempdir().map_err(Error::io("create", "a temporary folder"))?;
    let machine = Machine::look();
    let files = [("site.luau", SITE), ("echo.luau", ECHO)];
    let ours = medusa.start(&folder.path().join("medusa"), &files, machine.cores, Wire::Plain)?;
    let nginx = Nginx {
        public: folder.path(),
        workers: machine.cores,
        connections: CONNECTIONS,
        wire: Wire::Plain,
        access_log: None,
    };
    let theirs = nginx.start(&folder.path().join("nginx"))?;
    for side in [&theirs, &ours] {
        client::rehearse(side)?;
    }
    let subjects: Vec<Subject<'_>> =
        CASES.iter().map(|(name, echo)| subject(name, *echo, &ours, &theirs)).collect();
    let findings = compare::measure(&subjects, options)?;
    drop(subjects);
    theirs.stop()?;
    ours.stop()?;
    let notes = vec!["the neighbour: lua-resty-websocket in nginx, which does not check UTF-8".to_owned()];
    let report = Report { machine, neighbour: nginx::version()?, notes, findings };
    compare::finish(&report, options)
}

fn subject<'a>(name: &'static str, echo: Echo, ours: &'a Side, theirs: &'a Side) -> Subject<'a> {
    Subject {
        name,
        load: echo.to_string(),
        unit: Unit::Message,
        goal: Goal::Open,
        ours,
        theirs: Some(theirs),
        press: Box::new(move |side, seconds| echo.press(side, seconds)),
    }
}
