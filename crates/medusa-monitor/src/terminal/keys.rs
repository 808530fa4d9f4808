//! Keys, from the bytes of a terminal: UTF-8, control characters, the escape sequences of every terminal we know,
//! bracketed paste.
//!
//! **Invariants:** where the bytes are split changes nothing. What is pasted is text, whatever is in it: no byte of a
//! paste is a key. A control character outside of one is always a key, so that Ctrl-C gets out of anything.

/// What ends a paste.
const PASTE_END: &[u8] = b"\x1b[201~";
/// The longest parameters of a sequence that is looked at; no key's are longer.
const MAX_PARAMETERS: usize = 16;

/// A key, by what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// Text: typed or pasted. `\n` is a line break in it.
    Char(char),
    Enter,
    Tab,
    Left,
    Right,
    WordLeft,
    WordRight,
    Up,
    Down,
    Previous,
    Next,
    Home,
    End,
    Backspace,
    Delete,
    KillToStart,
    KillToEnd,
    KillWordLeft,
    /// The same to the last space.
    KillBlankWordLeft,
    KillWordRight,
    Yank,
    Undo,
    Transpose,
    Search,
    Cancel,
    Clear,
    Interrupt,
    /// Ctrl-D.
    EndOfInput,
}

/// A reader of keys. It keeps at most one unfinished sequence.
#[derive(Debug, Default)]
pub(super) struct KeyParser {
    state: State,
    utf8: Vec<u8>,
    parameters: Vec<u8>,
    after_return: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    /// `ESC [`
    Csi,
    /// `ESC [ [`: function keys of the Linux console.
    LinuxFunction,
    /// `ESC O`
    Ss3,
    /// `ESC ]` and the like: what a terminal answers to questions we do not ask.
    Text,
    /// In a paste, so many bytes into what may be its end.
    Paste(usize),
}

