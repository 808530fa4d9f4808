//! `$apr1$`: a thousand rounds of MD5, as `htpasswd` makes them by default.

use md5::Context;
use subtle::ConstantTimeEq as _;

use super::crypt_text::encode;
use super::{HashError, Scheme};

pub(super) const MAGIC: &str = "$apr1$";

/// The longest salt.
const MAX_SALT: usize = 8;

const THREES: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];

pub(super) struct Apr1Hash {
    salt: Box<[u8]>,
    text: Box<[u8]>,
}

impl Apr1Hash {
    /// `SALT$HASH`, what is behind the [`MAGIC`].
    pub(super) fn parse(rest: &str) -> Result<Self, HashError> {
        let malformed = |what| HashError::Malformed(Scheme::Apr1, what);
        let (salt, hash) = rest.split_once('$').ok_or_else(|| malformed("it ends in $salt$hash"))?;
        if salt.len() > MAX_SALT {
            return Err(malformed("its salt has more than 8 characters"));
        }
        if hash.len() != 22 {
            return Err(malformed("it ends in 22 digits"));
        }
        Ok(Self { salt: salt.as_bytes().into(), text: hash.as_bytes().into() })
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        let digest = digest(password, &self.salt);
        encode(&digest, &THREES, (&[11], 2)).ct_eq(&self.text).into()
    }
}

/// As Poul-Henning Kamp wrote it for FreeBSD, with Apache's magic.
fn digest(password: &[u8], salt: &[u8]) -> [u8; 16] {
    let of = |parts: &[&[u8]]| {
        let mut context = Context::new();
        for part in parts {
            context.consume(part);
        }
        context.finalize().0
    };
    let twice = of(&[password, salt, password]);
    let mut context = Context::new();
    context.consume(password);
    context.consume(MAGIC);
    context.consume(salt);
    for piece in password.chunks(twice.len()) {
        context.consume(twice.get(..piece.len()).unwrap_or_default());
    }
    let mut bits = password.len();
    while bits > 0 {
        context.consume(if bits & 1 == 1 { &[0] } else { password.get(..1).unwrap_or_default() });
        bits >>= 1;
    }
    let mut digest = context.finalize().0;
    for round in 0..1000 {
        let odd = round & 1 == 1;
        digest = of(&[
            if odd { password } else { &digest },
            if round % 3 == 0 { &[] } else { salt },
            if round % 7 == 0 { &[] } else { password },
            if odd { &digest } else { password },
        ]);
    }
    digest
}
