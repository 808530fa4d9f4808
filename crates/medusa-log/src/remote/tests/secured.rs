//! TLS, against a server of rustls.

use std::net::Shutdown;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use super::*;

/// An authority, and files in a directory.
struct Authority {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        Self { dir: tempfile::tempdir().expect("a directory"), issuer }
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    fn ca(&self) -> PathBuf {
        self.file("ca.pem", self.issuer.pem())
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        (params.signed_by(&key, &self.issuer).expect("a certificate"), key)
    }

    /// The files of a client's certificate and of its key.
    fn client(&self) -> (PathBuf, PathBuf) {
        let (certificate, key) = self.issue("client.example");
        (self.file("client.pem", certificate.pem()), self.file("client.key", key.serialize_pem()))
    }

    /// A server of this name. With `clients`, it wants their certificates.
    fn server(&self, name: &str, clients: bool) -> Arc<ServerConfig> {
        let (certificate, key) = self.issue(name);
        let builder = ServerConfig::builder();
        let builder = if clients {
            let mut roots = RootCertStore::empty();
            roots.add(self.issuer.der().clone()).expect("an authority");
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().expect("a verifier");
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).expect("a pair"))
    }

    fn options(&self) -> RemoteOptions {
        let tls = TlsOptions { ca: Some(self.ca()), ..TlsOptions::default() };
        RemoteOptions { tls, ..lines() }
    }
}

fn tls() -> (TcpListener, RemoteTarget) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (listener, target(&format!("tls://localhost:{port}")))
}

fn accept(listener: &TcpListener, config: &Arc<ServerConfig>) -> StreamOwned<ServerConnection, TcpStream> {
    let (peer, _) = listener.accept().expect("a connection");
    peer.set_read_timeout(Some(PATIENCE)).expect("a socket");
    StreamOwned::new(ServerConnection::new(Arc::clone(config)).expect("a connection"), peer)
}

/// All that comes over the first connection that is encrypted as it should be and ends in order.
fn first_whole(listener: TcpListener, config: Arc<ServerConfig>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        loop {
            let mut text = String::new();
            if accept(&listener, &config).read_to_string(&mut text).is_ok() {
                return text;
            }
        }
    })
}

fn last_error(sink: &RemoteSink) -> String {
    match field(sink, "last_error") {
        Value::Text(error) => error,
        other => panic!("an error, not {other:?}"),
    }
}

#[test]
fn lines_arrive_at_whom_the_authority_vouches_for() {
    let authority = Authority::new();
    let (listener, target) = tls();
    let server = authority.server("localhost", false);
    let sink = sink(target, authority.options());
    for start in (0..5000).step_by(250) {
        submit(&sink, start..start + 250);
    }
    let reader = std::thread::spawn(move || rest(accept(&listener, &server)));
    assert!(flush(&sink).is_complete());
    drop(sink);
    let text = reader.join().expect("an end by close_notify, which rustls insists on");
    assert_eq!(numbers(&text), (0..5000).collect::<Vec<_>>());
}

#[test]
fn a_stranger_gets_nothing_until_a_reopen_trusts_him() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (listener, target) = tls();
    let server = theirs.server("localhost", false);
    let sink = sink(target, ours.options());
    submit(&sink, 0..3);
    let mut stranger = accept(&listener, &server);
    stranger.read_to_end(&mut Vec::new()).expect_err("no handshake");
    drop(stranger);
    until(&sink, "failing", true);
    assert!(last_error(&sink).contains("invalid peer certificate"), "{}", last_error(&sink));
    assert_eq!(field(&sink, "written"), Value::Count(0));

    ours.file("ca.pem", theirs.issuer.pem());
    sink.reopen().expect("a good file");
    // The attempt that was under way may still have the old file.
    let reader = first_whole(listener, server);
    assert!(flush(&sink).is_complete());
    drop(sink);
    assert_eq!(numbers(&reader.join().expect("no panic")), [0, 1, 2]);
}

#[test]
fn the_name_must_be_the_one_asked_for() {
    let authority = Authority::new();
    let (listener, target) = tls();
    let server = authority.server("log.example", false);
    let sink = sink(target.clone(), authority.options());
    submit(&sink, 0..1);
    accept(&listener, &server).read_to_end(&mut Vec::new()).expect_err("no handshake");
    until(&sink, "failing", true);
    assert!(last_error(&sink).contains("localhost"), "{}", last_error(&sink));
    drop(sink);

    let mut options = authority.options();
    options.tls.name = Some("log.example".to_owned());
    let sink = self::sink(target, options);
    submit(&sink, 7..8);
    // The first sink may still be trying.
    let reader = first_whole(listener, server);
    assert!(flush(&sink).is_complete());
    drop(sink);
    assert_eq!(numbers(&reader.join().expect("no panic")), [7]);
}

