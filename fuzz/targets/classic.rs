//! What a client of the line protocol of 1997 sends: however it comes, it is the same lines and the same answers to its telnet, and
//! what waits of it is bounded.

#![no_main]

mod protocol {
    //! Of the protocol, how long a request may be: short enough for the fuzzer to come to it.

    pub(crate) const MAX_REQUEST: usize = 512;
}

#[path = "."]
mod classic {
    #[path = "../../crates/medusa-monitor/src/classic/telnet.rs"]
    pub mod telnet;
    #[path = "../../crates/medusa-monitor/src/classic/typed.rs"]
    pub mod typed;

    use typed::{Typed, TypedLine};

    use crate::protocol::MAX_REQUEST;

    /// What a line counts as beside its bytes, or more.
    const MOST_COST: usize = 64;

    fn lines(typed: &mut Typed) -> Vec<TypedLine> {
        std::iter::from_fn(|| typed.next()).collect()
    }

    fn check_line(line: &TypedLine) {
        if let TypedLine::Text(text) = line {
            assert!(text.len() <= MAX_REQUEST, "{} bytes", text.len());
            assert!(!text.contains(['\n', '\r', '\0', '\x03', '\x08', '\x7f']), "{text:?}");
        }
    }

    /// Telnet's offers, each declined by three bytes.
    fn check_replies(replies: &[u8]) {
        for reply in replies.chunks(3) {
            assert!(matches!(reply, [255, 252 | 254, _]), "{reply:?}");
        }
    }

    /// Takes it whole, and in pieces.
    pub(crate) fn check(bytes: &[u8], piece: usize) {
        let (mut whole, mut split) = (Typed::default(), Typed::default());
        whole.push(bytes);
        bytes.chunks(piece).for_each(|piece| split.push(piece));
        assert!(whole.begun() <= MAX_REQUEST && whole.begun() == split.begun());
        assert_eq!(whole.take_interrupt(), split.take_interrupt());
        let (all, replies) = (lines(&mut whole), whole.take_replies());
        assert_eq!((&all, &replies), (&lines(&mut split), &split.take_replies()));
        all.iter().for_each(check_line);
        check_replies(&replies);
        assert!(!whole.is_full() && !split.is_full(), "nothing waits any more");
    }

    /// Takes it as a connection does: nothing more is read of who is too far ahead, until what waits has run.
    pub(crate) fn converse(bytes: &[u8], piece: usize) {
        let mut typed = Typed::default();
        for piece in bytes.chunks(piece) {
            while typed.is_full() {
                let line = typed.next();
                line.iter().for_each(check_line);
                if line.is_none() {
                    check_replies(&typed.take_replies());
                }
            }
            typed.push(piece);
            assert!(typed.owed() <= MAX_REQUEST + 3 * piece.len());
        }
        let waiting = lines(&mut typed);
        assert!(waiting.len() <= MAX_REQUEST / MOST_COST + 1 + piece, "{} lines wait", waiting.len());
        waiting.iter().for_each(check_line);
    }
}

libfuzzer_sys::fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let piece = usize::from(piece).max(1);
    classic::check(bytes, piece);
    classic::converse(bytes, piece);
});
