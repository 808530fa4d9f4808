//! A message, cut into frames ([RFC 6455 §5.4](https://www.rfc-editor.org/rfc/rfc6455#section-5.4)), and compressed where
//! that was agreed on.

use bytes::Bytes;

use super::deflate::Compressor;
use super::frames::{self, code};
use super::message::{Message, MessageKind};

/// The longest frame that is sent: so much of a message is copied at a time, however long it is. A compressed one may be
/// as long as what could not be compressed.
pub(super) const LONGEST: usize = 16 * 1024;
/// Messages that are shorter are not compressed, in bytes: it would save less than it costs.
const SHORTEST: usize = 128;
/// The frames' worth of a message that is compressed at a time.
const AT_ONCE: usize = 8;

/// The frames that are left of a message. There is one at least, also of an empty message.
#[derive(Debug)]
pub(super) struct Fragments {
    rest: Bytes,
    code: u8,
    compressor: Option<Compressor>,
}

impl Fragments {
    /// Those of a message; `window` is that of the client, if it reads compressed ones.
    pub(super) fn of(message: &Message, window: Option<u8>) -> Self {
        let code = match message.kind() {
            MessageKind::Text => code::TEXT,
            MessageKind::Binary => code::BINARY,
        };
        let rest = message.data().clone();
        let compressor = window.filter(|_| rest.len() >= SHORTEST).map(Compressor::new);
        Self { rest, code, compressor }
    }

    /// Whether it is compressed, and long enough to be more than one piece of work.
    pub(super) fn is_long_work(&self) -> bool {
        self.compressor.is_some() && self.rest.len() > LONGEST
    }

    /// Sends it as it is.
    pub(super) fn leave_plain(&mut self) {
        self.compressor = None;
    }

    /// Adds the next frame to `out`, and tells whether it is the last. Of a message that compresses well, there may be none
    /// yet.
    pub(super) fn next(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(compressor) = &mut self.compressor else {
            let piece = self.rest.split_to(self.rest.len().min(LONGEST));
            let last = self.rest.is_empty();
            frames::write(std::mem::take(&mut self.code), last, false, &piece, out);
            return last;
        };
        let (before, is_first, mut compressed) = (self.rest.clone(), self.code != code::CONTINUE, Vec::new());
        let mut last = false;
        for _ in 0..AT_ONCE {
            let piece = self.rest.split_to(self.rest.len().min(LONGEST));
            last = self.rest.is_empty();
            compressor.push(&piece, last || is_first, &mut compressed);
            if last || is_first || compressed.len() >= LONGEST {
                break;
            }
        }
        if last {
            Compressor::end(&mut compressed);
        }
        if is_first && compressed.len() >= before.len() - self.rest.len() {
            // It is compressed already, as pictures are.
            self.rest = before;
            self.leave_plain();
            return self.next(out);
        }
        if last || !compressed.is_empty() {
            frames::write(std::mem::take(&mut self.code), last, is_first, &compressed, out);
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::frames::{NextFrame, Reader, Received};

    /// Reads frames as a client does: ours takes masked frames only.
    fn read(frames: &[u8], compress: bool) -> (Vec<u8>, usize) {
        let (mut masked, mut rest, mut count) = (Vec::new(), frames, 0);
        while let [first, second, behind @ ..] = rest {
            let (length, behind) = match second {
                126 => (usize::from(u16::from_be_bytes([behind[0], behind[1]])), &behind[2..]),
                short => (usize::from(*short), behind),
            };
            masked.extend([*first, second | 0x80]);
            masked.extend(&rest[2..rest.len() - behind.len()]);
            masked.extend([0; 4]);
            masked.extend(&behind[..length]);
            rest = &behind[length..];
            count += 1;
        }
        let mut reader = Reader::new(1 << 20, compress);
        reader.push(&masked);
        loop {
            match reader.next().unwrap() {
                NextFrame::Received(Received::Message { message, .. }) => {
                    return (message.data().to_vec(), count);
                }
                NextFrame::Busy => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn sent(data: &[u8], window: Option<u8>) -> Vec<u8> {
        let mut fragments = Fragments::of(&Message::binary(data.to_vec()), window);
        let mut out = Vec::new();
        while !fragments.next(&mut out) {}
        out
    }

    #[test]
    fn the_frames_of_a_message_are_the_message() {
        for len in [0, 1, LONGEST, LONGEST + 1, 3 * LONGEST] {
            let data: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let (joined, count) = read(&sent(&data, None), false);
            assert_eq!((joined, count), (data, len.div_ceil(LONGEST).max(1)));
        }
    }

    #[test]
    fn so_they_are_when_it_is_compressed_in_any_window() {
        let mut state = 7_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(300_000)
        .collect();
        let text = "the same again, and again; ".repeat(20_000).into_bytes();
        for window in 9..=15 {
            for len in [0, 16, 127, 128, 4096, LONGEST, LONGEST + 1, 131_072, 300_000] {
                for data in [&noise[..len], &text[..len], &vec![0; len]] {
                    let out = sent(data, Some(window));
                    assert_eq!(read(&out, true).0, data, "{len} bytes in {window}");
                    assert!(out.len() <= len + len / 256 + 64, "{len} bytes came to {}", out.len());
                }
            }
        }
        assert!(sent(&text, Some(15)).len() < text.len() / 50);
        assert_eq!(sent(&noise[..4096], Some(15))[0], 0x82, "not compressed, where that is shorter");
    }
}
