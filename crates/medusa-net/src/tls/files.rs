//! Reading certificates and keys from PEM files.
//!
//! Invariant: whatever is in a file, the outcome is what it should hold or an error that names the file; and no error
//! quotes what is in it, which may be a key.
//!
//! These calls block: they belong where a change is prepared, never on a worker.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use medusa_files::regular::{self, Contents};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::error::{FileKind, TlsError};

/// The most that is read of a file: Debian's bundle of all public authorities has 220 KB, a chain 10.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Reads a file of which it is known what it should hold.
pub(super) fn read(kind: FileKind, path: &Path) -> Result<Contents, TlsError> {
    regular::read(path, MAX_FILE).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => TlsError::Missing { kind, path: path.into() },
        io::ErrorKind::PermissionDenied => TlsError::NoPermission { kind, path: path.into() },
        io::ErrorKind::FileTooLarge => TlsError::TooLarge { kind, path: path.into(), limit: MAX_FILE },
        _ => TlsError::Read { kind, path: path.into(), source },
    })
}

/// The certificates in a file, in their order; at least one.
pub(super) fn certificates(
    kind: FileKind,
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let all = all.map_err(|error| damaged(kind, path, &error))?;
    if !all.is_empty() {
        return Ok(all);
    }
    Err(if is_pem(bytes) {
        TlsError::NoCertificate { kind, path: path.into() }
    } else {
        not_pem(kind, path, bytes)
    })
}

/// The revocation lists in a file; at least one.
pub(super) fn crls(
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(bytes).collect();
    let all = all.map_err(|error| damaged(FileKind::Crl, path, &error))?;
    if !all.is_empty() {
        return Ok(all);
    }
    Err(if is_pem(bytes) {
        TlsError::NoCrl { path: path.into() }
    } else {
        not_pem(FileKind::Crl, path, bytes)
    })
}

/// A file that a full disk has left without a byte is not told to be converted.
fn not_pem(kind: FileKind, path: &Path, bytes: &[u8]) -> TlsError {
    if bytes.is_empty() {
        return TlsError::BadPem { kind, path: path.into(), reason: "it is empty" };
    }
    TlsError::NotPem { kind, path: path.into() }
}

/// The first private key in a file.
pub(super) fn key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    if is_encrypted(bytes) {
        return Err(TlsError::EncryptedKey { path: path.into() });
    }
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        pem::Error::NoItemsFound if is_pem(bytes) => TlsError::NoKey { path: path.into() },
        pem::Error::NoItemsFound => not_pem(FileKind::Key, path, bytes),
        error => damaged(FileKind::Key, path, &error),
    })
}

/// Whether everyone on this machine may read the file.
pub(super) fn is_readable_by_all(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o004 != 0
}

fn is_pem(bytes: &[u8]) -> bool {
    contains(bytes, b"-----BEGIN ")
}

/// Either of the two ways in which PEM keys are locked: PKCS#8, and the older one of RFC 1421.
fn is_encrypted(bytes: &[u8]) -> bool {
    contains(bytes, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || contains(bytes, b"Proc-Type: 4,ENCRYPTED")
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

/// The library's own words may quote a line of the file.
fn damaged(kind: FileKind, path: &Path, error: &pem::Error) -> TlsError {
    let reason = match error {
        pem::Error::MissingSectionEnd { .. } => "a BEGIN line without its END line",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line that is not complete",
        pem::Error::Base64Decode(_) => "what is between BEGIN and END is not base64",
        _ => "it is not well-formed PEM",
    };
    TlsError::BadPem { kind, path: path.into(), reason }
}
