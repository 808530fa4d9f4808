//! The access record of a request, made from its head on and whole with the response's last byte; then
//! [`recorder`](crate::recorder) has it.
//!
//! The text is copied once, into memory that the worker's next request uses again: to keep the head's fields alive
//! instead costs a count up and down for each, and an allocation for all.
//!
//! **Invariant:** a worker keeps at most [`MOST_FREE`] buffers of [`LARGEST_FREE`] bytes for requests to come.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::str::Utf8Error;
use std::time::{Duration, Instant, SystemTime};

use http::header::{self, HeaderMap};
use http::{HeaderName, StatusCode, Uri, Version};
use medusa_log::MAX_FIELD;
use medusa_proto::access::{self, Peer, Record};

use crate::client::Client;
use crate::request_id::{self, RequestId};

/// As many as a busy worker has requests under way.
const MOST_FREE: usize = 256;
/// The usual request has some 200 bytes; a larger buffer was an exception.
const LARGEST_FREE: usize = 1024;

thread_local! {
    static FREE_BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static CLOCK: Cell<Option<WallClock>> = const { Cell::new(None) };
}

/// The facts of a request that are known when its head has been read.
#[derive(Debug)]
pub(crate) struct PendingRecord {
    time: SystemTime,
    started: Instant,
    peer: Peer,
    version: Version,
    id: RequestId,
    /// Method, target, host, referer, user agent and user, one behind the other.
    text: Vec<u8>,
    method: u16,
    target: u16,
    host: Option<u16>,
    referer: Option<u16>,
    user_agent: Option<u16>,
    user: Option<u16>,
}

impl PendingRecord {
    pub(crate) fn new(client: &Client, request: &http::request::Parts) -> Self {
        let (started, time) = now();
        let mut text = FREE_BUFFERS.with(|kept| kept.borrow_mut().pop()).unwrap_or_default();
        let uri = &request.uri;
        let target = target(uri);
        // "MUST ignore the received Host header field" (RFC 9112 §3.2.2)
        let host = uri.authority().map(|authority| without_user(authority.as_str()));
        let host = host.or_else(|| HeaderMap::get(&request.headers, header::HOST)?.to_str().ok());
        let field = |name: HeaderName| request.headers.get(name).map(http::HeaderValue::as_bytes);
        let mut push = |field: &[u8]| push(&mut text, field);
        Self {
            time,
            started,
            peer: client.peer,
            version: request.version,
            id: client.id.clone(),
            method: push(request.method.as_str().as_bytes()),
            target: push(target.as_bytes()),
            host: host.map(|host| push(host.as_bytes())),
            referer: field(header::REFERER).map(&mut push),
            user_agent: field(header::USER_AGENT).map(&mut push),
            user: None,
            text,
        }
    }

    /// When the request's head had been read.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Sets the user that asks, once that is known.
    pub(crate) fn set_user(&mut self, user: &str) {
        if self.user.is_none() {
            self.user = Some(push(&mut self.text, user.as_bytes()));
        }
    }

    /// The record of the request, answered with `status` and `bytes` by `server`.
    pub(crate) fn record<'a>(
        &'a self,
        status: StatusCode,
        bytes: u64,
        server: &'a str,
        id: &'a mut request_id::Buffer,
    ) -> Record<'a> {
        let mut rest = &self.text[..];
        let mut take = |length: u16| rest.split_off(..usize::from(length)).unwrap_or_default();
        let mut record = Record {
            time: self.time.into(),
            peer: self.peer,
            name: None,
            user: None,
            method: text(take(self.method)),
            target: text(take(self.target)),
            version: match self.version {
                Version::HTTP_10 => access::Version::Http10,
                Version::HTTP_2 => access::Version::Http2,
                _ => access::Version::Http11,
            },
            host: self.host.map(&mut take).map(text),
            status: status.as_u16(),
            bytes,
            duration_us: self.started.elapsed().as_micros().try_into().unwrap_or(u64::MAX),
            referer: self.referer.map(&mut take),
            user_agent: self.user_agent.map(&mut take),
            server,
            id: Some(self.id.text(id)),
        };
        record.user = self.user.map(take).map(text);
        record
    }
}

/// Puts a field behind the others, cut to what a record may have of it, and returns its length.
fn push(text: &mut Vec<u8>, field: &[u8]) -> u16 {
    let cut = &field[..field.len().min(MAX_FIELD)];
    text.extend_from_slice(cut);
    cut.len() as u16
}

/// The target of a request: path and query, or what stands in their place. Of what is refused for its target it is
/// all of that, but for what may be a password.
fn target(uri: &Uri) -> Cow<'_, str> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = without_user(authority);
    let is_usual = matches!(uri.scheme_str(), None | Some("http" | "https")) && host.len() == authority.len();
    match uri.path_and_query() {
        Some(target) if is_usual => target.as_str().into(),
        target => {
            let scheme = uri.scheme_str().map(|scheme| [scheme, "://"].concat()).unwrap_or_default();
            let user = if host.len() < authority.len() { "***@" } else { "" };
            [scheme.as_str(), user, host, target.map_or("", |target| target.as_str())].concat().into()
        }
    }
}

