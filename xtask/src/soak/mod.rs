//! `cargo xtask soak`: the real program under scripts that misbehave and clients that attack, while others use it.
//!
//! First the server is used by normal clients alone, which is what *quiet* means; then [`hostile`] makes trouble beside
//! them; then the trouble ends and what the server holds must come back to what it held. [`site`] is what is served,
//! [`normal`] the clients that must not suffer, [`watch`] looks on from outside, [`report`] has the table and the verdict.

mod clients;
mod hostile;
mod normal;
mod report;
mod rng;
mod site;
mod watch;

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Args, value_parser};
use medusa_testkit::{Server, Signal, Site};

use self::clients::Targets;
use self::hostile::Hostile;
use self::normal::Visits;
use self::report::SoakReport;
use self::watch::{Held, Named, Watch, Watched};
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::workspace::{Workspace, runnable};
use crate::{term, threads};

/// Serves normal clients while scripts misbehave and others attack
///
/// Starts the program on a site whose scripts misbehave in every way we know, and attacks it by
/// every kind of hostile client we know, by chance, while normal clients use other mounts. All
/// on 127.0.0.0/8. It fails when the server ends, when a request of a normal client is lost,
/// when their p99 is more than three times that of the quiet before (and more than 100 ms; not with
/// --dev), when its operator is not heard, when it holds 2 GiB more than before, or when memory,
/// descriptors and threads do not come back.
///
/// New ways to misbehave belong into xtask/src/soak/site/bad.luau, new kinds of clients below
/// xtask/src/soak/clients.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Soak {
    /// How long the trouble lasts
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(1..=24 * 60))]
    minutes: u32,
    /// Repeats the choices of a run, which says its seed; not their timing
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The dev profile instead of a release build
    #[arg(long)]
    dev: bool,
}

/// The time that normal clients are alone, of ten parts of the trouble that follows; and the bounds of that.
const QUIET: (u32, Duration, Duration) = (6, Duration::from_secs(5), Duration::from_mins(1));
/// The time that what is held may take to come back: the longest of the server's deadlines for what a client left
/// behind, and the collections of the VMs.
const DRAINS_WITHIN: Duration = Duration::from_secs(90);
/// The time that the server may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(40);
/// The longest line of the server's that is shown, in characters.
const LONGEST_LINE: usize = 200;
/// The number of its last lines that are shown.
const LAST_LINES: usize = 40;
/// The time that CI gives it.
const IN_CI: Duration = Duration::from_mins(1);

impl Soak {
    pub(crate) fn run(&self) -> Result {
        let build = Cmd::cargo("build --locked --package medusa");
        if self.dev { build } else { build.args(["--release"]) }.run()?;
        let program = Workspace::read()?.binary(if self.dev { "debug" } else { "release" }, "medusa");
        let lasts = Duration::from_secs(u64::from(self.minutes) * 60);
        soak(&program, !self.dev, self.seed.unwrap_or_else(seed_of_now), lasts)
    }
}

/// Runs the soak as CI does: a minute, with a `program` of the dev profile.
pub(crate) fn check(program: &Path) -> Result {
    soak(program, false, seed_of_now(), IN_CI)
}

fn seed_of_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn soak(program: &Path, is_release: bool, seed: u64, lasts: Duration) -> Result {
    let stage = Stage::set(program);
    term::note(&format!("soak: seed {seed}, {} of trouble, after the quiet", term::spoken(lasts)));
    let (share, least, most) = QUIET;
    let quiet = stage.quiet((lasts / share).clamp(least, most));
    let before = Held::by(stage.server.pid());
    let hostile = Hostile::default();
    let (tally, watched, log) = stage.trouble(&hostile, seed, lasts);
    let (after, named) = stage.drain(before);
    let report = SoakReport { seed, quiet, tally, before, after, named, watched, hostile };
    term::answer(&report.table());
    let ended = stage.end();
    let mut faults = report.faults(is_release);
    faults.extend(ended.err().map(|error| error.to_string()));
    if faults.is_empty() {
        return Ok(());
    }
    Err(Error::Found(format!(
        "soak: {}\nTo repeat it: cargo xtask soak --seed {seed}\nThe server's last lines:\n{log}",
        faults.join("\n      ")
    )))
}

/// The server and its surroundings.
struct Stage {
    _site: Site,
    server: Server,
    targets: Targets,
    watch: Watch,
}

impl Stage {
    fn set(program: &Path) -> Self {
        let site = site::make();
        let server = runnable(program).serve(site.path()).arg("--workers").arg("2").start();
        let [plain, tls, proxied] = [0, 1, 2].map(|at| server.address_of(at));
        let targets = Targets { plain, tls, proxied, control: server.state().join("control") };
        let watch =
            Watch { pid: server.pid(), program: program.to_owned(), state: server.state().to_owned() };
        Self { _site: site, server, targets, watch }
    }

    /// The normal clients beside what else is done; what that came to.
    fn beside<T>(&self, other: impl FnOnce() -> T) -> (Visits, T) {
        threads::beside(|over| normal::run(self.targets.plain, over), other)
    }

    /// The normal clients alone.
    fn quiet(&self, lasts: Duration) -> Visits {
        // An old permission to go on may be left from elsewhere: it would end this at once.
        let end = Instant::now() + lasts;
        let pause = || {
            while let Some(left) = end.checked_duration_since(Instant::now()) {
                thread::park_timeout(left);
            }
        };
        self.beside(pause).0
    }

    /// The normal clients, and trouble. Returns also the server's last lines, as they were when it died, if it did.
    fn trouble(&self, hostile: &Hostile, seed: u64, lasts: Duration) -> (Visits, Watched, String) {
        let end = Instant::now() + lasts;
        let dead = AtomicBool::new(false);
        let watch = |over: &AtomicBool| self.watch.run(over, &dead, || note_death(hostile));
        let trouble = || threads::beside(watch, || hostile.run(&self.targets, seed, end, &dead));
        let (tally, (watched, ())) = self.beside(trouble);
        (tally, watched, cut(&self.server.stderr().text()))
    }

    /// The normal clients alone, until the server holds no more than it may, or time is up.
    fn drain(&self, before: Held) -> (Held, Named) {
        self.beside(|| self.watch.until_at_most(|named| report::limit(before, named), DRAINS_WITHIN)).1
    }

    fn end(mut self) -> Result {
        self.server.signal(Signal::TERM);
        match self.server.wait_within(ENDS_WITHIN) {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(Error::Found(format!("the server ended with {status}"))),
            None => Err(Error::Found(format!("the server did not end within {ENDS_WITHIN:?} of SIGTERM"))),
        }
    }
}

/// The last lines of a text, each no longer than fits a terminal twice.
fn cut(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    last.iter().map(|line| line.chars().take(LONGEST_LINE).collect::<String>() + "\n").collect()
}

fn note_death(hostile: &Hostile) {
    term::note(&format!("soak: the server has ended; under way: {}", hostile.under_way().join(", ")));
}
