//! The part of a connection before HTTP: a balancer's word about who connects, whether there is room, and TLS.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use medusa_net::descriptors::DescriptorShare;
use medusa_net::proxy::read_header;
use medusa_net::tls::{HandshakeError, Tls};
use medusa_net::{Conn, Peer, Phase, Signal, Stream};
use medusa_proto::proxy_protocol::Header;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::admission::ConnectionPermit;
use crate::budget::Account;
use crate::client::address;
use crate::connection::peer;
use crate::fault::Fault;
use crate::limits::time;
use crate::server::{Directory, Server};

/// A connection that HTTP can begin on.
pub(super) struct OpenedConnection {
    pub(super) stream: Stream,
    /// Held as long as the connection is open.
    pub(super) permit: Option<ConnectionPermit>,
}

/// Opens a connection; `None` if it has ended already.
pub(super) async fn open(
    mut stream: Stream,
    conn: &Rc<Conn>,
    directory: &Arc<dyn Directory>,
) -> Option<OpenedConnection> {
    // A listener without a server is about to go: its requests are answered 503.
    let Some(server) = directory.current() else { return Some(OpenedConnection { stream, permit: None }) };
    let (tls, proxied) =
        directory.listen().map_or((None, false), |listen| (listen.tls, listen.proxy_protocol));
    if proxied {
        // Until it has said whose it is, it is its own.
        let Ok(_until_then) = admit(conn, &server) else {
            server.definition.counters.faults.count(Fault::TooManyConnections);
            return None;
        };
        read_proxy_header(&mut stream, conn, &server).await?;
    }
    let has_room = !DescriptorShare::Connections.is_passed_by(&stream);
    let admitted = admit(conn, &server);
    let permit = match admitted.and_then(|it| if has_room { Ok(it) } else { Err(it.account().clone()) }) {
        Ok(permit) => permit,
        Err(account) => {
            server.definition.counters.faults.count(Fault::TooManyConnections);
            // With TLS there is nobody to say it to yet.
            if tls.is_none()
                && let Some(_permit) = account.permit_refusal()
            {
                reject_with(stream, TOO_MANY).await;
            }
            return None;
        }
    };
    let stream = match tls {
        None => stream,
        Some(tls) => encrypt(stream, &tls, conn, &server).await?,
    };
    Some(OpenedConnection { stream, permit: Some(permit) })
}

fn admit(conn: &Conn, server: &Server) -> Result<ConnectionPermit, Account> {
    let definition = &server.definition;
    let address = address(peer(conn)).filter(|ip| !definition.trusted_proxies.trusts(Some(*ip)));
    definition.counters.admission.admit(address, &definition.limits)
}

/// Reads whose connection it is, within the time of a handshake.
async fn read_proxy_header(stream: &mut Stream, conn: &Conn, server: &Server) -> Option<()> {
    let definition = &server.definition;
    let refused = |why: &dyn std::fmt::Display| {
        definition.counters.faults.count(Fault::Proxy);
        tracing::debug!(peer = %conn.peer(), listener = %conn.listen_addr(), "no PROXY header: {why}");
        None
    };
    if !definition.trusted_proxies.is_empty() && !definition.trusted_proxies.trusts(address(peer(conn))) {
        return refused(&"the peer is not among `trusted_proxies`");
    }
    let limit = time(definition.limits.handshake);
    match unless_ended(conn, tokio::time::timeout(limit, read_header(stream))).await? {
        Err(_elapsed) => refused(&"it did not come in time"),
        Ok(Err(error)) => refused(&error),
        Ok(Ok(header)) => {
            match header {
                Header::Inet { source, .. } => conn.set_peer(source.into()),
                Header::Unix => conn.set_peer(Peer::Unix),
                Header::Local | Header::Unknown => {}
            }
            // From here on it is somebody else's time.
            conn.enter(Phase::Idle);
            Some(())
        }
    }
}

/// The answer to a client when there are too many.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nserver: medusa\r\nretry-after: 10\r\nconnection: close\r\n\
content-length: 0\r\n\r\n";
/// The answer to a client that speaks plain HTTP where TLS is spoken.
const NOT_ENCRYPTED: &[u8] = b"HTTP/1.1 400 Bad Request\r\nserver: medusa\r\nconnection: close\r\n\
content-type: text/plain; charset=utf-8\r\ncontent-length: 49\r\n\r\n\
This is an HTTPS port: the address has https://.\n";

/// The time that a client that is sent away has to hear why.
const HEARD_WITHIN: Duration = Duration::from_secs(1);
/// The most of what it sends meanwhile that is thrown away, in bytes.
const THROWN_AWAY: u64 = 16 * 1024;

/// Tells a client why it is sent away. What it has sent must be read for that, or the system would take the answer back.
async fn reject_with(mut stream: Stream, what: &[u8]) {
    let rejecting = async {
        stream.write_all(what).await?;
        stream.shutdown().await?;
        let mut rest = (&mut stream).take(THROWN_AWAY);
        while rest.read(&mut [0; 1024]).await? > 0 {}
        io::Result::Ok(())
    };
    let _heard = tokio::time::timeout(HEARD_WITHIN, rejecting).await;
}

/// Makes the handshake, within its time.
async fn encrypt(stream: Stream, tls: &Tls, conn: &Conn, server: &Server) -> Option<Stream> {
    let limit = time(server.definition.limits.handshake);
    let handshake = unless_ended(conn, tokio::time::timeout(limit, tls.accept(stream)));
    let (failed, plain) = match handshake.await? {
        Ok(Ok(stream)) => {
            // From here on it is HTTP's time.
            conn.enter(Phase::Idle);
            return Some(stream);
        }
        Ok(Err(error)) => match (error.label(), error) {
            (kind, HandshakeError::PlainHttp(stream)) => (kind, Some(stream)),
            (kind, _) => (kind, None),
        },
        Err(_elapsed) => ("timeout", None),
    };
    // First of all: who has been told can see it counted.
    server.definition.counters.faults.count(Fault::Tls);
    tracing::debug!(peer = %conn.peer(), listener = %conn.listen_addr(), kind = failed, "no TLS handshake");
    if let Some(stream) = plain {
        reject_with(stream, NOT_ENCRYPTED).await;
    }
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
            Signal::None | Signal::Rest | Signal::CheckPeer => Poll::Pending,
            Signal::Drain | Signal::Expired(_) | Signal::Stalled => Poll::Ready(None),
        }
    })
    .await
}
