//! What comes of handshakes.

use std::sync::Arc;

use medusa_net::Stream;
use medusa_net::tls::{Alpn, HandshakeError, Tls};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_rustls::client::TlsStream;

use super::authority::{Authority, load, options};
use super::pair::{client, connected, handshake, in_time, info, with_versions};
use crate::support::tcp_pair;

fn shown<S>(stream: &TlsStream<S>) -> Vec<u8> {
    let certificates = stream.get_ref().1.peer_certificates().expect("the server has one");
    certificates[0].to_vec()
}

#[tokio::test]
async fn the_name_asked_for_selects_the_certificate() {
    let authority = Authority::new();
    let first = authority.server(&["first.example", "127.0.0.1"]);
    let wild = authority.server(&["*.second.example"]);
    let exact = authority.server(&["exact.second.example"]);
    let tls = load(&options(&[&first, &wild, &exact]));
    let config = Arc::new(client(&authority));
    for (name, issued) in [
        ("first.example", &first),
        ("any.second.example", &wild),
        ("exact.second.example", &exact),
        ("EXACT.second.example", &exact),
        // Without a name, the first.
        ("127.0.0.1", &first),
    ] {
        let (server, client) = connected(&tls, &config, name).await;
        assert_eq!(shown(&client), issued.der.to_vec(), "{name}");
        let sni = info(&server).sni.clone();
        assert_eq!(sni, (name != "127.0.0.1").then(|| name.to_ascii_lowercase()));
    }
    let (server, client) = handshake(&tls, &config, "unknown.example").await;
    assert!(matches!(server, Err(HandshakeError::Refused(_))), "{server:?}");
    client.expect_err("the first certificate is not for that name");
}

#[tokio::test]
async fn the_protocol_is_agreed_on_and_http2_preferred() {
    let authority = Authority::new();
    let tls = load(&options(&[&authority.server(&["a.example"])]));
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Alpn::H2),
        (&["http/1.1", "h2"], Alpn::H2),
        (&["http/1.0", "http/1.1"], Alpn::Http1),
        (&[], Alpn::None),
    ] {
        let mut config = client(&authority);
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let (server, _client) = connected(&tls, &Arc::new(config), "a.example").await;
        assert_eq!(info(&server).alpn, agreed, "{offered:?}");
    }
    let mut config = client(&authority);
    config.alpn_protocols = vec![b"irc".to_vec()];
    let (server, _client) = handshake(&tls, &Arc::new(config), "a.example").await;
    assert!(matches!(server, Err(HandshakeError::Incompatible(_))), "{server:?}");
}

#[tokio::test]
async fn the_newest_is_spoken() {
    let authority = Authority::new();
    let tls = load(&options(&[&authority.server(&["a.example"])]));
    let (server, client) = connected(&tls, &Arc::new(client(&authority)), "a.example").await;
    let info = info(&server);
    assert_eq!((info.version, info.cipher.as_str()), ("TLSv1.3", "TLS_AES_256_GCM_SHA384"));
    assert_eq!(info.key_exchange, "X25519MLKEM768");
    assert_eq!((info.resumed, &info.client), (false, &None));
    assert!(!medusa_net::stream::SendFile::can_send_files(&server));
    let kind = client.get_ref().1.handshake_kind();
    assert_eq!(kind, Some(rustls::HandshakeKind::Full), "and in one round trip");
}

/// Handshakes with everything a client brings kept, until one resumes a session: tickets come with the first read.
async fn resumed(tls: &Tls, config: &Arc<ClientConfig>) -> bool {
    let (mut server, mut client) = connected(tls, config, "a.example").await;
    assert!(!info(&server).resumed);
    let exchange = async {
        server.write_all(b"x").await.expect("written");
        server.flush().await.expect("flushed");
        assert_eq!(client.read_u8().await.expect("read"), b'x');
    };
    in_time(exchange).await;
    let (server, _client) = connected(tls, config, "a.example").await;
    info(&server).resumed
}

