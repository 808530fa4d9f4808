//! Headers of the PROXY protocol, off real sockets.

use medusa_net::proxy::{ProxyError, read_header};
use medusa_net::{Stream, Tls};
use medusa_proto::proxy_protocol::Header;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::support::{PATIENCE, tcp_pair};

const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0f\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb\x04\x00\x00";
const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n";

fn unix_pair() -> (Stream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    (Stream::Unix(ours), theirs)
}

fn expected() -> Header {
    let addr = |text: &str| text.parse().expect("an address");
    Header::Inet { source: addr("192.0.2.1:56324"), destination: addr("198.51.100.1:443") }
}

async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("done in time")
}

#[tokio::test]
async fn the_header_is_taken_and_nothing_behind_it() {
    for header in [V1, V2] {
        let (mut ours, mut theirs) = unix_pair();
        theirs.write_all(&[header, b"GET /"].concat()).await.expect("sent");
        assert_eq!(in_time(read_header(&mut ours)).await.expect("a header"), expected());
        let mut rest = [0; 5];
        in_time(ours.read_exact(&mut rest)).await.expect("it is still there");
        assert_eq!(&rest, b"GET /");
    }
}

#[tokio::test]
async fn it_may_come_byte_by_byte() {
    for header in [V1, V2] {
        let (mut ours, mut theirs) = tcp_pair().await;
        theirs.set_nodelay(true).expect("set");
        let send = async {
            for byte in header {
                theirs.write_all(&[*byte]).await.expect("sent");
                // Lets the reader see it alone.
                tokio::task::yield_now().await;
            }
            theirs.write_all(b"GET /").await.expect("sent");
        };
        let (read, ()) = in_time(async { tokio::join!(read_header(&mut ours), send) }).await;
        assert_eq!(read.expect("a header"), expected());
        let mut rest = [0; 5];
        in_time(ours.read_exact(&mut rest)).await.expect("it is still there");
        assert_eq!(&rest, b"GET /");
    }
}

#[tokio::test]
async fn a_client_that_is_no_proxy_is_not_served() {
    let (mut ours, mut theirs) = unix_pair();
    theirs.write_all(b"GET / HTTP/1.1\r\n").await.expect("sent");
    let error = in_time(read_header(&mut ours)).await.expect_err("no header");
    assert!(matches!(error, ProxyError::Header(_)), "{error}");
    assert!(error.to_string().contains("is the other side a proxy"), "{error}");
}

#[tokio::test]
async fn a_proxy_that_hangs_up_is_gone() {
    for part in [&b""[..], &V1[..20], &V2[..20]] {
        let (mut ours, mut theirs) = unix_pair();
        theirs.write_all(part).await.expect("sent");
        drop(theirs);
        let error = in_time(read_header(&mut ours)).await.expect_err("not all of it");
        assert!(matches!(error, ProxyError::Gone(_)), "{error}");
    }
}

#[tokio::test]
async fn a_handshake_can_follow() {
    let tls = Tls::self_signed(&[]).expect("made");
    let (mut ours, mut theirs) = unix_pair();
    theirs.write_all(&[V2, b"\x16\x03\x01\x00\x00"].concat()).await.expect("sent");
    assert_eq!(in_time(read_header(&mut ours)).await.expect("a header"), expected());
    theirs.shutdown().await.expect("ended");
    let error = in_time(tls.accept(ours)).await.expect_err("an empty record is no hello");
    assert_eq!(error.label(), "other", "{error:?}");
}
