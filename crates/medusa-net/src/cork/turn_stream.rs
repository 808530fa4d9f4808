//! A stream whose small output is written at the end of the worker's [turn], for protocols that flush.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::core::Writer;
use super::outbox::Outbox;
use super::{SMALL, turn};

/// Wraps a stream to somebody whom many tasks of this worker write to, such as a server behind a proxy: what is flushed and less
/// than [`SMALL`] bytes goes out when all that was ready has had its turn. Clones are the same stream.
pub struct TurnStream<S>(Rc<State<S>>);

struct State<S> {
    stream: RefCell<S>,
    out: RefCell<Outbox>,
    writer: RefCell<Writer>,
    received: Cell<u64>,
}

impl<S> TurnStream<S> {
    /// Wraps `stream`.
    pub fn new(stream: S) -> Self {
        let (out, received) = Default::default();
        let (stream, writer) = (RefCell::new(stream), RefCell::new(Writer::Nobody));
        Self(Rc::new(State { stream, out, writer, received }))
    }

    /// The number of bytes read from the stream.
    pub fn bytes_read(&self) -> u64 {
        self.0.received.get()
    }

    /// What `look` finds on the stream itself.
    pub fn look<T>(&self, look: impl FnOnce(&S) -> T) -> T {
        look(&self.0.stream.borrow())
    }
}

impl<S: AsyncWrite + Unpin> State<S> {
    fn poll_write_out(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Writer::Failed(error) = self.writer.replace(Writer::Driver) {
            return Poll::Ready(Err(error));
        }
        let (mut stream, mut out) = (self.stream.borrow_mut(), self.out.borrow_mut());
        while !out.is_empty() {
            match ready!(Pin::new(&mut *stream).poll_write(cx, out.pending())) {
                Ok(written) if written > 0 => out.consume(written),
                failed => {
                    out.clear();
                    return Poll::Ready(failed.and(Err(io::ErrorKind::WriteZero.into())));
                }
            }
        }
        ready!(Pin::new(&mut *stream).poll_flush(cx))?;
        self.writer.replace(Writer::Nobody);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> turn::Output for State<S> {
    fn write(&self, cx: &mut Context<'_>) -> bool {
        match self.poll_write_out(cx) {
            Poll::Ready(Ok(())) => true,
            Poll::Pending => false,
            Poll::Ready(Err(error)) => {
                self.writer.replace(Writer::Failed(error));
                false
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TurnStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut *self.0.stream.borrow_mut()).poll_read(cx, buf))?;
        self.0.received.set(self.0.received.get() + (buf.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin + 'static> AsyncWrite for TurnStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    /// Collects less than [`SMALL`] bytes; more goes out at once, behind what was collected.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        let mut out = self.0.out.borrow_mut();
        if out.len() + length < SMALL {
            for piece in pieces {
                out.push(piece);
            }
            return Poll::Ready(Ok(length));
        }
        drop(out);
        ready!(self.0.poll_write_out(cx))?;
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &self.0;
        let waits = state.out.borrow().len();
        if waits > 0 {
            match state.writer.replace(Writer::EndOfTurn) {
                Writer::EndOfTurn => return Poll::Ready(Ok(())),
                Writer::Nobody if turn::add(Rc::clone(state) as Rc<dyn turn::Output>, waits, cx) => {
                    return Poll::Ready(Ok(()));
                }
                before => drop(state.writer.replace(before)),
            }
        }
        state.poll_write_out(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.poll_write_out(cx))?;
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_shutdown(cx)
    }
}

impl<S> Clone for TurnStream<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S> fmt::Debug for TurnStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnStream").field("buffered", &self.0.out.borrow().len()).finish_non_exhaustive()
    }
}
