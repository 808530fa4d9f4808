//! The challenge of 1997, and its answer.
//!
//! The server says a time. The client answers with the MD5 of that text and the password behind it, in hexadecimal digits
//! without padding: each byte as C's `%x` writes it, so that ten is `a` and nought is `0`.
//!
//! **Invariant:** no challenge is given twice, by this process or any other: an answer that was overheard is worth nothing.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::error::Unspecified;
use parking_lot::Mutex;

/// The longest answer, in bytes: two digits for each of an MD5.
pub(super) const MAX_ANSWER: usize = 32;

/// The time of the last challenge.
static LAST: Mutex<Duration> = Mutex::new(Duration::ZERO);

/// A challenge, for one answer.
#[derive(Debug)]
pub(super) struct Challenge(String);

impl Challenge {
    /// One that was never given. An error: the system has no random numbers.
    pub(super) fn new() -> Result<Self, Unspecified> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = later(&mut LAST.lock(), now);
        // The clock may be set back, and another process have said this time: no other says these digits.
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random)?;
        Ok(Self(text(time, u64::from_ne_bytes(random))))
    }

    /// As it is said, without its line's end.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the answer of one who knows the password. How long that takes tells nothing about how much of it is right.
    pub(super) fn is_answered_by(&self, answer: &[u8], password: &str) -> bool {
        let expected = unpadded_hex(&*md5::compute(self.0.clone() + password));
        // Of one length, whatever theirs are.
        let [expected, answer] = [expected.as_bytes(), answer].map(|text| digest(&SHA256, text));
        verify_slices_are_equal(expected.as_ref(), answer.as_ref()).is_ok()
    }
}

/// The time that is told: now, or if that was told, the next after it.
fn later(last: &mut Duration, now: Duration) -> Duration {
    *last = now.max(last.saturating_add(Duration::from_nanos(1)));
    *last
}

/// Seconds since 1970, with a fraction that goes on in random digits: old clients take it for the text that it is.
fn text(time: Duration, random: u64) -> String {
    format!("{}.{:09}{random:020}", time.as_secs(), time.subsec_nanos())
}

fn unpadded_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(MAX_ANSWER);
    for byte in bytes {
        // Memory cannot fail.
        let _written = write!(text, "{byte:x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const VECTOR: &str = "de09a5d22f3e15ebe865c1bdda246b";

    /// The vector is what `hex_digest` of `monitor_client.py` (medusa 0.5.4 of `PyPI`) makes of it: the MD5 of
    /// `1021234567.48secret` is `de 00 9a 5d 22 f3 0e 15 eb e8 65 c1 bd da 24 6b`.
    #[test]
    fn the_answer_is_that_of_the_original_client() {
        let challenge = Challenge("1021234567.48".to_owned());
        assert_eq!(unpadded_hex(&[0x00, 0x0a, 0xa0, 0xff]), "0aa0ff");
        let answer = unpadded_hex(&*md5::compute("1021234567.48secret"));
        assert_eq!(answer, VECTOR);
        assert!(challenge.is_answered_by(VECTOR.as_bytes(), "secret"));
        for (answer, password) in [
            (VECTOR, "Secret"),
            ("", "secret"),
            (&VECTOR[1..], "secret"),
            (&VECTOR.to_uppercase(), "secret"),
            (&format!("{VECTOR} "), "secret"),
        ] {
            assert!(!challenge.is_answered_by(answer.as_bytes(), password), "{answer}");
        }
    }

    #[test]
    fn no_challenge_is_given_twice() {
        let given: HashSet<_> =
            (0..10_000).map(|_| Challenge::new().expect("random numbers").as_str().to_owned()).collect();
        assert_eq!(given.len(), 10_000);
        let (mut last, now) = (Duration::ZERO, Duration::from_secs(9));
        assert_eq!(later(&mut last, now), now);
        assert_eq!(later(&mut last, now), now + Duration::from_nanos(1));
        assert!(later(&mut last, Duration::from_secs(1)) > now, "the clock was set back");
        assert_eq!(text(Duration::new(9, 70), 5), "9.00000007000000000000000000005");
    }
}
