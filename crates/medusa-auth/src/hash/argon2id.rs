//! `$argon2id$`: what new hashes are made by ([RFC 9106](https://www.rfc-editor.org/rfc/rfc9106)).

use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher as _, PasswordVerifier as _, Version};
use rustix::rand::{GetRandomFlags, getrandom};

use super::{HashError, Scheme};

/// The most memory that a check may take, in KiB: what hashes are commonly made with is a tenth of it.
const MAX_MEMORY: u32 = 256 * 1024;

/// The most passes over it.
const MAX_PASSES: u32 = 16;

/// The most KiB, all passes together: a second.
const MAX_WORK: u32 = 2 * 1024 * 1024;

/// More KiB than these, all passes together, delay others.
const MANY: u64 = 512 * 1024;

pub(super) struct Argon2idHash {
    hash: PasswordHash,
    cost: [u32; 3],
}

impl Argon2idHash {
    /// In the PHC format, `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`.
    pub(super) fn parse(text: &str) -> Result<Self, HashError> {
        let malformed = |what| HashError::Malformed(Scheme::Argon2id, what);
        let hash = PasswordHash::new(text).map_err(|_secret| malformed("it is not in the PHC format"))?;
        if Algorithm::try_from(hash.algorithm.as_str()) != Ok(Algorithm::Argon2id) {
            return Err(malformed("it is made by another algorithm"));
        }
        if hash.version.is_some_and(|version| Version::try_from(version).is_err()) {
            return Err(malformed("its version is neither 19 nor 16"));
        }
        if hash.salt.is_none() || hash.hash.is_none() {
            return Err(malformed("it has no salt or no hash"));
        }
        let params =
            Params::try_from(&hash).map_err(|_invalid| malformed("its parameters cannot be used"))?;
        let cost = [params.m_cost(), params.t_cost(), params.p_cost()];
        let bounds = [
            ("memory, in KiB,", cost[0], MAX_MEMORY, "that memory"),
            ("number of passes", cost[1], MAX_PASSES, "seconds"),
            ("memory, in KiB, times the passes", cost[0].saturating_mul(cost[1]), MAX_WORK, "seconds"),
        ];
        for (what, given, most, effect) in bounds {
            if given > most {
                return Err(HashError::TooDear { scheme: Scheme::Argon2id, what, given, most, effect });
            }
        }
        Ok(Self { hash, cost })
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        // The outputs are compared in constant time.
        Argon2::default().verify_password(password, &self.hash).is_ok()
    }

    pub(super) fn cost(&self) -> [u32; 3] {
        self.cost
    }

    pub(super) fn concern(&self) -> Option<String> {
        let [memory, passes, _] = self.cost;
        (u64::from(memory) * u64::from(passes) > MANY).then(|| {
            format!("the hash is made with m={memory},t={passes}: each login takes a large part of a second, and others wait")
        })
    }
}

/// A new hash of a password; none if the system gives no random bytes.
pub(crate) fn new_hash(password: &[u8]) -> Option<String> {
    let mut salt = [0; 16];
    let filled = getrandom(&mut salt, GetRandomFlags::empty());
    filled.ok().filter(|filled| *filled == salt.len())?;
    let hash = Argon2::default().hash_password_with_salt(password, &salt).ok()?;
    Some(hash.to_string())
}