#[tokio::test]
async fn sessions_are_resumed_in_both_versions() {
    let authority = Authority::new();
    let tls = load(&options(&[&authority.server(&["a.example"])]));
    assert!(resumed(&tls, &Arc::new(client(&authority))).await, "TLS 1.3");

    let tls12 = with_versions(&authority, None, &[&rustls::version::TLS12]);
    assert!(resumed(&tls, &Arc::new(tls12)).await, "TLS 1.2");
}

#[tokio::test]
async fn another_listeners_tickets_are_worth_nothing() {
    let authority = Authority::new();
    let options = options(&[&authority.server(&["a.example"])]);
    let (one, other) = (load(&options), load(&options));
    let config = Arc::new(client(&authority));
    assert!(resumed(&one, &config).await);
    let (server, _client) = connected(&other, &config, "a.example").await;
    assert!(!info(&server).resumed);
}

#[tokio::test]
async fn plain_http_is_given_back_unread() {
    let authority = Authority::new();
    let tls = load(&options(&[&authority.server(&["a.example"])]));
    let (ours, mut theirs) = tcp_pair().await;
    theirs.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
    let outcome = in_time(tls.accept(ours)).await;
    let label = outcome.as_ref().map_err(HandshakeError::label).map(drop);
    assert_eq!(label, Err("plain-http"));
    let Err(HandshakeError::PlainHttp(mut stream)) = outcome else { panic!("{outcome:?}") };

    let mut request = [0; 18];
    in_time(stream.read_exact(&mut request)).await.expect("it is all there");
    assert_eq!(&request, b"GET / HTTP/1.1\r\n\r\n");
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("answered");
    drop(stream);
    let mut answer = String::new();
    in_time(theirs.read_to_string(&mut answer)).await.expect("plain text");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn whoever_hangs_up_or_babbles_is_told_apart() {
    let authority = Authority::new();
    let tls = load(&options(&[&authority.server(&["a.example"])]));
    for (sent, label) in [
        (&b""[..], "gone"),
        // The beginning of a hello.
        (b"\x16\x03\x01\x02\x00\x01", "gone"),
        // A record of no kind that exists; then one too long; then a hello that is none.
        (b"\x99\x03\x01\x00\x01\x00", "other"),
        (b"\x16\x03\x01\xff\xff\x01\x00\xff\xff", "other"),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", "other"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "plain-http"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "plain-http"),
    ] {
        let (ours, mut theirs) = tcp_pair().await;
        theirs.write_all(sent).await.expect("sent");
        theirs.shutdown().await.expect("ended");
        let error = in_time(tls.accept(ours)).await.expect_err("that is no handshake");
        assert_eq!(error.label(), label, "{sent:?}: {error:?}");
    }
}

/// The first flight of a client.
fn hello(config: ClientConfig) -> Vec<u8> {
    let name = ServerName::try_from("a.example").expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut hello = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut hello).expect("into memory");
    }
    hello
}

#[tokio::test]
async fn a_hello_that_is_damaged_is_an_error_and_nothing_worse() {
    let authority = Authority::new();
    let tls = load(&options(&[&authority.server(&["a.example"])]));
    let whole = hello(client(&authority));
    let cut = (0..whole.len()).step_by(7).map(|end| whole[..end].to_vec());
    let bent = (0..whole.len()).step_by(3).map(|at| {
        let mut bent = whole.clone();
        bent[at] ^= 1 << (at % 8);
        bent
    });
    for sent in cut.chain(bent) {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        theirs.write_all(&sent).await.expect("sent");
        theirs.shutdown().await.expect("ended");
        let error = in_time(tls.accept(Stream::Unix(ours))).await.expect_err("not a whole handshake");
        let expected = ["gone", "other", "incompatible", "plain-http"];
        assert!(expected.contains(&error.label()), "{error:?} at {} bytes", sent.len());
    }
}
