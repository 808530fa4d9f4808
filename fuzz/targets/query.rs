//! Queries, forms and cookies: what is made of any bytes, and what is written for them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use medusa_proto::cookie::{self, SetCookie};
use medusa_proto::query::{self, MAX_PAIRS};

fuzz_target!(|input: &[u8]| {
    pairs(input);
    cookies(input);
    let text = String::from_utf8_lossy(input);
    set_cookie(&text);
});

fn pairs(input: &[u8]) {
    let mut pairs = query::pairs(input);
    let all: Vec<_> = pairs.by_ref().collect();
    assert!(all.len() <= MAX_PAIRS);
    assert!(all.len() == MAX_PAIRS || !pairs.is_cut_off(), "cut off after {}", all.len());
    let length: usize = all.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(length <= input.len(), "more was decoded than there was");
    // Written and read again, they are the same.
    let written: Vec<String> =
        all.iter().map(|(name, value)| format!("{}={}", query::encode(name), query::encode(value))).collect();
    let again: Vec<_> = query::pairs(written.join("&").as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let all: Vec<_> = all.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    assert_eq!(again, all);
    for (name, _) in &all {
        let first = all.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice());
        assert_eq!(query::first(input, name).as_deref(), first);
    }
    assert_eq!(query::decode(query::encode(input).as_bytes()), input);
}

fn cookies(input: &[u8]) {
    for (name, value) in cookie::pairs(input) {
        assert!(!name.is_empty() && name.len() + value.len() < input.len());
        assert!(!name.contains(&b';') && !value.contains(&b';') && !name.contains(&b'='));
    }
}

/// A cookie that may be set is read back as it was, and adds no attribute of its own.
fn set_cookie(text: &str) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let Ok(field) = SetCookie::new(name, value).field() else { return };
    assert!(!field.contains(['\r', '\n', '\0']), "{field:?}");
    let (pair, _) = field.split_once(';').unwrap_or((&field, ""));
    let read: Vec<_> = cookie::pairs(pair.as_bytes()).collect();
    let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    assert_eq!(read, [(name.as_bytes(), unquoted.as_bytes())], "{field:?}");
}
