//! The end of a connection: sends what is left to send, then waits for the peer to hear it. Closing a socket with unread
//! bytes would reset the connection and could take the last response with it
//! ([RFC 9112 §9.6](https://www.rfc-editor.org/rfc/rfc9112#section-9.6)).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use http::StatusCode;
use medusa_net::cork::CorkHandle;
use medusa_net::{Phase, Signal, Stream};
use tokio::io::{AsyncRead, ReadBuf};

use super::End;
use crate::connection::Connection;
use crate::fault::Fault;

/// How much of what a peer still sends is thrown away before its connection is closed on it.
const MAX_LINGER: usize = 256 * 1024;

/// The answer to a request that never came to be one.
fn reply(status: StatusCode) -> String {
    let code = status.as_u16();
    let reason = status.canonical_reason().unwrap_or_default();
    let date = httpdate::fmt_http_date(SystemTime::now());
    format!(
        "HTTP/1.1 {code} {reason}\r\nserver: medusa\r\nconnection: close\r\ncontent-length: 0\r\ndate: {date}\r\n\r\n"
    )
}

pub(super) async fn close(context: &Connection, end: End) {
    let (conn, handle) = (&context.conn, &context.handle);
    if let Some(fault) = end.fault() {
        context.count(fault);
    }
    if let Some(status) = end.status() {
        context.record_unread(status);
    }
    let is_full = |status| !handle.push_raw(reply(status).as_bytes());
    if matches!(end, End::Gone) || end.unanswered().is_some_and(is_full) {
        return;
    }
    conn.enter(Phase::Closing);
    let mut closing = Closing { shut: false, thrown_away: 0, wait: !conn.is_draining() };
    poll_fn(|cx| {
        match conn.poll_signal(cx) {
            Signal::None | Signal::Drain | Signal::Rest | Signal::Look => {}
            Signal::Expired(_) => return Poll::Ready(()),
            Signal::Stalled => {
                context.count(Fault::WriteStall);
                return Poll::Ready(());
            }
        }
        if matches!(end, End::BrokeOff) {
            // Not shut down in order: the peer must see that something is missing.
            return handle.poll_write_out(cx).map(drop);
        }
        closing.poll(handle, cx)
    })
    .await;
}

/// How far a connection's end has come.
struct Closing {
    /// Our side has said that it is done.
    shut: bool,
    thrown_away: usize,
    /// Whether to wait for the peer's end. Not when the server is on its way out: clients that keep a connection in
    /// reserve would hold it up.
    wait: bool,
}

impl Closing {
    fn poll(&mut self, handle: &CorkHandle<Stream>, cx: &mut Context<'_>) -> Poll<()> {
        let mut io = handle.io();
        if !self.shut {
            // Writes out first.
            if ready!(handle.poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            self.shut = true;
        }
        let mut bin = [0; 4096];
        while self.thrown_away < MAX_LINGER {
            let mut bin = ReadBuf::new(&mut bin);
            match Pin::new(&mut io).poll_read(cx, &mut bin) {
                Poll::Ready(Ok(())) if !bin.filled().is_empty() => self.thrown_away += bin.filled().len(),
                Poll::Pending if self.wait => return Poll::Pending,
                _ => break,
            }
        }
        Poll::Ready(())
    }
}
