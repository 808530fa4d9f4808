//! `bench websocket`: server CPU for each echoed message, beside nginx with lua-resty-websocket.
//!
//! nginx itself speaks no WebSocket; Debian's nginx with LuaJIT and this library is the nearest to a handler in our
//! script. It does not check that text is UTF-8, which RFC 6455 §8.1 asks of us, so the comparison leans its way.

pub(super) mod client;

use medusa_testkit::Site;

use self::client::Echo;
use super::Options;
use super::compare::{self, Goal, Subject, Unit};
use super::medusa::Medusa;
use super::nginx::Nginx;
use super::report::{Line, Report};
use super::side::{Side, Wire};
use crate::error::Result;

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

/// What is echoed: a chat's pace, a busy feed, and bulk.
const CASES: [(&str, Echo); 3] = [
    ("64 bytes", Echo { size: 64, in_flight: 1 }),
    ("64 bytes, 16 in flight", Echo { size: 64, in_flight: 16 }),
    ("16 KiB, 4 in flight", Echo { size: 16 * 1024, in_flight: 4 }),
];

/// Runs the bench and prints its table.
pub(super) fn run(options: &Options<'_>) -> Result<Vec<Line>> {
    let medusa = Medusa::build()?;
    let ours = medusa.start(Site::script(SITE).file("echo.luau", ECHO), Wire::Plain);
    let site = Site::new();
    let theirs = Nginx::new(site.path()).start();
    for side in [&theirs, &ours] {
        client::rehearse(side)?;
    }
    let subjects: Vec<Subject<'_>> =
        CASES.iter().map(|(name, echo)| subject(name, *echo, &ours, &theirs)).collect();
    let neighbour =
        format!("{}, with lua-resty-websocket, which does not check UTF-8", medusa_testkit::Nginx::version());
    let rows = compare::rows(&subjects, options)?;
    let lines = compare::lines(&subjects, &rows);
    drop(subjects);
    theirs.stop();
    ours.stop();
    Report { notes: vec![neighbour, options.spoken_each()], rows, lines }.finish(options)
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
