//! Facts about an encrypted connection: agreed on, asked for, proved.
//!
//! Invariant: it is made once, when the handshake is over, and never changes; what is in a [`ClientCert`] has been checked
//! against the listener's authorities, this time or when the session it resumes began.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};

use super::x509;

/// An encrypted connection, as handlers and logs see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher by its registered name: `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// The exchange by which the key was agreed on, by its registered name: `X25519MLKEM768`. Empty if a session of
    /// TLS 1.2 was resumed, for which no key is agreed on.
    pub key_exchange: String,
    /// The host name that the client asked for, in lower case: it may ask for anything.
    pub sni: Option<String>,
    /// The protocol to speak.
    pub alpn: Alpn,
    /// Whether it went on with an earlier connection's session, sparing both sides the signatures.
    pub resumed: bool,
    /// The client's certificate, if it was asked for one and has one.
    pub client: Option<ClientCert>,
    /// What each of the listener's certificates is for.
    pub(super) names: Arc<[Vec<String>]>,
}

/// The protocol that client and server agreed on ([RFC 7301]).
///
/// [RFC 7301]: https://www.rfc-editor.org/rfc/rfc7301
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// `http/1.1`.
    Http1,
    /// `h2`.
    H2,
    /// The client did not say.
    None,
}

/// A client's certificate, which one of the listener's authorities has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCert {
    /// The subject, written as in RFC 4514: `CN=Alice,O=Example`. Compare the whole of it, or [`sans`](Self::sans): a part
    /// may occur in a name that is another's.
    pub subject: String,
    /// The one common name in the subject, as it is; none where there are several, for they would be whoever one likes.
    pub common_name: Option<String>,
    /// The issuer, written like the subject.
    pub issuer: String,
    /// Its number, in hexadecimal: `01AB`. No two certificates of an issuer have the same.
    pub serial: String,
    /// Its alternative names with their kinds: `DNS:a.example`, `IP:192.0.2.1`, `email:a@example`, `URI:spiffe://a`.
    pub sans: Vec<String>,
    /// The end of its life.
    pub not_after: SystemTime,
    /// The SHA-256 of its DER.
    pub fingerprint: [u8; 32],
}

impl ClientCert {
    /// An error says why it can not be understood.
    pub(super) fn parse(der: &CertificateDer<'_>) -> Result<Self, String> {
        let certificate = x509::parse(der)?;
        Ok(Self {
            subject: x509::distinguished_name(certificate.subject()),
            common_name: x509::common_name(certificate.subject()),
            issuer: x509::distinguished_name(certificate.issuer()),
            serial: x509::serial(&certificate),
            sans: x509::alternative_names(&certificate),
            not_after: x509::time(certificate.validity().not_after),
            fingerprint: x509::fingerprint(der),
        })
    }
}

impl TlsInfo {
    pub(super) fn new(
        connection: &ServerConnection,
        client: Option<ClientCert>,
        names: Arc<[Vec<String>]>,
    ) -> Self {
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            // There is no other.
            _ => "TLSv1.3",
        };
        let suite = connection.negotiated_cipher_suite();
        let cipher = suite.and_then(|suite| suite.suite().as_str()).unwrap_or_default();
        let group = connection.negotiated_key_exchange_group();
        Self {
            version,
            // The library tells the suites of TLS 1.3 apart in its own way.
            cipher: cipher.replacen("TLS13_", "TLS_", 1),
            key_exchange: group.and_then(|group| group.name().as_str()).unwrap_or_default().to_owned(),
            sni: connection.server_name().map(str::to_owned),
            alpn: match connection.alpn_protocol() {
                Some(b"h2") => Alpn::H2,
                Some(b"http/1.1") => Alpn::Http1,
                _ => Alpn::None,
            },
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            client,
            names,
        }
    }

    /// Whether the certificate that the client was shown is for `host`: it may use a connection for all that its
    /// certificate is for ([RFC 9113 §9.1.1](https://www.rfc-editor.org/rfc/rfc9113#section-9.1.1)). Of several for the
    /// name that it asked for, it may have been shown any; without such a name there is no telling.
    pub fn covers(&self, host: &str) -> bool {
        let Some(sni) = &self.sni else { return true };
        let mut asked_for = self.names.iter().filter(|names| are_for(names, sni)).peekable();
        if asked_for.peek().is_none() {
            return self.names.iter().any(|names| are_for(names, host));
        }
        sni.eq_ignore_ascii_case(host) || asked_for.any(|names| are_for(names, host))
    }
}

/// Whether one of a certificate's names is `host`, or stands for it: a wildcard for exactly one label
/// ([RFC 9525 §6.3](https://www.rfc-editor.org/rfc/rfc9525#section-6.3)).
fn are_for(names: &[String], host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let parent = host.split_once('.').map(|(_label, parent)| parent);
    names.iter().any(|name| match name.strip_prefix("*.") {
        Some(of) => parent.is_some_and(|parent| parent.eq_ignore_ascii_case(of)),
        None => name.eq_ignore_ascii_case(host),
    })
}
