//! Authorities of the certificates that clients may show.
//!
//! Invariant: every authority in the file is one that certificates are checked against; a file that can be understood in
//! part only is refused, where leaving out the rest would turn clients away for no reason that anyone can see.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};

use super::error::{FileKind, TlsError};
use super::options::ClientAuth;
use super::{files, x509};

/// The authorities of a listener.
pub(super) struct Authorities {
    roots: RootCertStore,
    /// What they have taken back, if that is known, and the file that says so.
    revoked: Option<(PathBuf, Vec<CertificateRevocationListDer<'static>>)>,
    required: bool,
    /// The hash of what was in the files and what was asked for.
    pub(super) digest: [u8; 32],
}

impl Authorities {
    /// Reads them. Blocks.
    pub(super) fn load(client: &ClientAuth) -> Result<Self, TlsError> {
        let file = files::read(FileKind::ClientCa, &client.ca)?;
        let mut roots = RootCertStore::empty();
        let certificates = files::certificates(FileKind::ClientCa, &client.ca, &file.bytes)?;
        for (index, certificate) in certificates.into_iter().enumerate() {
            roots.add(certificate).map_err(|error| TlsError::BadCertificate {
                path: client.ca.clone(),
                position: index + 1,
                reason: error.to_string(),
            })?;
        }
        let required: &[u8] = if client.required { b"required" } else { b"optional" };
        let mut digests = vec![x509::sha256(&[&file.bytes]), x509::sha256(&[required])];
        let mut revoked = None;
        if let Some(path) = &client.revoked {
            let file = files::read(FileKind::Crl, path)?;
            digests.extend([super::path_digest(path), x509::sha256(&[&file.bytes])]);
            revoked = Some((path.clone(), files::crls(path, &file.bytes)?));
        }
        let digest = x509::sha256(&[digests.as_flattened()]);
        Ok(Self { roots, revoked, required: client.required, digest })
    }

    /// The verifier that checks certificates against them.
    pub(super) fn verifier(
        self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots), provider);
        let mut builder = if self.required { builder } else { builder.allow_unauthenticated() };
        let mut path = None;
        if let Some((file, revoked)) = self.revoked {
            builder = builder.with_crls(revoked);
            path = Some(file);
        }
        builder.build().map_err(|error| match (error, path) {
            (VerifierBuilderError::InvalidCrl(error), Some(path)) => {
                TlsError::BadCrl { path, reason: rustls::Error::from(error).to_string() }
            }
            (error, _) => TlsError::Setup { source: rustls::Error::General(error.to_string()) },
        })
    }
}
