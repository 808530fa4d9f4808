//! The framing of HTTP/1: what any pieces of a connection come to, and that it stays with what the parser reads.

#![no_main]

use libfuzzer_sys::fuzz_target;
use medusa_proto::framing::{Framing, Violation};

/// Heads that were read, and what was wrong.
fn read(pieces: &[&[u8]]) -> (u64, Option<Violation>) {
    let (mut framing, mut before) = (Framing::default(), 0);
    for piece in pieces {
        if let Err(violation) = framing.read(piece) {
            let violation = Violation { allowed: before + violation.allowed, ..violation };
            return (framing.heads(), Some(violation));
        }
        before += piece.len();
    }
    (framing.heads(), None)
}

fuzz_target!(|bytes: &[u8]| {
    let whole = read(&[bytes]);
    let each: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(&each), whole, "byte by byte");
    let at = bytes.len() / 2;
    assert_eq!(read(&[&bytes[..at], &bytes[at..]]), whole, "in halves");
    if let Some(violation) = whole.1 {
        assert!(violation.allowed < bytes.len(), "nothing is refused");
        assert_eq!(
            read(&[&bytes[..violation.allowed]]),
            (whole.0, None),
            "what is allowed is right by itself"
        );
    }
});
