//! The keys by which the server knows again what it has given to clients to keep, such as cookies.
//!
//! What is signed for one purpose is nothing for another: each has a key of its own, which is made of the server's.
//!
//! **Invariant:** no key is shown.

use std::{fmt, io};

use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The length of a key, in bytes.
const KEY_LENGTH: usize = 32;

/// The most keys: each that is not the right one costs as much as the right one.
const MOST_KEYS: usize = 4;

/// The length of a signature, in bytes.
pub const SIGNATURE_LENGTH: usize = 32;

/// A signature: HMAC-SHA256.
pub type Signature = [u8; SIGNATURE_LENGTH];

/// A key that has taken itself in.
pub(crate) type Keyed = Hmac<Sha256>;

/// The keys of a server: the first signs, and what any of the others has signed is known, too.
pub struct SigningKeys(Vec<Zeroizing<[u8; KEY_LENGTH]>>);

impl SigningKeys {
    /// The longest that [`bytes`](Self::bytes) are.
    pub const LONGEST: usize = KEY_LENGTH * MOST_KEYS;

    /// A key that nobody has seen.
    ///
    /// # Errors
    ///
    /// The system gives no random bytes.
    pub fn random() -> io::Result<Self> {
        Ok(Self(vec![random_key()?]))
    }

    /// The keys that are in a file, one behind the other; none if that is no file of keys.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (keys, rest) = bytes.as_chunks::<KEY_LENGTH>();
        let fits = rest.is_empty() && (1..=MOST_KEYS).contains(&keys.len());
        fits.then(|| Self(keys.iter().map(|key| Zeroizing::new(*key)).collect()))
    }

    /// What [`parse`](Self::parse) reads.
    pub fn bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.iter().flat_map(|key| key.iter().copied()).collect())
    }

    /// What signs for a purpose.
    pub fn signer(&self, purpose: &str) -> Signer {
        let derived = |key: &Zeroizing<[u8; KEY_LENGTH]>| {
            let own = Zeroizing::new(mac(keyed(&**key), &[purpose.as_bytes()]));
            keyed(&*own)
        };
        Signer(self.0.iter().map(derived).collect())
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKeys(..)")
    }
}

/// What signs for one purpose.
pub struct Signer(Vec<Keyed>);

impl Signer {
    /// The signature of some parts.
    pub fn sign(&self, parts: &[&[u8]]) -> Signature {
        // There is a key.
        self.0.first().map_or([0; SIGNATURE_LENGTH], |keyed| mac(keyed.clone(), parts))
    }

    /// Whether that is the signature of these parts; of which key it is, 0 for the one that signs.
    pub fn verify(&self, parts: &[&[u8]], signature: &[u8]) -> Option<usize> {
        self.0.iter().position(|keyed| absorb(keyed.clone(), parts).verify_slice(signature).is_ok())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(..)")
    }
}

/// A key from the system.
pub(crate) fn random_key() -> io::Result<Zeroizing<[u8; KEY_LENGTH]>> {
    let mut key = Zeroizing::new([0; KEY_LENGTH]);
    let filled = getrandom(&mut *key, GetRandomFlags::empty())?;
    let whole = filled == key.len();
    whole.then_some(key).ok_or_else(|| io::Error::other("there are too few random bytes"))
}

/// A key of any length, taken in.
pub(crate) fn keyed(key: &[u8]) -> Keyed {
    Keyed::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// The MAC of some parts.
pub(crate) fn mac(keyed: Keyed, parts: &[&[u8]]) -> Signature {
    absorb(keyed, parts).finalize().into_bytes().into()
}

fn absorb(mut keyed: Keyed, parts: &[&[u8]]) -> Keyed {
    for part in parts {
        // The length, so that what ends one part cannot begin the next.
        keyed.update(&(part.len() as u64).to_le_bytes());
        keyed.update(part);
    }
    keyed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_were_written() {
        let keys = SigningKeys::random().expect("random bytes");
        let bytes = keys.bytes();
        assert_eq!(bytes.len(), KEY_LENGTH);
        assert_eq!(SigningKeys::parse(&bytes).expect("keys").bytes(), bytes);
        for length in [0, 1, 31, 33, 160] {
            assert!(SigningKeys::parse(&vec![7; length]).is_none(), "{length}");
        }
        assert!(SigningKeys::parse(&[7; SigningKeys::LONGEST]).is_some());
        let shown = format!("{keys:?} {:?}", keys.signer("x"));
        assert_eq!(shown, "SigningKeys(..) Signer(..)");
    }

    #[test]
    fn a_signature_is_of_all_parts_and_of_one_purpose() {
        let keys = SigningKeys::parse(&[7; KEY_LENGTH]).expect("a key");
        let signer = keys.signer("a");
        let signature = signer.sign(&[b"ab", b"c"]);
        assert_eq!(signer.verify(&[b"ab", b"c"], &signature), Some(0));
        assert_eq!(signer.verify(&[b"a", b"bc"], &signature), None);
        assert_eq!(signer.verify(&[b"ab", b"c"], &signature[..31]), None);
        assert_eq!(keys.signer("b").verify(&[b"ab", b"c"], &signature), None);
    }

    #[test]
    fn what_an_older_key_has_signed_is_known() {
        let (old, new) = ([1; KEY_LENGTH], [2; KEY_LENGTH]);
        let signature = SigningKeys::parse(&old).expect("a key").signer("a").sign(&[b"x"]);
        let both = SigningKeys::parse(&[new, old].concat()).expect("two keys").signer("a");
        assert_eq!(both.verify(&[b"x"], &signature), Some(1));
        assert_eq!(both.verify(&[b"x"], &both.sign(&[b"x"])), Some(0));
        let renewed = SigningKeys::parse(&new).expect("a key").signer("a");
        assert_eq!(renewed.verify(&[b"x"], &signature), None);
    }
}
