//! Traces: the next requests that match, with every handler they pass and the time that each takes, for somebody who looks on.
//!
//! A request is noted from its head on if what its head says matches; what became of it is told at its end, or when it
//! becomes something that goes on for as long as its client stays.
//!
//! **Invariant:** while nobody looks on, that costs each request one look at a number. And no request waits for who looks on:
//! what does not fit into their queue is counted, for them to be told.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::{HeaderMap, Method, header};
use medusa_proto::access::{Peer, Record, Timestamp, Version};
use medusa_proto::forwarded::TrustedProxies;
use medusa_proto::shown::{Escaped, ShortNumber, push_cut};
use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::request::without_port;
use crate::router::{Pattern, Route, Router};

/// The traces there may be at a time: each makes every request a little slower.
pub const MOST_TRACES: usize = 4;
/// The same by one login, so that there is one for others.
const MOST_BY_ONE: usize = 2;
/// The most requests that one trace shows.
const MOST_SHOWN: u16 = 1000;
/// The longest that one trace takes, in seconds.
const LONGEST: f64 = 3600.0;
/// The requests that wait to be looked at, of one trace: more than a person reads, and whatever clients send, 16 MiB at most.
const QUEUED: usize = 256;
/// The longest error and the longest path of a line, in bytes.
const MAX_TEXT: usize = 1024;
/// The handlers of one request that are noted: more stand before none.
const MOST_STEPS: usize = 64;

static LOOKING_ON: AtomicUsize = AtomicUsize::new(0);
static WATCHERS: RwLock<Vec<Arc<Watcher>>> = RwLock::new(Vec::new());

/// The requests that are to be shown.
#[derive(Debug, Default)]
pub struct TraceFilter {
    /// Those that a mount of such a pattern would get.
    path: Option<Router<()>>,
    /// Of this method.
    method: Option<Method>,
    /// Answered with a status from the first of these to the last.
    status: Option<(u16, u16)>,
    /// From these addresses.
    client: Option<TrustedProxies>,
    /// To the server of this name.
    server: Option<String>,
}

impl TraceFilter {
    /// What requests can be told apart by.
    pub const OPTIONS: [&str; 5] = ["path", "method", "status", "ip", "server"];

    /// Takes only those requests of which one of the [`OPTIONS`](Self::OPTIONS) is `value`: `path` is a pattern of a mount that
    /// would get them, `status` a number or a class like `5xx`, `ip` an address, a network or `unix`.
    ///
    /// # Errors
    ///
    /// What the value must be.
    pub fn set(&mut self, option: &str, value: &str) -> Result<(), String> {
        match option {
            "path" => {
                let pattern: Pattern = value
                    .parse()
                    .map_err(|error| format!("a pattern, as mounts have them, not {value:?}: {error}"))?;
                self.path = Some(Router::build([(pattern, ())]).expect("one pattern clashes with no other"));
            }
            "method" => {
                let method = Method::from_bytes(value.to_ascii_uppercase().as_bytes());
                self.method = Some(method.map_err(|_none| format!("a method, not {value:?}"))?);
            }
            "status" => {
                let must_be = || format!("from 100 to 599, or a class like \"5xx\", not {value:?}");
                self.status = Some(statuses(value).ok_or_else(must_be)?);
            }
            "ip" => {
                let clients = TrustedProxies::parse([value]);
                self.client = Some(clients.map_err(|_why| {
                    format!("an address, a network like \"10.0.0.0/8\" or \"unix\", not {value:?}")
                })?);
            }
            "server" => self.server = Some(value.to_owned()),
            _ => return Err(format!("one of {}", Self::OPTIONS.join(", "))),
        }
        Ok(())
    }

    /// Whether it may be one of those, as far as a head tells.
    fn may_take(&self, server: &str, client: Peer, head: &http::request::Parts) -> bool {
        let path = |router: &Router<()>| {
            let host = head.uri.authority().map(http::uri::Authority::as_str);
            let host = host
                .or_else(|| HeaderMap::get(&head.headers, header::HOST).and_then(|host| host.to_str().ok()));
            let route = router.route(&head.method, host.map(without_port), head.uri.path());
            matches!(route, Route::Found { .. })
        };
        let client_address = match client {
            Peer::Ip(ip) => Some(ip),
            Peer::Unix => None,
        };
        self.server.as_deref().is_none_or(|name| name == server)
            && self.method.as_ref().is_none_or(|method| *method == head.method)
            && self.client.as_ref().is_none_or(|clients| clients.trusts(client_address))
            && self.path.as_ref().is_none_or(path)
    }
}

