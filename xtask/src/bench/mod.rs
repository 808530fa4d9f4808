//! `cargo xtask bench`: measurements that compare, each in one run on one machine.
//!
//! A number from another day or another machine says little; so each bench runs both sides in turn and reports their
//! ratio. What benches share: [`load`] drives a server and reads what the load generator counted, [`nginx`] and
//! [`medusa`] start the two sides, [`report`] draws and writes. A new bench is a module beside [`http`] and a line in
//! [`run`].

mod http;
mod load;
mod medusa;
mod nginx;
mod report;

use crate::cli::{Arguments, Command};
use crate::error::{Error, Result};

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "bench",
    usage: "http [OPTIONS]",
    summary: "Measure against a neighbour, in the same run on the same machine",
    help: "\
Benches:
  http   Server CPU per request, beside Debian's nginx: a 4 KB file, and a script handler (Luau
         here, LuaJIT there). Needs the packages wrk, nginx and libnginx-mod-http-lua
         (`cargo xtask ci packages` installs them when run as root).

Options of http:
  --rounds N    Rounds for each case; one round loads both servers, in turn. Default 5
  --seconds N   Seconds of load for each server and round. Default 5
  --json FILE   Also write every sample to FILE

CPU per request is what all processes of a server used (user and system time, /proc/PID/stat)
divided by the requests wrk counted: it does not depend on how busy wrk keeps the machine, as
requests per second do when server and load share the cores. Both servers run with one worker
per core and no access log; the order of the two is swapped every round. An answer that is not
2xx, or a socket error, fails the run. The default run takes under two minutes, and the machine
should have nothing else to do.",
    run,
};

fn run(mut arguments: Arguments) -> Result {
    let options = http::Options {
        rounds: arguments.count("--rounds", 5, 1000)?,
        seconds: arguments.count("--seconds", 5, 3600)?,
        json: arguments.value("--json")?.map(Into::into),
    };
    let bench = arguments.word();
    arguments.finish()?;
    match bench.as_deref() {
        Some("http") => http::run(&options),
        Some(other) => Err(Error::Usage(format!("there is no bench `{other}`; the benches are http"))),
        None => Err(Error::Usage("name a bench; the benches are http".to_owned())),
    }
}
