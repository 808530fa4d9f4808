//! What a client types, in lines.
//!
//! **Invariant:** what waits here is bounded: a line at [`MAX_REQUEST`], and those ahead of what runs at [`MAX_AHEAD`], when
//! nothing more is read.

use std::collections::VecDeque;

use super::telnet::{Meant, Telnet};
use crate::protocol::MAX_REQUEST;

/// The most bytes that a client may be ahead, but for those that were read with them.
const MAX_AHEAD: usize = MAX_REQUEST;

/// The bytes that a line counts as beside its own.
const COST: usize = 64;

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: u8 = 8;
const DELETE: u8 = 127;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TypedLine {
    /// Text.
    Text(String),
    /// Bytes that are none.
    NotText,
    /// More than [`MAX_REQUEST`] bytes.
    TooLong,
    /// Ctrl-D: the client leaves.
    Leave,
}

impl TypedLine {
    fn cost(&self) -> usize {
        COST + if let Self::Text(text) = self { text.len() } else { 0 }
    }
}

/// The lines of a client.
#[derive(Debug, Default)]
pub(super) struct Typed {
    telnet: Telnet,
    /// The beginning of the next line.
    line: Vec<u8>,
    /// Whether that has had more bytes than a line may have.
    is_too_long: bool,
    /// Whether a carriage return came last.
    is_returned: bool,
    lines: VecDeque<TypedLine>,
    ahead: usize,
    is_interrupted: bool,
    replies: Vec<u8>,
}

