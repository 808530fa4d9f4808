//! Names as the cache compares them, and the reverse names of addresses.
//!
//! A [`Key`] is a name in lower case, without the dot at its end, behind the two bytes of a record type. It lives on the
//! stack, so that a cached lookup allocates nothing.
//!
//! **Invariant: what is in a [`Key`] can be sent.** Every label has 1 to 63 bytes, the whole at most 253, and no byte
//! would mean something else in a zone file or a log. Names come from requests: without the check, one that a server
//! reads differently than we do would put an answer under the wrong key.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hickory_proto::rr::Name;

use crate::{LookupError, RecordType};

/// The longest name in text, without the dot at its end: 255 bytes on the wire, less the first length and the root.
const MAX_NAME: usize = 253;

/// The longest label (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// The length of a bad name that is told.
const MAX_SHOWN: usize = 80;

/// The type under which "there is no such name" is kept: no record has it, and it holds for all.
const NO_TYPE: u16 = 0;

/// A name and a type.
#[derive(Clone)]
pub(crate) struct Key {
    /// The type, big-endian, then the name.
    bytes: [u8; 2 + MAX_NAME],
    length: usize,
}

impl Key {
    /// The key of `name`, which may end with a dot.
    pub(crate) fn new(name: &str, kind: RecordType) -> Result<Self, LookupError> {
        let bare = name.strip_suffix('.').unwrap_or(name);
        if let Some(problem) = problem(bare, name) {
            return Err(bad_name(name, problem));
        }
        let mut key = Self::empty(kind);
        key.length += bare.len();
        let into = &mut key.bytes[2..key.length];
        into.copy_from_slice(bare.as_bytes());
        into.make_ascii_lowercase();
        Ok(key)
    }

    /// The key of the reverse name of `ip` (RFC 1035 §3.5, RFC 3596 §2.5), for its `PTR` record.
    ///
    /// An IPv4 address in IPv6 clothes (`::ffff:192.0.2.1`), as a dual-stack socket gives it, is looked up as what it is.
    pub(crate) fn reverse(ip: IpAddr) -> Self {
        let mut key = Self::empty(RecordType::Ptr);
        match ip.to_canonical() {
            IpAddr::V4(ip) => key.push_reverse_v4(ip),
            IpAddr::V6(ip) => key.push_reverse_v6(ip),
        }
        key
    }

    fn push_reverse_v4(&mut self, ip: Ipv4Addr) {
        for octet in ip.octets().into_iter().rev() {
            for (unit, worth) in [(100, 100), (10, 10), (1, 0)] {
                if octet >= worth {
                    self.push(b'0' + octet / unit % 10);
                }
            }
            self.push(b'.');
        }
        self.extend(b"in-addr.arpa");
    }