#[test]
fn a_receiver_may_ask_who_we_are() {
    let authority = Authority::new();
    let (listener, target) = tls();
    let server = authority.server("localhost", true);
    let (certificate, key) = authority.client();
    let mut options = authority.options();
    options.tls = TlsOptions { certificate: Some(certificate), key: Some(key), ..options.tls };
    let sink = sink(target, options);
    submit(&sink, 0..3);
    let reader = std::thread::spawn(move || rest(accept(&listener, &server)));
    assert!(flush(&sink).is_complete());
    drop(sink);
    assert_eq!(numbers(&reader.join().expect("no panic")), [0, 1, 2]);
}

#[test]
fn a_receiver_that_turns_us_away_after_the_handshake_has_not_got_it() {
    let authority = Authority::new();
    let (listener, target) = tls();
    let server = authority.server("localhost", true);
    let sink = sink(target, authority.options());
    submit(&sink, 0..3);
    for _ in 0..2 {
        // With TLS 1.3 the client has sent its first data before it is told.
        accept(&listener, &server).read_to_end(&mut Vec::new()).expect_err("no certificate, no handshake");
    }
    until(&sink, "failing", true);
    assert_eq!(field(&sink, "lost"), Value::Count(0));
    assert!(!sink.flush(Instant::now() + Duration::from_millis(100)).is_complete());
}

#[test]
fn what_a_receiver_did_not_read_comes_again() {
    let authority = Authority::new();
    let (listener, target) = tls();
    let server = authority.server("localhost", false);
    let sink = sink(target, authority.options());
    let reader = std::thread::spawn(move || {
        let mut first = accept(&listener, &server);
        let mut buffer = [0; 5000];
        first.read_exact(&mut buffer).expect("some of it");
        first.sock.shutdown(Shutdown::Both).expect("a connection");
        drop(first);
        let first = String::from_utf8_lossy(&buffer).into_owned();
        (first, rest(accept(&listener, &server)))
    });
    for start in (0..20_000).step_by(100) {
        submit(&sink, start..start + 100);
    }
    until(&sink, "reconnects", 1_u64);
    assert!(flush(&sink).is_complete());
    drop(sink);
    let (first, second) = reader.join().expect("no panic");
    let (first, _torn) = first.rsplit_once('\n').expect("a line");
    let mut seen = [numbers(first), numbers(&second)].concat();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 20_000);
}

#[test]
fn files_that_are_no_use_are_refused_before_anything_starts() {
    let authority = Authority::new();
    let (_listener, target) = tls();
    let (certificate, key) = authority.client();
    let other = authority.file("other.key", KeyPair::generate().expect("a key").serialize_pem());
    let empty = authority.file("empty.pem", "nothing here\n");
    let damaged = "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n";
    let damaged = authority.file("damaged.pem", damaged);
    let missing = authority.dir.path().join("missing.pem");
    let with = |ca: &PathBuf, pair: Option<(&PathBuf, &PathBuf)>| TlsOptions {
        ca: Some(ca.clone()),
        name: None,
        certificate: pair.map(|(certificate, _)| certificate.clone()),
        key: pair.map(|(_, key)| key.clone()),
    };
    let ca = authority.ca();
    for (tls, told) in [
        (with(&missing, None), "cannot read the CA file"),
        (with(&empty, None), "empty.pem\" holds no certificate"),
        (with(&damaged, None), "damaged.pem\" is damaged: certificate 1"),
        (with(&ca, Some((&empty, &key))), "the certificate file"),
        (with(&ca, Some((&certificate, &empty))), "holds no private key"),
        (with(&ca, Some((&certificate, &other))), "does not belong to the certificate"),
        (TlsOptions { name: Some("a b".to_owned()), ..with(&ca, None) }, "\"a b\" cannot be the name"),
        (TlsOptions { key: None, ..with(&ca, Some((&certificate, &key))) }, "only one is given"),
    ] {
        let sink = RemoteSink::new(target.clone(), RemoteOptions { tls, ..lines() });
        for result in [sink.check(), sink.prepare()] {
            let error = result.expect_err(told);
            let source = std::error::Error::source(&error).expect("the reason").to_string();
            assert!(source.contains(told), "{source}, not {told}");
        }
    }
}
