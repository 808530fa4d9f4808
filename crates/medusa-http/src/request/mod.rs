//! A request as its handler is given it: the request's head, already routed, and its body, not yet read.
//!
//! The head is `Send`, so that a handler may carry it to another thread (the main VM's); it holds nothing of the
//! connection but its addresses; [`target`] is how a wrapper changes what is asked for. The body is read by [`body`], or, polled, by [`polled`]; [`incoming`] is one that comes from the client, with its [`pace`],
//! its [`memory`], and its place among the [`unread`] ones of its connection.

mod body;
mod error;
mod finding;
mod incoming;
mod memory;
mod pace;
mod polled;
mod target;
mod unread;

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, Uri, Version, header};
use medusa_log::Sink;
use medusa_net::ListenerId;
use medusa_net::tls::TlsInfo;
use medusa_proto::access::Peer;
use parking_lot::Mutex;

use crate::budget::Allowance;
use crate::request_id::RequestId;
use crate::router::Params;
use crate::trace::TraceNotes;

pub use body::RequestBody;
pub use error::RequestBodyError;
pub use finding::Finding;
pub use polled::PolledBody;
pub use target::TargetError;
pub(crate) use unread::{Carrier, UnreadBodies};

/// One HTTP request, on its way to a handler.
#[derive(Debug)]
pub struct Request {
    /// Everything but the body. Shared: it goes through many hands, and some look at it when the handler has it.
    pub head: Arc<Head>,
    /// The body, read only as far as the handler asks for it.
    pub body: RequestBody,
}

/// Everything of a request but its body.
#[derive(Debug, Clone)]
pub struct Head {
    /// The method ([RFC 9110 §9](https://www.rfc-editor.org/rfc/rfc9110#section-9)).
    pub method: Method,
    /// The target as it came: path and query, not decoded.
    pub uri: Uri,
    /// The protocol version the client spoke.
    pub version: Version,
    /// The target as it came, where a wrapper has changed it.
    pub(crate) came: Option<Arc<Uri>>,
    /// The fields.
    pub headers: HeaderMap,
    /// The texts that the pattern's wildcards matched, decoded.
    pub params: Params,
    /// The beginning of the part of the path below the mount (a byte offset into `uri.path()`).
    pub tail: usize,
    /// The other end of the connection.
    pub peer: Peer,
    /// The client: the peer, or whom a trusted proxy speaks for.
    pub client: Peer,
    /// Whether the client's own connection is encrypted, here or at a trusted proxy.
    pub secure: bool,
    /// What was agreed on, on an encrypted connection.
    pub tls: Option<Arc<TlsInfo>>,
    /// Tells this request from all others, in logs and across servers.
    pub id: RequestId,
    /// Whether a WebSocket is asked for on a stream of HTTP/2: by CONNECT, which is a GET in every other respect
    /// ([RFC 8441 §4](https://www.rfc-editor.org/rfc/rfc8441#section-4)).
    pub websocket: bool,
    /// The share of its answer in the memory there is.
    pub allowance: Allowance,
    /// The user that asks, where a handler has found that out: none by default. The access record has it.
    ///
    /// It is set, `request.head.user.set(...)`, by the handler or wrapper that checks credentials, and only once.
    pub user: Finding<Arc<str>>,
    /// The log that its record goes to in the place of the server's, once that was said.
    pub(crate) log: Finding<Mutex<Option<Arc<dyn Sink>>>>,
    /// What its handler is asked for: an answer, unless a wrapper wants something else of a handler beside the one it stands before.
    pub purpose: Purpose,
    /// Whether it is a preflight at a mount that does not take OPTIONS: it is there for what answers preflights, and nothing else of
    /// the mount is to see it.
    pub preflight: bool,
    /// Where it came; nowhere, if a handler has made it up.
    pub listener: Option<ListenerId>,
    /// What is noted for those who look on; none for nearly all.
    pub(crate) trace: Option<Arc<TraceNotes>>,
}

/// What a handler is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Purpose {
    /// The answer to a client.
    #[default]
    Answer,
    /// The page of an error with this status, or nothing if there is none.
    Page(StatusCode),
    /// A text by which requests are told apart, or nothing.
    Key,
    /// Whose its credentials are, by the name, or nothing.
    Login,
}

impl Head {
    /// A request that a handler makes up itself.
    pub fn new(method: Method, uri: Uri) -> Self {
        Self {
            method,
            uri,
            version: Version::HTTP_11,
            came: None,
            headers: HeaderMap::new(),
            params: Params::default(),
            tail: 0,
            peer: Peer::Unix,
            client: Peer::Unix,
            secure: false,
            tls: None,
            id: RequestId::next(),
            websocket: false,
            allowance: Allowance::default(),
            user: Finding::default(),
            log: Finding::default(),
            purpose: Purpose::default(),
            preflight: false,
            listener: None,
            trace: None,
        }
    }

    /// Has its record go to another log than the server's, or nowhere: what is said last holds.
    pub(crate) fn log_to(&self, log: Option<Arc<dyn Sink>>) {
        if let Err(again) = self.log.set(Mutex::new(log))
            && let Some(known) = self.log.get()
        {
            *known.lock() = again.into_inner();
        }
    }

    /// The target as the client has sent it, whatever wrappers have made of it since.
    pub(crate) fn target(&self) -> &Uri {
        self.came.as_deref().unwrap_or(&self.uri)
    }

    /// Asks for something else than the client did.
    pub(crate) fn replace_uri(&mut self, uri: Uri) {
        let came = std::mem::replace(&mut self.uri, uri);
        self.came.get_or_insert_with(|| Arc::new(came));
    }

    /// The path as it came, not decoded.
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// The part of the path below the mount's pattern: for a mount on `/docs/` and a request of `/docs/a/b` it is
    /// `a/b`. Not decoded.
    pub fn tail(&self) -> &str {
        self.uri.path().get(self.tail..).unwrap_or_default()
    }

    /// The authority the client asked for, port included: the target's in absolute form, else the `Host` field
    /// ([RFC 9112 §3.2.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2)).
    pub fn authority(&self) -> Option<&str> {
        match self.uri.authority() {
            Some(authority) => Some(authority.as_str()),
            None => self.headers.get(header::HOST).and_then(|host| host.to_str().ok()),
        }
    }

    /// `https` where the client's connection is encrypted, else `http`.
    pub fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// The authority without its port.
    pub fn host(&self) -> Option<&str> {
        self.authority().map(without_port)
    }
}

/// `host[:port]` without the port; an IPv6 literal keeps its brackets.
pub(crate) fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => authority,
    }
}

/// An authority without the port that its scheme has unsaid. Browsers leave it out of `Origin`; not everyone does out of `Host`.
pub(crate) fn without_default_port<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let port = match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => ":80",
        _ if scheme.eq_ignore_ascii_case("https") => ":443",
        _ => return authority,
    };
    authority.strip_suffix(port).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_cut_off_and_nothing_else() {
        assert_eq!(without_port("example.com:8080"), "example.com");
        assert_eq!(without_port("example.com"), "example.com");
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
        assert_eq!(without_port("example.com:"), "example.com");
    }
}
