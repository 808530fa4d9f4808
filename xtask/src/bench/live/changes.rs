//! The changes: statements of one session, each of which publishes a generation.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use medusa_testkit::{Client, Server, Session, Site};
use serde_json::Value;

use super::long_lived::{ECHOES, TICKS};
use crate::bench::side::Side;
use crate::error::{Error, Result};

/// The number of changes in a round.
pub(super) const CHANGES: u32 = 1_000;
/// The share of the load's time over which they are spread: the last one is to be made before that is over.
const SPREAD: f64 = 0.9;

const ECHO: &str = "function(req)
\treturn req:websocket(function(ws) for message in ws do ws:send(message) end end)
end";
const TICK: &str = "function()
\treturn { body = function(write) while true do write(\"tick\\n\") medusa.sleep(0.1) end end }
end";

/// The site, with so many mounts. The two of each thing that is changed differ in what they answer.
pub(super) fn site(mounts: u32) -> Site {
    let ([echo, echo_file], [ticks, ticks_file]) = (ECHOES, TICKS);
    let changed = 8;
    let script = format!(
        r#"-- The site of `cargo xtask bench live`.
web = medusa.http.server {{ listen = "127.0.0.1:0", log = medusa.log.file("0.log", {{ rotate = "16MB", keep = 1 }}) }}
fn = web:mount("/function", function() return "0" end)
script = web:mount("/script", medusa.handler.script("0.luau"))
files = web:mount("/files/", medusa.handler.files("0"))
wrapped = web:mount("/wrapped", medusa.handler.headers({{ set = {{ change = "0" }} }}, medusa.handler.script("0.luau")))
ticks = 0
timer = medusa.every(0.05, function() ticks += 1 end)
web:mount("{echo}", {ECHO})
web:mount("{echo_file}", medusa.handler.script("echo.luau"))
web:mount("{ticks}", {TICK})
web:mount("{ticks_file}", medusa.handler.script("ticks.luau"))
for i = {changed} + 1, {mounts} do
    web:mount("/part/" .. i .. "/{{name}}", function(req) return req.params.name end)
end
"#
    );
    let site = Site::script(&script)
        .file("echo.luau", format!("return {ECHO}\n"))
        .file("ticks.luau", format!("return {TICK}\n"));
    ["0", "1"].into_iter().fold(site, |site, version| {
        site.file(&format!("{version}.luau"), format!("return function() return \"{version}\" end\n"))
            .file(&format!("{version}/page.txt"), version)
    })
}

/// A session on the control socket that changes the site.
pub(super) struct Changes {
    session: Session,
    /// Where a listener comes and goes.
    spare: SocketAddr,
    made: usize,
}

impl Changes {
    /// Begins the session.
    pub(super) fn begin(server: &Server, spare: SocketAddr) -> Self {
        Self { session: Session::begin(server), spare, made: 0 }
    }

    /// Makes the changes of a round within so many `seconds`, before it is `over`. Returns how many µs each took to be
    /// published.
    pub(super) fn make(&mut self, side: &Side, seconds: u32, over: &AtomicBool) -> Result<Vec<f64>> {
        let begun = Instant::now();
        let each = Duration::from_secs(seconds.into()).mul_f64(SPREAD) / CHANGES;
        let mut published = Vec::new();
        for number in 0..CHANGES {
            // An old permission to go on may be left from elsewhere.
            while let Some(left) = (each * number).checked_sub(begun.elapsed()).filter(|left| !left.is_zero())
            {
                thread::park_timeout(left);
            }
            if over.load(Ordering::Relaxed) {
                let why = format!(
                    "{number} of {CHANGES} changes fit into {seconds} s of load; give it more --seconds"
                );
                return Err(Error::Found(why));
            }
            published.push(self.make_one(side)?);
        }
        Ok(published)
    }

    fn make_one(&mut self, side: &Side) -> Result<f64> {
        let change = Change::new(self.made, self.spare);
        self.made += 1;
        let wrong = |why: String| side.fault(&format!("did not do `{}`: {why}", change.statement));
        let done = self.run(&change.statement).map_err(wrong)?;
        let report = done["report"].as_str().unwrap_or_default();
        let micros = micros_in(report).ok_or_else(|| wrong(format!("it answered {done}")))?;
        if let Some((path, expected)) = change.seen {
            let address = if path == SPARE { self.spare } else { side.address };
            let answer = Client::connect(address).get(path);
            let seen = answer.header("change").map_or_else(|| answer.text(), str::to_owned);
            if answer.status != 200 || seen != expected {
                return Err(wrong(format!(
                    "{path} answered {} with {seen:?}, not {expected:?}",
                    answer.status
                )));
            }
        }
        Ok(micros)
    }

    /// Runs a statement; the last reply.
    fn run(&mut self, statement: &str) -> std::result::Result<Value, String> {
        self.session.eval(statement);
        loop {
            let reply = self.session.reply();
            match reply["reply"].as_str() {
                Some("done") => return Ok(reply),
                Some("output" | "waiting") => {}
                _ => return Err(reply.to_string()),
            }
        }
    }
}

/// What the added listener is asked for.
const SPARE: &str = "/spare";

/// One change.
struct Change {
    statement: String,
    /// What answers with what from then on.
    seen: Option<(&'static str, String)>,
}

/// The kinds of changes: a statement, what is asked for to see it done, and what the answer has. `TURN` is a number that
/// is another each time, `VERSION` is 1 and 0 in turns.
const KINDS: [(&str, Option<(&str, &str)>); 8] = [
    ("fn:replace(function() return 'TURN' end)", Some(("/function", "TURN"))),
    ("script:replace(medusa.handler.script('VERSION.luau'))", Some(("/script", "VERSION"))),
    ("files:replace(medusa.handler.files('VERSION'))", Some(("/files/page.txt", "VERSION"))),
    (
        "wrapped:replace(medusa.handler.headers({ set = { change = 'TURN' } }, medusa.handler.script('0.luau')))",
        Some(("/wrapped", "TURN")),
    ),
    ("web:set_log(medusa.log.file('VERSION.log', { rotate = '16MB', keep = 1 }))", None),
    ("timer:cancel() timer = medusa.every(0.05, function() ticks += 1 end)", None),
    (
        "spare = medusa.http.server { listen = 'SPARE', name = 'spare' } \
         spare:mount('/spare', function() return 'TURN' end)",
        Some((SPARE, "TURN")),
    ),
    ("spare:remove()", None),
];

impl Change {
    /// The change of this number: of each kind in turn, each with the other version of what it puts on.
    fn new(number: usize, spare: SocketAddr) -> Self {
        let turn = number / KINDS.len() + 1;
        let (statement, seen) = KINDS[number % KINDS.len()];
        let fill = |text: &str| {
            let text = text.replace("TURN", &turn.to_string()).replace("SPARE", &spare.to_string());
            text.replace("VERSION", &(turn % 2).to_string())
        };
        Self { statement: fill(statement), seen: seen.map(|(path, expected)| (path, fill(expected))) }
    }
}

/// The time in `generation 8: + /hello  (2 of 2 workers, 41 µs)`.
fn micros_in(report: &str) -> Option<f64> {
    let (before, _) = report.rsplit_once(" µs)")?;
    before.rsplit_once(", ")?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_publication_is_in_its_report() {
        assert_eq!(micros_in("generation 8: + /hello  (2 of 2 workers, 41 µs)"), Some(41.0));
        assert_eq!(micros_in(""), None);
    }

    #[test]
    fn no_change_is_that_before_it() {
        let spare = SocketAddr::from(([127, 0, 0, 1], 1));
        let statement = |number| Change::new(number, spare).statement;
        for number in 0..4 {
            assert_ne!(statement(number), statement(number + KINDS.len()), "{number}");
            assert_ne!(statement(number), statement(number + 1), "{number}");
        }
        assert!(!statement(1).contains('0'), "the script begins with 0: {}", statement(1));
    }
}
