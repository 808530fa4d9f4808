//! The server's own log, on standard error, and panics in it; and the same to the sinks a script asked for.
//!
//! **Invariant:** no thread waits for standard error. Lines go through a bounded queue to a thread of their own; when
//! nobody reads them they are lost, counted, and the count is told at the end.

use std::backtrace::Backtrace;
use std::fmt;
use std::io;
use std::panic::{self, PanicHookInfo};
use std::thread;

use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::term;
pub(crate) use to_sinks::hand_to;

mod to_sinks;

/// Lines that may wait; 8,192 of them are a megabyte or so.
const QUEUED_LINES: usize = 8192;

/// The running log. Dropping it writes what is queued, for at most a second or so.
pub(crate) struct Logging {
    lost: ErrorCounter,
    guard: Option<WorkerGuard>,
}

impl Logging {
    /// Sends the log of the whole process to standard error, as far as `level` lets it through; panics included.
    pub(crate) fn start(level: &str) -> Result<Self, String> {
        let filter = parse_level(level)?;
        let writer = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(QUEUED_LINES)
            .thread_name("medusa-log");
        let (writer, guard) = writer.finish(io::stderr());
        let lost = writer.error_counter();
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(term::stderr_has_colour())
            .event_format(Line)
            .with_writer(writer)
            .with_filter(filter);
        tracing_subscriber::registry()
            .with(lines)
            .with(to_sinks::layer())
            .try_init()
            .map_err(|error| format!("the log cannot be started: {error}"))?;
        panic::set_hook(Box::new(log_panic));
        Ok(Self { lost, guard: Some(guard) })
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        drop(self.guard.take());
        let lost = self.lost.dropped_lines();
        if lost > 0 {
            term::note(format_args!(
                "{lost} lines of this log were lost: they came faster than they were read"
            ));
        }
    }
}

/// Reads a level or a list of directives, such as `info` or `warn,medusa_net=debug`.
pub(crate) fn parse_level(level: &str) -> Result<EnvFilter, String> {
    EnvFilter::builder().parse(level).map_err(|error| {
        format!(
            "{error}; use `error`, `warn`, `info`, `debug` or `trace`, or a list like `warn,medusa_net=debug`"
        )
    })
}

/// One line: time, level, the part of the program, and what happened.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let [faint, colour, plain] = if to.has_ansi_escapes() {
            ["\x1b[2m", level_colour(*metadata.level()), "\x1b[0m"]
        } else {
            [""; 3]
        };
        to.write_str(faint)?;
        SystemTime.format_time(&mut to)?;
        let (level, part) = (metadata.level(), part(metadata.target()));
        write!(to, "{plain} {colour}{level:>5}{plain} {faint}{part}:{plain} ")?;
        write_fields(&mut to, event)?;
        writeln!(to)
    }
}

fn write_fields(to: &mut Writer<'_>, event: impl RecordFields) -> fmt::Result {
    DefaultFields::new().format_fields(to.by_ref(), event)
}

/// `medusa_http::conn` is `http` for those who read the log: which part, not which module.
fn part(target: &str) -> &str {
    let part = target.split("::").next().unwrap_or(target);
    part.strip_prefix("medusa_").unwrap_or(part)
}

fn level_colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[1;31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[2m",
    }
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
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panics with it").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_time_level_part_and_message() {
        let memory = Memory::default();
        let writer = memory.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .event_format(Line)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "medusa_http::conn", worker = 1, "hello {}", "you");
        });
        let text = String::from_utf8(memory.0.lock().expect("no test panics").clone()).expect("text");
        let (time, rest) = text.split_at(text.find('Z').expect("the time is UTC"));
        assert!(time.starts_with("20"), "{text}");
        assert_eq!(rest, "Z  WARN http: hello you worker=1\n");
    }

    #[test]
    fn a_level_that_is_none_is_told_with_those_that_are() {
        assert!(parse_level("info").is_ok());
        assert!(parse_level("warn,medusa_net=debug").is_ok());
        assert!(parse_level("medusa_net=loud").expect_err("not a level").contains("`debug`"));
    }
}
