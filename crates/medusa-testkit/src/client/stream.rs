//! What a client's bytes go through.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, StreamOwned};

use crate::Issued;

/// A connection.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// The same connection, encrypted from here on.
    #[track_caller]
    pub(super) fn encrypted(self, settings: &Arc<ClientConfig>, name: &str) -> Self {
        let Self::Tcp(stream) = self else {
            panic!("only a plain TCP connection can be encrypted: {self:?}")
        };
        let name = ServerName::try_from(name.to_owned()).expect("a host name or address");
        let client = ClientConnection::new(Arc::clone(settings), name).expect("a client");
        Self::Tls(Box::new(StreamOwned::new(client, stream)))
    }

    pub(super) fn give_up_after(&self, time: Duration) -> io::Result<()> {
        let time = Some(time);
        match self {
            Self::Unix(stream) => stream.set_read_timeout(time).and_then(|()| stream.set_write_timeout(time)),
            Self::Tcp(stream) => stream.set_read_timeout(time).and_then(|()| stream.set_write_timeout(time)),
            Self::Tls(stream) => {
                let stream = &stream.sock;
                stream.set_read_timeout(time).and_then(|()| stream.set_write_timeout(time))
            }
        }
    }

    pub(super) fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
            Self::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush()?;
                stream.sock.shutdown(how)
            }
        }
    }
}

/// Settings that trust this authority (PEM) alone.
#[track_caller]
pub(super) fn trusting(ca: &str) -> ClientConfig {
    settings(ca).with_no_client_auth()
}

/// Settings that trust this authority (PEM) alone, for a client that has a certificate of its own. All connections by the same
/// may resume each other's sessions.
///
/// # Panics
///
/// One of them is none.
#[track_caller]
pub fn known_as(own: &Issued, ca: &str) -> Arc<ClientConfig> {
    let cert = CertificateDer::from_pem_slice(own.cert.as_bytes()).expect("a certificate, PEM");
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("a key, PEM");
    settings(ca).with_client_auth_cert(vec![cert], key).expect("a certificate and its key").into()
}

#[track_caller]
fn settings(ca: &str) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca.as_bytes()).expect("a certificate, PEM");
    roots.add(ca).expect("the certificate of an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    versions.expect("the provider's own").with_root_certificates(roots)
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            // Neither kind of socket has a buffer of its own.
            Self::Tcp(_) | Self::Unix(_) => Ok(()),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
