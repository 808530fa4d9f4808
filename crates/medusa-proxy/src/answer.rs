//! The answer of an upstream on its way back.
//!
//! One that says it is short is waited for whole: it goes to the client in one write, its connection is free at once, and
//! if it is not what it says, the client gets a 502 and not a part of it. Everything else is passed on piece by piece, as
//! fast as the client takes it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Version};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use medusa_http::{Body, BodyError, Response, TrailerSlot};
use tokio::time::{Instant, Sleep, sleep};

use crate::carrier::Carrier;
use crate::error::{Fault, ProxyError};
use crate::fields::{strip_answer, strip_answer_trailers};
use crate::health;
use crate::shared::Shared;
use crate::upstream::ActiveRequest;

/// The longest body that is waited for whole, in bytes.
const WHOLE: u64 = 16 * 1024;

/// The longest that a connection is kept, whatever its upstream says.
const LONGEST_KEPT: Duration = Duration::from_mins(2);

/// Passes an answer on, whose head has come.
pub(crate) async fn pass_on(
    shared: &Arc<Shared>,
    method: &Method,
    mut carrier: Carrier,
    answer: http::Response<Incoming>,
    active: ActiveRequest,
) -> Result<Response, Fault> {
    let (parts, mut body) = answer.into_parts();
    let (status, mut headers) = (parts.status, parts.headers);
    check_framing(parts.version, &headers)?;
    carrier.keep_for(kept_for(&headers, shared.options.keep_alive));
    let is_head = *method == Method::HEAD;
    let announced = if is_head { announced(&headers) } else { body.size_hint().exact() };
    strip_answer(&mut headers);
    let mut response = Response { status, headers, ..Response::default() };
    let is_whole = body.is_end_stream();
    let most = shared.options.idle_connections;
    if is_whole || announced.is_some_and(|length| length <= WHOLE) {
        if !is_whole {
            let length = usize::try_from(announced.unwrap_or(0)).unwrap_or(0);
            let (whole, trailers) = collect(&mut carrier, &mut body, length).await?;
            response.body = Body::from(whole.clone());
            if let Some(trailers) = trailers {
                // Only a stream has any.
                response.trailers.insert(TrailerSlot::default()).set(trailers);
                response.body = Body::Stream(Box::pin(futures_util::stream::iter([Ok(whole)])));
            }
        }
        carrier.settle(most)?;
        if is_head && let Some(length) = announced {
            response.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        return Ok(response);
    }
    if let Some(length) = announced {
        response.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let is_events = is_event_stream(&response.headers);
    let passed = PassedBody {
        shared: Arc::clone(shared),
        trailers: response.trailers.insert(TrailerSlot::default()).clone(),
        carrier: Some(carrier),
        body,
        limit: Some(shared.options.idle_timeout).filter(|limit| !is_events && !limit.is_zero()),
        silence: None,
        is_silent: false,
        _active: active,
    };
    Ok(response.stream(Box::pin(passed), &shared.sessions, shared.options.keep))
}

/// Refuses framing that another might read otherwise
/// ([RFC 9112 §6.3](https://www.rfc-editor.org/rfc/rfc9112#section-6.3)); hyper refuses lengths that are none or differ, and codings in
/// HTTP/1.0.
fn check_framing(version: Version, headers: &HeaderMap) -> Result<(), Fault> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if version < Version::HTTP_11 || codings.next().is_some() {
        return Err(Fault::Coding);
    }
    if !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
        return Err(Fault::Coding);
    }
    if headers.contains_key(header::CONTENT_LENGTH) { Err(Fault::FramedTwice) } else { Ok(()) }
}

