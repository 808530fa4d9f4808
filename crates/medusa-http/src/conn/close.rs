//! The end of a connection: sends what is left to send, then waits for the peer to hear it. Closing a socket with unread
//! bytes would reset the connection and could take the last response with it
//! ([RFC 9112 §9.6](https://www.rfc-editor.org/rfc/rfc9112#section-9.6)).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use medusa_net::cork::CorkHandle;
use medusa_net::{Phase, Signal, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::End;
use crate::connection::Connection;
use crate::fault::Fault;

/// How much of what a peer still sends is thrown away before its connection is closed on it.
const MAX_LINGER: usize = 256 * 1024;

/// What hyper does not send itself.
fn reply(end: &End) -> Option<String> {
    let line = match end {
        End::NotHttp1 => "505 HTTP Version Not Supported",
        End::HeadTimeout => "408 Request Timeout",
        _ => return None,
    };
    let date = httpdate::fmt_http_date(SystemTime::now());
    Some(format!(
        "HTTP/1.1 {line}\r\nserver: medusa\r\nconnection: close\r\ncontent-length: 0\r\ndate: {date}\r\n\r\n"
    ))
}

pub(super) async fn close(context: &Connection, end: End) {
    let (conn, handle) = (&context.conn, &context.handle);
    if let Some(fault) = end.fault() {
        context.count(fault);
    }
    if let Some(status) = end.status() {
        context.record_unread(status);
    }
    if matches!(end, End::Gone) || reply(&end).is_some_and(|reply| !handle.push_raw(reply.as_bytes())) {
        return;
    }
    conn.enter(Phase::Closing);
    let mut closing = Closing { shut: false, thrown_away: 0, wait: !conn.is_draining() };
    poll_fn(|cx| {
        match conn.poll_signal(cx) {
            Signal::None | Signal::Drain | Signal::Rest => {}
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
            if ready!(Pin::new(&mut io).poll_shutdown(cx)).is_err() {
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
