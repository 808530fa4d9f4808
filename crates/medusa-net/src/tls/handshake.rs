//! The beginning of an encrypted connection.
//!
//! Most that ends here is not an attack: scanners, health checks, browsers that do not know the certificate, people who
//! typed `http://`. Hence the kinds: they are counted, and none deserves more than a line at the level `debug`.
//!
//! Invariant: a stream comes out only if the handshake is complete, the client's certificate (if any) is valid *now*, and
//! nothing of what the client sent was taken for a request before.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::{AlertDescription, CertificateError, ServerConnection};
use tokio_rustls::TlsAcceptor;

use super::Tls;
use super::info::{ClientCert, TlsInfo};
use super::stream::{BUFFERED, TlsStream};
use crate::stream::Stream;

/// The reason why a connection did not become an encrypted one. The client has been told as far as TLS has words for
/// it; but for [`PlainHttp`](Self::PlainHttp), there is nothing left to do.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The client speaks plain HTTP (or some other text). Nothing was read: answer 400 in plain text, and close.
    #[error("the client sent a plain HTTP request to a TLS port")]
    PlainHttp(Stream),
    /// The two sides have no version, cipher, key exchange, signature or protocol in common.
    #[error("the client offers nothing that is safe to use")]
    Incompatible(#[source] rustls::Error),
    /// The client has no certificate and needs one, or has one that is not valid. One that resumes a session with a
    /// certificate that has expired since is not told: TLS is done by then.
    #[error("the client has no valid certificate")]
    ClientCertificate(#[source] rustls::Error),
    /// The client did not like the server's certificate, for instance because it is self-signed.
    #[error("the client refused: it sent the alert {0:?}")]
    Refused(AlertDescription),
    /// The client hung up before the end, perhaps before the beginning.
    #[error("the client hung up")]
    Gone(#[source] io::Error),
    /// The client broke the protocol, or speaks another.
    #[error("the client does not speak TLS as it should")]
    Other(#[source] rustls::Error),
}

impl HandshakeError {
    /// A word for counting: `plain-http`, `incompatible`, `client-certificate`, `refused`, `gone` or `other`.
    pub fn label(&self) -> &'static str {
        match self {
            Self::PlainHttp(_) => "plain-http",
            Self::Incompatible(_) => "incompatible",
            Self::ClientCertificate(_) => "client-certificate",
            Self::Refused(_) => "refused",
            Self::Gone(_) => "gone",
            Self::Other(_) => "other",
        }
    }

    fn of(error: io::Error) -> Self {
        use rustls::Error;
        match error.downcast::<Error>() {
            Err(io) => Self::Gone(io),
            Ok(error) => match error {
                Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::Incompatible(error),
                Error::NoCertificatesPresented | Error::InvalidCertificate(_) => {
                    Self::ClientCertificate(error)
                }
                Error::AlertReceived(alert) => Self::Refused(alert),
                error => Self::Other(error),
            },
        }
    }
}

impl Tls {
    /// Makes an accepted connection an encrypted one. Takes as long as the client does: the connection's deadline is the
    /// caller's, and dropping the future ends the connection.
    ///
    /// # Errors
    ///
    /// See [`HandshakeError`].
    pub async fn accept(&self, stream: Stream) -> Result<Stream, HandshakeError> {
        let mut first = [0];
        match stream.peek(&mut first).await {
            Err(error) => return Err(HandshakeError::Gone(error)),
            Ok(0) => return Err(HandshakeError::Gone(io::ErrorKind::UnexpectedEof.into())),
            // TLS begins with 22, the kind of its first record; a method with a letter.
            Ok(_) if first[0].is_ascii_alphabetic() => return Err(HandshakeError::PlainHttp(stream)),
            Ok(_) => {}
        }
        let acceptor = TlsAcceptor::from(self.config.clone());
        let limited = |connection: &mut ServerConnection| connection.set_buffer_limit(Some(BUFFERED));
        // Boxed: it holds the whole connection, and the task it is part of outlives it by hours.
        let handshake = Box::pin(acceptor.accept_with(stream, limited));
        let encrypted = handshake.await.map_err(HandshakeError::of)?;
        let connection = encrypted.get_ref().1;
        let info = TlsInfo::new(connection, client_certificate(connection)?, Arc::clone(&self.names));
        Ok(Stream::Tls(Box::new(TlsStream::new(encrypted, Arc::new(info)))))
    }
}

/// The client's certificate, which was valid when its session began: a session can be resumed for hours, and must not
/// outlive the certificate.
fn client_certificate(connection: &ServerConnection) -> Result<Option<ClientCert>, HandshakeError> {
    let invalid = |error| HandshakeError::ClientCertificate(rustls::Error::InvalidCertificate(error));
    let Some(der) = connection.peer_certificates().and_then(<[_]>::first) else { return Ok(None) };
    let certificate = ClientCert::parse(der).map_err(|_reason| invalid(CertificateError::BadEncoding))?;
    if certificate.not_after < SystemTime::now() {
        return Err(invalid(CertificateError::Expired));
    }
    Ok(Some(certificate))
}