impl Typed {
    /// Takes what came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match self.telnet.take(*byte, &mut self.replies) {
                Some(Meant::Byte(byte)) => self.push_byte(byte),
                Some(Meant::EraseCharacter) => self.erase(),
                Some(Meant::EraseLine) => self.forget_line(),
                Some(Meant::Interrupt) => self.interrupt(),
                Some(Meant::End) => self.end(TypedLine::Leave),
                None => {}
            }
        }
    }

    /// Whether a client is so far ahead that nothing more of it is read for now.
    pub(super) fn is_full(&self) -> bool {
        self.ahead + self.replies.len() > MAX_AHEAD
    }

    /// The next line.
    pub(super) fn next(&mut self) -> Option<TypedLine> {
        let line = self.lines.pop_front()?;
        self.ahead -= line.cost();
        Some(line)
    }

    /// The bytes of the line that has not ended.
    pub(super) fn begun(&self) -> usize {
        self.line.len()
    }

    /// The bytes that are to be answered to the client's program.
    pub(super) fn owed(&self) -> usize {
        self.replies.len()
    }

    /// Whether Ctrl-C was typed since this was asked last.
    pub(super) fn take_interrupt(&mut self) -> bool {
        std::mem::take(&mut self.is_interrupted)
    }

    /// What is to be answered to the client's program.
    pub(super) fn take_replies(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.replies)
    }

    fn push_byte(&mut self, byte: u8) {
        let is_returned = std::mem::take(&mut self.is_returned);
        match byte {
            // In telnet, a carriage return alone is one with a NUL.
            b'\n' => self.end_line(),
            0 if is_returned => self.end_line(),
            b'\r' => self.is_returned = true,
            0 => {}
            CTRL_C => self.interrupt(),
            CTRL_D if self.line.is_empty() && !self.is_too_long => self.end(TypedLine::Leave),
            BACKSPACE | DELETE => self.erase(),
            _ if self.line.len() >= MAX_REQUEST => {
                self.is_too_long = true;
                self.line = Vec::new();
            }
            _ if self.is_too_long => {}
            _ => self.line.push(byte),
        }
    }

    fn end_line(&mut self) {
        let bytes = std::mem::take(&mut self.line);
        let line = if std::mem::take(&mut self.is_too_long) {
            TypedLine::TooLong
        } else {
            String::from_utf8(bytes).map_or(TypedLine::NotText, TypedLine::Text)
        };
        self.end(line);
    }

    fn end(&mut self, line: TypedLine) {
        self.ahead += line.cost();
        self.lines.push_back(line);
    }

    /// As a terminal has it: what was typed before is not meant any more.
    fn interrupt(&mut self) {
        self.lines.clear();
        self.ahead = 0;
        self.forget_line();
        self.is_interrupted = true;
    }

    fn forget_line(&mut self) {
        self.line = Vec::new();
        self.is_too_long = false;
    }

    /// Takes back the last character, of however many bytes.
    fn erase(&mut self) {
        while let Some(byte) = self.line.pop() {
            if byte & 0b1100_0000 != 0b1000_0000 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(bytes: &[u8]) -> Vec<TypedLine> {
        let mut typed = Typed::default();
        typed.push(bytes);
        let lines = std::iter::from_fn(|| typed.next()).collect();
        assert_eq!(typed.ahead, 0);
        lines
    }

    fn text(text: &str) -> TypedLine {
        TypedLine::Text(text.to_owned())
    }

    #[test]
    fn a_line_ends_as_anybody_ends_one() {
        let ended = [text("a"), text(""), text("b"), text("c")];
        assert_eq!(lines(b"a\r\n\r\nb\nc\r\0d"), ended);
        assert_eq!(lines(b"ax\x08b\xc3\xbc\x7fc\xff\xf7\r\n\x7f\r\n"), [text("ab"), text("")]);
        assert_eq!(lines(b"gone\xff\xf8here\n"), [text("here")]);
        assert_eq!(lines(b"\xff\xfe\x01\xc3\n\xfe\n"), [TypedLine::NotText, TypedLine::NotText]);
        assert_eq!(lines(b"\x04\r\na\x04\n"), [TypedLine::Leave, text(""), text("a\x04")]);
        assert_eq!(lines(b"\xff\xec"), [TypedLine::Leave]);
    }

    #[test]
    fn a_line_that_is_too_long_costs_itself_alone() {
        let mut bytes = vec![b'x'; MAX_REQUEST];
        bytes.extend(b"\r\n");
        let [TypedLine::Text(longest)] = &lines(&bytes)[..] else { panic!("it just fits") };
        assert_eq!(longest.len(), MAX_REQUEST);
        let mut bytes = vec![b'x'; 2 * MAX_REQUEST + 7];
        bytes.extend(b"\r\nnext\r\n");
        assert_eq!(lines(&bytes), [TypedLine::TooLong, text("next")]);
    }

    #[test]
    fn ctrl_c_takes_back_what_was_typed() {
        for interrupt in [&b"\x03"[..], b"\xff\xf4\xff\xf2"] {
            let mut typed = Typed::default();
            typed.push(b"one\ntwo");
            typed.push(interrupt);
            typed.push(b"three\n");
            assert!(typed.take_interrupt() && !typed.take_interrupt());
            assert_eq!((typed.next(), typed.next()), (Some(text("three")), None));
        }
    }

    #[test]
    fn who_is_too_far_ahead_is_not_read() {
        let mut typed = Typed::default();
        while !typed.is_full() {
            typed.push(&b"\n".repeat(1000));
        }
        assert!(typed.lines.len() <= MAX_AHEAD / COST + 1000);
        while typed.next().is_some() {}
        assert!(!typed.is_full());
        while !typed.is_full() {
            typed.push(b"\xff\xfd\x06");
        }
        assert!(typed.take_replies().len() <= MAX_AHEAD + 3 && !typed.is_full());
    }

    proptest! {
        #[test]
        fn however_bytes_come_they_are_the_same_lines(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(255), 1..=13_u8], 0..200),
            at in any::<proptest::sample::Index>(),
        ) {
            let (mut whole, mut split) = (Typed::default(), Typed::default());
            whole.push(&bytes);
            let at = at.index(bytes.len() + 1);
            split.push(&bytes[..at]);
            split.push(&bytes[at..]);
            let lines = |typed: &mut Typed| std::iter::from_fn(|| typed.next()).collect::<Vec<_>>();
            prop_assert_eq!(lines(&mut whole), lines(&mut split));
            prop_assert_eq!(whole.take_replies(), split.take_replies());
            prop_assert_eq!((whole.ahead, whole.is_interrupted), (0, split.is_interrupted));
        }
    }
}
