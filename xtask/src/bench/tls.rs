//! TLS for benches: the certificate both servers show, and a client that says which key exchange it wants.
//!
//! Invariant: both servers show the same certificate, and a client accepts no other, so a bench cannot measure a
//! server that is not the one it started.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use medusa_testkit::{Authority, Issued};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::cmd::Cmd;
use crate::error::{Error, Result};

/// The name in the certificate, which clients ask for.
pub(super) const NAME: &str = "localhost";

/// An ECDSA P-256 certificate with its key, also as files.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) issued: Issued,
    /// The certificate, PEM.
    pub(super) certificate: PathBuf,
    /// Its private key, PEM.
    pub(super) key: PathBuf,
    /// What a client trusts, PEM: the authority of this certificate alone.
    pub(super) authority: String,
    roots: Arc<RootCertStore>,
}

/// The key exchange a client offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exchange {
    /// X25519, which every server knows.
    X25519,
    /// X25519MLKEM768: what browsers prefer, where the server knows it.
    PostQuantum,
}

impl Identity {
    /// Makes one and writes `cert.pem` and `key.pem` into `folder`.
    pub(super) fn make(folder: &Path) -> Result<Self> {
        let authority = Authority::new("benches");
        let issued = authority.server(&[NAME, "127.0.0.1"]);
        let authority = authority.pem().to_owned();
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority.as_bytes()).expect("made just now");
        roots.add(root).map_err(refused)?;
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.join(name));
        fs::write(&certificate, &issued.cert).map_err(Error::io("write", &certificate))?;
        fs::write(&key, &issued.key).map_err(Error::io("write", &key))?;
        Ok(Self { issued, certificate, key, authority, roots: Arc::new(roots) })
    }

    /// A client of HTTP/1.1 over TLS 1.3 that expects this identity. With `resume` it remembers its sessions; without,
    /// every handshake is a full one.
    pub(super) fn client(&self, exchange: Exchange, resume: bool) -> Result<Arc<ClientConfig>> {
        let group = match exchange {
            Exchange::X25519 => aws_lc_rs::kx_group::X25519,
            Exchange::PostQuantum => aws_lc_rs::kx_group::X25519MLKEM768,
        };
        let provider = CryptoProvider { kx_groups: vec![group], ..aws_lc_rs::default_provider() };
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(refused)?;
        let mut config = builder.with_root_certificates(Arc::clone(&self.roots)).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = if resume { Resumption::in_memory_sessions(64) } else { Resumption::disabled() };
        Ok(Arc::new(config))
    }
}

/// The settings that a client built on the system's OpenSSL (wrk, h2load) and the server at `address` agree on.
pub(super) fn agreed_with_openssl(address: std::net::SocketAddr) -> Result<String> {
    let client = Cmd::new("openssl").args(["s_client", "-brief", "-connect"]).args([address.to_string()]);
    let output = client.to_command().output();
    let output = output.map_err(|source| Error::Start { command: client.to_string(), source })?;
    let summary = String::from_utf8_lossy(&output.stderr).into_owned();
    agreement(&summary).ok_or_else(|| Error::Found(format!("`{client}` made no connection:\n{summary}")))
}

/// The version of the system's OpenSSL, which nginx, wrk and h2load run on.
pub(super) fn openssl_version() -> Result<String> {
    let output = Cmd::new("openssl").args(["version"]).output()?;
    let text = String::from_utf8_lossy(&output).into_owned();
    Ok(text.split(" (").next().unwrap_or_default().trim().to_owned())
}

fn agreement(text: &str) -> Option<String> {
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    Some(format!(
        "{}, {}, {}",
        value("Protocol version:")?,
        value("Ciphersuite:")?,
        value("Server Temp Key:").unwrap_or("unknown key exchange")
    ))
}

fn refused(error: rustls::Error) -> Error {
    Error::Found(format!("cannot set up a TLS client: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_openssl_agreed_on_is_read() {
        let summary = "Can't use SSL_get_servername\nProtocol version: TLSv1.3\nCiphersuite: TLS_AES_256_GCM_SHA384\n\
                    Server Temp Key: X25519, 253 bits\nDONE\n";
        assert_eq!(agreement(summary).as_deref(), Some("TLSv1.3, TLS_AES_256_GCM_SHA384, X25519, 253 bits"));
        assert_eq!(agreement("connect: Connection refused\n"), None);
    }

    #[test]
    fn an_identity_is_made_of_two_files_and_clients() {
        let folder = tempfile::tempdir().expect("a folder");
        let identity = Identity::make(folder.path()).expect("an identity");
        let text = |path: &Path| fs::read_to_string(path).expect("a file");
        assert!(text(&identity.certificate).contains("BEGIN CERTIFICATE"));
        assert!(text(&identity.key).contains("PRIVATE KEY"));
        for exchange in [Exchange::X25519, Exchange::PostQuantum] {
            identity.client(exchange, true).expect("a client");
        }
    }
}
