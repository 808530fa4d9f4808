//! The text of a session, which the client keeps: who it is, since when, and the signature.
//!
//! It has one form: no two texts mean the same session.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::MAX_USER;
use crate::signing::{SIGNATURE_LENGTH, Signature};

/// The form.
const VERSION: u8 = 1;

/// The length of what is before the name, in bytes: version, two times, signature.
const FIXED: usize = 1 + TIMES + SIGNATURE_LENGTH;

/// The length of the two times.
const TIMES: usize = 16;

/// The longest text.
pub(super) const LONGEST: usize = ((FIXED + MAX_USER) * 4).div_ceil(3);

/// Room for the longest, and for what decoding asks for beyond it.
pub(super) type Room = [u8; LONGEST / 4 * 3 + 3];

/// Room for one.
pub(super) const ROOM: Room = [0; LONGEST / 4 * 3 + 3];

/// What a text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim<'a> {
    pub(super) user: &'a str,
    /// When the session began, in microseconds since 1970.
    pub(super) issued: u64,
    /// When it was last renewed.
    pub(super) renewed: u64,
}

impl Claim<'_> {
    /// The times as they are signed.
    pub(super) fn times(self) -> [u8; TIMES] {
        let mut times = [0; TIMES];
        let (issued, renewed) = times.split_at_mut(TIMES / 2);
        issued.copy_from_slice(&self.issued.to_be_bytes());
        renewed.copy_from_slice(&self.renewed.to_be_bytes());
        times
    }

    /// The text of it, with its signature.
    pub(super) fn encode(self, signature: &Signature) -> String {
        let times = self.times();
        URL_SAFE_NO_PAD.encode([&[VERSION], &times[..], signature, self.user.as_bytes()].concat())
    }

    /// Reads such a text; none if it is no such text.
    pub(super) fn decode<'a>(text: &[u8], room: &'a mut Room) -> Option<(Claim<'a>, &'a Signature)> {
        if text.len() > LONGEST {
            return None;
        }
        let length = URL_SAFE_NO_PAD.decode_slice(text, room).ok()?;
        let (version, rest) = room.get(..length)?.split_first()?;
        let (issued, rest) = rest.split_first_chunk()?;
        let (renewed, rest) = rest.split_first_chunk()?;
        let (signature, user) = rest.split_first_chunk()?;
        let user = std::str::from_utf8(user).ok().filter(|user| (1..=MAX_USER).contains(&user.len()))?;
        let claim =
            Claim { user, issued: u64::from_be_bytes(*issued), renewed: u64::from_be_bytes(*renewed) };
        (*version == VERSION).then_some((claim, signature))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn the_longest_name_fits_and_a_longer_one_does_not() {
        let signature = [9; SIGNATURE_LENGTH];
        for (length, fits) in [(0, false), (1, true), (MAX_USER, true), (MAX_USER + 1, false)] {
            let user = "u".repeat(length);
            let claim = Claim { user: &user, issued: 1, renewed: u64::MAX };
            let text = claim.encode(&signature);
            let mut room = ROOM;
            let decoded = Claim::decode(text.as_bytes(), &mut room);
            assert_eq!(decoded, fits.then_some((claim, &signature)), "{length}");
            assert_eq!(text.len() <= LONGEST, length <= MAX_USER, "{length}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(bytes: Vec<u8>, version in 0..3_u8, is_long in any::<bool>()) {
            let mut body = vec![version];
            body.extend(if is_long { [1; FIXED - 1].iter().chain(&bytes).copied().collect() } else { bytes.clone() });
            for text in [URL_SAFE_NO_PAD.encode(&body).into_bytes(), bytes] {
                let mut room = ROOM;
                if let Some((claim, signature)) = Claim::decode(&text, &mut room) {
                    prop_assert!(text.len() <= LONGEST);
                    prop_assert_eq!(claim.encode(signature).into_bytes(), text);
                }
            }
        }
    }
}
