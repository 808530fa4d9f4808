//! Compresses what another handler answers.
//!
//! The `files` handler compresses files by itself, and keeps the result ([`super::files`]). This is for what is made
//! anew for each request: a wrapper around a handler that
//!
//! 1. leaves alone what must stay as it is: content that is encoded already, parts (206), event streams, what forbids it
//!    by `Cache-Control: no-transform`, what is too short to gain by it, types that are compressed in themselves;
//! 2. says by `Vary` that the answer depends on `Accept-Encoding`, also where this client gets it plain;
//! 3. compresses bytes as a whole on the blocking pool, and streams chunk by chunk, each sent as it comes.
//!
//! **Invariant:** what is sent is what `Content-Encoding` says, and no field of the plain form is left that would be
//! wrong for it: `Content-Length` goes, an entity tag becomes weak
//! ([RFC 9110 §8.8.1](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.1)), `Accept-Ranges` goes.
//!
//! A page that holds a secret *and* repeats what its address says should not be compressed: its length then tells about
//! the secret (the BREACH attack). That is for the author to decide, so this handler is never put in between unasked.

pub(crate) mod encode;
mod stream;
pub(crate) mod types;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use medusa_proto::coding::{Accepts, Coding};
use medusa_proto::status::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::body::Body;
use crate::handler::{Handler, HandlerError, HandlerFuture};
use crate::pass::pass;
use crate::request::Request;
use crate::response::Response;

/// The least length, in bytes, of what is compressed: less would save less than a packet.
pub(crate) const SHORTEST: u64 = 1024;

/// The most answers that one handler compresses at once; more are sent as they are. Each holds an encoder, some 400 KiB (zstd)
/// or 300 KiB (gzip), a stream as long as its client takes: all of them hold 100 MiB at most. And so many wait for the
/// blocking pool at most.
const MOST_AT_ONCE: usize = 256;

/// A wrapper that compresses what the handler in it answers, as the client likes it best: zstd, or gzip.
#[derive(Debug)]
pub struct Compress {
    inner: Arc<dyn Handler>,
    encoders: Arc<Semaphore>,
}

impl Compress {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Handler>) -> Self {
        Self { inner, encoders: Arc::new(Semaphore::new(MOST_AT_ONCE)) }
    }

    async fn answer(&self, request: Request) -> Result<Response, HandlerError> {
        let accepts = accepts(&request.head.headers);
        let wanted = if is_transform_forbidden(&request.head.headers) { None } else { live(accepts) };
        let is_head = request.head.method == Method::HEAD;
        let mut response = pass(&self.inner, request).await?;
        if response.status == StatusCode::NOT_MODIFIED {
            vary(&mut response.headers, "accept-encoding");
            return Ok(response);
        }
        if !is_candidate(&response, is_head) {
            return Ok(response);
        }
        vary(&mut response.headers, "accept-encoding");
        match wanted {
            Some(coding) => self.encode(response, coding).await,
            None => Ok(response),
        }
    }

    async fn encode(&self, mut response: Response, coding: Coding) -> Result<Response, HandlerError> {
        let Ok(permit) = Arc::clone(&self.encoders).try_acquire_owned() else { return Ok(response) };
        response.body = match std::mem::take(&mut response.body) {
            Body::Bytes(plain) => {
                let Some(encoded) = whole(coding, plain.clone(), permit).await? else {
                    return Ok(response.body(plain));
                };
                encoded.into()
            }
            body => Body::Stream(Box::pin(stream::Compressed::new(body, coding, permit))),
        };
        dress(&mut response.headers, coding);
        Ok(response)
    }
}

impl Handler for Compress {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(self.answer(request))
    }

    fn inner(&self) -> &[Arc<dyn Handler>] {
        std::slice::from_ref(&self.inner)
    }

    fn around(&self, inner: Arc<dyn Handler>) -> Option<Arc<dyn Handler>> {
        Some(Arc::new(Self::new(inner)))
    }

    fn status(&self) -> Status {
        let inner = self.inner.status();
        Status::new("handler.compress", inner.name.clone())
            .gauge("compressing", (MOST_AT_ONCE - self.encoders.available_permits()) as u64)
    }
}

