//! The server's own log, on standard error, and panics in it; and the same to the sinks a script asked for.
//!
//! What an event says may come from a client or a script. Here, and not where events happen, it is cut to a length
//! ([`words`]), written no more often than it tells something new ([`rate`]), and escaped ([`stderr`]).

use std::backtrace::Backtrace;
use std::panic::{self, PanicHookInfo};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::term;
use events::{Events, ReportRepeats, Reporter};
use stderr::Stderr;
pub(crate) use to_sinks::hand_to;

mod events;
mod rate;
mod stderr;
mod to_sinks;
mod words;

/// The time that the end of the process waits for somebody to read standard error.
const LAST: Duration = Duration::from_secs(1);

/// The counts of what is not written: one for standard error and one for the sinks. There is one subscriber in a
/// process.
static COUNTS: OnceLock<[Arc<dyn ReportRepeats>; 2]> = OnceLock::new();

/// The running log. Dropping it writes what is queued and tells what was counted, for at most [`LAST`].
pub(crate) struct Logging {
    stderr: Stderr,
}

/// Tells at once what was counted and would be told soon: before logs are closed.
pub(crate) fn tell_counts() {
    for counts in COUNTS.get().into_iter().flatten() {
        counts.report(true);
    }
}

impl Logging {
    /// Sends the log of the whole process to standard error, as far as `level` lets it through; panics included.
    pub(crate) fn start(level: &str) -> Result<Self, String> {
        let filter = parse_level(level)?;
        let failed = |error: &dyn std::fmt::Display| format!("the log cannot be started: {error}");
        let stderr = Stderr::start(term::stderr_has_colour()).map_err(|error| failed(&error))?;
        let (reporter, woken) = Reporter::new();
        let lines = Events::new(stderr.clone(), reporter.clone());
        let sinks = Events::new(to_sinks::ToSinks, reporter);
        let counts = COUNTS.get_or_init(|| [lines.counts(), sinks.counts()]);
        events::start_reporting(woken, counts).map_err(|error| failed(&error))?;
        tracing_subscriber::registry()
            .with(lines.with_filter(filter))
            .with(sinks.with_filter(to_sinks::SinkLevel))
            .try_init()
            .map_err(|error| failed(&error))?;
        panic::set_hook(Box::new(log_panic));
        Ok(Self { stderr })
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        tell_counts();
        let lost = self.stderr.close(LAST);
        if lost > 0 {
            term::note(format_args!(
                "{lost} events of this log were lost: they came faster than they were read"
            ));
        }
    }
}

/// Reads a level or a list of directives, such as `info` or `warn,medusa_net=debug`.
pub(crate) fn parse_level(level: &str) -> Result<EnvFilter, String> {
    const USE: &str =
        "use `error`, `warn`, `info`, `debug`, `trace` or `off`, or a list like `warn,medusa_net=debug`";
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let is_part = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-:".contains(&byte))
    };
    let mut parts = Vec::new();
    for word in level.split(',').filter(|word| !word.contains('[')) {
        let part = word.split_once('=').map(|(part, _)| part);
        match part {
            // To the filter, any other word would be a part of the program, at its most talkative.
            None if !is_level(word) => return Err(format!("{word:?} is no level; {USE}")),
            Some(part) if !is_part(part) => return Err(format!("{part:?} is no part of a program; {USE}")),
            // The last one would hold.
            None if parts.contains(&None) => return Err(format!("{word:?} is a second level; {USE}")),
            Some(part) if parts.contains(&Some(part)) => {
                return Err(format!("{word:?} is a second level of {part:?}; {USE}"));
            }
            part => parts.push(part),
        }
    }
    EnvFilter::builder().parse(level).map_err(|error| format!("{error}; {USE}"))
}

/// A panic is an error of ours. Its task ends, the server goes on, and this line is all that is seen of it.
fn log_panic(info: &PanicHookInfo<'_>) {
    let current = thread::current();
    let thread = current.name().unwrap_or("unnamed");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let message = info.payload_as_str().unwrap_or("a value that is not text");
    tracing::error!(thread, place, "panic: {message}");
    if tracing::enabled!(Level::DEBUG) {
        tracing::debug!("backtrace of the panic:\n{}", Backtrace::force_capture());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_none_is_told_with_those_that_are() {
        assert!(parse_level("info").is_ok());
        assert!(parse_level("warn,medusa_net=debug").is_ok());
        assert!(parse_level("off").is_ok() && parse_level("WARN,medusa_net=debug").is_ok());
        assert!(parse_level("medusa_net[span]=debug,medusa_net=warn,info").is_ok());
        for level in
            ["medusa_net=loud", "loud", "", "info,loud", "medusa_net", "warning", "=info", "info,,warn"]
        {
            assert!(parse_level(level).expect_err(level).contains("`debug`"), "{level}");
        }
    }
}
