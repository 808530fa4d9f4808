//! `$5$` and `$6$`: SHA-256-crypt and SHA-512-crypt, as `mkpasswd`, `openssl passwd` and `htpasswd -5` make them
//! ([the specification](https://www.akkadia.org/drepper/SHA-crypt.txt)).

use sha_crypt::{Params, sha256_crypt, sha512_crypt};
use subtle::ConstantTimeEq as _;

use super::crypt_text::encode;
use super::{HashError, Scheme};

/// The most rounds that are taken: a second.
const MAX_ROUNDS: u32 = 2_500_000;

/// More than these delay others.
const MANY_ROUNDS: u32 = 500_000;

/// The longest salt.
const MAX_SALT: usize = 16;

const THREES_256: [[usize; 3]; 10] = [
    [0, 10, 20],
    [21, 1, 11],
    [12, 22, 2],
    [3, 13, 23],
    [24, 4, 14],
    [15, 25, 5],
    [6, 16, 26],
    [27, 7, 17],
    [18, 28, 8],
    [9, 19, 29],
];

pub(super) struct ShaCryptHash {
    scheme: Scheme,
    params: Params,
    rounds: u32,
    salt: Box<[u8]>,
    text: Box<[u8]>,
}

impl ShaCryptHash {
    /// `$6$[rounds=N$]SALT$HASH`
    pub(super) fn parse(text: &str) -> Result<Self, HashError> {
        let scheme = if text.starts_with("$5$") { Scheme::Sha256Crypt } else { Scheme::Sha512Crypt };
        let malformed = |what| HashError::Malformed(scheme, what);
        let rest = text.get(3..).unwrap_or_default();
        let (rounds, rest) = match rest.strip_prefix("rounds=").and_then(|rest| rest.split_once('$')) {
            Some((rounds, rest)) => {
                (rounds.parse().map_err(|_invalid| malformed("`rounds` is no such number"))?, rest)
            }
            None => (Params::RECOMMENDED_ROUNDS, rest),
        };
        if rounds > MAX_ROUNDS {
            return Err(HashError::TooDear {
                scheme,
                what: "number of rounds",
                given: rounds,
                most: MAX_ROUNDS,
                effect: "seconds",
            });
        }
        let params = Params::new(rounds).map_err(|_too_few| malformed("there are at least 1000 `rounds`"))?;
        let (salt, hash) = rest.split_once('$').ok_or_else(|| malformed("it ends in $salt$hash"))?;
        if salt.len() > MAX_SALT {
            return Err(malformed("its salt has more than 16 characters"));
        }
        match scheme {
            Scheme::Sha256Crypt if hash.len() != 43 => return Err(malformed("it ends in 43 digits")),
            Scheme::Sha512Crypt if hash.len() != 86 => return Err(malformed("it ends in 86 digits")),
            _ => {}
        }
        Ok(Self { scheme, params, rounds, salt: salt.as_bytes().into(), text: hash.as_bytes().into() })
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        let text = if self.scheme == Scheme::Sha256Crypt {
            encode(&sha256_crypt(password, &self.salt, self.params), &THREES_256, (&[31, 30], 3))
        } else {
            let digest = sha512_crypt(password, &self.salt, self.params);
            // Each three is the one before it turned, and one further.
            let three = |at: usize| match at % 3 {
                0 => [at, at + 21, at + 42],
                1 => [at + 21, at + 42, at],
                _ => [at + 42, at, at + 21],
            };
            let threes: Vec<_> = (0..21).map(three).collect();
            encode(&digest, &threes, (&[63], 2))
        };
        text.ct_eq(&self.text).into()
    }

    pub(super) fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(super) fn rounds(&self) -> u32 {
        self.rounds
    }

    pub(super) fn concern(&self) -> Option<String> {
        let Self { scheme, rounds, .. } = self;
        (*rounds > MANY_ROUNDS).then(|| {
            format!(
                "{scheme} has {rounds} rounds: each login takes a large part of a second, and others wait"
            )
        })
    }
}