/// When a trace ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceEnd {
    /// After so many requests: 10 by default, at most 1000.
    pub requests: u64,
    /// After so long: a minute by default, at most an hour.
    pub time: Duration,
}

impl TraceEnd {
    /// After `n` requests or so many seconds, whichever is first; where there is none, the default.
    ///
    /// # Errors
    ///
    /// What the number must be.
    pub fn new(n: Option<f64>, seconds: Option<f64>) -> Result<Self, String> {
        let (n, seconds) = (n.unwrap_or(10.0), seconds.unwrap_or(60.0));
        if n.fract() != 0.0 || !(1.0..=f64::from(MOST_SHOWN)).contains(&n) {
            return Err(format!("n must be a whole number from 1 to {MOST_SHOWN}, not {}", ShortNumber(n)));
        }
        if !(seconds > 0.0 && seconds <= LONGEST) {
            let given = ShortNumber(seconds);
            return Err(format!("seconds must be a number above 0, at most {LONGEST}, not {given}"));
        }
        Ok(Self { requests: n as u64, time: Duration::from_secs_f64(seconds) })
    }
}

/// The first and last status of `500` or `5xx`.
fn statuses(text: &str) -> Option<(u16, u16)> {
    let (class, first, last) = match text.strip_suffix("xx") {
        Some(class) => (class, "00", "99"),
        None => (text, "", ""),
    };
    let status = |end: &str| {
        let digits = format!("{class}{end}");
        let is_one = digits.len() == 3 && digits.bytes().all(|digit| digit.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|status| is_one && (100..=599).contains(status))
    };
    Some((status(first)?, status(last)?))
}

/// Who looks on, as requests see them.
#[derive(Debug)]
struct Watcher {
    filter: TraceFilter,
    login: Option<Arc<str>>,
    /// How many more are wanted.
    left: AtomicU64,
    missed: AtomicU64,
    requests: mpsc::Sender<Arc<TracedRequest>>,
}

impl Watcher {
    fn tell(&self, request: &Arc<TracedRequest>) {
        if !self.filter.status.is_none_or(|(first, last)| (first..=last).contains(&request.status)) {
            return;
        }
        if self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err() {
            return;
        }
        if let Err(TrySendError::Full(_)) = self.requests.try_send(Arc::clone(request)) {
            self.missed.fetch_add(1, Relaxed);
            self.left.fetch_add(1, Relaxed);
        }
    }
}

/// The looking on; it ends when it is dropped.
#[derive(Debug)]
pub struct Trace {
    watcher: Arc<Watcher>,
    requests: mpsc::Receiver<Arc<TracedRequest>>,
}

/// Why nobody more can look on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooManyTraces {
    /// There are as many as may be.
    #[error("{MOST_TRACES} traces are on already, which is the most")]
    InAll,
    /// One login has as many as it may have.
    #[error("{MOST_BY_ONE} traces of this login are on already, which is the most")]
    ByOne,
}

impl Trace {
    /// Looks on from now on, by a `login`: at the next `n` requests, or without that at all.
    ///
    /// # Errors
    ///
    /// See [`TooManyTraces`].
    pub fn begin(
        filter: TraceFilter,
        n: Option<u64>,
        login: Option<Arc<str>>,
    ) -> Result<Self, TooManyTraces> {
        let (sender, requests) = mpsc::channel(QUEUED);
        let (left, missed) = (AtomicU64::new(n.unwrap_or(u64::MAX)), AtomicU64::new(0));
        let watcher = Arc::new(Watcher { filter, login, left, missed, requests: sender });
        let mut watchers = WATCHERS.write();
        if watchers.len() >= MOST_TRACES {
            return Err(TooManyTraces::InAll);
        }
        let theirs = watchers.iter().filter(|other| other.login.is_some() && other.login == watcher.login);
        if theirs.count() >= MOST_BY_ONE {
            return Err(TooManyTraces::ByOne);
        }
        watchers.push(Arc::clone(&watcher));
        LOOKING_ON.store(watchers.len(), Relaxed);
        Ok(Self { watcher, requests })
    }

    /// The next request. Waits for it.
    pub async fn next(&mut self) -> Option<Arc<TracedRequest>> {
        self.requests.recv().await
    }

