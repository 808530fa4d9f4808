//! The end of a connection: sends what is left to send, then waits for the peer to hear it. Closing a socket with unread
//! bytes would reset the connection and could take the last response with it
//! ([RFC 9112 §9.6](https://www.rfc-editor.org/rfc/rfc9112#section-9.6)).

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use medusa_net::{Phase, Signal};
use tokio::io::{AsyncRead, ReadBuf};

use super::end::HttpEnd;
use crate::budget::{Account, RefusalPermit};
use crate::connection::Connection;
use crate::fault::Fault;

/// The part of what a peer still sends that is thrown away, in bytes, of whoever it is.
const FREE: usize = 256 * 1024;
/// For how long more than that is: most clients send all they have before they read an answer, even one that refuses it.
/// As nginx has it.
const LONGEST: Duration = Duration::from_secs(30);
/// The size that must come within [`Deadlines::closing`](medusa_net::Deadlines::closing) for a peer to be waited for
/// any longer, in bytes: slower ones have had the time to look up.
const LEAST: usize = 64 * 1024;
/// For how many at a time, beside the bound of each address.
const MOST: usize = 512;

static WAITED_FOR: AtomicUsize = AtomicUsize::new(0);

/// The right of a peer to have more than [`FREE`] thrown away.
struct DrainPermit {
    until: Instant,
    _address: RefusalPermit,
}

impl DrainPermit {
    fn take(account: &Account) -> Option<Self> {
        let address = account.permit_refusal()?;
        let before = WAITED_FOR.fetch_add(1, Relaxed);
        // Dropped, one that is too many is given back.
        let permit = Self { until: Instant::now() + LONGEST, _address: address };
        (before < MOST).then_some(permit)
    }
}

impl Drop for DrainPermit {
    fn drop(&mut self) {
        WAITED_FOR.fetch_sub(1, Relaxed);
    }
}

/// The answer to a request that never came to be one.
fn reply(status: StatusCode) -> String {
    let code = status.as_u16();
    let reason = status.canonical_reason().unwrap_or_default();
    let date = httpdate::fmt_http_date(SystemTime::now());
    format!(
        "HTTP/1.1 {code} {reason}\r\nserver: medusa\r\nconnection: close\r\ncontent-length: 0\r\ndate: {date}\r\n\r\n"
    )
}

pub(super) async fn close(context: &Connection, end: HttpEnd) {
    let (conn, handle) = (&context.conn, &context.handle);
    if let Some(fault) = end.fault() {
        context.count(fault);
    }
    if let Some(status) = end.status() {
        context.record_unreadable(status);
    }
    let is_full = |status| !handle.push_raw(reply(status).as_bytes());
    if matches!(end, HttpEnd::Gone) || end.unanswered().is_some_and(is_full) {
        return;
    }
    conn.enter(Phase::Closing);
    let mut closing = Closing {
        shut: false,
        thrown_away: 0,
        wait: !conn.is_draining(),
        may_be_sending: end.may_be_amid_a_body(),
        permit: None,
    };
    poll_fn(|cx| {
        match conn.poll_signal(cx) {
            Signal::None | Signal::Drain | Signal::Rest | Signal::CheckPeer => {}
            Signal::Expired(_) => return Poll::Ready(()),
            Signal::Stalled => {
                context.count(Fault::WriteStall);
                return Poll::Ready(());
            }
        }
        if matches!(end, HttpEnd::BrokeOff) {
            // Not shut down in order: the peer must see that something is missing.
            return handle.poll_write_out(cx).map(drop);
        }
        closing.poll(context, cx)
    })
    .await;
}

/// The progress of a connection's end.
struct Closing {
    /// Our side has said that it is done.
    shut: bool,
    /// Since its time began.
    thrown_away: usize,
    /// Whether the peer may be sending a body, and not look up before its end.
    may_be_sending: bool,
    permit: Option<DrainPermit>,
    /// Whether to wait for the peer's end. Not when the server is on its way out: clients that keep a connection in
    /// reserve would hold it up.
    wait: bool,
}

impl Closing {
    fn poll(&mut self, context: &Connection, cx: &mut Context<'_>) -> Poll<()> {
        let (conn, handle) = (&context.conn, &context.handle);
        let mut io = handle.io();
        if !self.shut {
            // Writes out first.
            if ready!(handle.poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            self.shut = true;
        }
        let mut bin = [MaybeUninit::uninit(); 16 * 1024];
        loop {
            match &self.permit {
                None if self.thrown_away >= FREE && !self.may_be_sending => break,
                None if self.thrown_away >= FREE => match DrainPermit::take(&context.account) {
                    None => break,
                    permit => self.permit = permit,
                },
                Some(permit) if Instant::now() >= permit.until => break,
                _ => {}
            }
            if self.permit.is_some() && self.thrown_away >= LEAST {
                self.thrown_away = 0;
                conn.enter(Phase::Closing);
            }
            let mut bin = ReadBuf::uninit(&mut bin);
            match Pin::new(&mut io).poll_read(cx, &mut bin) {
                Poll::Ready(Ok(())) if !bin.filled().is_empty() => self.thrown_away += bin.filled().len(),
                Poll::Pending if self.wait => return Poll::Pending,
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use medusa_net::clients::ClientPrefix;

    use super::*;
    use crate::budget::{ClientShare, ClientShares};

    #[test]
    fn neither_an_address_nor_all_together_are_waited_for_without_limit() {
        let shares = ClientShares::default();
        let of =
            |last: u8| Account::of([ClientShare::of(ClientPrefix::host([192, 0, 2, last].into()), &shares)]);
        let one = of(1);
        let mut permits: Vec<_> = std::iter::from_fn(|| DrainPermit::take(&one)).take(MOST).collect();
        assert!(permits.len() < MOST / 4, "one address has {}", permits.len());
        let other = of(2);
        drop(DrainPermit::take(&other).expect("another one has its own"));
        permits.pop();
        permits.push(DrainPermit::take(&one).expect("it was given back"));
        // This machine, and proxies.
        permits.extend(std::iter::from_fn(|| DrainPermit::take(&Account::default())).take(2 * MOST));
        assert_eq!(permits.len(), MOST);
        assert!(DrainPermit::take(&other).is_none(), "there is none left");
        drop(permits);
        assert!(DrainPermit::take(&other).is_some());
    }
}