/// The codings that the client takes.
pub(crate) fn accepts(headers: &HeaderMap) -> Accepts {
    if headers.contains_key(header::ACCEPT_ENCODING) {
        Accepts::parse(headers.get_all(header::ACCEPT_ENCODING).iter().map(HeaderValue::as_bytes))
    } else {
        Accepts::IDENTITY
    }
}

/// The best coding that can be made while the client waits.
pub(crate) fn live(accepts: Accepts) -> Option<Coding> {
    accepts.choose(|coding| encode::LIVE.contains(&coding))
}

/// Whether `Cache-Control` has `no-transform`, in a request
/// ([RFC 9111 §5.2.1.6](https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.6)) or a response (§5.2.2.6).
pub(crate) fn is_transform_forbidden(headers: &HeaderMap) -> bool {
    headers.get_all(header::CACHE_CONTROL).iter().any(forbids_transform)
}

/// Whether one line of `Cache-Control` has `no-transform`.
pub(crate) fn forbids_transform(line: &HeaderValue) -> bool {
    let mut directives = line.as_bytes().split(|&byte| byte == b',');
    directives.any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

/// Compresses `plain` on the blocking pool, which keeps the `permit` to the end, also if the client leaves meanwhile.
/// `None` if that does not make it smaller.
async fn whole(
    coding: Coding,
    plain: Bytes,
    permit: OwnedSemaphorePermit,
) -> Result<Option<Bytes>, HandlerError> {
    let task = tokio::task::spawn_blocking(move || {
        let encoded = encode::whole(coding, &plain);
        drop(permit);
        encoded
    });
    task.await.map_err(HandlerError::internal)?.map_err(HandlerError::internal)
}

/// Adds `name` to `Vary`, unless it is there.
pub(crate) fn vary(headers: &mut HeaderMap, name: &'static str) {
    let names = |line: &HeaderValue| {
        let mut names = line.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        names.any(|listed| listed == b"*" || listed.eq_ignore_ascii_case(name.as_bytes()))
    };
    if !headers.get_all(header::VARY).iter().any(names) {
        // There is room: a script's answer has far fewer fields than fit.
        let _full = headers.try_append(header::VARY, HeaderValue::from_static(name));
    }
}

/// Whether the answer to this request depends on the codings that the client takes.
fn is_candidate(response: &Response, is_head: bool) -> bool {
    let headers = &response.headers;
    let has_own_form = response.status.is_informational()
        || matches!(
            response.status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT
        )
        || headers.contains_key(header::CONTENT_ENCODING)
        || headers.contains_key(header::CONTENT_RANGE);
    let announced = || headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    let len = match response.body.len() {
        // A handler that knows HEAD says how long the content would be, and gives none.
        Some(0) if is_head => announced(),
        len => len,
    };
    let is_long_enough = match (len, &response.body) {
        (Some(len), _) => len >= SHORTEST,
        (None, body) => matches!(body, Body::Stream(_)),
    };
    is_long_enough
        && !has_own_form
        && !is_transform_forbidden(headers)
        && headers.get(header::CONTENT_TYPE).is_some_and(types::is_compressible)
}

/// Makes the fields fit encoded content.
fn dress(headers: &mut HeaderMap, coding: Coding) {
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::ACCEPT_RANGES);
    let weak = headers
        .get(header::ETAG)
        .filter(|tag| tag.as_bytes().starts_with(b"\""))
        .map(|tag| HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()));
    match weak {
        Some(Ok(weak)) => drop(headers.insert(header::ETAG, weak)),
        Some(Err(_)) => drop(headers.remove(header::ETAG)),
        None => {}
    }
}

#[cfg(test)]
mod tests;
