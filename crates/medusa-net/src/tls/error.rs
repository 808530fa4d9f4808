//! Mistakes in certificates, keys and authorities, with what to do about it.
//!
//! Invariant: the message alone is enough to act on: it names the file and the cure. None holds a byte of a key.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

/// The purpose of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A server certificate with its chain.
    Certificate,
    /// A private key.
    Key,
    /// The authorities of client certificates.
    ClientCa,
    /// What they have taken back.
    Crl,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::ClientCa => "client CA",
            Self::Crl => "revocation list",
        })
    }
}

/// The reason why a listener's TLS can not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The options list no certificate.
    #[error("no certificate is given; name a certificate file and its key file, or use a self-signed one")]
    NoCertificates,
    /// There is no such file.
    #[error("the {kind} file {path} does not exist", path = .path.display())]
    Missing {
        /// What it is for.
        kind: FileKind,
        /// The file.
        path: PathBuf,
    },
    /// The file is not ours to read.
    #[error("no permission to read the {kind} file {path}; let the user that the server runs as read it", path = .path.display())]
    NoPermission {
        /// What it is for.
        kind: FileKind,
        /// The file.
        path: PathBuf,
    },
    /// It can not be read for another reason.
    #[error("cannot read the {kind} file {path}", path = .path.display())]
    Read {
        /// What it is for.
        kind: FileKind,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No such file is that large.
    #[error("the {kind} file {path} is larger than {limit} bytes; it can not be what it should be", path = .path.display())]
    TooLarge {
        /// What it is for.
        kind: FileKind,
        /// The file.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
    },
    /// It is binary.
    #[error(
        "the {kind} file {path} is not PEM; if it is DER, convert it with `openssl {command} -inform DER -in {path} -out NEW.pem`",
        command = match .kind { FileKind::Key => "pkey", FileKind::Crl => "crl", _ => "x509" }, path = .path.display()
    )]
    NotPem {
        /// What it is for.
        kind: FileKind,
        /// The file.
        path: PathBuf,
    },
    /// It is PEM, and damaged.
    #[error("the {kind} file {path} is damaged: {reason}", path = .path.display())]
    BadPem {
        /// What it is for.
        kind: FileKind,
        /// The file.
        path: PathBuf,
        /// What is wrong in it, without quoting it.
        reason: &'static str,
    },
    /// It is PEM without a certificate.
    #[error("the {kind} file {path} holds no certificate, which begins with -----BEGIN CERTIFICATE-----", path = .path.display())]
    NoCertificate {
        /// What it is for.
        kind: FileKind,
        /// The file.
        path: PathBuf,
    },
    /// It is PEM without a revocation list.
    #[error("the revocation list file {path} holds no list, which begins with -----BEGIN X509 CRL-----", path = .path.display())]
    NoCrl {
        /// The file.
        path: PathBuf,
    },
    /// A revocation list is of no use.
    #[error("a list in the revocation list file {path} can not be used: {reason}", path = .path.display())]
    BadCrl {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It is PEM without a private key.
    #[error("the key file {path} holds no private key, which begins with -----BEGIN PRIVATE KEY----- or the like", path = .path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is locked.
    #[error(
        "the key in {path} needs a passphrase, and there is no one to type it; store it without one: \
         `openssl pkey -in {path} -out NEW.pem`, then `chmod 600 NEW.pem`",
        path = .path.display()
    )]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is of no use.
    #[error("the key in {path} can not be used; ECDSA (P-256, P-384, P-521), Ed25519 and RSA (2048 bits and more) can", path = .path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// One of the certificates can not be understood.
    #[error("certificate {position} in {path} can not be understood: {reason}", path = .path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// Which one in the file, from 1.
        position: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Two files that do not belong together.
    #[error("the key in {key} does not belong to the certificate in {cert}; look for the pair that was made together", key = .key.display(), cert = .cert.display())]
    KeyMismatch {
        /// The certificate file.
        cert: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// The chain is in the wrong order.
    #[error(
        "the key in {key} belongs to certificate {position} in {cert}; the server's own certificate must be the first in the \
         file, then the one that signed it, and so on",
        key = .key.display(), cert = .cert.display()
    )]
    LeafNotFirst {
        /// The certificate file.
        cert: PathBuf,
        /// The key file.
        key: PathBuf,
        /// Where the server's own certificate is, from 1.
        position: usize,
    },
    /// A name that no certificate can have.
    #[error("{name:?} can not be a name in a certificate; use a host name (in ASCII) or an IP address")]
    BadName {
        /// The name.
        name: String,
    },
    /// The self-signed certificate could not be made.
    #[error("cannot make a self-signed certificate")]
    SelfSigned {
        /// Why.
        source: rcgen::Error,
    },
    /// The TLS library refuses: it has no randomness, for instance.
    #[error("cannot set up TLS")]
    Setup {
        /// Why.
        source: rustls::Error,
    },
}

/// Something that works now, and that someone should look at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsWarning {
    /// Clients will refuse it.
    #[error("the certificate in {path} has expired ({days} days ago); clients refuse it: renew it", path = .path.display(), days = days(.since))]
    Expired {
        /// The certificate file.
        path: PathBuf,
        /// When it did.
        since: SystemTime,
    },
    /// Clients will refuse it until then.
    #[error("the certificate in {path} is not valid yet; clients refuse it. Is this machine's clock right?", path = .path.display())]
    NotYetValid {
        /// The certificate file.
        path: PathBuf,
        /// When it will be.
        from: SystemTime,
    },
    /// Anyone on this machine can pretend to be this server.
    #[error("everyone on this machine can read the key file {path}; `chmod 600` it", path = .path.display())]
    KeyReadableByAll {
        /// The key file.
        path: PathBuf,
    },
    /// It is valid for nothing.
    #[error("the certificate in {path} names no host (it has no subjectAltName); clients refuse it", path = .path.display())]
    NoNames {
        /// The certificate file.
        path: PathBuf,
    },
    /// Some clients put a chain in order themselves, others give up.
    #[error("certificate {position} in {path} did not sign the one before it; some clients can not follow such a chain", path = .path.display())]
    ChainBroken {
        /// The certificate file.
        path: PathBuf,
        /// Which one in the file, from 1.
        position: usize,
    },
}

/// Whole days from then until now.
fn days(since: &SystemTime) -> u64 {
    since.elapsed().map_or(0, |age| age.as_secs() / 86_400)
}
