//! Trust in the certificates of servers.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::DnsError;

/// The most bytes a file of certificate authorities may have; the system's own has a quarter of a million.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Trusts the authorities in the PEM file `ca`, or those of the system.
pub(crate) fn trust(ca: Option<&Path>) -> Result<ClientConfig, DnsError> {
    match ca {
        Some(path) => with_roots(roots(path)?, path),
        None => hickory_resolver::TlsConfig::new()
            .map(|tls| tls.config)
            .map_err(|error| DnsError::Roots { source: Box::new(error) }),
    }
}

/// Trusts no one.
pub(super) fn nobody() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider's own versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

/// Whether `name` can be in a certificate.
pub(crate) fn check_name(name: &str) -> Result<(), DnsError> {
    match ServerName::try_from(name) {
        Ok(_) => Ok(()),
        Err(_) => Err(DnsError::TlsName(name.to_owned())),
    }
}

fn roots(path: &Path) -> Result<RootCertStore, DnsError> {
    let mut file = crate::local::WatchedFile::new(path.to_owned(), MAX_BYTES);
    let unusable = |source: Box<dyn std::error::Error + Send + Sync>| DnsError::Certificate {
        path: path.to_owned(),
        source,
    };
    if !path.exists() {
        let source = std::io::ErrorKind::NotFound.into();
        return Err(DnsError::Read { path: path.to_owned(), source });
    }
    let text = file.read()?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate = certificate.map_err(|error| unusable(Box::new(error)))?;
        roots.add(certificate).map_err(|error| unusable(Box::new(error)))?;
    }
    if roots.is_empty() {
        return Err(DnsError::NoCertificate { path: path.to_owned() });
    }
    Ok(roots)
}

fn with_roots(roots: RootCertStore, path: &Path) -> Result<ClientConfig, DnsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| DnsError::Certificate { path: path.to_owned(), source: Box::new(error) })?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
