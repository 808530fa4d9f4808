//! A client of our own and a server, connected.

use std::future::Future;
use std::sync::Arc;

use medusa_net::tls::{HandshakeError, Tls};
use medusa_net::{Stream, tls};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::authority::{Authority, Issued};
use crate::support::PATIENCE;

/// The outcome for a client: a stream, or the reason there is none.
pub(crate) type Connected = std::io::Result<TlsStream<UnixStream>>;

/// A client that trusts `authority`.
pub(crate) fn client(authority: &Authority) -> ClientConfig {
    with_identity(authority, None)
}

/// A client that trusts `authority` and has a certificate.
pub(crate) fn with_identity(authority: &Authority, identity: Option<&Issued>) -> ClientConfig {
    with_versions(authority, identity, rustls::DEFAULT_VERSIONS)
}

/// The same, for some versions only.
pub(crate) fn with_versions(
    authority: &Authority,
    identity: Option<&Issued>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der.clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some(issued) => builder
            .with_client_auth_cert(vec![issued.der.clone()], issued.key.clone_key())
            .expect("an identity"),
    }
}

/// A handshake, on a unix socket: both ends' outcomes.
pub(crate) async fn handshake(
    tls: &Tls,
    config: &Arc<ClientConfig>,
    name: &str,
) -> (Result<Stream, HandshakeError>, Connected) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let connect = TlsConnector::from(config.clone()).connect(name, theirs);
    in_time(async { tokio::join!(tls.accept(Stream::Unix(ours)), connect) }).await
}

/// A handshake that succeeds.
pub(crate) async fn connected(
    tls: &Tls,
    config: &Arc<ClientConfig>,
    name: &str,
) -> (Stream, TlsStream<UnixStream>) {
    let (server, client) = handshake(tls, config, name).await;
    let client = client.unwrap_or_else(|error| panic!("the client does not accept {name}: {error}"));
    (server.expect("the server accepts"), client)
}

pub(crate) fn info(stream: &Stream) -> Arc<tls::TlsInfo> {
    stream.tls().expect("it is encrypted")
}

/// Only a failing test waits in vain.
pub(crate) async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("done in time")
}
