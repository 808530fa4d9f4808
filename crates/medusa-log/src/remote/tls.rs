//! The client side of TLS: recognises who may receive the log.
//!
//! **Invariant: there is no connection to a receiver that was not authenticated.** Its certificate must lead to an
//! authority of the user's choice, or of the system's, and must be for the name that was asked for. There is no option to
//! do without: a log tells who visited what, and whoever can answer a name server could read it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use medusa_files::{OwnKind, OwnPath, regular};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, InconsistentKeys, RootCertStore};

use crate::OptionError;

/// Means by which a receiver is recognised, and may recognise us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// A PEM file of the authorities that may vouch for the receiver. Default: those of the system.
    pub ca: Option<PathBuf>,
    /// The name the receiver's certificate must be for. Default: the host of the target.
    pub name: Option<String>,
    /// A PEM file of our own certificate and its chain, for receivers that ask for one.
    pub certificate: Option<PathBuf>,
    /// A PEM file of its key.
    pub key: Option<PathBuf>,
}

const HALF: &str = "a certificate of our own takes two files, that of the certificate and that of its key: only one is given";

/// All that a TLS connection needs.
#[derive(Clone, Debug)]
pub(super) struct Secured {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// Our key.
    _own: Option<Arc<OwnPath>>,
}

impl Secured {
    /// Reads the files, to speak with `host`.
    pub(super) fn load(options: &TlsOptions, host: &str) -> Result<Self, OptionError> {
        let name = options.name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name.clone()).map_err(|_not_a_name| {
            OptionError(format!(
                "{name:?} cannot be the name in a certificate: use a host name or an address"
            ))
        })?;
        let mut roots = RootCertStore::empty();
        match &options.ca {
            Some(path) => {
                for (position, certificate) in (1..).zip(certificates("CA", path)?) {
                    roots.add(certificate).map_err(|_damaged| damaged("CA", path, position))?;
                }
            }
            // A few that are broken are no reason to do without the rest.
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let verifier = verifier.build().map_err(|_no_roots| {
            let told =
                "this system has no certificate authorities (package ca-certificates): name a file of them";
            OptionError(told.to_owned())
        })?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|source| setup(&source))?
            .with_webpki_verifier(verifier);
        let config = match (&options.certificate, &options.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let (chain, private) = (certificates("certificate", certificate)?, private_key(key)?);
                builder.with_client_auth_cert(chain, private).map_err(|error| match error {
                    rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => OptionError(format!(
                        "the key in {} does not belong to the certificate in {}",
                        quoted(key),
                        quoted(certificate)
                    )),
                    source => setup(&source),
                })?
            }
            _ => return Err(OptionError(HALF.to_owned())),
        };
        let own = options.key.as_deref().map(|key| Arc::new(OwnPath::new(key, OwnKind::Key)));
        Ok(Self { config: Arc::new(config), name, _own: own })
    }

    /// A connection yet to shake hands.
    pub(super) fn connection(&self) -> io::Result<ClientConnection> {
        ClientConnection::new(Arc::clone(&self.config), self.name.clone()).map_err(io::Error::other)
    }
}

fn setup(source: &rustls::Error) -> OptionError {
    OptionError(format!("cannot set up TLS: {source}"))
}

/// A path in a message: in quotes, and what could harm a terminal escaped.
fn quoted(path: &Path) -> String {
    format!("{:?}", path.to_string_lossy())
}

fn damaged(what: &str, path: &Path, position: usize) -> OptionError {
    let path = quoted(path);
    OptionError(format!("the {what} file {path} is damaged: certificate {position} cannot be understood"))
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, OptionError> {
    let bytes = read(what, path)?;
    let mut all = Vec::new();
    for (position, certificate) in (1..).zip(CertificateDer::pem_slice_iter(&bytes)) {
        all.push(certificate.map_err(|_damaged| damaged(what, path, position))?);
    }
    if all.is_empty() {
        return Err(OptionError(format!(
            "the {what} file {} holds no certificate, which begins with -----BEGIN CERTIFICATE-----",
            quoted(path)
        )));
    }
    Ok(all)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, OptionError> {
    let bytes = read("key", path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_none| {
        OptionError(format!(
            "the key file {} holds no private key without a passphrase, which begins with -----BEGIN PRIVATE KEY----- or the \
             like",
            quoted(path)
        ))
    })
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, OptionError> {
    /// Ten times the authorities of a system.
    const LIMIT: u64 = 4 * 1024 * 1024;
    regular::read(path, LIMIT)
        .map(|contents| contents.bytes)
        .map_err(|source| OptionError(format!("cannot read the {what} file {}: {source}", quoted(path))))
}
