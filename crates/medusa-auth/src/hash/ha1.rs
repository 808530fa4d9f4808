//! HA1, the hash of `user:realm:password` that Digest needs ([RFC 7616
//! §3.4.2](https://www.rfc-editor.org/rfc/rfc7616#section-3.4.2)): by MD5, as Apache's `htdigest` makes it, by SHA-256, or both.
//!
//! It is made in no time, and whoever has it can log in by it at its realm.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{HashError, Scheme};
use crate::digest::DigestAlgorithm;

pub(super) const MAGIC: &str = "{HA1}";

/// What is stored of a password for one realm.
pub(crate) struct Ha1 {
    md5: Option<[u8; 16]>,
    sha256: Option<[u8; 32]>,
    /// `user:realm`.
    owner: Box<str>,
}

impl Ha1 {
    /// One of a user, without a hash yet.
    pub(crate) fn of(user: &str, realm: &str) -> Self {
        Self { md5: None, sha256: None, owner: format!("{user}:{realm}").into() }
    }

    /// The hashes of a password.
    pub(crate) fn new(user: &str, realm: &str, password: &[u8]) -> Self {
        let empty = Self::of(user, realm);
        let all = [empty.owner.as_bytes(), b":", password].concat();
        let all = zeroize::Zeroizing::new(all);
        let (md5, sha256) = (md5::compute(&*all).0, Sha256::digest(&*all).into());
        Self { md5: Some(md5), sha256: Some(sha256), ..empty }
    }

    /// Takes one more hash, as hexadecimal digits: the algorithm is told by their number. False if it has that one already; none
    /// if it is no such hash.
    pub(crate) fn add(&mut self, digits: &str) -> Option<bool> {
        let bytes = unhex(digits.as_bytes())?;
        if let Ok(md5) = <[u8; 16]>::try_from(&*bytes) {
            return Some(self.md5.replace(md5).is_none());
        }
        Some(self.sha256.replace(bytes.try_into().ok()?).is_none())
    }

    /// The hash by an algorithm, as digits in lower case.
    pub(crate) fn hash(&self, algorithm: DigestAlgorithm) -> Option<String> {
        match algorithm {
            DigestAlgorithm::Sha256 => self.sha256.map(|hash| medusa_proto::hex::lower(&hash)),
            DigestAlgorithm::Md5 => self.md5.map(|hash| medusa_proto::hex::lower(&hash)),
        }
    }

    /// `user:realm`, what a client sends a hash of that wants nobody on the way to read the name.
    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    /// Itself as it is kept; in no file is there such a text.
    pub(crate) fn text(&self) -> String {
        let hash = |algorithm| self.hash(algorithm).unwrap_or_default();
        let (md5, sha256) = (hash(DigestAlgorithm::Md5), hash(DigestAlgorithm::Sha256));
        format!("{MAGIC}{md5}${sha256}${}", self.owner)
    }

    /// What [`text`](Self::text) is of; none if it is of none.
    pub(crate) fn stored(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix(MAGIC)?.splitn(3, '$');
        let hashes = [parts.next()?, parts.next()?];
        let mut ha1 = Self { md5: None, sha256: None, owner: parts.next()?.into() };
        for hash in hashes.into_iter().filter(|hash| !hash.is_empty()) {
            ha1.add(hash)?;
        }
        Some(ha1)
    }

    pub(super) fn parse(text: &str) -> Result<Self, HashError> {
        Self::stored(text).ok_or(HashError::Malformed(Scheme::Ha1, "it has no hash, or no owner"))
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        let all = zeroize::Zeroizing::new([self.owner.as_bytes(), b":", password].concat());
        match (self.sha256, self.md5) {
            (Some(sha256), _) => Sha256::digest(&*all).as_slice().ct_eq(&sha256).into(),
            (None, Some(md5)) => md5::compute(&*all).0.as_slice().ct_eq(&md5).into(),
            (None, None) => false,
        }
    }
}

/// The bytes that hexadecimal digits stand for.
fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_of_user_realm_and_password() {
        // The example of RFC 2617 §3.5.
        let ha1 = Ha1::new("Mufasa", "testrealm@host.com", b"Circle Of Life");
        assert_eq!(ha1.hash(DigestAlgorithm::Md5).as_deref(), Some("939e7578ed9e3c518a452acee763bce9"));
        for other in [
            Ha1::new("Mufasa", "testrealm@host.com", b"Circle of Life"),
            Ha1::new("mufasa", "testrealm@host.com", b"Circle Of Life"),
            Ha1::new("Mufasa", "testrealm", b"Circle Of Life"),
        ] {
            assert_ne!(ha1.hash(DigestAlgorithm::Sha256), other.hash(DigestAlgorithm::Sha256));
            assert_ne!(ha1.hash(DigestAlgorithm::Md5), other.hash(DigestAlgorithm::Md5));
        }
    }

    #[test]
    fn it_is_kept_with_one_hash_or_both() {
        let both = Ha1::new("ada", "a $ realm", b"secret");
        for kept in [vec![DigestAlgorithm::Md5], vec![DigestAlgorithm::Sha256], DigestAlgorithm::ALL.to_vec()]
        {
            let mut some = Ha1::of("ada", "a $ realm");
            for algorithm in &kept {
                assert_eq!(some.add(&both.hash(*algorithm).expect("both")), Some(true));
                assert_eq!(some.add(&both.hash(*algorithm).expect("both")), Some(false));
            }
            let again = Ha1::stored(&some.text()).expect("it was kept");
            assert_eq!(again.owner(), "ada:a $ realm");
            for algorithm in DigestAlgorithm::ALL {
                assert_eq!(again.hash(algorithm).is_some(), kept.contains(&algorithm));
            }
            assert!(again.verify(b"secret") && !again.verify(b"Secret"));
        }
        for wrong in ["", "{HA1}", "{HA1}x", "{HA1}$$", "{HA1}ab$$a:b", "{SHA}"] {
            assert!(Ha1::stored(wrong).is_none_or(|ha1| !ha1.verify(b"")), "{wrong}");
        }
        for wrong in ["", "0", "zz", &"0".repeat(31), &"0".repeat(33), &"0".repeat(66), &"é".repeat(16)] {
            assert_eq!(Ha1::of("ada", "r").add(wrong), None, "{wrong}");
        }
    }
}
