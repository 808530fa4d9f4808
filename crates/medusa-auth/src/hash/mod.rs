//! What is stored of a password, in the forms that htpasswd files have.
//!
//! - [`argon2id`]: what new ones are made by;
//! - [`bcrypt`](mod@bcrypt), [`sha_crypt`]: slow ones of other programs;
//! - [`apr1`], `{SHA}`: fast ones, which whoever has the file finds out by the billion a second;
//! - [`ha1`]: a fast one that Digest needs, for one realm; it is kept in files of its own;
//! - [`crypt_text`]: the digits that most of these are written in.
//!
//! **Invariant:** a hash that was parsed is checked within about a second and 256 MiB: dearer ones are refused.

mod apr1;
mod argon2id;
mod bcrypt;
mod crypt_text;
mod ha1;
mod sha_crypt;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

pub(crate) use argon2id::new_hash as new_argon2id;
pub(crate) use ha1::Ha1;

/// What the digest of a token begins with.
const TOKEN: &str = "{TOKEN}";

/// The longest hash, as written. An Argon2 hash of 64 bytes with a salt of 64 has 220.
pub(crate) const MAX_TEXT: usize = 512;

/// What is stored of a password.
pub struct PasswordHash(Parsed);

enum Parsed {
    Argon2id(Box<argon2id::Argon2idHash>),
    Bcrypt(bcrypt::BcryptHash),
    ShaCrypt(sha_crypt::ShaCryptHash),
    Apr1(apr1::Apr1Hash),
    Sha1([u8; 20]),
    Token(TokenDigest),
    Ha1(Ha1),
}

/// SHA-256 of a token.
pub(crate) type TokenDigest = [u8; 32];

/// The way a hash is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// `$argon2id$` ([RFC 9106](https://www.rfc-editor.org/rfc/rfc9106)).
    Argon2id,
    /// `$2y$`, `$2b$` or `$2a$`.
    Bcrypt,
    /// `$6$`.
    Sha512Crypt,
    /// `$5$`.
    Sha256Crypt,
    /// `$apr1$`: a thousand rounds of MD5.
    Apr1,
    /// `{SHA}`: SHA-1, once, without a salt.
    Sha1,
    /// `{TOKEN}`: SHA-256, once, of what no person has chosen and nobody can guess.
    Token,
    /// MD5 or SHA-256, once, of user, realm and password: what Digest needs.
    Ha1,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Argon2id => "Argon2id",
            Self::Bcrypt => "bcrypt",
            Self::Sha512Crypt => "SHA-512-crypt",
            Self::Sha256Crypt => "SHA-256-crypt",
            Self::Apr1 => "apr1",
            Self::Sha1 => "{SHA}",
            Self::Token => "a token",
            Self::Ha1 => "a user of Digest",
        })
    }
}

/// The reason why a text is no hash that can be used. It tells nothing of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Another form, or none.
    #[error("{0}; what is understood begins with $argon2id$, $2y$, $2b$, $2a$, $6$, $5$, $apr1$ or {{SHA}}")]
    Unknown(&'static str),
    /// It begins like one.
    #[error("not a hash of {0}: {1}")]
    Malformed(Scheme, &'static str),
    /// Each check of it would take too long, or too much memory.
    #[error(
        "the {what} of {scheme} is {given}, and the most is {most}: each login would take {effect}; `medusa passwd` \
         makes a new hash"
    )]
    TooDear {
        /// The way it is made.
        scheme: Scheme,
        /// The parameter.
        what: &'static str,
        /// Its value.
        given: u32,
        /// The largest that is taken.
        most: u32,
        /// What that would mean.
        effect: &'static str,
    },
}

/// What a check of a hash costs. Those of the same take the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Effort {
    pub(crate) scheme: Scheme,
    /// The parameters of the scheme.
    pub(crate) cost: [u32; 3],
}