impl KeyParser {
    /// Reads bytes; each key goes to `each`.
    pub(super) fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Key)) {
        for &byte in bytes {
            self.byte(byte, &mut each);
        }
    }

    fn byte(&mut self, byte: u8, each: &mut impl FnMut(Key)) {
        match self.state {
            State::Paste(matched) => self.pasted(byte, matched, each),
            State::Ground => self.ground(byte, each),
            State::Escape => self.escape(byte, each),
            _ if byte == 0x1b => self.state = State::Escape,
            // A control character is in no sequence: it ends what there is of one.
            _ if byte < 0x20 => {
                let answer = self.state == State::Text && byte == 7;
                self.state = State::Ground;
                if !answer {
                    self.ground(byte, each);
                }
            }
            State::Csi => self.csi(byte, each),
            State::Ss3 => match byte {
                b'0'..=b'9' | b';' => self.parameter(byte),
                _ => self.finish(byte, each),
            },
            State::LinuxFunction => self.state = State::Ground,
            State::Text => {}
        }
    }

    fn ground(&mut self, byte: u8, each: &mut impl FnMut(Key)) {
        if self.unfinished(byte, each) {
            return;
        }
        let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
        let key = match byte {
            b'\n' if after_return => return,
            b'\r' | b'\n' => Key::Enter,
            0x1b => {
                self.state = State::Escape;
                return;
            }
            0x01 => Key::Home,
            0x02 => Key::Left,
            0x03 => Key::Interrupt,
            0x04 => Key::EndOfInput,
            0x05 => Key::End,
            0x06 => Key::Right,
            0x07 => Key::Cancel,
            0x08 | 0x7f => Key::Backspace,
            b'\t' => Key::Tab,
            0x0b => Key::KillToEnd,
            0x0c => Key::Clear,
            0x0e => Key::Next,
            0x10 => Key::Previous,
            0x12 => Key::Search,
            0x14 => Key::Transpose,
            0x15 => Key::KillToStart,
            0x17 => Key::KillBlankWordLeft,
            0x19 => Key::Yank,
            0x1f => Key::Undo,
            0x20..=0x7e => Key::Char(char::from(byte)),
            _ => return,
        };
        each(key);
    }

    /// Whether the byte belongs to a character of several, or can be in none. Of what is not UTF-8, each part that
    /// could have begun a character becomes one U+FFFD.
    fn unfinished(&mut self, byte: u8, each: &mut impl FnMut(Key)) -> bool {
        if self.utf8.is_empty() && byte.is_ascii() {
            return false;
        }
        self.after_return = false;
        self.utf8.push(byte);
        match std::str::from_utf8(&self.utf8) {
            Ok(text) => text.chars().for_each(|c| each(Key::Char(c))),
            Err(error) if error.error_len().is_none() => return true,
            Err(_) => {
                each(Key::Char(char::REPLACEMENT_CHARACTER));
                let alone = self.utf8.len() == 1;
                self.utf8.clear();
                return alone || self.unfinished(byte, each);
            }
        }
        self.utf8.clear();
        true
    }

    fn escape(&mut self, byte: u8, each: &mut impl FnMut(Key)) {
        self.state = State::Ground;
        self.parameters.clear();
        let key = match byte {
            b'[' => {
                self.state = State::Csi;
                return;
            }
            b'O' => {
                self.state = State::Ss3;
                return;
            }
            b']' | b'P' | b'^' | b'_' | b'X' => {
                self.state = State::Text;
                return;
            }
            0x1b => {
                self.state = State::Escape;
                return;
            }
            b'\r' | b'\n' => {
                self.after_return = byte == b'\r';
                Key::Char('\n')
            }
            0x08 | 0x7f => Key::KillWordLeft,
            b'b' => Key::WordLeft,
            b'f' => Key::WordRight,
            b'd' => Key::KillWordRight,
            _ if !matches!(byte, 0x20..0x80) => return self.ground(byte, each),
            _ => return,
        };
        each(key);
    }

    fn csi(&mut self, byte: u8, each: &mut impl FnMut(Key)) {
        match byte {
            b'[' if self.parameters.is_empty() => self.state = State::LinuxFunction,
            0x20..=0x3f => self.parameter(byte),
            _ => self.finish(byte, each),
        }
    }

    fn parameter(&mut self, byte: u8) {
        if self.parameters.len() <= MAX_PARAMETERS {
            self.parameters.push(byte);
        }
    }

    /// The key that a sequence stands for, if it is one of ours.
    fn finish(&mut self, last: u8, each: &mut impl FnMut(Key)) {
        self.state = State::Ground;
        if last >= 0x80 {
            return self.ground(last, each);
        }
        let known = |byte: &u8| byte.is_ascii_digit() || *byte == b';';
        if self.parameters.len() > MAX_PARAMETERS || !self.parameters.iter().all(known) {
            return;
        }
        let text = std::str::from_utf8(&self.parameters).unwrap_or_default();
        let mut numbers = text.split(';').map(|number| number.parse::<u16>().unwrap_or(0));
        let (first, second) = (numbers.next().unwrap_or(0), numbers.next());
        // xterm: `1;5C`; older ones: `5C`. Shift alone is no other key.
        let word = second.unwrap_or(first) > 2;
        let key = match last {
            b'A' => Key::Up,
            b'B' => Key::Down,
            b'C' if word => Key::WordRight,
            b'C' => Key::Right,
            b'D' if word => Key::WordLeft,
            b'D' => Key::Left,
            // rxvt's, with Ctrl
            b'c' => Key::WordRight,
            b'd' => Key::WordLeft,
            b'H' => Key::Home,
            b'F' => Key::End,
            // Enter of the keypad in its application mode
            b'M' if self.parameters.is_empty() => Key::Enter,
            b'~' => match first {
                1 | 7 => Key::Home,
                4 | 8 => Key::End,
                3 if second.unwrap_or(0) > 2 => Key::KillWordRight,
                3 => Key::Delete,
                200 => {
                    self.state = State::Paste(0);
                    self.after_return = false;
                    return;
                }
                _ => return,
            },
            _ => return,
        };
        each(key);
    }

    fn pasted(&mut self, byte: u8, matched: usize, each: &mut impl FnMut(Key)) {
        if PASTE_END.get(matched) == Some(&byte) {
            let matched = matched + 1;
            self.state = State::Paste(matched);
            if matched == PASTE_END.len() {
                self.state = State::Ground;
                if !self.utf8.is_empty() {
                    self.utf8.clear();
                    each(Key::Char(char::REPLACEMENT_CHARACTER));
                }
                self.after_return = false;
            }
            return;
        }
        self.state = State::Paste(0);
        for &literal in PASTE_END.get(..matched).unwrap_or_default() {
            self.literal(literal, each);
        }
        if matched > 0 { self.pasted(byte, 0, each) } else { self.literal(byte, each) }
    }

    fn literal(&mut self, byte: u8, each: &mut impl FnMut(Key)) {
        if self.unfinished(byte, each) {
            return;
        }
        let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
        match byte {
            b'\n' if after_return => {}
            b'\r' | b'\n' => each(Key::Char('\n')),
            _ => each(Key::Char(char::from(byte))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Vec::new();
        KeyParser::default().feed(bytes, |key| keys.push(key));
        for at in 0..bytes.len() {
            let (mut parser, mut split) = (KeyParser::default(), Vec::new());
            parser.feed(&bytes[..at], |key| split.push(key));
            parser.feed(&bytes[at..], |key| split.push(key));
            assert_eq!(split, keys, "{bytes:?} split at {at}");
        }
        keys
    }

    fn text(text: &str) -> Vec<Key> {
        text.chars().map(Key::Char).collect()
    }

    #[test]
    fn every_terminals_name_of_a_key_is_known() {
        for (key, names) in [
            (Key::Up, &["\x1b[A", "\x1bOA", "\x1b[1;2A"][..]),
            (Key::Down, &["\x1b[B", "\x1bOB"]),
            (Key::Left, &["\x1b[D", "\x1bOD", "\x02"]),
            (Key::Right, &["\x1b[C", "\x1bOC", "\x06"]),
            (Key::WordLeft, &["\x1b[1;5D", "\x1b[1;3D", "\x1b[5D", "\x1bOd", "\x1bb"]),
            (Key::WordRight, &["\x1b[1;5C", "\x1bO5C", "\x1bOc", "\x1bf"]),
            (Key::Home, &["\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~", "\x01"]),
            (Key::End, &["\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~", "\x05"]),
            (Key::Backspace, &["\x7f", "\x08"]),
            (Key::Delete, &["\x1b[3~"]),
            (Key::KillWordLeft, &["\x1b\x7f", "\x1b\x08"]),
            (Key::Enter, &["\r", "\n", "\r\n", "\x1bOM"]),
            (Key::Char('\n'), &["\x1b\r", "\x1b\n", "\x1b\r\n"]),
        ] {
            for name in names {
                assert_eq!(keys(name.as_bytes()), [key], "{name:?}");
            }
        }
        assert_eq!(keys(b"\r\r\n\n"), [Key::Enter; 3]);
    }

    #[test]
    fn what_is_no_key_is_nothing() {
        let long = format!("\x1b[{}A", "1;".repeat(40));
        for bytes in ["\x1b[15~", "\x1b[[A", &long, "\x1b]11;rgb:0/0/0\x07", "\x1b[12;40R", "\x1b[?1;2c"] {
            assert_eq!(keys(bytes.as_bytes()), [], "{bytes:?}");
        }
        assert_eq!(keys(b"\x1b]11;rgb:0/0/0\x1b\\a"), text("a"));
    }

    #[test]
    fn a_control_character_ends_a_sequence() {
        for begun in ["\x1b", "\x1b[", "\x1b[1;", "\x1bO", "\x1b]x", "\x1b[["] {
            assert_eq!(keys(format!("{begun}\x03").as_bytes()), [Key::Interrupt], "{begun:?}");
        }
    }

    #[test]
    fn what_is_not_utf_8_is_shown_as_such() {
        assert_eq!(keys("aß世👍".as_bytes()), text("aß世👍"));
        assert_eq!(keys(b"a\xffb\xe4\xb8c\x9bA\xf0\x9f\r"), {
            let mut keys = text("a\u{fffd}b\u{fffd}c\u{fffd}A\u{fffd}");
            keys.push(Key::Enter);
            keys
        });
    }

    #[test]
    fn a_paste_is_text() {
        assert_eq!(
            keys(b"\x1b[200~a\r\nb\rc\nd\te\x1b[201~\r"),
            [text("a\nb\nc\nd\te"), vec![Key::Enter]].concat()
        );
        assert_eq!(keys(b"\x1b[200~\x03\x1b[A\x1b[20\x1b[201~"), text("\x03\x1b[A\x1b[20"));
        assert_eq!(keys(b"\x1b[200~\x1b\x1b[201~x"), text("\x1bx"));
        assert_eq!(keys(b"\x1b[200~\xe4\x1b[201~x"), text("\u{fffd}x"));
        assert_eq!(keys(b"\x1b[201~x"), text("x"));
    }
}
