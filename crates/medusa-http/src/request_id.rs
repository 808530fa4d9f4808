//! A name for each request: what a client shows its support, and a log is searched for.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;

use http::HeaderValue;
use medusa_net::worker;

/// A request's name. Made here it is 26 characters, other in every process and for every request, and in the order of a
/// worker's requests; what a trusted proxy has called the request is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RequestId {
    /// Made here: the process's number and the request's.
    Own(u64, u64),
    /// From a trusted proxy's `X-Request-Id`.
    Given(HeaderValue),
}

/// The longest name that is taken from a proxy, in bytes: twice that of a UUID.
const LONGEST: usize = 72;

impl RequestId {
    /// The next name on this worker.
    pub(crate) fn next() -> Self {
        thread_local! {
            static NEXT: Cell<u64> = const { Cell::new(0) };
        }
        let serial = NEXT.get();
        NEXT.set(serial + 1);
        Self::Own(process(), ((worker::index() as u64) << 48) | serial)
    }

    /// A name that a proxy gave, if it is one that can be logged and searched for.
    pub(crate) fn given(value: &HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let good = (1..=LONGEST).contains(&bytes.len())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(b));
        good.then(|| Self::Given(value.clone()))
    }
}

/// Room for a name made here, so that [`RequestId::text`] allocates nothing.
pub(crate) type Buffer = [u8; LENGTH];

/// The characters of a name made here: 128 bits, 5 to a character.
const LENGTH: usize = 26;

impl RequestId {
    /// The name, written into `buffer` if it is not at hand: every record has one.
    pub(crate) fn text<'a>(&'a self, buffer: &'a mut Buffer) -> &'a str {
        match self {
            Self::Given(value) => value.to_str().unwrap_or_default(),
            Self::Own(process, serial) => {
                *buffer = digits(*process, *serial);
                str::from_utf8(buffer).unwrap_or_default()
            }
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut [0; LENGTH]))
    }
}

/// Both numbers as one, in base 32.
///
/// Two characters, then two times twelve: what fits a register, since shifting 128 bits takes several times as long.
fn digits(process: u64, serial: u64) -> Buffer {
    /// Crockford's base 32: no letter that looks like a digit.
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut buffer = [0; LENGTH];
    let (top, rest) = buffer.split_at_mut(2);
    let (middle, low) = rest.split_at_mut(12);
    for (part, mut bits) in [(top, process >> 56), (middle, process << 4 | serial >> 60), (low, serial)] {
        for digit in part.iter_mut().rev() {
            *digit = DIGITS[(bits & 31) as usize];
            bits >>= 5;
        }
    }
    buffer
}

/// A number that no other process has, as far as chance goes: what the standard library keys its hash tables with.
fn process() -> u64 {
    static PROCESS: OnceLock<u64> = OnceLock::new();
    *PROCESS.get_or_init(|| RandomState::new().build_hasher().finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_are_in_order() {
        let names: Vec<String> = (0..100).map(|_| RequestId::next().to_string()).collect();
        assert!(names.iter().all(|name| name.len() == 26), "{names:?}");
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
    }

    #[test]
    fn a_name_has_all_bits_of_its_numbers() {
        for (process, serial) in
            [(0, 0), (u64::MAX, u64::MAX), (0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210)]
        {
            let name = RequestId::Own(process, serial).to_string();
            let value = |c: char| "0123456789abcdefghjkmnpqrstvwxyz".find(c).expect("a digit") as u128;
            let number = name.chars().fold(0, |number, c| number << 5 | value(c));
            assert_eq!(number, u128::from(process) << 64 | u128::from(serial), "{name}");
        }
        assert_eq!(RequestId::Own(0, 33).to_string(), format!("{}11", "0".repeat(24)));
    }

    #[test]
    fn a_name_from_a_proxy_is_kept_if_it_is_harmless() {
        let given =
            |text: &'static str| RequestId::given(&HeaderValue::from_static(text)).map(|id| id.to_string());
        let uuid = "0191f2a4-7b1c-7e2a-9c3d-0123456789ab";
        assert_eq!(given(uuid).as_deref(), Some(uuid));
        assert_eq!(given(""), None);
        assert_eq!(given("a b"), None);
        assert_eq!(given("<script>"), None);
        assert_eq!(RequestId::given(&HeaderValue::from_str(&"x".repeat(73)).unwrap()), None);
    }
}
