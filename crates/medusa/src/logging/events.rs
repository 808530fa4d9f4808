//! Events of the whole program on their way to an output: turned into words, and as often as their [`RateLimit`] lets
//! them.
//!
//! Standard error and the sinks of scripts each have a rate of their own, for each is to have other levels.
//!
//! **Invariant:** no lock is held while an event becomes text, for that runs code of others, in which more may happen.

use std::sync::{Arc, mpsc};
use std::time::{Instant, SystemTime};
use std::{io, thread};

use medusa_proto::event::{self, Level};
use parking_lot::Mutex;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::rate::{EVERY, Occurrence, RateLimit, Verdict};
use super::words::EventText;

/// A destination of events. Escaping them is its own affair: a line needs it, a JSON string has its own.
pub(super) trait Output: Send + Sync + 'static {
    fn put(&self, event: &event::Event<'_>);
}

/// The layer of a subscriber that hands events to an output.
#[derive(Debug)]
pub(super) struct Events<O>(Arc<Inner<O>>);

#[derive(Debug)]
struct Inner<O> {
    output: O,
    rate: Mutex<RateLimit>,
    reporter: Reporter,
}

impl<O: Output> Events<O> {
    pub(super) fn new(output: O, reporter: Reporter) -> Self {
        Self(Arc::new(Inner { output, rate: Mutex::new(RateLimit::new(Instant::now())), reporter }))
    }

    pub(super) fn counts(&self) -> Arc<dyn ReportRepeats> {
        Arc::clone(&self.0) as Arc<dyn ReportRepeats>
    }
}

impl<S: Subscriber, O: Output> Layer<S> for Events<O> {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let words = EventText::of(event);
        let metadata = event.metadata();
        let (level, part) = (level(*metadata.level()), part(metadata.target()));
        let callsite = &metadata.callsite();
        let occurrence = Occurrence { callsite, place: &words.place, message: &words.message, level, part };
        let verdict = self.0.rate.lock().judge(&occurrence, Instant::now());
        match verdict {
            Verdict::Count => self.0.reporter.wake(),
            Verdict::Write => {
                let message = &words.whole();
                let request = words.request.as_deref();
                let time = SystemTime::now().into();
                self.0.output.put(&event::Event { time, level, part, message, request });
            }
        }
    }
}

/// Something that counts what it does not write.
pub(super) trait ReportRepeats: Send + Sync {
    /// Tells what is due; everything, if it is the last time. Returns whether more will be.
    fn report(&self, is_last: bool) -> bool;
}

impl<O: Output> ReportRepeats for Inner<O> {
    fn report(&self, is_last: bool) -> bool {
        let (reports, has_unreported) = {
            let mut rate = self.rate.lock();
            (rate.report(Instant::now(), is_last), rate.has_unreported())
        };
        for report in reports {
            let (level, part, message) = (report.level, &*report.part, &*report.message);
            let time = SystemTime::now().into();
            self.output.put(&event::Event { time, level, part, message, request: None });
        }
        has_unreported
    }
}

/// Has counts told when they are due, on a thread that sleeps while there are none.
#[derive(Clone, Debug)]
pub(super) struct Reporter(mpsc::SyncSender<()>);

impl Reporter {
    /// And what wakes its thread, once [started](start_reporting).
    pub(super) fn new() -> (Self, mpsc::Receiver<()>) {
        let (wake, woken) = mpsc::sync_channel(1);
        (Self(wake), woken)
    }

    fn wake(&self) {
        // Full: it is awake already.
        let _ = self.0.try_send(());
    }
}

/// Starts the thread that tells the counts of `all`.
///
/// # Errors
///
/// The system refused the thread.
pub(super) fn start_reporting(
    woken: mpsc::Receiver<()>,
    all: &'static [Arc<dyn ReportRepeats>],
) -> io::Result<()> {
    let report = move || {
        while woken.recv().is_ok() {
            loop {
                thread::park_timeout(EVERY); // nobody unparks it
                if all.iter().filter(|counts| counts.report(false)).count() == 0 {
                    break;
                }
            }
        }
    };
    thread::Builder::new().name("medusa-log-counts".to_owned()).spawn(report).map(drop)
}

/// `medusa_http::driver` is `http` for those who read the log: which part, not which module.
fn part(target: &str) -> &str {
    let part = target.split("::").next().unwrap_or(target);
    part.strip_prefix("medusa_").unwrap_or(part)
}

pub(super) const fn level(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::TRACE => Level::Trace,
    }
}
