//! TLS of connections, and the authorities that they trust.

use std::sync::Arc;

use bytes::Bytes;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{Cause, Fault};

/// The protocols that fetches speak over TLS, the one we like best first.
pub(crate) const PROTOCOLS: &[&[u8]] = &[b"h2", HTTP_1];

/// HTTP/1.1, as it is called in TLS.
pub(crate) const HTTP_1: &[u8] = b"http/1.1";

/// The authorities whose certificates are taken.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Trust {
    /// None: there is no TLS.
    NoTls,
    /// Those of the system's authorities.
    System,
    /// Also those of the authorities in this PEM text.
    SystemAnd(Bytes),
    /// Anyone's.
    Any,
}

/// The settings of TLS for `trust` and `protocols`; none where there is no TLS. Blocks: the system's certificates are a
/// hundred files.
pub(crate) fn config(trust: &Trust, protocols: &[&[u8]]) -> Result<Option<ClientConfig>, Fault> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::NoTls => return Ok(None),
        Trust::System => verifier(RootCertStore::empty(), &provider)?,
        Trust::SystemAnd(pem) => verifier(authorities(pem)?, &provider)?,
        Trust::Any => Arc::new(NoVerification(Arc::clone(&provider))),
    };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Fault::Setup(Cause::innermost(&error)))?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|&protocol| protocol.into()).collect();
    Ok(Some(config))
}

/// Trusts those in `roots` and the system's.
fn verifier(
    mut roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, Fault> {
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    if roots.is_empty() {
        let found = system.errors.first().map_or("there are none".to_owned(), ToString::to_string);
        return Err(Fault::Setup(Cause::new(format!("the system's authorities: {found}"))));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    verifier.map_err(|error| Fault::Setup(Cause::innermost(&error)))
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, Fault> {
    let failed = |error: &(dyn std::error::Error + 'static)| Fault::Authority(Cause::innermost(error));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    if roots.is_empty() {
        return Err(Fault::Authority(Cause::new("the file holds no certificate in PEM form")));
    }
    Ok(roots)
}

/// Takes any certificate for any host, as long as the peer has its key.
#[derive(Debug)]
struct NoVerification(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