impl PasswordHash {
    /// A hash as it stands in a file.
    ///
    /// # Errors
    ///
    /// See [`HashError`].
    pub fn parse(text: &str) -> Result<Self, HashError> {
        if text.len() > MAX_TEXT {
            return Err(HashError::Unknown("no hash is as long as that"));
        }
        let parsed = if text.starts_with("$argon2id$") {
            Parsed::Argon2id(Box::new(argon2id::Argon2idHash::parse(text)?))
        } else if ["$2y$", "$2b$", "$2a$"].iter().any(|prefix| text.starts_with(prefix)) {
            Parsed::Bcrypt(bcrypt::BcryptHash::parse(text)?)
        } else if text.starts_with("$5$") || text.starts_with("$6$") {
            Parsed::ShaCrypt(sha_crypt::ShaCryptHash::parse(text)?)
        } else if let Some(rest) = text.strip_prefix(apr1::MAGIC) {
            Parsed::Apr1(apr1::Apr1Hash::parse(rest)?)
        } else if let Some(digest) = text.strip_prefix("{SHA}") {
            let digest = STANDARD.decode(digest).ok().and_then(|digest| digest.try_into().ok());
            Parsed::Sha1(
                digest.ok_or(HashError::Malformed(Scheme::Sha1, "after {SHA} stand 28 digits of Base64"))?,
            )
        } else if let Some(digest) = text.strip_prefix(TOKEN) {
            let digest = STANDARD.decode(digest).ok().and_then(|digest| digest.try_into().ok());
            Parsed::Token(
                digest
                    .ok_or(HashError::Malformed(Scheme::Token, "after {TOKEN} stand 44 digits of Base64"))?,
            )
        } else {
            return Err(HashError::Unknown(unknown(text)));
        };
        Ok(Self(parsed))
    }

    /// What was made of a line of any file: that of users of Digest, too.
    pub(crate) fn stored(text: &str) -> Result<Self, HashError> {
        if text.starts_with(ha1::MAGIC) {
            Ha1::parse(text).map(|ha1| Self(Parsed::Ha1(ha1)))
        } else {
            Self::parse(text)
        }
    }

    /// Whether it is made of this password. That takes its time.
    pub fn verify(&self, password: &[u8]) -> bool {
        match &self.0 {
            Parsed::Argon2id(hash) => hash.verify(password),
            Parsed::Bcrypt(hash) => hash.verify(password),
            Parsed::ShaCrypt(hash) => hash.verify(password),
            Parsed::Apr1(hash) => hash.verify(password),
            Parsed::Sha1(digest) => Sha1::digest(password).as_slice().ct_eq(digest).into(),
            Parsed::Token(digest) => token_digest(password).ct_eq(digest).into(),
            Parsed::Ha1(ha1) => ha1.verify(password),
        }
    }

    /// The way it is made.
    pub fn scheme(&self) -> Scheme {
        self.effort().scheme
    }

    pub(crate) fn effort(&self) -> Effort {
        let (scheme, cost) = match &self.0 {
            Parsed::Argon2id(hash) => (Scheme::Argon2id, hash.cost()),
            Parsed::Bcrypt(hash) => (Scheme::Bcrypt, [hash.cost(), 0, 0]),
            Parsed::ShaCrypt(hash) => (hash.scheme(), [hash.rounds(), 0, 0]),
            Parsed::Apr1(_) => (Scheme::Apr1, [0; 3]),
            Parsed::Sha1(_) => (Scheme::Sha1, [0; 3]),
            Parsed::Token(_) => (Scheme::Token, [0; 3]),
            Parsed::Ha1(_) => (Scheme::Ha1, [0; 3]),
        };
        Effort { scheme, cost }
    }

    /// What is unwise about what each login costs; none for most.
    pub(crate) fn concern(&self) -> Option<String> {
        match &self.0 {
            Parsed::Argon2id(hash) => hash.concern(),
            Parsed::Bcrypt(hash) => hash.concern(),
            Parsed::ShaCrypt(hash) => hash.concern(),
            Parsed::Apr1(_) | Parsed::Sha1(_) | Parsed::Token(_) | Parsed::Ha1(_) => None,
        }
    }

