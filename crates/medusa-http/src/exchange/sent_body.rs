//! The body of a response as hyper pulls it: counted for its client, in pieces, as long as there is memory for it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use medusa_net::WriteGuard;
use tokio::time::{Sleep, sleep};

use super::state::Exchange;
use crate::body::{Body, BodyError, TrailerSlot};
use crate::budget::Kind;

/// The size of a response that is handed over at once where each has a window of its own, in bytes: a frame. It is
/// also what a client may still have to take when the response counts as sent.
const PIECE: usize = 16 * 1024;

/// A response's body on its way out, with the exchange it ends.
#[derive(Debug)]
pub(crate) struct SentBody {
    body: Body,
    /// None for a 101, whose exchange goes on.
    exchange: Option<Exchange>,
    /// Beside this, so that a connection of HTTP/1 does not hold the memory for it.
    http2: Option<Box<Http2Answer>>,
    /// There is no memory for the next chunk: asked again then.
    no_room: Option<Pin<Box<Sleep>>>,
}

/// What a body has with HTTP/2 alone.
#[derive(Debug, Default)]
struct Http2Answer {
    /// What is left of a chunk that is handed over in pieces.
    rest: Bytes,
    /// It is the client that keeps us from going on.
    write_deadline: Option<WriteGuard>,
    /// The place where the fields behind the body are when it ends.
    trailers: Option<TrailerSlot>,
}

/// The time that a body waits for memory before it looks again: long enough to cost nothing, and a client that waits for its
/// next chunk hardly notices.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl SentBody {
    pub(super) fn new(mut body: Body, trailers: Option<TrailerSlot>, exchange: Exchange) -> Self {
        let connection = exchange.connection();
        if let Body::File(file) = &mut body {
            if connection.is_multiplexed() {
                file.read_little();
            } else if connection.handle.can_send_files() {
                file.send_by(connection.handle.clone());
            }
        }
        let http2 =
            connection.is_multiplexed().then(|| Box::new(Http2Answer { trailers, ..Http2Answer::default() }));
        let mut sent = Self { body, exchange: Some(exchange), http2, no_room: None };
        sent.start_write_deadline();
        sent
    }

    pub(super) fn none() -> Self {
        Self { body: Body::Empty, exchange: None, http2: None, no_room: None }
    }

    /// The next chunk. With HTTP/2 it is no longer than [`PIECE`]: h2 takes a chunk as soon as the client has room for a
    /// byte of it, and what it has taken is out of our sight.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.exchange.as_ref().is_some_and(|exchange| exchange.poll_cut(cx).is_ready()) {
            return Poll::Ready(Some(Err(BodyError::Cut)));
        }
        let rest = self.http2.as_mut().map(|http2| std::mem::take(&mut http2.rest));
        let mut chunk = match rest {
            Some(rest) if !rest.is_empty() => rest,
            _ => {
                ready!(self.poll_room(cx));
                match ready!(self.body.poll_chunk(cx)) {
                    Some(Ok(chunk)) => self.keep(chunk),
                    end => return Poll::Ready(end),
                }
            }
        };
        if let Some(http2) = &mut self.http2
            && chunk.len() > PIECE
        {
            http2.rest = chunk.split_off(PIECE);
        }
        Poll::Ready(Some(Ok(chunk)))
    }

    /// Waits until there is memory for a chunk that is yet to be made.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = self.exchange.as_ref().map(Exchange::connection) else {
            return Poll::Ready(());
        };
        let takes_memory = match &self.body {
            Body::Empty | Body::Bytes(_) => false,
            Body::File(file) => file.is_read(),
            Body::Stream(_) => true,
        };
        while takes_memory && connection.account.is_full(Kind::Answers, connection.limits().answer_bytes) {
            let wait = self.no_room.get_or_insert_with(|| Box::pin(sleep(LOOK_AGAIN)));
            ready!(wait.as_mut().poll(cx));
            self.no_room = None;
        }
        Poll::Ready(())
    }

    /// Counts a chunk that was made for this client, as long as it is there.
    fn keep(&self, chunk: Bytes) -> Bytes {
        match &self.exchange {
            Some(exchange) => exchange.connection().account.keep(Kind::Answers, chunk),
            None => chunk,
        }
    }

    /// Nothing is missing but room at the client's. An HTTP/1 connection sees that at its socket.
    fn start_write_deadline(&mut self) {
        let (Some(http2), Some(exchange)) = (&mut self.http2, &self.exchange) else { return };
        match &http2.write_deadline {
            Some(write_deadline) => write_deadline.progressed(),
            None => http2.write_deadline = Some(exchange.connection().conn.guard_write()),
        }
    }

    /// Something else is missing.
    fn end_write_deadline(&mut self) {
        if let Some(http2) = &mut self.http2 {
            http2.write_deadline = None;
        }
    }

    /// The length of what is left of a chunk.
    fn rest(&self) -> usize {
        self.http2.as_ref().map_or(0, |http2| http2.rest.len())
    }
}

impl Drop for SentBody {
    fn drop(&mut self) {
        let is_at_end = http_body::Body::is_end_stream(self);
        if let Some(exchange) = &mut self.exchange {
            exchange.is_whole |= is_at_end;
        }
    }
}

impl http_body::Body for SentBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = this.poll_piece(cx);
        match &polled {
            Poll::Ready(Some(Ok(_))) => this.start_write_deadline(),
            Poll::Ready(None) => {
                this.body = Body::Empty;
                this.end_write_deadline();
            }
            _ => this.end_write_deadline(),
        }
        polled.map(|chunk| {
            let Some(chunk) = chunk else {
                let trailers = this.http2.as_mut()?.trailers.take()?.take()?;
                return Some(Ok(Frame::trailers(trailers)));
            };
            Some(match chunk {
                Ok(chunk) => {
                    if let Some(exchange) = &mut this.exchange {
                        exchange.sent += chunk.len() as u64;
                    }
                    Ok(Frame::data(chunk))
                }
                Err(error) => {
                    // Who has ended it knows.
                    if let Some(exchange) = &this.exchange
                        && !matches!(error, BodyError::Cut)
                    {
                        exchange.broke_off(&error);
                    }
                    Err(error)
                }
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest() == 0 && self.body.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.len().map_or_else(SizeHint::default, |len| SizeHint::with_exact(len + self.rest() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// hyper has a place for it in each HTTP/1 connection that is not idle. With more, it would be of the size class that a
    /// connection itself is of (jemalloc's is 321 to 384 bytes), and what many leave when they fall idle would be holes
    /// between those.
    #[test]
    fn a_body_leaves_no_holes_between_idle_connections() {
        assert!(size_of::<Option<SentBody>>() <= 320, "{}", size_of::<Option<SentBody>>());
    }
}
