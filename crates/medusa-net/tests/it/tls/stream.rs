//! Encrypted streams as streams: what goes over the wire, and what waits.

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use medusa_net::Stream;
use medusa_net::tls::Tls;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::UnixStream;

use super::authority::{Authority, load, options};
use super::pair::{client, connected, in_time};
use crate::support::tcp_pair;

fn setup() -> (Authority, Arc<Tls>) {
    let authority = Authority::new();
    let tls = load(&options(&[&authority.server(&["a.example"])]));
    (authority, tls)
}

/// The length of each record in `wire`.
fn records(mut wire: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let [23, 3, 3, high, low, rest @ ..] = wire {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        lengths.push(length);
        wire = &rest[length..];
    }
    assert!(wire.is_empty(), "only whole records of application data: {} bytes left", wire.len());
    lengths
}

/// A client that has shaken hands and now only listens: its end of the socket, and the server's stream.
async fn wiretap() -> (Stream, UnixStream, Authority) {
    let (authority, tls) = setup();
    let (server, client) = connected(&tls, &Arc::new(client(&authority)), "a.example").await;
    let (wire, _session): (UnixStream, ClientConnection) = client.into_inner();
    // The tickets of TLS 1.3, which the server has flushed.
    assert_eq!(records(&drain(&wire).await).len(), 1);
    (server, wire, authority)
}

/// Reads what there is now, at least a byte.
async fn drain(wire: &UnixStream) -> Vec<u8> {
    in_time(wire.readable()).await.expect("open");
    let mut all = Vec::new();
    while wire.try_read_buf(&mut all).is_ok_and(|count| count > 0) {}
    all
}

#[tokio::test]
async fn slices_written_together_share_a_record() {
    let (mut server, wire, _authority) = wiretap().await;
    assert!(server.is_write_vectored());
    let slices: Vec<_> = (0..10).map(|_| IoSlice::new(&[b'x'; 100])).collect();
    let written = server.write_vectored(&slices).await.expect("written");
    server.flush().await.expect("flushed");
    assert_eq!(written, 1000);
    // One byte for the kind, sixteen for the seal.
    assert_eq!(records(&drain(&wire).await), [1000 + 17]);
}

#[tokio::test]
async fn a_large_write_is_few_large_records() {
    let (mut server, wire, _authority) = wiretap().await;
    let head = [b'h'; 300];
    let body = vec![b'b'; 40_000];
    let written = server.write_vectored(&[IoSlice::new(&head), IoSlice::new(&body)]).await.expect("written");
    server.flush().await.expect("flushed");
    assert_eq!(written, 40_300);
    let full = 16 * 1024;
    assert_eq!(records(&drain(&wire).await), [full + 17, full + 17, 40_300 - 2 * full + 17]);
}

#[tokio::test]
async fn a_peer_that_takes_nothing_stops_the_writer() {
    let (mut server, wire, _authority) = wiretap().await;
    let chunk = vec![b'x'; 64 * 1024];
    let mut taken = 0;
    // Until it is not ready, and stays so.
    let blocked = poll_fn(|cx| {
        loop {
            match Pin::new(&mut server).poll_write(cx, &chunk) {
                Poll::Ready(Ok(count)) => taken += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Ready(Ok(())),
            }
            assert!(taken < 64 << 20, "there is no end to what it takes");
        }
    });
    blocked.await.expect("no error");
    let pending = poll_fn(|cx| Poll::Ready(Pin::new(&mut server).poll_flush(cx).is_pending())).await;
    assert!(pending, "there is something to flush");

    // What the kernel holds of a unix socket, and what waits encrypted.
    let received = Vec::with_capacity(taken + taken / 8);
    let (flushed, received) =
        in_time(async { tokio::join!(server.flush(), read_until_idle(wire, received, taken)) }).await;
    flushed.expect("flushed");
    let payload: usize = records(&received).iter().map(|record| record - 17).sum();
    assert_eq!(payload, taken);
}

/// Reads until records with `payload` bytes in all have come.
async fn read_until_idle(mut wire: UnixStream, mut received: Vec<u8>, payload: usize) -> Vec<u8> {
    let sealed = payload + payload.div_ceil(16 * 1024) * 22;
    while received.len() < sealed {
        if wire.read_buf(&mut received).await.expect("read") == 0 {
            break;
        }
    }
    received
}

#[tokio::test]
async fn shutting_down_says_so_and_hanging_up_is_an_end() {
    let (authority, tls) = setup();
    let config = Arc::new(client(&authority));
    let (mut server, mut peer) = connected(&tls, &config, "a.example").await;
    server.write_all(b"bye").await.expect("written");
    server.shutdown().await.expect("shut down");
    let mut all = Vec::new();
    in_time(peer.read_to_end(&mut all)).await.expect("an end that was announced");
    assert_eq!(all, b"bye");
    // The other direction is still open.
    peer.write_all(b"late").await.expect("written");
    let (wire, _) = peer.into_inner();
    drop(wire);
    let mut late = Vec::new();
    in_time(server.read_to_end(&mut late)).await.expect("hanging up is an end as well");
    assert_eq!(late, b"late");

    let (server, mut peer) = connected(&tls, &config, "a.example").await;
    drop(server);
    let error = in_time(peer.read_to_end(&mut Vec::new())).await.expect_err("not announced");
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn bytes_that_were_changed_on_the_way_end_the_connection() {
    let (authority, tls) = setup();
    let (mut server, client) = connected(&tls, &Arc::new(client(&authority)), "a.example").await;
    let (mut wire, mut session) = client.into_inner();
    std::io::Write::write_all(&mut session.writer(), b"pay 1").expect("encrypted");
    let mut record = Vec::new();
    session.write_tls(&mut record).expect("written");
    *record.last_mut().expect("a byte") ^= 1;
    wire.write_all(&record).await.expect("sent");

    let mut space = [0; 16];
    let mut buf = ReadBuf::new(&mut space);
    let read = in_time(poll_fn(|cx| Pin::new(&mut server).poll_read(cx, &mut buf))).await;
    let error = read.expect_err("forged");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert_eq!(buf.filled(), b"");
}

#[tokio::test]
async fn peers_and_addresses_are_those_of_the_socket() {
    let (authority, tls) = setup();
    let (server, client) = tcp_pair().await;
    let (peer, local) = (server.peer().expect("a peer"), server.local().expect("an address"));
    let connector = tokio_rustls::TlsConnector::from(Arc::new(super::pair::client(&authority)));
    let connect = connector.connect(ServerName::try_from("a.example").expect("a name"), client);
    let (server, _client) = in_time(async { tokio::join!(tls.accept(server), connect) }).await;
    let server = server.expect("agreed");
    assert_eq!((server.peer().expect("a peer"), server.local().expect("an address")), (peer, local));
    let looked = server.peek(&mut [0]).await.expect_err("no looking ahead");
    assert_eq!(looked.kind(), std::io::ErrorKind::Unsupported);
}
