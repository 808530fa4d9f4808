//! What WebDAV clients send: documents and the fields that name places and locks. Reading them ends, and what is kept of a document is read
//! as it was written.
//!
//! An input is the value of `If`, one of `Destination`, each up to a line feed, and a document.

#![no_main]

#[path = "../../crates/medusa-dav/src/destination.rs"]
mod destination;
#[path = "../../crates/medusa-dav/src/elements.rs"]
mod elements;
#[path = "../../crates/medusa-dav/src/if_header.rs"]
mod if_header;
#[path = "../../crates/medusa-dav/src/xml.rs"]
mod xml;

use std::convert::Infallible;

use elements::{LockInfo, Wanted, property_changes};
use if_header::{Condition, IfHeader};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(3, |&byte| byte == b'\n');
    let mut text = || parts.next().and_then(|part| std::str::from_utf8(part).ok()).unwrap_or_default();
    let (conditions, address) = (text(), text());
    if let Ok(conditions) = IfHeader::parse(conditions) {
        let tokens: Vec<_> = conditions.tokens().collect();
        let holds = |_: Option<&str>, condition: &Condition| {
            Ok::<_, Infallible>(
                matches!(condition, Condition::Token(token) if tokens.contains(&token.as_str())),
            )
        };
        let Ok(_any) = conditions.evaluate(holds);
    }
    for mount in ["/", "/dav/", "/~a%20b/"] {
        if let Ok(tail) = destination::tail(address, mount) {
            assert!(address.contains(&*tail), "{tail} is no part of {address}");
        }
    }
    let document = parts.next().unwrap_or_default();
    let _any = (Wanted::parse(document), LockInfo::parse(document), property_changes(document));
    if let Ok(element) = xml::parse(document) {
        let write = |element: &xml::Element| {
            let mut out = String::new();
            element.write(&mut out, None);
            out
        };
        let written = write(&element);
        let again = xml::parse(written.as_bytes()).unwrap_or_else(|error| panic!("{written}: {error}"));
        assert_eq!(write(&again), written);
    }
});
