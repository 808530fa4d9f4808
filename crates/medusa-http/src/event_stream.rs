//! Streams of server-sent events as bodies: unlike other streams they have no end of their own, and a client whose stream
//! ends connects again by itself. So they end as soon as their connection or their handler is to end, and hold up neither.
//!
//! **Invariant:** what is cut off is an event that was not complete, which clients discard; nothing is added to one.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http::header::{self, HeaderMap};
use medusa_proto::event_stream::{CONTENT_TYPE, ServerSentEvent};
use tokio::sync::Notify;

use crate::body::{BodyError, BodyStream};
use crate::sessions::Membership;

/// Whether a response with these fields is one.
pub(crate) fn is_one(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let kind = content_type.split(|&b| b == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(CONTENT_TYPE.as_bytes())
}

/// A stream of events that ends with its handler, or when told to.
pub(crate) struct EventStream {
    /// None when it has ended.
    inner: Option<BodyStream>,
    leave: Pin<Box<dyn Future<Output = ()>>>,
    /// It is text, to which a line may be added.
    is_text: bool,
    /// Every event that was sent is complete.
    is_complete: bool,
    /// The script has said itself when to connect again.
    has_said: bool,
}

impl EventStream {
    /// `finish` is told when the connection is to end.
    pub(crate) fn new(
        inner: BodyStream,
        headers: &HeaderMap,
        mut membership: Membership,
        finish: Rc<Notify>,
    ) -> Self {
        let leave = Box::pin(async move {
            tokio::select! {
                () = finish.notified() => {}
                () = membership.ended() => {}
            }
        });
        let is_text = !headers.contains_key(header::CONTENT_ENCODING);
        Self { inner: Some(inner), leave, is_text, is_complete: true, has_said: false }
    }

    fn sent(&mut self, chunk: &[u8]) {
        if !chunk.is_empty() {
            self.is_complete =
                [b"\n\n".as_slice(), b"\r\r", b"\r\n\r\n"].iter().any(|end| chunk.ends_with(end));
        }
        let mut lines = chunk.split(|b| matches!(b, b'\n' | b'\r'));
        self.has_said = self.has_said || lines.any(|line| line.starts_with(b"retry:"));
    }

    /// The event that says when to connect again: not all clients at once.
    fn farewell(&self) -> Option<Bytes> {
        if !self.is_text || !self.is_complete || self.has_said {
            return None;
        }
        let mut text = Vec::new();
        ServerSentEvent { retry: Some(next_retry()), ..ServerSentEvent::default() }.write(&mut text).ok()?;
        Some(text.into())
    }
}

/// The least that clients wait before they connect again, in milliseconds, and how much longer some of them do.
const RETRY: u64 = 1000;
const SPREAD: u64 = 2000;

/// After how long a client is to connect again: each some time after the one before.
fn next_retry() -> u64 {
    thread_local! { static AT: Cell<u64> = const { Cell::new(0) } }
    // A step that has no divisor in common with the spread goes everywhere.
    let at = AT.get();
    AT.set((at + 619) % SPREAD);
    RETRY + at
}

impl Stream for EventStream {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        if this.leave.as_mut().poll(cx).is_ready() {
            this.inner = None;
            return Poll::Ready(this.farewell().map(Ok));
        }
        let polled = inner.as_mut().poll_next(cx);
        match &polled {
            Poll::Ready(Some(Ok(chunk))) => this.sent(chunk),
            Poll::Ready(_) => this.inner = None,
            Poll::Pending => {}
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::{StreamExt, stream};
    use http::HeaderValue;

    use super::*;
    use crate::Sessions;

    /// The bytes sent of a stream that is told to end after `chunks`.
    async fn cut(chunks: &[&'static str], coding: Option<&'static str>) -> String {
        let (sessions, finish) = (Sessions::default(), Rc::new(Notify::new()));
        let mut headers = HeaderMap::new();
        if let Some(coding) = coding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        let chunks: Vec<_> = chunks.iter().map(|&chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect();
        let count = chunks.len();
        let inner = Box::pin(stream::iter(chunks).chain(stream::pending()));
        let member = sessions.join_event_stream(Duration::ZERO);
        let mut events = EventStream::new(inner, &headers, member, Rc::clone(&finish));
        let mut sent = Vec::new();
        for _ in 0..count {
            sent.extend(events.next().await.unwrap().unwrap());
        }
        finish.notify_one();
        while let Some(chunk) = events.next().await {
            sent.extend(chunk.unwrap());
        }
        String::from_utf8(sent).unwrap()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn clients_are_told_when_to_connect_again_where_that_spoils_nothing() {
        for chunks in
            [&[] as &[&str], &["data: x\n\n"], &["data: x\r\n\r\n"], &["data: x\n", "data: retry: 5\n\n"]]
        {
            let sent = cut(chunks, None).await;
            let rest = sent.strip_prefix(&chunks.concat()).unwrap();
            let retry = rest.strip_prefix("retry: ").and_then(|rest| rest.strip_suffix("\n\n")).unwrap();
            assert!((RETRY..RETRY + SPREAD).contains(&retry.parse().unwrap()), "{sent:?}");
        }
        for chunks in [&["data: x\n"] as &[&str], &["data: x\n\ndata: y"], &["retry: 5\n\n", "data: x\n\n"]] {
            assert_eq!(cut(chunks, None).await, chunks.concat(), "nothing is added");
        }
        assert_eq!(cut(&["\n\n"], Some("gzip")).await, "\n\n", "nor to what is encoded");
    }

    #[test]
    fn clients_do_not_come_back_all_at_once() {
        let mut all: Vec<u64> = (0..SPREAD).map(|_| next_retry()).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len() as u64, SPREAD);
    }

    #[test]
    fn only_event_streams_are_ended_early() {
        let is_one = |kind: &'static str| {
            is_one(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]))
        };
        assert!(is_one("text/event-stream") && is_one("Text/Event-Stream ; charset=utf-8"));
        assert!(!is_one("text/plain") && !is_one("text/event-streams") && !super::is_one(&HeaderMap::new()));
    }
}