fn without_user(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// Text again. What was cut may have been cut within a character.
fn text(bytes: &[u8]) -> &str {
    let valid =
        |error: Utf8Error| bytes.get(..error.valid_up_to()).and_then(|valid| str::from_utf8(valid).ok());
    str::from_utf8(bytes).unwrap_or_else(|error| valid(error).unwrap_or_default())
}

impl Drop for PendingRecord {
    fn drop(&mut self) {
        let mut text = std::mem::take(&mut self.text);
        if text.capacity() > LARGEST_FREE {
            return;
        }
        text.clear();
        // Not at the end of the thread, when there is nothing to keep it in.
        let _gone = FREE_BUFFERS.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < MOST_FREE {
                kept.push(text);
            }
        });
    }
}

/// Wall-clock time by the other clock, which has been asked anyway.
#[derive(Debug, Clone, Copy)]
struct WallClock {
    instant: Instant,
    time: SystemTime,
}

/// The time for which one reading of the wall clock is gone by: how late a change of it is noticed.
const READ_EVERY: Duration = Duration::from_millis(200);

fn now() -> (Instant, SystemTime) {
    let now = Instant::now();
    let read = CLOCK.get().map(|clock| (now.duration_since(clock.instant), clock.time));
    match read {
        Some((since, time)) if since < READ_EVERY => (now, time + since),
        _ => {
            let time = SystemTime::now();
            CLOCK.set(Some(WallClock { instant: now, time }));
            (now, time)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn client() -> Client {
        Client { peer: Peer::Ip(Ipv4Addr::LOCALHOST.into()), secure: false, id: RequestId::next() }
    }

    fn parts(request: http::request::Builder) -> http::request::Parts {
        request.body(()).expect("a request").into_parts().0
    }

    fn read<T>(request: &http::request::Parts, of: impl FnOnce(&Record<'_>) -> T) -> T {
        let pending = PendingRecord::new(&client(), request);
        of(&pending.record(StatusCode::OK, 5, "web", &mut request_id::Buffer::default()))
    }

    #[test]
    fn fields_come_back_as_they_were_and_the_next_request_has_none_of_them() {
        let full = http::Request::get("/a?b=c")
            .header("host", "example.org")
            .header("referer", "http://r/")
            .header("user-agent", b"caf\xe9".as_slice());
        read(&parts(full), |record| {
            assert_eq!((record.method, record.target, record.host), ("GET", "/a?b=c", Some("example.org")));
            assert_eq!(record.referer, Some(b"http://r/".as_slice()));
            assert_eq!(record.user_agent, Some(b"caf\xe9".as_slice()));
        });
        read(&parts(http::Request::put("/x").header("user-agent", "")), |record| {
            assert_eq!((record.method, record.target, record.host), ("PUT", "/x", None));
            assert_eq!((record.referer, record.user_agent), (None, Some(b"".as_slice())));
        });
    }

    #[test]
    fn the_user_is_whom_the_handler_has_named_first() {
        let request = parts(http::Request::get("/").header("user-agent", "curl"));
        let mut pending = PendingRecord::new(&client(), &request);
        pending.set_user("ada");
        pending.set_user("eve");
        let id = &mut request_id::Buffer::default();
        let record = pending.record(StatusCode::OK, 5, "web", id);
        assert_eq!((record.user, record.user_agent), (Some("ada"), Some(b"curl".as_slice())));
    }

    #[test]
    fn the_authority_of_a_target_is_the_host() {
        let absolute = http::Request::get("http://example.net:81/a?b").header("host", "other.example");
        read(&parts(absolute), |record| {
            assert_eq!((record.host, record.target), (Some("example.net:81"), "/a?b"));
        });
        let unreadable = http::Request::get("/").header("host", b"\xff".as_slice());
        assert_eq!(read(&parts(unreadable), |record| record.host.map(str::to_owned)), None);
    }

    #[test]
    fn a_target_that_will_be_refused_is_there_as_a_whole() {
        for (target, host, shown) in [
            ("ftp://example.net/a?b", "example.net", "ftp://example.net/a?b"),
            ("http://user:secret@example.net/a", "example.net", "http://***@example.net/a"),
            ("example.net:443", "example.net:443", "example.net:443"),
            ("*", "own.example", "*"),
        ] {
            let request = http::Request::options(target).header("host", "own.example");
            read(&parts(request), |record| {
                assert_eq!((record.host, record.target), (Some(host), shown), "{target}");
            });
        }
    }

    #[test]
    fn long_fields_are_cut_and_their_memory_is_not_kept() {
        let long = "x".repeat(MAX_FIELD + 10);
        let request = http::Request::get("/").header("user-agent", &long);
        assert_eq!(read(&parts(request), |record| record.user_agent.map(<[u8]>::len)), Some(MAX_FIELD));
        FREE_BUFFERS.with(|kept| assert!(kept.borrow().iter().all(|text| text.capacity() <= LARGEST_FREE)));
    }

    #[test]
    fn the_derived_clock_keeps_to_the_wall_clock() {
        for _ in 0..3 {
            /// Two clocks need not run quite alike.
            const APART: Duration = Duration::from_millis(50);
            let before = SystemTime::now();
            let (_, time) = now();
            let after = SystemTime::now();
            assert!(
                before - APART <= time && time <= after + APART,
                "{time:?} is not in {before:?}..{after:?}"
            );
        }
    }
}