    /// What came of it, when so many requests were shown: `3 requests; 2 more came too fast to be shown`.
    pub fn summary(&self, shown: u64) -> String {
        let requests = if shown == 1 { "request" } else { "requests" };
        match self.watcher.missed.load(Relaxed) {
            0 => format!("{shown} {requests}"),
            missed => format!("{shown} {requests}; {missed} more came too fast to be shown"),
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let mut watchers = WATCHERS.write();
        watchers.retain(|other| !Arc::ptr_eq(other, &self.watcher));
        LOOKING_ON.store(watchers.len(), Relaxed);
    }
}

/// What is noted of a request for those who look on.
#[derive(Debug)]
pub(crate) struct TraceNotes {
    watchers: Vec<Arc<Watcher>>,
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    mount: Option<(String, Arc<str>)>,
    steps: Vec<TraceStep>,
    error: Option<String>,
}

/// A handler that a request has passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceStep {
    /// Its kind and name.
    pub handler: String,
    /// How long it took until it answered, with those behind it; none: it did not.
    pub took: Option<Duration>,
}

/// The number of traces that are on.
pub fn traces() -> u64 {
    LOOKING_ON.load(Relaxed) as u64
}

/// Begins to note a request, if somebody who looks on may want it.
#[inline]
pub(crate) fn begin(server: &str, client: Peer, head: &http::request::Parts) -> Option<Arc<TraceNotes>> {
    if LOOKING_ON.load(Relaxed) == 0 { None } else { begin_noting(server, client, head) }
}

#[cold]
fn begin_noting(server: &str, client: Peer, head: &http::request::Parts) -> Option<Arc<TraceNotes>> {
    let watchers = WATCHERS.read();
    let wants = |watcher: &&Arc<Watcher>| {
        watcher.left.load(Relaxed) > 0 && watcher.filter.may_take(server, client, head)
    };
    let watchers: Vec<_> = watchers.iter().filter(wants).cloned().collect();
    (!watchers.is_empty()).then(|| Arc::new(TraceNotes { watchers, noted: Mutex::default() }))
}

impl TraceNotes {
    /// The mount that the request comes to.
    pub(crate) fn mounted(&self, pattern: &Pattern, origin: &Arc<str>) {
        self.noted.lock().mount = Some((pattern.to_string(), Arc::clone(origin)));
    }

    /// What went wrong with it.
    pub(crate) fn failed(&self, error: &str) {
        let mut text = String::new();
        push_cut(
            &mut text,
            MAX_TEXT,
            format_args!("{}", Escaped::line(error.lines().next().unwrap_or_default())),
        );
        self.noted.lock().error.get_or_insert(text);
    }

    /// It comes to a handler. Returns which step that is.
    pub(crate) fn enter(&self, handler: String) -> usize {
        let steps = &mut self.noted.lock().steps;
        let at = steps.len();
        if at < MOST_STEPS {
            steps.push(TraceStep { handler, took: None });
        }
        at
    }

    /// The handler of that step has answered, after so long.
    pub(crate) fn answered(&self, step: usize, took: Duration) {
        if let Some(step) = self.noted.lock().steps.get_mut(step) {
            step.took = Some(took);
        }
    }

    /// Tells those who look on what became of it, or that it goes on.
    pub(crate) fn end(&self, record: &Record<'_>, goes_on: bool) {
        let Noted { mount, steps, error } = std::mem::take(&mut *self.noted.lock());
        let bytes = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let request = Arc::new(TracedRequest {
            time: record.time,
            peer: record.peer,
            user: record.user.map(str::to_owned),
            method: record.method.to_owned(),
            target: record.target.to_owned(),
            version: record.version,
            host: record.host.map(str::to_owned),
            status: record.status,
            bytes: record.bytes,
            duration_us: record.duration_us,
            referer: bytes(record.referer),
            user_agent: bytes(record.user_agent),
            server: record.server.to_owned(),
            id: record.id.map(str::to_owned),
            mount,
            steps,
            error,
            goes_on,
        });
        self.watchers.iter().for_each(|watcher| watcher.tell(&request));
    }
}

/// A request that was noted, and what became of it.
#[derive(Debug)]
pub struct TracedRequest {
    time: Timestamp,
    peer: Peer,
    user: Option<String>,
    method: String,
    target: String,
    version: Version,
    host: Option<String>,
    status: u16,
    bytes: u64,
    duration_us: u64,
    referer: Option<Vec<u8>>,
    user_agent: Option<Vec<u8>>,
    server: String,
    id: Option<String>,
    /// The mount it came to, and its place in the script.
    mount: Option<(String, Arc<str>)>,
    /// The handlers it passed, the outermost first.
    pub steps: Vec<TraceStep>,
    /// What went wrong, in one line.
    pub error: Option<String>,
    /// It is a WebSocket or a stream of events that has only begun.
    goes_on: bool,
}

