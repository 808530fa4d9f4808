//! One of a server's certificates: read, checked, and ready to sign with.
//!
//! Invariant: a certificate that is loaded can be used: it can be understood, and the key is its own. Whether clients will
//! like it depends on the time and on them; what is likely to go wrong there is a [`TlsWarning`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::certificate::X509Certificate;

use super::error::{FileKind, TlsError, TlsWarning};
use super::options::CertificateFiles;
use super::{files, x509};

/// A certificate, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSummary {
    /// The host names and addresses that it is for.
    pub names: Vec<String>,
    /// The end of its life.
    pub not_after: SystemTime,
    /// Its number, in hexadecimal.
    pub serial: String,
    /// The SHA-256 of its DER. [`show_fingerprint`] writes it as other programs do.
    pub fingerprint: [u8; 32],
    /// The file it came from; none if it was made here.
    pub path: Option<PathBuf>,
}

/// Writes a fingerprint as other programs do: `1F:0A:...`.
pub fn show_fingerprint(fingerprint: &[u8; 32]) -> String {
    let bytes: Vec<String> = fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

/// A certificate that can be used.
pub(super) struct Certificate {
    pub(super) summary: CertificateSummary,
    pub(super) key: Arc<CertifiedKey>,
    pub(super) warnings: Vec<TlsWarning>,
    /// The hash of what was in the files.
    pub(super) digest: [u8; 32],
}

impl CertificateSummary {
    pub(super) fn new(certificate: &X509Certificate<'_>, der: &[u8], path: Option<PathBuf>) -> Self {
        Self {
            names: x509::host_names(certificate),
            not_after: x509::time(certificate.validity().not_after),
            serial: x509::serial(certificate),
            fingerprint: x509::fingerprint(der),
            path,
        }
    }
}

impl Certificate {
    /// Reads a certificate and its key. Blocks.
    pub(super) fn load(files: &CertificateFiles, provider: &CryptoProvider) -> Result<Self, TlsError> {
        let cert_file = files::read(FileKind::Certificate, &files.cert)?;
        let chain = files::certificates(FileKind::Certificate, &files.cert, &cert_file.bytes)?;
        let key_file = files::read(FileKind::Key, &files.key)?;
        let key = files::key(&files.key, &key_file.bytes)?;
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|source| TlsError::BadKey { path: files.key.clone(), source })?;

        let (summary, mut warnings) = inspect(files, &chain)?;
        if files::is_readable_by_all(&key_file.metadata) {
            warnings.push(TlsWarning::KeyReadableByAll { path: files.key.clone() });
        }
        let digest = x509::sha256(&[&x509::sha256(&[&cert_file.bytes]), &x509::sha256(&[&key_file.bytes])]);
        let key = Arc::new(pair(files, chain, key)?);
        Ok(Self { summary, key, warnings, digest })
    }
}

/// Looks at every certificate of a chain.
fn inspect(
    files: &CertificateFiles,
    chain: &[CertificateDer<'static>],
) -> Result<(CertificateSummary, Vec<TlsWarning>), TlsError> {
    let path = &files.cert;
    let mut parsed = Vec::with_capacity(chain.len());
    for (index, der) in chain.iter().enumerate() {
        let certificate = x509::parse(der).map_err(|reason| bad(files, index, reason))?;
        parsed.push(certificate);
    }
    let (Some(leaf), Some(der)) = (parsed.first(), chain.first()) else {
        return Err(TlsError::NoCertificate { kind: FileKind::Certificate, path: path.clone() });
    };
    let summary = CertificateSummary::new(leaf, der, Some(path.clone()));

    let (now, from) = (SystemTime::now(), x509::time(leaf.validity().not_before));
    let mut warnings = Vec::new();
    if summary.not_after < now {
        warnings.push(TlsWarning::Expired { path: path.clone(), since: summary.not_after });
    } else if now < from {
        warnings.push(TlsWarning::NotYetValid { path: path.clone(), from });
    }
    if summary.names.is_empty() {
        warnings.push(TlsWarning::NoNames { path: path.clone() });
    }
    let broken = parsed
        .windows(2)
        .position(|pair| matches!(pair, [signed, by] if signed.issuer().as_raw() != by.subject().as_raw()));
    if let Some(index) = broken {
        warnings.push(TlsWarning::ChainBroken { path: path.clone(), position: index + 2 });
    }
    Ok((summary, warnings))
}

/// Puts certificate and key together, if they belong together.
fn pair(
    files: &CertificateFiles,
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
) -> Result<CertifiedKey, TlsError> {
    let matches = |certificate: &CertificateDer<'static>| {
        CertifiedKey::new(vec![certificate.clone()], key.clone()).keys_match()
    };
    let of_another = |error: &rustls::Error| {
        matches!(error, rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch))
    };
    let Some(first) = chain.first() else {
        return Err(TlsError::NoCertificate { kind: FileKind::Certificate, path: files.cert.clone() });
    };
    match matches(first) {
        Ok(()) => Ok(CertifiedKey::new(chain, key)),
        Err(error) if of_another(&error) => {
            let (cert, key) = (files.cert.clone(), files.key.clone());
            Err(match chain.iter().position(|certificate| matches(certificate).is_ok()) {
                Some(index) => TlsError::LeafNotFirst { cert, key, position: index + 1 },
                None => TlsError::KeyMismatch { cert, key },
            })
        }
        Err(error) => Err(bad(files, 0, error.to_string())),
    }
}

fn bad(files: &CertificateFiles, index: usize, reason: String) -> TlsError {
    TlsError::BadCertificate { path: files.cert.clone(), position: index + 1, reason }
}
