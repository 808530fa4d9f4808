//! The body of a response as hyper pulls it: counted for its client, in pieces, as long as there is memory for it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use medusa_net::WriteGuard;
use tokio::time::{Sleep, sleep};

use super::state::Exchange;
use crate::body::{Body, BodyError};
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
    /// HTTP/2: what is left of a chunk that is handed over in pieces.
    rest: Bytes,
    /// HTTP/2: it is the client that keeps us from going on.
    write_deadline: Option<WriteGuard>,
    /// There is no memory for the next chunk: asked again then.
    no_room: Option<Pin<Box<Sleep>>>,
}

/// The time that a body waits for memory before it looks again: long enough to cost nothing, and a client that waits for its
/// next chunk hardly notices.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl SentBody {
    pub(super) fn new(mut body: Body, exchange: Exchange) -> Self {
        let connection = exchange.connection();
        if let Body::File(file) = &mut body {
            if connection.is_multiplexed() {
                file.read_little();
            } else if connection.handle.can_send_files() {
                file.send_by(connection.handle.clone());
            }
        }
        let mut sent =
            Self { body, exchange: Some(exchange), rest: Bytes::new(), write_deadline: None, no_room: None };
        sent.start_write_deadline();
        sent
    }

    pub(super) fn none() -> Self {
        Self { body: Body::Empty, exchange: None, rest: Bytes::new(), write_deadline: None, no_room: None }
    }

    /// The next chunk. With HTTP/2 it is no longer than [`PIECE`]: h2 takes a chunk as soon as the client has room for a
    /// byte of it, and what it has taken is out of our sight.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.exchange.as_ref().is_some_and(|exchange| exchange.poll_cut(cx).is_ready()) {
            return Poll::Ready(Some(Err(BodyError::Cut)));
        }
        let mut chunk = match std::mem::take(&mut self.rest) {
            rest if rest.is_empty() => {
                ready!(self.poll_room(cx));
                match ready!(self.body.poll_chunk(cx)) {
                    Some(Ok(chunk)) => self.keep(chunk),
                    end => return Poll::Ready(end),
                }
            }
            rest => rest,
        };
        let multiplexed = self.exchange.as_ref().is_some_and(|of| of.connection().is_multiplexed());
        if multiplexed && chunk.len() > PIECE {
            self.rest = chunk.split_off(PIECE);
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
        match (&self.write_deadline, &self.exchange) {
            (Some(write_deadline), _) => write_deadline.progressed(),
            (None, Some(exchange)) if exchange.connection().is_multiplexed() => {
                self.write_deadline = Some(exchange.connection().conn.guard_write());
            }
            (None, _) => {}
        }
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
            Poll::Ready(None) => (this.body, this.write_deadline) = (Body::Empty, None),
            _ => this.write_deadline = None,
        }
        polled.map(|chunk| {
            let chunk = chunk?;
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
        self.rest.is_empty() && self.body.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        self.body.len().map_or_else(SizeHint::default, |len| SizeHint::with_exact(len + rest))
    }
}
