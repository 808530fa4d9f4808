//! What a handler is given: the request's head, already routed, and its body, not yet read.
//!
//! The head is `Send`, so that a handler may carry it to another thread (the main VM's); it holds nothing of the
//! connection but its addresses.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, Uri, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use medusa_proto::access::Peer;

use crate::router::Params;

/// One HTTP request, on its way to a handler.
#[derive(Debug)]
pub struct Request {
    /// Everything but the body.
    pub head: Head,
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
    /// The fields.
    pub headers: HeaderMap,
    /// What the pattern's wildcards matched, decoded.
    pub params: Params,
    /// Where the part of the path below the mount begins (a byte offset into `uri.path()`).
    pub tail: usize,
    /// Who asks.
    pub peer: Peer,
}

impl Head {
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

/// Why a request body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// Longer than the limit: 413.
    #[error("the request body is longer than the limit of {limit} bytes (`limits = {{ body = ... }}`)")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The client went away or broke the framing: 400.
    #[error("the request body broke off")]
    Broken(#[source] hyper::Error),
    /// The client sent nothing for too long: 408.
    #[error("the client sent nothing of its request body for {0:?}")]
    Stalled(Duration),
}

impl RequestBodyError {
    /// The status the client is answered with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
            Self::Stalled(_) => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

/// How long a client may pause within its request body.
const STALL: Duration = Duration::from_secs(30);

/// The body of a request: read by the handler, never before it asks, never past its limit.
pub struct RequestBody {
    source: Source,
    limit: u64,
    seen: u64,
    /// Boxed, for there hardly ever are any.
    trailers: Option<Box<HeaderMap>>,
}

enum Source {
    Bytes(Bytes),
    Wire(Incoming),
}

impl RequestBody {
    pub(crate) fn wire(incoming: Incoming, limit: u64) -> Self {
        Self { source: Source::Wire(incoming), limit, seen: 0, trailers: None }
    }

    /// A body that is in memory already, for requests a handler makes up itself.
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self { limit: bytes.len() as u64, source: Source::Bytes(bytes), seen: 0, trailers: None }
    }

    /// The next chunk; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, RequestBodyError> {
        let chunk = match &mut self.source {
            Source::Bytes(bytes) if bytes.is_empty() => return Ok(None),
            Source::Bytes(bytes) => std::mem::take(bytes),
            Source::Wire(incoming) => match next_data(incoming, &mut self.trailers).await? {
                Some(chunk) => chunk,
                None => return Ok(None),
            },
        };
        self.seen += chunk.len() as u64;
        if self.seen > self.limit {
            return Err(RequestBodyError::TooLarge { limit: self.limit });
        }
        Ok(Some(chunk))
    }

    /// The fields that came behind the body ([RFC 9110 §6.5](https://www.rfc-editor.org/rfc/rfc9110#section-6.5)): there
    /// when it has been read to its end, if there are any.
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_deref()
    }

    /// The whole body. A `Content-Length` past the limit is refused before anything is read.
    pub async fn collect(&mut self) -> Result<Bytes, RequestBodyError> {
        if let Source::Wire(incoming) = &self.source
            && incoming.size_hint().lower() > self.limit
        {
            return Err(RequestBodyError::TooLarge { limit: self.limit });
        }
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk().await? else { return Ok(first) };
        let mut all = BytesMut::from(first);
        all.extend_from_slice(&second);
        while let Some(chunk) = self.chunk().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }
}

async fn next_data(
    incoming: &mut Incoming,
    trailers: &mut Option<Box<HeaderMap>>,
) -> Result<Option<Bytes>, RequestBodyError> {
    loop {
        if incoming.is_end_stream() {
            return Ok(None);
        }
        let frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut *incoming).poll_frame(cx));
        let frame =
            tokio::time::timeout(STALL, frame).await.map_err(|_elapsed| RequestBodyError::Stalled(STALL))?;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(RequestBodyError::Broken(error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                Err(frame) => *trailers = frame.into_trailers().ok().map(Box::new),
            },
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("seen", &self.seen)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::without_port;

    #[test]
    fn a_port_is_cut_off_and_nothing_else() {
        assert_eq!(without_port("example.com:8080"), "example.com");
        assert_eq!(without_port("example.com"), "example.com");
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
        assert_eq!(without_port("example.com:"), "example.com");
    }
}