impl TracedRequest {
    /// Its access record.
    pub fn record(&self) -> Record<'_> {
        Record {
            time: self.time,
            peer: self.peer,
            name: None,
            user: self.user.as_deref(),
            method: &self.method,
            target: &self.target,
            version: self.version,
            host: self.host.as_deref(),
            status: self.status,
            bytes: self.bytes,
            duration_us: self.duration_us,
            referer: self.referer.as_deref(),
            user_agent: self.user_agent.as_deref(),
            server: &self.server,
            id: self.id.as_deref(),
        }
    }

    /// The handlers with the time that each took itself: what those behind it took is not in it.
    fn own_times(&self) -> impl Iterator<Item = (&str, Option<Duration>)> {
        self.steps.iter().enumerate().map(|(at, step)| {
            let inner = self.steps.get(at + 1).and_then(|inner| inner.took).unwrap_or_default();
            (step.handler.as_str(), step.took.map(|took| took.saturating_sub(inner)))
        })
    }
}

/// In a line: `GET /x from 192.0.2.1 at http: /x (site.luau:9): handler.compress 0.01 ms → script x.luau 0.80 ms: 200, 12
/// bytes, 0.95 ms`. Without its query: tokens are in those, and whoever may look on sees this.
impl fmt::Display for TracedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut path, target) = (String::new(), self.target.split('?').next().unwrap_or_default());
        push_cut(&mut path, MAX_TEXT, format_args!("{}", Escaped::line(target)));
        write!(f, "{} {path} from {} at {}", Escaped::line(&self.method), self.peer, self.server)?;
        match &self.mount {
            Some((pattern, origin)) => write!(f, ": {pattern} ({origin}): ")?,
            None => f.write_str(": no mount: ")?,
        }
        for (at, (handler, took)) in self.own_times().enumerate() {
            let arrow = if at > 0 { " → " } else { "" };
            write!(f, "{arrow}{}", Escaped::line(handler))?;
            match took {
                Some(took) => write!(f, " {:.2} ms", took.as_secs_f64() * 1e3)?,
                None => f.write_str(" without an answer")?,
            }
        }
        let separator = if self.steps.is_empty() { "" } else { ": " };
        write!(f, "{separator}{}, ", self.status)?;
        if self.goes_on {
            f.write_str("goes on")?;
        } else {
            write!(f, "{} bytes, {:.2} ms", self.bytes, self.duration_us as f64 / 1e3)?;
        }
        match &self.error {
            Some(error) => write!(f, ": {error}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_or_a_class() {
        assert_eq!(statuses("500"), Some((500, 500)));
        assert_eq!(statuses("4xx"), Some((400, 499)));
        for wrong in ["6xx", "0xx", "xx", "99", "600", "404.5", "+40", "40xx", "+xx", "true", ""] {
            assert_eq!(statuses(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn one_login_leaves_traces_for_others() {
        let begin = |login: &str| Trace::begin(TraceFilter::default(), None, Some(login.into()));
        let first = [begin("a").expect("one"), begin("a").expect("another")];
        assert_eq!(begin("a").err(), Some(TooManyTraces::ByOne));
        let second = [begin("b").expect("one"), begin("b").expect("another")];
        assert_eq!(begin("c").err(), Some(TooManyTraces::InAll));
        drop(first);
        assert!(begin("a").is_ok());
        drop(second);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut filter = TraceFilter::default();
        let right = [
            ("path", "/api/"),
            ("method", "get"),
            ("status", "5xx"),
            ("ip", "10.0.0.0/8"),
            ("server", "web"),
        ];
        for (option, value) in right {
            assert_eq!(filter.set(option, value), Ok(()), "{option}");
        }
        for (option, value, said) in [
            ("path", "api", "a pattern, as mounts have them, not \"api\": "),
            ("method", "G T", "a method, not \"G T\""),
            ("status", "7", "from 100 to 599, or a class like \"5xx\", not \"7\""),
            ("ip", "here", "an address, a network like \"10.0.0.0/8\" or \"unix\", not \"here\""),
            ("size", "7", "one of path, method, status, ip, server"),
        ] {
            let error = filter.set(option, value).expect_err(option);
            assert!(error.starts_with(said), "{error}");
        }
        for (n, seconds) in
            [(0.0, 1.0), (1.5, 1.0), (1001.0, 1.0), (f64::NAN, 1.0), (1.0, 0.0), (1.0, 3601.0)]
        {
            assert!(TraceEnd::new(Some(n), Some(seconds)).is_err(), "{n} {seconds}");
        }
    }
}
