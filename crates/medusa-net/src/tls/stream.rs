//! The byte stream of an encrypted connection.
//!
//! Writing encrypts at once, into records of at most 16 KiB: the slices of one vectored write share records, and many
//! small writes would be as many records of 22 bytes more each; collecting them is the [`cork`](crate::cork)'s work.
//! What the socket does not take yet waits here, at most [`BUFFERED`] bytes of it, until `poll_flush`, which a writer
//! must call.
//!
//! While idle it holds about 8 KiB more than a plain one (5,000 connections, RSS): half of that is the library's read
//! buffer, the rest keys and state.
//!
//! Invariant: shutting down says `close_notify` first, so that a client can tell a whole response from one that was cut
//! off by someone in between.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server;

use super::info::TlsInfo;
use crate::stream::Stream;

/// The size that is encrypted ahead of a socket that takes no more. As much as the cork holds, so that its contents
/// leave in one system call; held only while a peer is slow.
pub(super) const BUFFERED: usize = 64 * 1024;

/// An encrypted connection after its handshake.
pub struct TlsStream {
    inner: server::TlsStream<Stream>,
    info: Arc<TlsInfo>,
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is between the two holds keys.
        let mut debug = f.debug_struct("TlsStream");
        debug.field("carrier", self.carrier()).field("info", &self.info).finish_non_exhaustive()
    }
}

impl TlsStream {
    pub(super) fn new(inner: server::TlsStream<Stream>, info: Arc<TlsInfo>) -> Self {
        Self { inner, info }
    }

    /// The settings that were agreed on.
    pub fn info(&self) -> &Arc<TlsInfo> {
        &self.info
    }

    /// The stream that carries the records.
    pub(crate) fn carrier(&self) -> &Stream {
        self.inner.get_ref().0
    }
}

impl AsyncRead for TlsStream {
    /// A peer that hangs up without `close_notify` has ended its stream as far as anyone here is concerned: in HTTP
    /// nothing that a client sends ends with the connection, so a request that was cut off shows as one (RFC 9112
    /// §9.8).
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            other => other,
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