    /// The digest, if it is that of a token.
    pub(crate) fn token(&self) -> Option<TokenDigest> {
        match self.0 {
            Parsed::Token(digest) => Some(digest),
            _ => None,
        }
    }

    /// Whether whoever has it finds the password out soon.
    pub(crate) fn is_weak(&self) -> bool {
        matches!(self.0, Parsed::Apr1(_) | Parsed::Sha1(_))
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHash({})", self.scheme())
    }
}

/// Whether what is stored there is of a token.
pub(crate) fn is_token(text: &str) -> bool {
    text.starts_with(TOKEN)
}

/// What is stored of a token.
pub(crate) fn token_digest(token: &[u8]) -> TokenDigest {
    Sha256::digest(token).into()
}

/// What is stored of a token, as it stands in a file.
pub(crate) fn token_text(token: &[u8]) -> String {
    format!("{TOKEN}{}", STANDARD.encode(token_digest(token)))
}

/// A guess at what stands there instead.
fn unknown(text: &str) -> &'static str {
    match text {
        "" => "there is no hash",
        _ if text.starts_with("$argon2") => "of the kinds of Argon2 only Argon2id is taken",
        _ if text.starts_with("$2") => "this version of bcrypt is not taken",
        _ if text.starts_with("$y$") || text.starts_with("$7$") => "yescrypt and scrypt are not taken",
        _ if text.starts_with(ha1::MAGIC) => "users of Digest have a file of their own",
        _ if text.starts_with("$1$") => "MD5-crypt is not taken",
        _ if text.starts_with('$') || text.starts_with('{') => "a hash of a kind that is not taken",
        _ => "a password that is not hashed, or DES-crypt",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::HASHES;

    #[test]
    fn each_scheme_knows_its_password_and_no_other() {
        for (text, password, scheme) in HASHES {
            let hash = PasswordHash::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(hash.scheme(), scheme, "{text}");
            assert!(hash.verify(password.as_bytes()), "{text}");
            let mut other = password.as_bytes().to_vec();
            other.push(b'x');
            // What is behind the 72nd byte bcrypt does not see.
            assert_eq!(hash.verify(&other), scheme == Scheme::Bcrypt && password.len() >= 72, "{text}");
            if let Some(shorter) = password.as_bytes().split_last() {
                assert_eq!(hash.verify(shorter.1), scheme == Scheme::Bcrypt && password.len() > 72, "{text}");
            }
        }
    }

    #[test]
    fn a_hash_is_not_shown() {
        for (text, ..) in HASHES {
            let shown = format!("{:?}", PasswordHash::parse(text).expect("a hash"));
            assert!(shown.starts_with("PasswordHash(") && shown.len() < 32, "{shown}");
        }
    }

    #[test]
    fn what_is_cut_short_changed_or_made_longer_is_refused_or_wrong() {
        for (text, password, scheme) in HASHES {
            for end in 0..text.len() {
                let told = PasswordHash::parse(&text[..end]).map(|hash| hash.verify(password.as_bytes()));
                // A salt or an output of Argon2 may be shorter, and is another.
                assert_ne!(told, Ok(true), "{text} to {end}");
            }
            for end in ["$", "=", " ", "x\0", "é", "$$$$$$$$"] {
                let told = PasswordHash::parse(&format!("{text}{end}"));
                assert!(told.is_err(), "{scheme}: {text}{end}");
            }
        }
    }

    #[test]
    fn it_is_said_what_is_wrong() {
        let told = |text: &str| PasswordHash::parse(text).map(|_| ()).expect_err(text).to_string();
        let table = [
            ("", "there is no hash"),
            ("secret", "not hashed"),
            ("rqXexS6ZhobKA", "DES-crypt"),
            ("$1$salt$qJH7.N4xYta3aEG/dfqo/0", "MD5-crypt"),
            ("$2x$05$abcdefghijklmnopqrstuuPlR7BZT7h3DGhPVjpSuqFVo7RXnTYWu", "version of bcrypt"),
            ("$2y$1$x", "60"),
            ("$2y$04$abcdefghijklmnopqrstu!PlR7BZT7h3DGhPVjpSuqFVo7RXnTYWu", "digits"),
            ("$2y$03$abcdefghijklmnopqrstuuPlR7BZT7h3DGhPVjpSuqFVo7RXnTYWu", "4 to 31"),
            ("$2y$15$abcdefghijklmnopqrstuuPlR7BZT7h3DGhPVjpSuqFVo7RXnTYWu", "is 15, and the most is 14"),
            (
                "$2y$31$abcdefghijklmnopqrstuuPlR7BZT7h3DGhPVjpSuqFVo7RXnTYWu",
                "`medusa passwd` makes a new hash",
            ),
            ("$6$rounds=999999999$salt$x", "the most is"),
            ("$6$rounds=1$salt$x", "1000"),
            ("$6$rounds=99999999999$salt$x", "number"),
            ("$5$salt", "$salt$"),
            ("$5$seventeencharacter$x", "16"),
            ("$5$salt$short", "43"),
            ("$6$salt$short", "86"),
            ("$apr1$salt", "$salt$"),
            ("$apr1$saltisverylong$x", "8"),
            ("{SHA}x", "28 digits"),
            ("{TOKEN}x", "44 digits"),
            ("{SSHA}x", "kind that is not taken"),
            ("$y$j9T$abc$def", "yescrypt"),
            ("$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$YWJj", "only Argon2id"),
            ("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzYWx0", "no salt or no hash"),
            (
                "$argon2id$v=19$m=1048576,t=1,p=1$c29tZXNhbHRzYWx0$HEFAXkYCEG0K+Nt2N1Y6dA",
                "the most is 262144",
            ),
            ("$argon2id$v=19$m=64,t=17,p=1$c29tZXNhbHRzYWx0$HEFAXkYCEG0K+Nt2N1Y6dA", "the most is 16"),
            (
                "$argon2id$v=19$m=262144,t=9,p=1$c29tZXNhbHRzYWx0$HEFAXkYCEG0K+Nt2N1Y6dA",
                "times the passes of Argon2id is 2359296, and the most is 2097152",
            ),
            ("$argon2id$v=19$m=1,t=1,p=1$c29tZXNhbHRzYWx0$HEFAXkYCEG0K+Nt2N1Y6dA", "parameters"),
            ("$argon2id$v=18$m=64,t=1,p=1$c29tZXNhbHRzYWx0$HEFAXkYCEG0K+Nt2N1Y6dA", "version"),
        ];
        for (text, part) in table {
            let told = told(text);
            assert!(told.contains(part), "{text}: {told}");
        }
        let long = format!("$argon2id${}", "x".repeat(MAX_TEXT));
        assert!(PasswordHash::parse(&long).is_err());
    }

    #[test]
    fn dear_ones_are_a_concern() {
        let concern = |text: &str| PasswordHash::parse(text).expect(text).concern();
        let bcrypt =
            |cost: u32| format!("$2y${cost:02}$abcdefghijklmnopqrstuuPlR7BZT7h3DGhPVjpSuqFVo7RXnTYWu");
        assert_eq!(concern(&bcrypt(12)), None);
        let told = concern(&bcrypt(14)).expect("a concern");
        assert!(told.contains("14") && told.contains("4 times"), "{told}");
        let crypt = |rounds: u32| format!("$6$rounds={rounds}$salt${}", "x".repeat(86));
        assert_eq!(concern(&crypt(5000)), None);
        assert!(concern(&crypt(1_000_000)).expect("a concern").contains("1000000"));
        let argon = |m: u32, t: u32| {
            format!("$argon2id$v=19$m={m},t={t},p=1$c29tZXNhbHRzYWx0$HEFAXkYCEG0K+Nt2N1Y6dA")
        };
        assert_eq!(concern(&argon(19_456, 2)), None);
        assert!(concern(&argon(262_144, 4)).expect("a concern").contains("m=262144"));
    }
}