    fn push_reverse_v6(&mut self, ip: Ipv6Addr) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for octet in ip.octets().into_iter().rev() {
            for nibble in [octet & 0xf, octet >> 4] {
                self.push(DIGITS[usize::from(nibble)]);
                self.push(b'.');
            }
        }
        self.extend(b"ip6.arpa");
    }

    fn empty(kind: RecordType) -> Self {
        let mut bytes = [0; 2 + MAX_NAME];
        bytes[..2].copy_from_slice(&kind.code().to_be_bytes());
        Self { bytes, length: 2 }
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    /// The same name, for what holds for all its types: that there is no such name.
    ///
    /// Not for an alias: a server that says "no such name" to any other type may mean the name it is an alias of, while
    /// the alias itself exists (RFC 8020 §2).
    pub(crate) fn any_type(&self) -> Option<Self> {
        if self.kind() == RecordType::Cname {
            return None;
        }
        let mut key = self.clone();
        key.bytes[..2].copy_from_slice(&NO_TYPE.to_be_bytes());
        Some(key)
    }

    /// The same name with every type, and as [`any_type`](Self::any_type): all that the cache may have of it.
    pub(crate) fn all_types(&self) -> impl Iterator<Item = Self> + '_ {
        let codes = RecordType::ALL.iter().map(|kind| kind.code()).chain([NO_TYPE]);
        codes.map(|code| {
            let mut key = self.clone();
            key.bytes[..2].copy_from_slice(&code.to_be_bytes());
            key
        })
    }

    /// The bytes that the cache compares.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The name. Empty for the root.
    pub(crate) fn name(&self) -> &str {
        name_in(self.bytes())
    }

    /// The name, as it is told to people: the root is a dot.
    pub(crate) fn shown(&self) -> Arc<str> {
        shown(self.bytes()).into()
    }

    /// The type.
    pub(crate) fn kind(&self) -> RecordType {
        kind_in(self.bytes()).unwrap_or(RecordType::A) // a key is made from one of our types
    }

    /// The name as it is sent.
    pub(crate) fn wire(&self) -> Result<Name, hickory_proto::ProtoError> {
        let mut name =
            Name::from_labels(self.name().split('.').filter(|label| !label.is_empty()).map(str::as_bytes))?;
        name.set_fqdn(true);
        Ok(name)
    }

    /// The address that this is the reverse name of.
    pub(crate) fn reversed(&self) -> Option<IpAddr> {
        let name = self.name();
        if let Some(octets) = name.strip_suffix(".in-addr.arpa") {
            let mut address = [0; 4];
            let mut parts = octets.split('.');
            for octet in address.iter_mut().rev() {
                *octet = parts.next()?.parse().ok()?;
            }
            return parts.next().is_none().then(|| Ipv4Addr::from(address).into());
        }
        let nibbles = name.strip_suffix(".ip6.arpa")?;
        let mut address = 0_u128;
        let mut parts = nibbles.split('.');
        for place in 0..32 {
            let part = parts.next().filter(|part| part.len() == 1)?;
            address |= u128::from_str_radix(part, 16).ok()? << (4 * place);
        }
        parts.next().is_none().then(|| Ipv6Addr::from(address).into())
    }
}

/// The name in the bytes of a key.
pub(crate) fn name_in(key: &[u8]) -> &str {
    key.get(2..).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default()
}

/// The name in the bytes of a key, as it is told to people.
pub(crate) fn shown(key: &[u8]) -> &str {
    match name_in(key) {
        "" => ".",
        name => name,
    }
}

/// The type in the bytes of a key; none, if it holds for all types.
pub(crate) fn kind_in(key: &[u8]) -> Option<RecordType> {
    let code = key.first_chunk::<2>().copied().map(u16::from_be_bytes)?;
    RecordType::of_code(code)
}

/// That `name` cannot be looked up.
pub(crate) fn bad_name(name: &str, problem: &'static str) -> LookupError {
    let end = name.floor_char_boundary(MAX_SHOWN);
    let shown = if end < name.len() { format!("{}…", &name[..end]).into() } else { name.into() };
    LookupError::BadName { name: shown, problem }
}

/// The fault of `bare`, the name without the dot at its end; `whole` has it.
fn problem(bare: &str, whole: &str) -> Option<&'static str> {
    if bare.is_empty() {
        return if whole == "." { None } else { Some("it is empty") };
    }
    if bare.len() > MAX_NAME {
        return Some("it is longer than 253 bytes");
    }
    if !bare.is_ascii() {
        return Some("it is not ASCII: give an international name in its encoded form (`xn--…`)");
    }
    if !bare.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"')) {
        return Some("it has a character that no name has");
    }
    bare.split('.').find_map(|label| match label.len() {
        0 => Some("a label of it is empty: two dots in a row, or one at its beginning"),
        1..=MAX_LABEL => None,
        _ => Some("a label of it is longer than 63 bytes"),
    })
}

