//! What comes before HTTP: who connects, whether there is room, and TLS.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use medusa_net::{Conn, Peer, Stream};

use crate::admission::Ticket;
use crate::fault::Fault;
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
    let ticket = server.parts.counters.admission.admit(address(conn), &server.parts.limits);
    if ticket.is_none() {
        turn_away(stream, &server);
        return None;
    }
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

/// Says so without waiting for anything: a new socket's buffer has room. With TLS there is nobody to say it to yet.
fn turn_away(stream: Stream, server: &Server) {
    server.parts.counters.faults.count(Fault::TooManyConnections);
    let _said = match &stream {
        Stream::Tcp(tcp) => tcp.try_write(TOO_MANY),
        Stream::Unix(unix) => unix.try_write(TOO_MANY),
    };
}
