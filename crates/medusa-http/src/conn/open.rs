//! What comes before HTTP: who connects, whether there is room, and TLS.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use medusa_net::tls::{HandshakeError, Tls};
use medusa_net::{Conn, Peer, Phase, Signal, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::admission::Ticket;
use crate::fault::Fault;
use crate::limits::time;
use crate::server::{Directory, Server};

/// A connection that HTTP can begin on.
pub(super) struct Opened {
    pub(super) stream: Stream,
    /// Held as long as the connection is open.
    pub(super) ticket: Option<Ticket>,
}

/// Opens a connection; `None` if it has ended already.
pub(super) async fn open(stream: Stream, conn: &Rc<Conn>, directory: &Arc<dyn Directory>) -> Option<Opened> {
    // A listener without a server is about to go: its requests are answered 503.
    let Some(server) = directory.current() else { return Some(Opened { stream, ticket: None }) };
    let listen = directory.listen();
    let ticket = server.parts.counters.admission.admit(address(conn), &server.parts.limits);
    if ticket.is_none() {
        server.parts.counters.faults.count(Fault::TooManyConnections);
        // With TLS there is nobody to say it to yet.
        if listen.is_none_or(|listen| listen.tls.is_none()) {
            say(stream, TOO_MANY).await;
        }
        return None;
    }
    let stream = match listen.and_then(|listen| listen.tls) {
        None => stream,
        Some(tls) => encrypt(stream, &tls, conn, &server).await?,
    };
    Some(Opened { stream, ticket })
}

fn address(conn: &Conn) -> Option<IpAddr> {
    match conn.peer() {
        Peer::Tcp(addr) => Some(addr.ip()),
        Peer::Unix => None,
    }
}

/// What a client is told when there are too many.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nserver: medusa\r\nretry-after: 10\r\nconnection: close\r\n\
content-length: 0\r\n\r\n";
/// What a client is told that speaks plain HTTP where TLS is spoken.
const NOT_ENCRYPTED: &[u8] = b"HTTP/1.1 400 Bad Request\r\nserver: medusa\r\nconnection: close\r\n\
content-type: text/plain; charset=utf-8\r\ncontent-length: 49\r\n\r\n\
This is an HTTPS port: the address has https://.\n";

/// How long a client that is sent away may take to hear why.
const HEARD_WITHIN: Duration = Duration::from_secs(1);
/// How much of what it sends meanwhile is thrown away, in bytes.
const THROWN_AWAY: u64 = 16 * 1024;

/// Tells a client why it is sent away. What it has sent must be read for that, or the system would take the answer back.
async fn say(mut stream: Stream, what: &[u8]) {
    let saying = async {
        stream.write_all(what).await?;
        stream.shutdown().await?;
        let mut rest = (&mut stream).take(THROWN_AWAY);
        while rest.read(&mut [0; 1024]).await? > 0 {}
        io::Result::Ok(())
    };
    let _heard = tokio::time::timeout(HEARD_WITHIN, saying).await;
}

/// Makes the handshake, within its time.
async fn encrypt(stream: Stream, tls: &Tls, conn: &Conn, server: &Server) -> Option<Stream> {
    let limit = time(server.parts.limits.handshake);
    let handshake = unless_ended(conn, tokio::time::timeout(limit, tls.accept(stream)));
    let failed = match handshake.await? {
        Ok(Ok(stream)) => {
            // From here on it is HTTP's time.
            conn.enter(Phase::Idle);
            return Some(stream);
        }
        Ok(Err(error)) => {
            let kind = error.label();
            if let HandshakeError::PlainHttp(stream) = error {
                say(stream, NOT_ENCRYPTED).await;
            }
            kind
        }
        Err(_elapsed) => "timeout",
    };
    server.parts.counters.faults.count(Fault::Tls);
    tracing::debug!(peer = %conn.peer(), listener = %conn.listen_addr(), kind = failed, "no TLS handshake");
    None
}

/// Polls `work` until it is done, unless the connection must end before that.
async fn unless_ended<T>(conn: &Conn, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        match conn.poll_signal(cx) {
            Signal::None | Signal::Rest => Poll::Pending,
            Signal::Drain | Signal::Expired(_) | Signal::Stalled => Poll::Ready(None),
        }
    })
    .await
}
