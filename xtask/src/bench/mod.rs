//! `cargo xtask bench`: measurements that compare, each in one run on one machine.
//!
//! A number from another day or another machine says little; so each bench runs what it compares in turn and reports
//! the ratio. What benches share: [`load`] drives a server and reads what the load generator counted, [`nginx`] and
//! [`medusa`] start servers, [`side`] is such a server, [`report`] has the parts of every report. A new bench is a
//! module beside [`http`] and [`preempt`], and a line in [`BENCHES`].

mod http;
mod load;
mod medusa;
mod nginx;
mod preempt;
mod report;
mod side;

use std::path::PathBuf;

use crate::cli::{Arguments, Command};
use crate::error::{Error, Result};

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "bench",
    usage: "NAME [OPTIONS]",
    summary: "Measure in comparison, in the same run on the same machine",
    help: "\
Benches:
  http     Server CPU per request, beside Debian's nginx: a 4 KB file, and a script handler (Luau
           here, LuaJIT there). Needs the packages wrk, nginx and libnginx-mod-http-lua.
  preempt  What runaway scripts cost everyone else: requests per second and latency of a good
           handler, alone and beside scripts that never end. Needs the package wrk.
(`cargo xtask ci packages` installs the packages when run as root.)

Options:
  --rounds N    Rounds; one round measures everything that is compared once, in turn. Default 5
  --seconds N   Seconds of each stretch of load. Default 5
  --json FILE   Also write every sample to FILE

The load is `wrk -t2 -c64`. Servers run as release builds with one worker per core and no access
log. An answer that is not 2xx, or a socket error, fails the run. The machine should have nothing
else to do.

http: CPU per request is what all processes of a server used (user and system time,
/proc/PID/stat) divided by the requests wrk counted: it does not depend on how busy wrk keeps the
machine, as requests per second do when server and load share the cores. The order of the two
servers is swapped every round. The default run takes under two minutes.

preempt: wrk presses on a handler from a file that returns \"ok\". Beside it, one after the other:
  nobody            the latency to compare with
  inline handler    4 clients ask for a `while true do end` in the main VM, again and again
  script handler    4 clients do the same with a handler from a file, in the workers' own VMs;
                    which workers their connections meet is up to the kernel
  timer             medusa.every(0.1, ...) with a `while true do end`, made by `medusa eval`
  native processes  as many `sh -c 'while :; do :; done'` as the row says: no part of the server
A script that never ends gives way every few milliseconds and is stopped at its budget (1 s of
CPU): \"stopped\" counts these ends, each an answer of 503 or a run of the timer. Any other answer
to the 4 clients fails the run. A request under way when the load ends is waited for, so that it
does not run into the next stretch.
The native processes say what to expect of the machine: whoever spins takes a share of a core from
wrk and the server. One is the measure for the inline handler and the timer, which keep the main
VM's thread busy; as many as there are workers (4 at most) for the script handler. What a row has
above its measure is what the server adds. For the script handler that is a slice of the script at
every turn of the event loop: all requests of a turn wait for it, so p50 rises by some
milliseconds, and 64 connections that each wait for an answer before they ask again ask less often.
The order is reversed every round. The default run takes about five minutes.",
    run,
};

/// A bench, by the word that selects it.
type Bench = (&'static str, fn(&Options) -> Result);

/// Every bench, in the order of the help.
const BENCHES: [Bench; 2] = [("http", http::run), ("preempt", preempt::run)];

/// What may be chosen, for every bench.
#[derive(Debug)]
struct Options {
    /// How often everything is measured.
    rounds: u32,
    /// Seconds of each stretch of load.
    seconds: u32,
    /// Where every sample is written.
    json: Option<PathBuf>,
}

impl Options {
    /// The load of the run, for the head of its report.
    fn spoken(&self) -> String {
        format!("{}, {} rounds", load::Load::lasting(self.seconds), self.rounds)
    }
}

fn run(mut arguments: Arguments) -> Result {
    let options = Options {
        rounds: arguments.count("--rounds", 5, 1000)?,
        seconds: arguments.count("--seconds", 5, 3600)?,
        json: arguments.value("--json")?.map(Into::into),
    };
    let name = arguments.word();
    arguments.finish()?;
    let names = BENCHES.map(|(name, _)| name).join(", ");
    let Some(name) = name else {
        return Err(Error::Usage(format!("name a bench; the benches are {names}")));
    };
    match BENCHES.iter().find(|(known, _)| *known == name) {
        Some((_, bench)) => bench(&options),
        None => Err(Error::Usage(format!("there is no bench `{name}`; the benches are {names}"))),
    }
}