/// The length that an answer to HEAD would have.
fn announced(headers: &HeaderMap) -> Option<u64> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next().filter(|_| lengths.next().is_none())?.to_str().ok()?;
    length.parse().ok().filter(|_| length.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The time for which a connection is kept: a second less than the upstream keeps it, if that says so by `Keep-Alive:
/// timeout=5`.
fn kept_for(headers: &HeaderMap, unsaid: Duration) -> Duration {
    let said = || {
        let field = headers.get("keep-alive")?.to_str().ok()?;
        let mut parameters = field.split(',').filter_map(|parameter| parameter.split_once('='));
        let (_, seconds) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))?;
        seconds.trim().trim_matches('"').parse().ok().map(Duration::from_secs)
    };
    match said() {
        Some(said) => said.saturating_sub(Duration::from_secs(1)).max(said / 2).min(LONGEST_KEPT),
        None => unsaid,
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

/// The whole of a body, and the fields behind it.
async fn collect(
    carrier: &mut Carrier,
    body: &mut Incoming,
    length: usize,
) -> Result<(Bytes, Option<HeaderMap>), Fault> {
    let (mut gathered, mut trailers) = (BytesMut::new(), None);
    while !body.is_end_stream() {
        let Some(frame) = poll_fn(|cx| carrier.poll_frame(body, cx)).await else { break };
        match frame?.into_data() {
            Ok(data) if data.len() == length && body.is_end_stream() => return Ok((data, None)),
            Ok(data) => gathered.extend_from_slice(&data),
            Err(frame) => trailers = checked_trailers(frame),
        }
    }
    Ok((gathered.freeze(), trailers))
}

/// The fields behind a body, as far as they are passed on.
fn checked_trailers(frame: Frame<Bytes>) -> Option<HeaderMap> {
    let mut trailers = frame.into_trailers().ok()?;
    strip_answer_trailers(&mut trailers);
    (!trailers.is_empty()).then_some(trailers)
}

/// A body that is passed on as it comes.
struct PassedBody {
    shared: Arc<Shared>,
    /// None when the answer has ended.
    carrier: Option<Carrier>,
    body: Incoming,
    trailers: TrailerSlot,
    /// The longest silence.
    limit: Option<Duration>,
    silence: Option<Pin<Box<Sleep>>>,
    /// The silence goes on: its time is running.
    is_silent: bool,
    _active: ActiveRequest,
}

impl PassedBody {
    fn end(&mut self) {
        let Some(carrier) = self.carrier.take() else { return };
        let upstream = Arc::clone(carrier.upstream());
        if let Err(fault) = carrier.settle(self.shared.options.idle_connections) {
            tracing::warn!(upstream = %upstream.name, "medusa.handler.proxy: {}: {fault}; the connection is closed", upstream.name);
        }
    }

    fn broke_off(&mut self, fault: Fault) -> BodyError {
        let Some(carrier) = self.carrier.take() else {
            return BodyError::Producer(fault.into());
        };
        let upstream = carrier.upstream();
        upstream.failed(&self.shared.options, health::now(), &fault);
        BodyError::Producer(ProxyError::new(&upstream.name, fault).into())
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        let Some(limit) = self.limit else { return Poll::Pending };
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !std::mem::replace(&mut self.is_silent, true) {
            silence.as_mut().reset(Instant::now() + limit);
        }
        ready!(silence.as_mut().poll(cx));
        Poll::Ready(Fault::Silent(limit))
    }
}

impl Stream for PassedBody {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let this = self.get_mut();
        loop {
            let Some(carrier) = &mut this.carrier else { return Poll::Ready(None) };
            match carrier.poll_frame(&mut this.body, cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.is_silent = false;
                    let data = match frame.into_data() {
                        Ok(data) => data,
                        Err(frame) => {
                            if let Some(trailers) = checked_trailers(frame) {
                                this.trailers.set(trailers);
                            }
                            continue;
                        }
                    };
                    if this.body.is_end_stream() {
                        this.end();
                    }
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Poll::Ready(Some(Err(fault))) => return Poll::Ready(Some(Err(this.broke_off(fault)))),
                Poll::Ready(None) => {
                    this.end();
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    let fault = ready!(this.poll_silence(cx));
                    return Poll::Ready(Some(Err(this.broke_off(fault))));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |&(name, value): &(&'static str, &'static str)| {
            (header::HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn framing_that_can_be_read_in_two_ways_is_refused() {
        let check = |version, fields: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for &(name, value) in fields {
                map.try_append(name, HeaderValue::from_static(value)).unwrap();
            }
            check_framing(version, &map).map_err(|fault| fault.to_string())
        };
        let (chunked, length) = (("transfer-encoding", "chunked"), ("content-length", "5"));
        assert_eq!(check(Version::HTTP_11, &[chunked]), Ok(()));
        assert_eq!(check(Version::HTTP_11, &[length]), Ok(()));
        assert_eq!(check(Version::HTTP_10, &[length]), Ok(()));
        assert!(check(Version::HTTP_11, &[chunked, length]).unwrap_err().contains("framed twice"));
        for wrong in [
            &[chunked, chunked][..],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "identity")],
        ] {
            assert!(check(Version::HTTP_11, wrong).unwrap_err().contains("other than"), "{wrong:?}");
        }
        assert!(check(Version::HTTP_10, &[chunked]).is_err());
    }

    #[test]
    fn a_connection_is_kept_for_less_time_than_the_upstream_does() {
        let kept = |field| kept_for(&headers(&[("keep-alive", field)]), Duration::from_secs(4)).as_millis();
        assert_eq!(kept("timeout=5"), 4000);
        assert_eq!(kept("timeout=5, max=100"), 4000);
        assert_eq!(kept("max=100, Timeout = 60"), 59_000);
        assert_eq!(kept("timeout=1"), 500);
        assert_eq!(kept("timeout=0"), 0);
        assert_eq!(kept("timeout=99999999"), 120_000);
        for unsaid in ["timeout=", "timeout=-1", "max=5", "timeout"] {
            assert_eq!(kept(unsaid), 4000, "{unsaid}");
        }
    }

    #[test]
    fn the_length_of_what_is_not_sent_is_one_number() {
        assert_eq!(announced(&headers(&[("content-length", "5")])), Some(5));
        for wrong in ["", "+5", "5, 5", "-1", "x"] {
            assert_eq!(announced(&headers(&[("content-length", wrong)])), None, "{wrong}");
        }
    }
}
