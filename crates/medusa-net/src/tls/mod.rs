//! Encrypted connections: certificates are read and checked when a change is prepared, handshakes are made when clients
//! come, and what comes out is a [`Stream`](crate::Stream) like any other.
//!
//! A [`Tls`] is one listener's: its certificates, its authorities for clients, its tickets. It never changes; new files
//! make a new one ([`Tls::digest`] says whether they are), and connections go on with the one they began with.
//!
//! Invariants: a [`Tls`] that was made can serve, so nothing about certificates fails later than when a change is
//! prepared; and no key leaves this module, in a log or otherwise.

mod authorities;
mod certificate;
mod config;
mod error;
mod files;
mod handshake;
mod info;
mod options;
mod resolver;
mod self_signed;
mod stream;
mod x509;

use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use medusa_files::{OwnKind, OwnPath};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;

pub use certificate::{CertificateSummary, show_fingerprint};
pub use error::{FileKind, TlsError, TlsWarning};
pub use handshake::HandshakeError;
pub use info::{Alpn, ClientCert, TlsInfo};
pub use options::{CertificateFiles, ClientAuth, TlsOptions};
pub use stream::TlsStream;

use authorities::Authorities;
use certificate::Certificate;
use resolver::Certificates;

/// One listener's TLS.
pub struct Tls {
    config: Arc<ServerConfig>,
    certificates: Vec<CertificateSummary>,
    /// What each is for.
    names: Arc<[Vec<String>]>,
    warnings: Vec<TlsWarning>,
    digest: [u8; 32],
    /// Those of its keys.
    _own: Vec<OwnPath>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads and checks what `options` name. Blocks: not for a worker.
    ///
    /// # Errors
    ///
    /// See [`TlsError`]; each names a file and what to do about it. What is merely suspicious is in
    /// [`warnings`](Self::warnings).
    pub fn load(options: &TlsOptions) -> Result<Self, TlsError> {
        if options.certificates.is_empty() {
            return Err(TlsError::NoCertificates);
        }
        let provider = config::provider();
        let mut certificates = Vec::with_capacity(options.certificates.len());
        let mut digests = Vec::new();
        for files in &options.certificates {
            let certificate = Certificate::load(files, &provider)?;
            digests.extend([path_digest(&files.cert), path_digest(&files.key), certificate.digest]);
            certificates.push(certificate);
        }
        let authorities = options.client.as_ref().map(Authorities::load).transpose()?;
        if let (Some(client), Some(authorities)) = (&options.client, &authorities) {
            digests.extend([path_digest(&client.ca), authorities.digest]);
        }
        let keys = options.certificates.iter().map(|files| OwnPath::new(&files.key, OwnKind::Key));
        let own = keys.collect();
        Ok(Self { _own: own, ..Self::new(provider, certificates, authorities, digests.as_flattened())? })
    }

    /// Makes a certificate that no authority has signed, for `localhost`, `127.0.0.1`, `::1`, this machine's name and
    /// `names` (host names or addresses). Browsers ask before they accept it; [`fingerprint`](Self::fingerprint) is for
    /// whoever wants to be sure.
    ///
    /// # Errors
    ///
    /// One of the names can not be in a certificate.
    pub fn self_signed(names: &[String]) -> Result<Self, TlsError> {
        let provider = config::provider();
        let certificate = self_signed::make(names, &provider)?;
        let digest = certificate.digest;
        Self::new(provider, vec![certificate], None, &digest)
    }

    fn new(
        provider: Arc<CryptoProvider>,
        certificates: Vec<Certificate>,
        authorities: Option<Authorities>,
        digests: &[u8],
    ) -> Result<Self, TlsError> {
        let mut by_name = Certificates::default();
        let (mut summaries, mut warnings) = (Vec::new(), Vec::new());
        for certificate in certificates {
            by_name.add(&certificate.summary.names, &certificate.key);
            summaries.push(certificate.summary);
            warnings.extend(certificate.warnings);
        }
        let clients = authorities.map(|authorities| authorities.verifier(provider.clone())).transpose()?;
        let config = config::server(provider, Arc::new(by_name), clients);
        let config = config.map_err(|source| TlsError::Setup { source })?;
        let names = summaries.iter().map(|summary| summary.names.clone()).collect();
        Ok(Self {
            config,
            certificates: summaries,
            names,
            warnings,
            digest: x509::sha256(&[digests]),
            _own: Vec::new(),
        })
    }

    /// Warnings about it, as of when it was loaded.
    pub fn warnings(&self) -> &[TlsWarning] {
        &self.warnings
    }

    /// The certificates, the default one first.
    pub fn describe(&self) -> &[CertificateSummary] {
        &self.certificates
    }

    /// The SHA-256 of the first certificate, as other programs write it: `1F:0A:...`.
    pub fn fingerprint(&self) -> String {
        self.certificates.first().map(|first| show_fingerprint(&first.fingerprint)).unwrap_or_default()
    }

    /// The identity of what was loaded: paths, contents and options. Two with the same digest serve alike, so the one
    /// that is in use can stay, with its tickets and (if self-signed) its key. Made of a key's hash among others: not
    /// to be shown.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

fn path_digest(path: &Path) -> [u8; 32] {
    x509::sha256(&[path.as_os_str().as_bytes()])
}
