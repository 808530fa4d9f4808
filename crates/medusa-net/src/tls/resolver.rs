//! Which certificate a client gets: by the host name it asks for (SNI, [RFC 6066 §3]).
//!
//! Invariant: the choice depends on the certificates and the client's hello alone, and there is always one: a name that is
//! not served here gets the first certificate, and no handshake fails for want of one.
//!
//! This is the only place that rustls asks. Certificates that come and go while the server runs, or that answer a
//! challenge of an authority, are another [`ResolvesServerCert`] beside [`Certificates`], and nothing else changes.
//!
//! [RFC 6066 §3]: https://www.rfc-editor.org/rfc/rfc6066#section-3

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Certificates by the names they are for. Several may have the same name, and keys of different kinds: a client gets the
/// first whose kind it understands.
#[derive(Default)]
pub(super) struct Certificates {
    default: Vec<Arc<CertifiedKey>>,
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what is behind `*.`.
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("count", &self.default.len()).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Adds a certificate for `names`: host names, or `*.` and a host name. Anything else never matches.
    pub(super) fn add(&mut self, names: &[String], key: &Arc<CertifiedKey>) {
        self.default.push(key.clone());
        for name in names {
            let name = name.to_ascii_lowercase();
            let (map, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent.to_owned()),
                None => (&mut self.exact, name),
            };
            map.entry(name).or_default().push(key.clone());
        }
    }

    /// The certificate for `name` that a client who understands `schemes` can use.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let usable = |keys: &Vec<Arc<CertifiedKey>>| {
            keys.iter().find(|key| key.key.choose_scheme(schemes).is_some()).cloned()
        };
        let named = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            // A wildcard stands for exactly one label (RFC 6125 §6.4.3).
            let parent = name.split_once('.').map(|(_label, parent)| parent);
            let exact = self.exact.get(&name).and_then(usable);
            exact.or_else(|| self.wildcard.get(parent?).and_then(usable))
        });
        // With no key it can use, the client is told so by whatever comes first.
        named.or_else(|| usable(&self.default)).or_else(|| self.default.first().cloned())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
    use rustls::pki_types::PrivateKeyDer;

    const ECDSA: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;
    const EDDSA: SignatureScheme = SignatureScheme::ED25519;

    fn key(algorithm: &'static SignatureAlgorithm) -> Arc<CertifiedKey> {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let der = PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS#8");
        let provider = super::super::config::provider();
        Arc::new(CertifiedKey::new(vec![], provider.key_provider.load_private_key(der).expect("usable")))
    }

    /// The certificate chosen for a name, as its place among `keys`.
    fn chosen(
        certificates: &Certificates,
        keys: &[Arc<CertifiedKey>],
        name: &str,
        scheme: SignatureScheme,
    ) -> usize {
        let chosen = certificates.choose(Some(name), &[scheme]).expect("there is always one");
        keys.iter().position(|key| Arc::ptr_eq(key, &chosen)).expect("one of them")
    }

    fn certificates(names: &[&[&str]], keys: &[Arc<CertifiedKey>]) -> Certificates {
        let mut certificates = Certificates::default();
        for (names, key) in names.iter().zip(keys) {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            certificates.add(&names, key);
        }
        certificates
    }

    #[test]
    fn exact_then_wildcard_then_the_first() {
        let keys: Vec<_> = (0..3).map(|_| key(&PKCS_ECDSA_P256_SHA256)).collect();
        let certificates =
            certificates(&[&["first.example"], &["*.a.example"], &["b.a.example", "C.Example"]], &keys);
        for (name, expected) in [
            ("first.example", 0),
            ("x.a.example", 1),
            ("b.a.example", 2),
            ("B.A.EXAMPLE", 2),
            ("c.example", 2),
            ("x.b.a.example", 0),
            ("a.example", 0),
            ("other", 0),
            ("*.a.example", 1),
        ] {
            assert_eq!(chosen(&certificates, &keys, name, ECDSA), expected, "{name}");
        }
        let nameless = certificates.choose(None, &[ECDSA]).expect("there is always one");
        assert!(Arc::ptr_eq(&nameless, &keys[0]));
    }

    #[test]
    fn of_two_for_a_name_the_first_that_the_client_understands() {
        let keys = [key(&PKCS_ED25519), key(&PKCS_ECDSA_P256_SHA256)];
        let certificates = certificates(&[&["a.example"], &["a.example"]], &keys);
        assert_eq!(chosen(&certificates, &keys, "a.example", EDDSA), 0);
        assert_eq!(chosen(&certificates, &keys, "a.example", ECDSA), 1);
        assert_eq!(chosen(&certificates, &keys, "other.example", ECDSA), 1);
        let neither = SignatureScheme::RSA_PSS_SHA256;
        assert_eq!(chosen(&certificates, &keys, "a.example", neither), 0);
    }
}
