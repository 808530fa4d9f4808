//! `$2y$`, `$2b$`, `$2a$`: bcrypt. Of a password it sees the first 72 bytes, and so does everybody who makes such hashes.

use base64::Engine as _;
use base64::alphabet::BCRYPT;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{HashError, Scheme};

/// The highest cost that is taken: a second.
const MAX_COST: u32 = 14;

/// A higher one delays others: this takes a quarter of a second.
const HIGH_COST: u32 = 12;

/// The bytes of a password that count.
const SEEN: usize = 72;

/// Some programs leave the bits set that are behind the last byte.
const DIGITS: GeneralPurpose = GeneralPurpose::new(
    &BCRYPT,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

pub(super) struct BcryptHash {
    cost: u32,
    salt: [u8; 16],
    hash: [u8; 23],
}

impl BcryptHash {
    /// `$2y$NN$`, 22 digits of salt, 31 of hash.
    pub(super) fn parse(text: &str) -> Result<Self, HashError> {
        let malformed = |what| HashError::Malformed(Scheme::Bcrypt, what);
        let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
        if text.len() != 60 || part(6, 7) != "$" {
            return Err(malformed("it has 60 characters, like $2y$NN$ and 53 more"));
        }
        let cost = Some(part(4, 6)).filter(|cost| cost.bytes().all(|digit| digit.is_ascii_digit()));
        let cost = cost.and_then(|cost| cost.parse().ok()).filter(|cost| (4..=31).contains(cost));
        let cost = cost.ok_or_else(|| malformed("its cost is a number of 4 to 31"))?;
        if cost > MAX_COST {
            return Err(HashError::TooDear {
                scheme: Scheme::Bcrypt,
                what: "cost",
                given: cost,
                most: MAX_COST,
                effect: "seconds",
            });
        }
        let decoded = |text: &str| DIGITS.decode(text).map_err(|_invalid| malformed("it ends in 53 digits"));
        let (salt, hash) = (decoded(part(7, 29))?, decoded(part(29, 60))?);
        let (Ok(salt), Ok(hash)) = (salt.try_into(), hash.try_into()) else {
            return Err(malformed("it ends in 53 digits"));
        };
        Ok(Self { cost, salt, hash })
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        // A zero ends it, if there is room for one.
        let mut seen = Zeroizing::new([0; SEEN]);
        let bytes = password.len().min(SEEN);
        for (seen, byte) in seen.iter_mut().zip(password) {
            *seen = *byte;
        }
        let seen = seen.get(..(bytes + 1).min(SEEN)).unwrap_or_default();
        let made = bcrypt::bcrypt(self.cost, self.salt, seen);
        made.get(..self.hash.len()).unwrap_or_default().ct_eq(&self.hash).into()
    }

    pub(super) fn cost(&self) -> u32 {
        self.cost
    }

    pub(super) fn concern(&self) -> Option<String> {
        let cost = self.cost;
        (cost > HIGH_COST).then(|| {
            let times = 1_u32 << (cost - HIGH_COST);
            format!("the cost of bcrypt is {cost}: each login takes {times} times as long as with {HIGH_COST}, and others wait")
        })
    }
}
