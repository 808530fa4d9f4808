//! The chain of records: a MAC for each, over the one before and its own bytes; and the head, which says where it ends.
//!
//! A chain alone does not show that its end is missing. So the last number and MAC are kept beside it, under a seal of the
//! same key: whoever cuts the log must forge that seal, or put back an old head and an old log together. Only an anchor
//! elsewhere shows the latter.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;
use medusa_proto::hex;

/// The length of a key, in bytes.
pub const KEY_LENGTH: usize = 32;

/// The length of an encoded head: the two numbers, the MAC and the seal, with what is between.
pub const HEAD_LENGTH: usize = 20 + 1 + 20 + 1 + MAC_TEXT + 1 + MAC_TEXT + 1;

/// The length of a MAC, as text.
pub(super) const MAC_TEXT: usize = 64;

/// The key of a log.
#[derive(Clone)]
pub struct ChainKey(hmac::Key);

impl fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainKey(..)")
    }
}

/// HMAC-SHA256 of a record and all before it. As text: 64 hexadecimal digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mac([u8; 32]);

/// The end of a log: its last record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Its number; 0 of a log without records.
    pub seq: u64,
    /// Its MAC.
    pub mac: Mac,
}

impl ChainKey {
    /// The key of these bytes.
    pub fn new(bytes: &[u8; KEY_LENGTH]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The MAC of a record behind the one whose MAC is `before`.
    pub(super) fn record(&self, before: Mac, signed: &[u8]) -> Mac {
        self.sign(before, signed)
    }

    /// The seal of a head. A record begins with a brace, so this is none's MAC.
    fn seal(&self, head: Head, oldest: u64) -> Mac {
        self.sign(head.mac, format!("head {} {oldest}", head.seq).as_bytes())
    }

    fn sign(&self, before: Mac, rest: &[u8]) -> Mac {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&before.0);
        context.update(rest);
        let mut mac = [0; 32];
        mac.copy_from_slice(context.sign().as_ref());
        Mac(mac)
    }
}

impl Mac {
    /// What stands before the first record.
    pub const NONE: Self = Self([0; 32]);

    /// Reads what [`fmt::Display`] writes, and nothing else: no two texts mean the same.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let (pairs, []) = text.as_chunks::<2>() else { return None };
        let mut mac = [0; 32];
        if pairs.len() != mac.len() {
            return None;
        }
        for (to, [high, low]) in mac.iter_mut().zip(pairs) {
            *to = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(mac))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::lower(&self.0))
    }
}

impl Head {
    /// The head of a log without records.
    pub const NONE: Self = Self { seq: 0, mac: Mac::NONE };

    /// The head, and the number of the oldest record that is kept, under their seal: always of [`HEAD_LENGTH`], so that it is
    /// written in place. Without the oldest, a log whose last file is missing would have to say what rotation has removed.
    pub(super) fn encode(self, oldest: u64, key: &ChainKey) -> String {
        format!("{:020} {oldest:020} {} {}\n", self.seq, self.mac, key.seal(self, oldest))
    }

    /// Reads what [`encode`](Self::encode) wrote with the same key.
    pub(super) fn decode(key: &ChainKey, text: &[u8]) -> Option<(Self, u64)> {
        let number = |from| std::str::from_utf8(text.get(from..from + 20)?).ok()?.parse().ok();
        let (seq, oldest) = (number(0)?, number(21)?);
        let head = Self { seq, mac: Mac::read(text.get(42..42 + MAC_TEXT)?)? };
        (head.encode(oldest, key).as_bytes() == text).then_some((head, oldest))
    }
}

/// `812=` and the MAC, as an anchor is told on a command line.
impl FromStr for Head {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read =
            |(seq, mac): (&str, &str)| Some(Self { seq: seq.parse().ok()?, mac: Mac::read(mac.as_bytes())? });
        text.split_once('=').and_then(read).ok_or("give a record's number and MAC: 812=6d1e… (64 digits)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_with_its_key_alone_and_as_it_was_written() {
        let key = ChainKey::new(&[7; KEY_LENGTH]);
        let head = Head { seq: 812, mac: key.record(Mac::NONE, b"{") };
        let text = head.encode(67, &key).into_bytes();
        assert_eq!((text.len(), Head::decode(&key, &text)), (HEAD_LENGTH, Some((head, 67))));
        assert_eq!(Head::decode(&ChainKey::new(&[8; KEY_LENGTH]), &text), None);
        for bit in 0..text.len() * 8 {
            let mut other = text.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::decode(&key, &other), None, "bit {bit}");
        }
        for length in 0..text.len() {
            assert_eq!(Head::decode(&key, &text[..length]), None);
        }
        assert_eq!(format!("812={}", head.mac).parse(), Ok(head));
        assert!("812".parse::<Head>().is_err() && "x=00".parse::<Head>().is_err());
    }

    #[test]
    fn the_mac_is_the_standards() {
        // RFC 4231 §4.2 has this key and data, of which the first 32 bytes are in the place of the MAC before.
        let key = ChainKey::new(&[0x0b; KEY_LENGTH]);
        let direct =
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[0x0b; 32]), &[&[0; 32][..], b"{x"].concat());
        assert_eq!(key.record(Mac::NONE, b"{x").0, direct.as_ref());
        assert_eq!(format!("{key:?}"), "ChainKey(..)");
    }
}
