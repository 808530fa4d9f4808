//! A file as a response's body: sent by the kernel where the stream allows it, read where it does not.
//!
//! Invariant: no worker waits for a disk. What the page cache does not hold is brought there, or read, on the blocking
//! pool.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use medusa_net::Stream;
use medusa_net::cork::{CorkHandle, LONGEST_PIECE};
use medusa_net::descriptors::SharedFile;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tokio::task::JoinHandle;

use crate::body::BodyError;

/// The length of one read of a file: large enough that a system call hardly counts, small enough that many slow
/// clients hold little.
const CHUNK: usize = 128 * 1024;
/// The same where a client may have a hundred responses waiting on one connection: an HTTP/2 frame.
const LITTLE: usize = 16 * 1024;

/// Part of an open file.
///
/// On a stream that the kernel can send files on, it is handed on piece by piece (see
/// [`CorkHandle::file_placeholder`](medusa_net::cork::CorkHandle::file_placeholder)) and never copied. On any other it
/// is read: what the page cache holds right on the worker (`RWF_NOWAIT` promises not to wait for a disk), the rest on
/// the blocking pool.
#[derive(Debug)]
pub struct FileBody {
    file: SharedFile,
    offset: u64,
    remaining: u64,
    /// Work on the blocking pool: what it read, or nothing where it only brought a piece into the page cache.
    pending: Option<JoinHandle<io::Result<Bytes>>>,
    /// Set where the kernel sends.
    sender: Option<CorkHandle<Stream>>,
    /// The length of one read.
    chunk: usize,
    /// The page cache holds the next piece, as far as we know.
    is_cached: bool,
}

impl FileBody {
    /// `len` bytes of `file` from `offset` on. The caller has checked that they are there.
    pub fn new(file: SharedFile, offset: u64, len: u64) -> Self {
        Self { file, offset, remaining: len, pending: None, sender: None, chunk: CHUNK, is_cached: false }
    }

    /// The bytes that are still to be sent.
    pub(crate) fn len(&self) -> u64 {
        self.remaining
    }

    /// Whether its bytes come by here, and not from the kernel to the client.
    pub(crate) fn is_read(&self) -> bool {
        self.sender.is_none()
    }

    /// Has it read in small chunks, for there are many responses at a time and each may wait with one.
    pub(crate) fn read_little(&mut self) {
        self.chunk = LITTLE;
    }

    /// Has the kernel send it on a connection's stream, which can do that.
    pub(crate) fn send_by(&mut self, sender: CorkHandle<Stream>) {
        self.sender = Some(sender);
    }

    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        let chunk = if self.sender.is_some() { self.poll_piece(cx) } else { self.poll_read(cx) };
        let advanced = ready!(chunk).map_err(BodyError::from).and_then(|chunk| self.advance(chunk));
        Poll::Ready(Some(advanced))
    }

    /// The placeholder of the next piece, once the page cache holds it.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let len = self.next_len(LONGEST_PIECE);
        if let Some(task) = &mut self.pending {
            let warmed = ready!(Pin::new(task).poll(cx));
            self.pending = None;
            warmed.unwrap_or_else(|gone| Err(io::Error::other(gone)))?;
            self.is_cached = true;
        }
        if !self.is_cached && !self.is_in_cache(len) {
            let (file, offset) = (Arc::clone(&self.file), self.offset);
            self.pending = Some(tokio::task::spawn_blocking(move || bring_into_cache(&file, offset, len)));
            return self.poll_piece(cx);
        }
        self.is_cached = false;
        let Some(sender) = &self.sender else { return Poll::Ready(Ok(Bytes::new())) };
        Poll::Ready(Ok(sender.file_placeholder(Arc::clone(&self.file), self.offset, len)))
    }

    /// Whether the page cache holds the last byte of the next `len`, and so most likely all of them: it is filled in
    /// order. A file system that cannot say so is taken to be slow, as those over a network are.
    fn is_in_cache(&self, len: usize) -> bool {
        let last = self.offset + len.saturating_sub(1) as u64;
        self.read_now(&mut [0], last).is_ok()
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if let Some(task) = &mut self.pending {
            let read = ready!(Pin::new(task).poll(cx));
            self.pending = None;
            return Poll::Ready(read.unwrap_or_else(|gone| Err(io::Error::other(gone))));
        }
        let len = self.next_len(self.chunk);
        let mut chunk = vec![0; len];
        match self.read_now(&mut chunk, self.offset) {
            Ok(read) => {
                chunk.truncate(read);
                return Poll::Ready(Ok(chunk.into()));
            }
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => {}
            Err(error) => return Poll::Ready(Err(error.into())),
        }
        let (file, offset) = (Arc::clone(&self.file), self.offset);
        self.pending = Some(tokio::task::spawn_blocking(move || {
            let read = file.read_at(&mut chunk, offset)?;
            chunk.truncate(read);
            Ok(chunk.into())
        }));
        self.poll_read(cx)
    }

    /// Reads from the page cache; [`Errno::AGAIN`] when that would have to wait.
    fn read_now(&self, into: &mut [u8], at: u64) -> rustix::io::Result<usize> {
        preadv2(self.file.as_fd(), &mut [IoSliceMut::new(into)], at, ReadWriteFlags::NOWAIT)
    }

    fn next_len(&self, most: usize) -> usize {
        usize::try_from(self.remaining).map_or(most, |left| left.min(most))
    }

    fn advance(&mut self, chunk: Bytes) -> Result<Bytes, BodyError> {
        if chunk.is_empty() {
            return Err(BodyError::Shrank { missing: self.remaining });
        }
        self.offset += chunk.len() as u64;
        self.remaining -= chunk.len() as u64;
        Ok(chunk)
    }
}

/// Reads a piece for the page cache's sake alone.
fn bring_into_cache(file: &File, offset: u64, len: usize) -> io::Result<Bytes> {
    let mut bin = vec![0; len.min(CHUNK)];
    let mut done = 0;
    while done < len {
        match file.read_at(&mut bin, offset + done as u64)? {
            0 => break,
            read => done += read,
        }
    }
    Ok(Bytes::new())
}
