//! Statistics of a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use medusa_proto::status::Status;
use parking_lot::Mutex;

use super::Failure;
use super::sent_query::StrayReason;
use crate::Rcode;

/// After so many questions in a row without an answer, a server is taken for down.
const DOWN_AFTER: u32 = 3;

/// The time that a server that is down is asked last.
const DOWN_FOR: Duration = Duration::from_secs(10);

/// The number of characters of an error that are told.
const MAX_CAUSE: usize = 200;

/// Counters of one server.
#[derive(Debug)]
pub(crate) struct Stats {
    since: Instant,
    queries: AtomicU64,
    answers: AtomicU64,
    servfail: AtomicU64,
    refused: AtomicU64,
    other_codes: AtomicU64,
    timeouts: AtomicU64,
    unreachable: AtomicU64,
    malformed: AtomicU64,
    /// Datagrams that were no answer to a question of ours, by why.
    strays: [AtomicU64; StrayReason::ALL.len()],
    /// Microseconds, of all answers together.
    latency: AtomicU64,
    /// Microseconds.
    last_latency: AtomicU64,
    /// Questions in a row without an answer.
    silent: AtomicU32,
    /// Milliseconds since `since`.
    down_until: AtomicU64,
    /// The reason why it could not be reached the last time.
    last_error: Mutex<Option<(Arc<str>, Instant)>>,
}

impl Stats {
    pub(crate) fn new() -> Self {
        Self {
            since: Instant::now(),
            queries: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            servfail: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            other_codes: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            unreachable: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            strays: Default::default(),
            latency: AtomicU64::new(0),
            last_latency: AtomicU64::new(0),
            silent: AtomicU32::new(0),
            down_until: AtomicU64::new(0),
            last_error: Mutex::default(),
        }
    }

    pub(super) fn asked(&self) {
        self.queries.fetch_add(1, Relaxed);
    }

    /// It has answered, whatever it said.
    pub(super) fn answered(&self, after: Duration) {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.answers.fetch_add(1, Relaxed);
        self.latency.fetch_add(micros, Relaxed);
        self.last_latency.store(micros, Relaxed);
        self.silent.store(0, Relaxed);
        self.down_until.store(0, Relaxed);
    }

    pub(super) fn failed(&self, failure: &Failure) {
        let counter = match failure {
            Failure::Code(Rcode::SERVFAIL) => &self.servfail,
            Failure::Code(Rcode::REFUSED) => &self.refused,
            Failure::Code(_) => &self.other_codes,
            Failure::Timeout => &self.timeouts,
            Failure::Unreachable(_) => &self.unreachable,
            Failure::Malformed(_) => &self.malformed,
        };
        counter.fetch_add(1, Relaxed);
        if matches!(failure, Failure::Timeout | Failure::Unreachable(_)) {
            self.is_silent();
        }
    }

    fn is_silent(&self) {
        if self.silent.fetch_add(1, Relaxed) + 1 >= DOWN_AFTER {
            self.down_until.store(self.now() + DOWN_FOR.as_millis() as u64, Relaxed);
        }
    }

    /// A datagram came that is not an answer to the question.
    pub(super) fn stray(&self, why: StrayReason) {
        self.strays[why as usize].fetch_add(1, Relaxed);
    }

    /// It could not be reached.
    pub(super) fn note(&self, error: &dyn std::error::Error) {
        *self.last_error.lock() = Some((cause(error), Instant::now()));
    }

    /// The reason why it could not be reached the last time.
    pub(super) fn last_error(&self) -> Option<Arc<str>> {
        let last = self.last_error.lock();
        last.as_ref().map(|(error, _)| Arc::clone(error))
    }

    fn last_error_ago(&self) -> Option<Duration> {
        let last = self.last_error.lock();
        last.as_ref().map(|(_, at)| at.elapsed())
    }

