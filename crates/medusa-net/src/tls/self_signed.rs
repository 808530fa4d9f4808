//! A certificate for local work, made on the spot.
//!
//! Invariant: its key exists in memory only, and it signs nothing but its own name. Whoever accepts it in a browser has
//! accepted this process, not an authority that could vouch for others.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use super::certificate::{Certificate, CertificateSummary};
use super::error::TlsError;
use super::x509;

/// The time that it is good for: no process runs longer without a reload, and browsers refuse more than 398 days.
const LIFE: Duration = Duration::from_hours(365 * 24);

/// Begins in the past, for clients whose clock is behind.
const BACKDATED: Duration = Duration::from_hours(24);

/// Names that every one of them has.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Makes a certificate for this machine and `names`, with an ECDSA key on P-256, which everything understands.
pub(super) fn make(names: &[String], provider: &CryptoProvider) -> Result<Certificate, TlsError> {
    let failed = |source| TlsError::SelfSigned { source };
    let pair = KeyPair::generate().map_err(failed)?;
    let made = params(names)?.self_signed(&pair).map_err(failed)?;
    let der = made.der().clone();

    let not_understood = |reason: String| TlsError::Setup { source: rustls::Error::General(reason) };
    let parsed = x509::parse(&der).map_err(not_understood)?;
    let summary = CertificateSummary::new(&parsed, &der, None);
    let key = PrivateKeyDer::try_from(pair.serialize_der())
        .map_err(|reason| not_understood(reason.to_owned()))
        .and_then(|key| {
            provider.key_provider.load_private_key(key).map_err(|source| TlsError::Setup { source })
        })?;
    // What it was asked to be, not what it is: two of them are as good as each other, and one that browsers know
    // already is better.
    let digest = x509::sha256(&[b"self-signed\0", names.join("\0").as_bytes()]);
    Ok(Certificate {
        summary,
        key: Arc::new(CertifiedKey::new(vec![der], key)),
        warnings: Vec::new(),
        digest,
    })
}

fn params(names: &[String]) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::default();
    for name in names.iter().map(String::as_str).chain(LOCAL) {
        let name = subject_alternative(name)?;
        if !params.subject_alt_names.contains(&name) {
            params.subject_alt_names.push(name);
        }
    }
    // A machine may be called anything; what can not be in a certificate is not needed there.
    if let Some(Ok(name)) = host_name().as_deref().map(subject_alternative)
        && !params.subject_alt_names.contains(&name)
    {
        params.subject_alt_names.push(name);
    }
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, "Medusa, self-signed");
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + LIFE).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn subject_alternative(name: &str) -> Result<SanType, TlsError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let bad = || TlsError::BadName { name: name.to_owned() };
    let host = name.strip_prefix("*.").unwrap_or(name);
    let is_host = !host.is_empty()
        && host.len() <= 253
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        });
    if !is_host {
        return Err(bad());
    }
    name.try_into().map(SanType::DnsName).map_err(|_not_ascii| bad())
}

/// The name of this machine.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::config::provider;
    use super::*;

    fn names(names: &[&str]) -> Result<Vec<String>, TlsError> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        make(&names, &provider()).map(|certificate| certificate.summary.names)
    }

    #[test]
    fn it_is_for_this_machine_and_what_was_asked_for() {
        let names = names(&["dev.example", "*.dev.example", "192.0.2.1", "localhost"]).expect("made");
        assert_eq!(
            names[..6],
            ["dev.example", "*.dev.example", "192.0.2.1", "localhost", "127.0.0.1", "::1"]
        );
        let ours = host_name().expect("Linux says");
        assert!(names.contains(&ours), "{ours} in {names:?}");
    }

    #[test]
    fn it_lives_for_a_year() {
        let certificate = make(&[], &provider()).expect("made");
        let left = certificate.summary.not_after.duration_since(SystemTime::now()).expect("in the future");
        assert!((364..=365).contains(&(left.as_secs() / 86_400)), "{left:?}");
        certificate.key.keys_match().expect("its own key");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in ["", ".", "a..b", "a b", "straße.example", "a/b", "*.", "*", "x\0y", "a,b"] {
            assert!(matches!(names(&[name]), Err(TlsError::BadName { .. })), "{name:?}");
        }
    }
}
