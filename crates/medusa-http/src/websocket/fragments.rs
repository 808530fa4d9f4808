//! A message, cut into frames ([RFC 6455 §5.4](https://www.rfc-editor.org/rfc/rfc6455#section-5.4)).

use bytes::Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::message::{Kind, Message};

/// The longest frame that is sent: so much of a message is copied at a time, however long it is, and the memory for it is
/// kept as long as the session.
pub(super) const LONGEST: usize = 16 * 1024;

/// The frames that are left of a message. There is one at least, also of an empty message.
#[derive(Debug)]
pub(super) struct Fragments {
    rest: Bytes,
    code: Data,
}

impl Fragments {
    pub(super) fn of(message: &Message) -> Self {
        let code = match message.kind() {
            Kind::Text => Data::Text,
            Kind::Binary => Data::Binary,
        };
        Self { rest: message.data().clone(), code }
    }

    /// The next frame, and whether it is the last.
    pub(super) fn next(&mut self) -> (Frame, bool) {
        let piece = self.rest.split_to(self.rest.len().min(LONGEST));
        let code = std::mem::replace(&mut self.code, Data::Continue);
        let last = self.rest.is_empty();
        (Frame::message(piece, OpCode::Data(code), last), last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frames_of_a_message_are_the_message() {
        for len in [0, 1, LONGEST, LONGEST + 1, 3 * LONGEST] {
            let data: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let mut fragments = Fragments::of(&Message::binary(data.clone()));
            let (mut joined, mut count) = (Vec::new(), 0);
            loop {
                let (frame, last) = fragments.next();
                let expected = if count == 0 { Data::Binary } else { Data::Continue };
                assert_eq!(frame.header().opcode, OpCode::Data(expected));
                assert_eq!(frame.header().is_final, last);
                joined.extend_from_slice(frame.payload());
                count += 1;
                if last {
                    break;
                }
            }
            assert_eq!(joined, data);
            assert_eq!(count, len.div_ceil(LONGEST).max(1));
        }
    }
}
