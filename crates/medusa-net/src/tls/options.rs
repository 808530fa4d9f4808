//! Options of a listener's TLS, as the script gives them.
//!
//! Invariant: nothing here decides how safe a connection is. Versions, ciphers and tickets are the same for everyone
//! ([`config`](super::config)), so there is no option by which they could be weakened.

use std::path::PathBuf;

/// Everything that can be said about a listener's TLS; the rest is decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsOptions {
    /// The certificates, at least one. Which of them a client sees depends on the host name it asks for: the one that
    /// names it, else one with a wildcard for it, else the first.
    pub certificates: Vec<CertificateFiles>,
    /// Whether clients are asked for a certificate of their own. Default: they are not.
    pub client: Option<ClientAuth>,
}

/// A certificate and its private key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The server's certificate, then the intermediate ones up to (and without) the root: `fullchain.pem`.
    pub cert: PathBuf,
    /// The key: PKCS#8, SEC1 or PKCS#1, without a passphrase. May be the same file.
    pub key: PathBuf,
}

/// Asking clients for a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuth {
    /// The certificate authorities whose certificates are accepted, PEM.
    pub ca: PathBuf,
    /// Certificates that are taken back: lists of their authorities, PEM. With one, each authority must have its list here, or none of its
    /// certificates is accepted.
    pub revoked: Option<PathBuf>,
    /// Whether a client without a certificate is turned away. If not, it is served, and a handler sees that it has none. A
    /// certificate that is not valid is turned away either way.
    pub required: bool,
}
