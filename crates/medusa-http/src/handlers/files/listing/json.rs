//! A listing for programs.

use std::fmt::Write as _;

use super::entry::{Civil, ListingEntry};

/// `[{"name":"a.txt","type":"file","size":5,"modified":"2026-11-22T09:30:00Z"}, ...]`. Directories have no size.
///
/// JSON is Unicode: what is not UTF-8 in a name is replaced, as on the page.
pub(super) fn list(entries: &[&ListingEntry]) -> String {
    let mut json = String::from("[");
    for (at, entry) in entries.iter().enumerate() {
        json.push_str(if at > 0 { ",\n{\"name\":\"" } else { "\n{\"name\":\"" });
        push_escaped(&mut json, &String::from_utf8_lossy(&entry.name));
        let _infallible = match entry.size {
            Some(size) => write!(json, "\",\"type\":\"file\",\"size\":{size}"),
            None => write!(json, "\",\"type\":\"directory\""),
        };
        let _infallible = write!(json, ",\"modified\":\"{}\"}}", Civil::at(entry.modified));
    }
    json.push_str("\n]\n");
    json
}

/// Adds text as it may stand between the quotes of a string ([RFC 8259
/// §7](https://www.rfc-editor.org/rfc/rfc8259#section-7)).
fn push_escaped(json: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            c if c.is_control() => {
                let _infallible = write!(json, "\\u{:04x}", u32::from(c));
            }
            c => json.push(c),
        }
    }
}
