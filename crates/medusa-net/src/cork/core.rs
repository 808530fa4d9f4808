//! The state that both halves of a cork share, and all writing to the stream.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::outbox::Outbox;
use super::placeholder::Pieces;
use super::{HIGH_WATER, turn};
use crate::conn::Conn;
use crate::stream::SendFile;

/// Slices passed on in one `writev`; as many as protocols give at a time. The rest of a longer list is a partial write.
pub(super) const MAX_SLICES: usize = 64;

/// The state that both halves share.
pub(super) struct Core<S> {
    pub(super) stream: S,
    pub(super) conn: Rc<Conn>,
    /// Read, and given back.
    pub(super) unread: Bytes,
    pub(super) out: Outbox,
    pub(super) pieces: Pieces,
    /// The stream has taken bytes that its peer does not take yet.
    pub(super) unflushed: bool,
    pub(super) writer: Writer,
}

/// The next writer.
#[derive(Debug)]
pub(super) enum Writer {
    /// Nobody has to, or the driver.
    Nobody,
    /// The end of the worker's turn.
    EndOfTurn,
    /// The driver, now: the last write did not take everything.
    Driver,
    /// Nobody any more: the end of a turn came to this.
    Failed(io::Error),
}

impl<S> Core<S> {
    pub(super) fn describe(&self, mut debug: fmt::DebugStruct<'_, '_>) -> fmt::Result {
        debug.field("conn", &self.conn).field("buffered", &self.out.len()).finish_non_exhaustive()
    }
}

impl<S: AsyncWrite + SendFile + Unpin> turn::Output for RefCell<Core<S>> {
    fn write(&self, cx: &mut Context<'_>) -> bool {
        let mut core = self.borrow_mut();
        match core.poll_write_out(cx) {
            Poll::Ready(Ok(())) => true,
            Poll::Pending => false,
            Poll::Ready(Err(error)) => {
                core.writer = Writer::Failed(error);
                false
            }
        }
    }
}

impl<S: AsyncWrite + SendFile + Unpin> Core<S> {
    /// Has the kernel send of the first piece what the `len` bytes of its placeholder stand for. Returns how much went.
    pub(super) fn poll_send_piece(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<io::Result<usize>> {
        ready!(self.poll_write_out(cx))?;
        let Self { stream, conn, pieces, .. } = self;
        let Some(piece) = pieces.first() else {
            return Poll::Ready(Err(io::Error::other("a placeholder for nothing")));
        };
        match stream.poll_send_file(cx, &piece.file, piece.at, piece.len.min(len)) {
            Poll::Pending => {
                conn.on_send_blocked();
                Poll::Pending
            }
            Poll::Ready(Ok(0)) => {
                let shrank =
                    io::Error::new(io::ErrorKind::UnexpectedEof, "the file shrank while it was sent");
                Poll::Ready(Err(shrank))
            }
            Poll::Ready(Ok(sent)) => {
                conn.on_sent(sent, sent == len);
                pieces.sent(sent);
                Poll::Ready(Ok(sent))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }

    /// Copies `bufs`, of `total` bytes, behind what is collected.
    pub(super) fn poll_collect(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
        total: usize,
    ) -> Poll<io::Result<usize>> {
        if self.out.len() + total > HIGH_WATER {
            ready!(self.poll_write_out(cx))?;
        }
        for buf in bufs {
            self.out.push(buf);
        }
        Poll::Ready(Ok(total))
    }

    /// Writes what is collected and `bufs` behind it, without copying; returns how much of `bufs` was taken, at least a
    /// byte.
    pub(super) fn poll_pass_on(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let collected = self.out.len();
            let written = ready!(self.poll_write_with(cx, bufs))?;
            self.out.consume(written.min(collected));
            if written > collected {
                return Poll::Ready(Ok(written - collected));
            }
        }
    }

    pub(super) fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Writer::Failed(error) = std::mem::replace(&mut self.writer, Writer::Driver) {
            return Poll::Ready(Err(error));
        }
        while !self.out.is_empty() {
            let written = ready!(self.poll_write_with(cx, &[]))?;
            self.out.consume(written);
        }
        ready!(self.poll_flush(cx))?;
        self.writer = Writer::Nobody;
        Poll::Ready(Ok(()))
    }

    /// An encrypted stream may still hold what it has taken: nobody else would write it. For a socket this is nothing.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        let was_unflushed = std::mem::replace(&mut self.unflushed, flushed.is_pending());
        if self.unflushed {
            self.conn.on_send_blocked();
        } else if was_unflushed {
            self.conn.on_sent(0, true);
        }
        flushed
    }

    /// One write to the stream of what is collected and `bufs`.
    fn poll_write_with(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Self { stream, conn, out, .. } = self;
        let total = out.len() + bufs.iter().map(|buf| buf.len()).sum::<usize>();
        let stream = Pin::new(stream);
        let poll = if bufs.is_empty() {
            stream.poll_write(cx, out.pending())
        } else {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let used = gather(&mut slices, out.pending(), bufs);
            stream.poll_write_vectored(cx, slices.get(..used).unwrap_or_default())
        };
        match &poll {
            Poll::Pending => conn.on_send_blocked(),
            Poll::Ready(Ok(0)) => {
                out.clear();
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            Poll::Ready(Ok(written)) => conn.on_sent(*written, *written == total),
            Poll::Ready(Err(_)) => out.clear(),
        }
        poll
    }
}

/// Lists `first` and then `rest`, leaving out what is empty, as far as `slices` has room. Returns how many it lists.
fn gather<'a>(slices: &mut [IoSlice<'a>], first: &'a [u8], rest: &[IoSlice<'a>]) -> usize {
    let all =
        std::iter::once(IoSlice::new(first)).chain(rest.iter().copied()).filter(|slice| !slice.is_empty());
    slices.iter_mut().zip(all).map(|(slot, slice)| *slot = slice).count()
}
