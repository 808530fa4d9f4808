//! A certificate authority for a test, and a folder for what it makes.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use medusa_net::tls::{CertificateFiles, ClientAuth, Tls, TlsOptions};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

const DAY: Duration = Duration::from_hours(24);

/// Makes the names of files.
static ISSUED: AtomicU32 = AtomicU32::new(0);

/// An authority. What it issues is written to its folder, which is gone with it.
pub(crate) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    pub(crate) der: CertificateDer<'static>,
    pub(crate) pem: String,
}

/// A certificate with its key.
pub(crate) struct Issued {
    pub(crate) files: CertificateFiles,
    pub(crate) der: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) cert_pem: String,
    pub(crate) key_pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("Test Authority")
    }

    pub(crate) fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            der: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A server's certificate for `names`.
    pub(crate) fn server(&self, names: &[&str]) -> Issued {
        self.issue(names, |_| ())
    }

    /// A client's certificate.
    pub(crate) fn client(&self, name: &str) -> Issued {
        self.issue(&[], |params| {
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    pub(crate) fn issue(&self, names: &[&str], prepare: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::default();
        params.distinguished_name.remove(DnType::CommonName);
        params.subject_alt_names = names.iter().map(|name| alternative(name)).collect();
        params.not_before = (SystemTime::now() - DAY).into();
        params.not_after = (SystemTime::now() + 30 * DAY).into();
        prepare(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");

        let (cert_pem, key_pem) = (certificate.pem(), key.serialize_pem());
        let name = ISSUED.fetch_add(1, Ordering::Relaxed);
        let files = CertificateFiles {
            cert: self.write(&format!("{name}.pem"), &cert_pem),
            key: self.write(&format!("{name}.key"), &key_pem),
        };
        let der = certificate.der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS#8");
        Issued { files, der, key, cert_pem, key_pem }
    }

    /// Writes a file that only its owner can read.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, contents).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("permitted");
        path
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The list of certificates of this authority that are taken back, by their numbers.
    pub(crate) fn revoked(&self, serials: &[&[u8]]) -> String {
        let revoked = |serial: &&[u8]| RevokedCertParams {
            serial_number: serial.to_vec().into(),
            revocation_time: (SystemTime::now() - DAY).into(),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: (SystemTime::now() - DAY).into(),
            next_update: (SystemTime::now() + DAY).into(),
            crl_number: vec![1].into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).and_then(|list| list.pem()).expect("a list")
    }

    /// Asking clients for certificates of this authority.
    pub(crate) fn auth(&self, required: bool) -> ClientAuth {
        ClientAuth { ca: self.write("ca.pem", &self.pem), revoked: None, required }
    }
}

fn alternative(name: &str) -> SanType {
    match name.parse::<IpAddr>() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) => SanType::DnsName(name.try_into().expect("a host name")),
    }
}

pub(crate) fn options(certificates: &[&Issued]) -> TlsOptions {
    let certificates = certificates.iter().map(|issued| issued.files.clone()).collect();
    TlsOptions { certificates, client: None }
}

pub(crate) fn load(options: &TlsOptions) -> Arc<Tls> {
    Arc::new(Tls::load(options).expect("good certificates"))
}
