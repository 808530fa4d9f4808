//! A body that is compressed while it is sent.
//!
//! **Invariant:** of each stream there is at most one chunk in work, and what it became is sent before the next is asked
//! for: a slow client holds back the handler, as it does without compression.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use medusa_proto::coding::Coding;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::encode::Encoder;
use crate::body::{Body, BodyError};

/// Chunks up to this length are compressed right on the worker: it takes less time than asking the blocking pool would.
/// Some 20 µs with zstd, 40 µs with gzip.
const INLINE: usize = 4 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Compressed {
    body: Body,
    state: EncoderState,
    coding: Coding,
    /// The right to hold an encoder.
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum EncoderState {
    /// Before the first chunk: a response to HEAD never gets further, and costs no encoder.
    New,
    Ready(Box<Encoder>),
    Busy(JoinHandle<io::Result<(Box<Encoder>, Bytes)>>),
    Done,
}

impl Compressed {
    pub(super) fn new(body: Body, coding: Coding, permit: OwnedSemaphorePermit) -> Self {
        Self { body, state: EncoderState::New, coding, _permit: permit }
    }

    /// Takes the next step; `Some` if that gives something to send, or the end.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        match std::mem::replace(&mut self.state, EncoderState::Done) {
            EncoderState::Done => Poll::Ready(Ok(NextChunk::End)),
            EncoderState::New => {
                self.state = EncoderState::Ready(Box::new(Encoder::new(self.coding)?));
                Poll::Ready(Ok(NextChunk::Again))
            }
            EncoderState::Busy(mut task) => {
                let Poll::Ready(done) = Pin::new(&mut task).poll(cx) else {
                    self.state = EncoderState::Busy(task);
                    return Poll::Pending;
                };
                let (encoder, encoded) = done.map_err(io::Error::other)??;
                self.state = EncoderState::Ready(encoder);
                Poll::Ready(Ok(NextChunk::Send(encoded)))
            }
            EncoderState::Ready(encoder) => self.encode(encoder, cx),
        }
    }

    fn encode(&mut self, mut encoder: Box<Encoder>, cx: &mut Context<'_>) -> Poll<Step> {
        let Poll::Ready(chunk) = self.body.poll_chunk(cx) else {
            self.state = EncoderState::Ready(encoder);
            return Poll::Pending;
        };
        Poll::Ready(match chunk {
            None => Ok(NextChunk::Send(encoder.finish()?)),
            Some(Err(error)) => Err(error),
            Some(Ok(chunk)) if chunk.len() <= INLINE => {
                let encoded = encoder.chunk(&chunk)?;
                self.state = EncoderState::Ready(encoder);
                Ok(NextChunk::Send(encoded))
            }
            Some(Ok(chunk)) => {
                self.state = EncoderState::Busy(tokio::task::spawn_blocking(move || {
                    let encoded = encoder.chunk(&chunk)?;
                    Ok((encoder, encoded))
                }));
                Ok(NextChunk::Again)
            }
        })
    }
}

type Step = Result<NextChunk, BodyError>;

enum NextChunk {
    Send(Bytes),
    Again,
    End,
}

impl Stream for Compressed {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match ready!(self.step(cx)) {
                Err(error) => return Poll::Ready(Some(Err(error))),
                Ok(NextChunk::End) => return Poll::Ready(None),
                // An empty chunk would end a chunked body.
                Ok(NextChunk::Send(encoded)) if !encoded.is_empty() => return Poll::Ready(Some(Ok(encoded))),
                Ok(NextChunk::Send(_) | NextChunk::Again) => {}
            }
        }
    }
}