/// A name from a server, in text: without the dot at its end, and with everything escaped that is not a plain character
/// (RFC 1035 §5.1), since whoever owns a zone can put any byte in it.
pub(crate) fn text(name: &Name) -> Box<str> {
    let mut text = String::new();
    for label in name {
        if !text.is_empty() {
            text.push('.');
        }
        for &byte in label {
            match byte {
                b'.' | b'\\' | b'"' => text.extend(['\\', byte as char]),
                _ if byte.is_ascii_graphic() => text.push(byte as char),
                _ => write!(text, "\\{byte:03}").unwrap_or_default(), // writing to a string cannot fail
            }
        }
    }
    if text.is_empty() {
        text.push('.');
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(name: &str) -> Result<Key, &'static str> {
        Key::new(name, RecordType::A).map_err(|error| match error {
            LookupError::BadName { problem, .. } => problem,
            other => panic!("{other:?} for {name:?}"),
        })
    }

    #[test]
    fn case_and_the_last_dot_make_no_difference() {
        let plain = key("www.example.org").expect("a name");
        for same in ["WWW.example.ORG", "www.example.org.", "Www.Example.Org."] {
            assert_eq!(key(same).expect("a name").bytes(), plain.bytes());
        }
        assert_ne!(Key::new("www.example.org", RecordType::Aaaa).expect("a name").bytes(), plain.bytes());
        assert_eq!(plain.wire().expect("a name").to_ascii(), "www.example.org.");
        assert_eq!(key(".").expect("the root").wire().expect("a name"), Name::root());
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long_label = "a".repeat(64);
        let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(62)].join(".");
        for (name, word) in [
            ("", "empty"),
            ("..", "label of it is empty"),
            (".a", "label of it is empty"),
            ("a..b", "label of it is empty"),
            (&long_label, "63 bytes"),
            (&long, "253 bytes"),
            ("grüße.example", "not ASCII"),
            ("a b", "character"),
            ("a\nb", "character"),
            ("a\\046b", "character"),
        ] {
            let problem = key(name).err().unwrap_or_else(|| panic!("{name:?} is taken"));
            assert!(problem.contains(word), "{name:?}: {problem}");
        }
        assert!(key(&long[1..]).is_ok(), "253 bytes are not too many");
    }

    #[test]
    fn reverse_names() {
        let name = |ip: &str| Key::reverse(ip.parse().expect("an address")).name().to_owned();
        assert_eq!(name("192.0.2.105"), "105.2.0.192.in-addr.arpa");
        assert_eq!(name("0.10.100.255"), "255.100.10.0.in-addr.arpa");
        assert_eq!(name("::ffff:192.0.2.1"), "1.2.0.192.in-addr.arpa");
        assert_eq!(
            name("2001:db8::567:89ab"),
            "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
        assert_eq!(key("www.example.org").expect("a name").reversed(), None);
        assert_eq!(key("1.2.0.192.9.in-addr.arpa").expect("a name").reversed(), None);
        assert_eq!(key("2.0.192.in-addr.arpa").expect("a name").reversed(), None);
    }

    #[test]
    fn what_a_zone_can_hold_is_escaped() {
        let name = Name::from_labels([&b"a.b"[..], b"\x1b[2J", b"c d", b"e\"\\"]).expect("a name");
        assert_eq!(&*text(&name), "a\\.b.\\027[2J.c\\032d.e\\\"\\\\");
        assert_eq!(&*text(&Name::root()), ".");
    }

    proptest! {
        #[test]
        fn a_key_is_a_name_that_can_be_sent(name in ".{0,300}") {
            if let Ok(key) = key(&name) {
                let wire = key.wire().expect("what is taken can be sent");
                prop_assert!(wire.len() <= 255);
                prop_assert_eq!(&*text(&wire), shown(key.bytes()));
            }
        }

        #[test]
        fn a_reverse_name_leads_back(ip: IpAddr) {
            prop_assert_eq!(Key::reverse(ip).reversed(), Some(ip.to_canonical()));
            let again = Key::new(Key::reverse(ip).name(), RecordType::Ptr).expect("a name");
            let reverse = Key::reverse(ip);
            prop_assert_eq!(again.bytes(), reverse.bytes());
        }
    }
}
