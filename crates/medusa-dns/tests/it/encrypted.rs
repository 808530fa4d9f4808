//! By TLS: a server is believed if its certificate is for its name and from an authority that is trusted.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use hickory_proto::op::Message;
use medusa_dns::{DnsError, LookupError, Protocol, RecordType, Resolver, ServerOptions};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use crate::server::{Question, a, impatient};

/// An authority, and a name server with a certificate from it.
struct Secured {
    address: SocketAddr,
    directory: TempDir,
}

impl Secured {
    fn start(names: &[&str]) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, key()).expect("an authority");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let server_key = key();
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&server_key, &authority).expect("a certificate");
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("ca.pem"), authority.pem()).expect("written");

        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(server_key.serialize_der()).expect("a key"),
            )
            .expect("a configuration");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let config = Arc::new(config);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let config = Arc::clone(&config);
                std::thread::spawn(move || serve(stream, config));
            }
        });
        Self { address, directory }
    }

    fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    fn resolver(&self, ca: PathBuf, tls_name: Option<&str>) -> Arc<Resolver> {
        let options = ServerOptions {
            protocol: Protocol::Tls,
            tls_name: tls_name.map(str::to_owned),
            ca: Some(ca),
            timeout: std::time::Duration::from_secs(10),
            ..impatient()
        };
        let resolver = Resolver::server(vec![self.address.into()], options).expect("a resolver");
        resolver.prepare().expect("started");
        resolver
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// Answers what comes by one connection, until it ends or fails.
fn serve(stream: TcpStream, config: Arc<ServerConfig>) -> Option<()> {
    let from = stream.peer_addr().ok()?;
    let mut stream = StreamOwned::new(ServerConnection::new(config).ok()?, stream);
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length).ok()?;
        let mut bytes = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut bytes).ok()?;
        let message = Message::from_vec(&bytes).ok()?;
        let question = Question { message, name: String::new(), kind: String::new(), tcp: true, from };
        let answer = question.answer(60, &[a("192.0.2.1")]);
        let length = u16::try_from(answer.len()).ok()?.to_be_bytes();
        stream.write_all(&[&length[..], &answer].concat()).ok()?;
        stream.flush().ok()?;
    }
}

#[tokio::test]
async fn a_server_with_the_right_certificate_is_asked() {
    let server = Secured::start(&["dns.example", "127.0.0.1"]);
    for name in [Some("dns.example"), None] {
        let resolver = server.resolver(server.ca(), name);
        for number in 0..3 {
            resolver.lookup(&format!("{number}.example"), RecordType::A).await.expect("an answer");
        }
    }
}

#[tokio::test]
async fn a_server_with_another_name_or_authority_is_not_believed() {
    let server = Secured::start(&["dns.example"]);
    let other = Secured::start(&["dns.example"]);
    let wrong_name = server.resolver(server.ca(), Some("dns.example.org"));
    let no_name = server.resolver(server.ca(), None);
    let wrong_authority = server.resolver(other.ca(), Some("dns.example"));
    for resolver in [wrong_name, no_name, wrong_authority] {
        let error = resolver.lookup("www.example", RecordType::A).await.expect_err("not believed");
        let LookupError::Unreachable { cause, .. } = &error else { panic!("{error:?}") };
        assert!(cause.contains("certificate"), "{cause}");
    }
}

#[test]
fn certificates_that_cannot_be_used_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let check = |ca: PathBuf| {
        let options = ServerOptions { protocol: Protocol::Https, ca: Some(ca), ..ServerOptions::default() };
        let server = "192.0.2.1".parse().expect("an address");
        Resolver::server(vec![server], options).expect("a resolver").check().expect_err("refused")
    };
    assert!(matches!(check("/nonexistent/ca.pem".into()), DnsError::Read { .. }));
    assert!(matches!(check(file("empty.pem", "no certificate")), DnsError::NoCertificate { .. }));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(check(file("broken.pem", broken)), DnsError::Certificate { .. }));
    let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    assert!(matches!(
        check(file("cut.pem", cut)),
        DnsError::Certificate { .. } | DnsError::NoCertificate { .. }
    ));

    let options = ServerOptions {
        protocol: Protocol::Tls,
        tls_name: Some("not a name".to_owned()),
        ..ServerOptions::default()
    };
    let server = "192.0.2.1".parse().expect("an address");
    assert!(matches!(Resolver::server(vec![server], options), Err(DnsError::TlsName(_))));
}
