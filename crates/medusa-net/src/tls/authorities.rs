//! Authorities of the certificates that clients may show.
//!
//! Invariant: every authority in the file is one that certificates are checked against; a file that can be understood in
//! part only is refused, where leaving out the rest would turn clients away for no reason that anyone can see.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::error::{FileKind, TlsError};
use super::options::ClientAuth;
use super::{files, x509};

/// The authorities of a listener.
pub(super) struct Authorities {
    roots: RootCertStore,
    required: bool,
    /// The hash of what was in the file and what was asked for.
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
        let digest = x509::sha256(&[&x509::sha256(&[&file.bytes]), required]);
        Ok(Self { roots, required: client.required, digest })
    }

    /// The verifier that checks certificates against them.
    pub(super) fn verifier(
        self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots), provider);
        let builder = if self.required { builder } else { builder.allow_unauthenticated() };
        let refused = |error: rustls::server::VerifierBuilderError| rustls::Error::General(error.to_string());
        builder.build().map_err(|error| TlsError::Setup { source: refused(error) })
    }
}