    /// Whether others are to be asked first: it is down, or was and is being asked whether it is back.
    ///
    /// The first to come when it has been down for long enough is told that it is not: a server that is still down costs
    /// only one question its timeout, not all that come in that time.
    pub(super) fn is_to_be_spared(&self) -> bool {
        let (until, now) = (self.down_until.load(Relaxed), self.now());
        if until == 0 || now < until {
            return until != 0;
        }
        let again = now + DOWN_FOR.as_millis() as u64;
        self.down_until.compare_exchange(until, again, Relaxed, Relaxed).is_err()
    }

    /// Whether it has not answered for a while.
    pub(super) fn is_down(&self) -> bool {
        self.down_until.load(Relaxed) > self.now()
    }

    fn now(&self) -> u64 {
        self.since.elapsed().as_millis() as u64
    }

    /// Says what is not zero, and always how many questions and answers there were.
    pub(super) fn describe(&self, status: Status) -> Status {
        let some = |counter: &AtomicU64| Some(counter.load(Relaxed)).filter(|count| *count > 0);
        let answers = self.answers.load(Relaxed);
        let mean = self.latency.load(Relaxed).checked_div(answers).map(Duration::from_micros);
        let last = (answers > 0).then(|| Duration::from_micros(self.last_latency.load(Relaxed)));
        let mut status = status
            .gauge("down", self.is_down())
            .counter("queries", self.queries.load(Relaxed))
            .counter("answers", answers)
            .maybe_counter("servfail", some(&self.servfail))
            .maybe_counter("refused", some(&self.refused))
            .maybe_counter("other_errors", some(&self.other_codes))
            .maybe_counter("timeouts", some(&self.timeouts))
            .maybe_counter("unreachable", some(&self.unreachable))
            .maybe_counter("malformed", some(&self.malformed))
            .maybe_gauge("mean_latency", mean)
            .maybe_gauge("last_latency", last)
            .maybe("last_error", self.last_error().map(|error| error.to_string()))
            .maybe_gauge("last_error_ago", self.last_error_ago());
        for why in StrayReason::ALL {
            status = status.maybe_counter(why.name(), some(&self.strays[*why as usize]));
        }
        status
    }
}

/// The cause of an error, on one line that is not long: an HTTPS server's page about an error is a part of it,
/// whatever is on that, and it is remembered for every name, and told in logs.
pub(super) fn cause(error: &dyn std::error::Error) -> Arc<str> {
    let whole = medusa_proto::with_causes(error);
    let mut text: String =
        whole.chars().take(MAX_CAUSE).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.len() < whole.len() {
        text.push('…');
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_not_told_whole() {
        let page = format!("<html>\r\n\u{1b}[2J{}", "a".repeat(1_000_000));
        let text = cause(&std::io::Error::other(page));
        assert!(text.starts_with("<html>   [2Jaaa") && text.chars().count() == MAX_CAUSE + 1, "{text}");
        assert_eq!(&*cause(&std::io::Error::other("connection refused")), "connection refused");
    }

    #[test]
    fn a_server_that_is_silent_is_down_until_it_answers() {
        let since = Instant::now().checked_sub(Duration::from_secs(1)).expect("the machine is up for longer");
        let stats = Stats { since, ..Stats::new() };
        stats.failed(&Failure::Timeout);
        stats.failed(&Failure::Code(Rcode::SERVFAIL));
        stats.failed(&Failure::Unreachable("refused".into()));
        assert!(!stats.is_down());
        stats.failed(&Failure::Timeout);
        assert!(stats.is_down() && stats.is_to_be_spared());
        stats.down_until.store(1, Relaxed);
        assert!(!stats.is_to_be_spared(), "the time is over: one may ask");
        assert!(stats.is_to_be_spared(), "and no other");
        stats.answered(Duration::from_millis(3));
        assert!(!stats.is_down() && !stats.is_to_be_spared());
        let text = stats.describe(Status::new("dns.upstream", "a")).to_string();
        for line in ["queries", "answers       1", "timeouts      2", "servfail      1", "mean_latency  "] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
        assert!(!text.contains("refused"), "{text}");
    }
}
