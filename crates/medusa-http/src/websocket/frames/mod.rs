//! Frames of a client, as they come: messages and control frames out of any pieces of a byte stream
//! ([RFC 6455 §5](https://www.rfc-editor.org/rfc/rfc6455#section-5)), and how ours are written.
//!
//! Invariant: nothing is held but the message that is on its way, as far as it has come, and what was given to
//! [`Reader::push`] and not yet read. A length that is announced reserves nothing. What one call of [`Reader::next`] does is
//! bounded, however much a compressed message grows.

use bytes::{Buf, Bytes, BytesMut};

use super::deflate::{self, Inflater};
use super::message::{Close, Message, MessageKind};

/// The bit that says it is a message's last frame.
const FIN: u8 = 0x80;
/// The bit of a message that is compressed ([RFC 7692 §6](https://www.rfc-editor.org/rfc/rfc7692#section-6)).
const COMPRESSED: u8 = 0x40;
/// The bits that mean nothing.
const RESERVED: u8 = 0x30;
const MASKED: u8 = 0x80;

/// What a frame is.
pub(super) mod code {
    pub(crate) const CONTINUE: u8 = 0;
    pub(crate) const TEXT: u8 = 1;
    pub(crate) const BINARY: u8 = 2;
    pub(crate) const CLOSE: u8 = 8;
    pub(crate) const PING: u8 = 9;
    pub(crate) const PONG: u8 = 10;
}

/// The longest payload of a control frame ([RFC 6455 §5.5](https://www.rfc-editor.org/rfc/rfc6455#section-5.5)).
const LONGEST_CONTROL: u64 = 125;
/// The room that a message is given at first, in bytes, if its frame says that it is no shorter.
const ROOM: u64 = 16 * 1024;

/// A frame, or a message, that a client has sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    Message {
        message: Message,
        /// The part of it that came, in bytes.
        came: u64,
    },
    Ping(Bytes),
    Pong,
    Close(Close),
}

/// The result of [`Reader::next`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextFrame {
    Received(Received),
    /// More bytes are needed.
    Wait,
    /// There is more to do with those that are there.
    Busy,
}

/// A mistake of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Protocol(&'static str),
    /// A text that is none, or a compressed message that is not.
    Content(&'static str),
    TooLong,
}

/// Reads frames.
#[derive(Debug)]
pub(super) struct Reader {
    input: BytesMut,
    frame: Option<Frame>,
    message: Option<Incoming>,
    /// The longest message.
    max: usize,
    /// Whether messages may be compressed.
    compress: bool,
}

/// A frame whose payload is on its way.
#[derive(Debug, Clone, Copy)]
struct Frame {
    code: u8,
    fin: bool,
    mask: [u8; 4],
    left: u64,
}

/// A message that is on its way.
#[derive(Debug)]
struct Incoming {
    kind: MessageKind,
    data: Vec<u8>,
    came: u64,
    inflater: Option<Inflater>,
    /// The last frame is read.
    ended: bool,
}

impl Reader {
    pub(super) fn new(max: usize, compress: bool) -> Self {
        Self { input: BytesMut::new(), frame: None, message: None, max, compress }
    }

    /// Adds what came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.input.is_empty() {
            // Nothing is kept between messages.
            self.input = BytesMut::from(bytes);
        } else {
            self.input.extend_from_slice(bytes);
        }
    }

    /// The size of what is held and not complete, in bytes.
    pub(super) fn held(&self) -> u64 {
        let message = self.message.as_ref().map_or(0, |message| {
            let inflater = if message.inflater.is_some() { deflate::INFLATER } else { 0 };
            message.data.len() as u64 + inflater
        });
        message + self.input.len() as u64
    }

    /// Reads on.
    pub(super) fn next(&mut self) -> Result<NextFrame, Failure> {
        loop {
            if let Some(message) = &mut self.message {
                if let Some(inflater) = &mut message.inflater
                    && !inflater.step(&mut message.data, self.max)?
                {
                    return Ok(NextFrame::Busy);
                }
                if message.ended {
                    return self.complete().map(NextFrame::Received);
                }
            }
            let frame = match &mut self.frame {
                Some(frame) => frame,
                None => match self.begin()? {
                    Some(frame) => self.frame.insert(frame),
                    None => break,
                },
            };
            if frame.code >= code::CLOSE {
                let Ok(len) = usize::try_from(frame.left) else { break };
                if self.input.len() < len {
                    break;
                }
                let mut payload = self.input.split_to(len);
                unmask(&mut payload, frame.mask);
                let code = frame.code;
                self.frame = None;
                return control(code, payload.freeze()).map(NextFrame::Received);
            }
            let here = usize::try_from(frame.left).unwrap_or(usize::MAX).min(self.input.len());
            let mut piece = self.input.split_to(here);
            unmask(&mut piece, frame.mask);
            frame.mask.rotate_left(here % 4);
            frame.left -= here as u64;
            let (is_over, fin) = (frame.left == 0, frame.fin);
            if is_over {
                self.frame = None;
            }
            let Some(message) = &mut self.message else { break };
            message.came += here as u64;
            message.ended = is_over && fin;
            match &mut message.inflater {
                Some(inflater) => inflater.push(piece.freeze(), message.ended),
                None => message.data.extend_from_slice(&piece),
            }
            // What has come of a compressed one is looked at before more is asked for.
            if !is_over && here == 0 {
                break;
            }
        }
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        Ok(NextFrame::Wait)
    }

    /// Reads the head of a frame, once it is all there.
    fn begin(&mut self) -> Result<Option<Frame>, Failure> {
        let Some((&[first, second], rest)) = self.input.split_first_chunk() else { return Ok(None) };
        let (code, fin, short) = (first & 0x0f, first & FIN != 0, second & !MASKED);
        self.check(first, second)?;
        let extended = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let (Some(length), Some(&mask)) =
            (rest.get(..extended), rest.get(extended..).and_then(<[u8]>::first_chunk))
        else {
            return Ok(None);
        };
        let left = match length {
            [] => u64::from(short),
            length => length.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)),
        };
        if left >> 63 != 0 {
            return Err(Failure::Protocol("a length of more than 63 bits"));
        }
        if code < code::CLOSE {
            self.begin_data(first, left)?;
        }
        self.input.advance(2 + extended + 4);
        Ok(Some(Frame { code, fin, mask, left }))
    }

    /// Checks a frame's first two bytes.
    fn check(&self, first: u8, second: u8) -> Result<(), Failure> {
        let (code, is_within) = (first & 0x0f, self.message.is_some());
        let wrong = match code {
            _ if first & RESERVED != 0 => "a reserved bit is set",
            code::TEXT | code::BINARY if is_within => "a message within another",
            code::TEXT | code::BINARY if first & COMPRESSED != 0 && !self.compress => {
                "a compressed message, which was not agreed on"
            }
            code::CONTINUE | code::CLOSE | code::PING | code::PONG if first & COMPRESSED != 0 => {
                "a frame that cannot be compressed"
            }
            code::CONTINUE if !is_within => "a continuation of nothing",
            code::CLOSE | code::PING | code::PONG if first & FIN == 0 => "a control frame in fragments",
            code::CLOSE | code::PING | code::PONG if u64::from(second & !MASKED) > LONGEST_CONTROL => {
                "too long a control frame"
            }
            code::TEXT | code::BINARY | code::CONTINUE | code::CLOSE | code::PING | code::PONG => "",
            _ => "an unknown frame",
        };
        match wrong {
            "" if second & MASKED == 0 => Err(Failure::Protocol("a frame without a mask")),
            "" => Ok(()),
            wrong => Err(Failure::Protocol(wrong)),
        }
    }

    /// A frame of a message begins.
    fn begin_data(&mut self, first: u8, len: u64) -> Result<(), Failure> {
        let message = self.message.get_or_insert_with(|| {
            let kind = if first & 0x0f == code::TEXT { MessageKind::Text } else { MessageKind::Binary };
            let inflater = (first & COMPRESSED != 0).then(Inflater::new);
            let room = if inflater.is_some() { 0 } else { len.min(ROOM) };
            Incoming { kind, data: Vec::with_capacity(room as usize), came: 0, inflater, ended: false }
        });
        let longest = match message.inflater {
            None => self.max as u64,
            Some(_) => deflate::longest(self.max as u64),
        };
        if message.came.saturating_add(len) > longest { Err(Failure::TooLong) } else { Ok(()) }
    }

    /// The message is there.
    fn complete(&mut self) -> Result<Received, Failure> {
        let Some(Incoming { kind, data, came, .. }) = self.message.take() else {
            return Err(Failure::Protocol("a continuation of nothing"));
        };
        let data = Bytes::from(data);
        let message = match kind {
            MessageKind::Binary => Message::binary(data),
            MessageKind::Text if std::str::from_utf8(&data).is_ok() => Message::checked_text(data),
            MessageKind::Text => return Err(Failure::Content("not UTF-8")),
        };
        Ok(Received::Message { message, came })
    }
}

fn control(code: u8, payload: Bytes) -> Result<Received, Failure> {
    match code {
        code::PING => Ok(Received::Ping(payload)),
        code::PONG => Ok(Received::Pong),
        _ => close(&payload).map(Received::Close),
    }
}

/// Reads the payload of a close ([RFC 6455 §5.5.1](https://www.rfc-editor.org/rfc/rfc6455#section-5.5.1)).
fn close(payload: &[u8]) -> Result<Close, Failure> {
    match payload.split_first_chunk() {
        None if payload.is_empty() => Ok(Close::of(Close::NO_CODE, "")),
        None => Err(Failure::Protocol("a close of one byte")),
        Some((&code, reason)) => {
            let reason = std::str::from_utf8(reason)
                .map_err(|_not_utf8| Failure::Content("a reason that is not UTF-8"))?;
            Close::new(u16::from_be_bytes(code), reason)
                .map_err(|_invalid| Failure::Protocol("a close with a code that is none"))
        }
    }
}

/// Takes the mask off ([RFC 6455 §5.3](https://www.rfc-editor.org/rfc/rfc6455#section-5.3)).
fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    rest.iter_mut().zip(mask.into_iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
}

/// Writes a frame.
pub(super) fn write(code: u8, fin: bool, is_compressed: bool, payload: &[u8], out: &mut Vec<u8>) {
    let len = payload.len();
    out.reserve(len + 10);
    out.push(code | if fin { FIN } else { 0 } | if is_compressed { COMPRESSED } else { 0 });
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ ..126), _) => out.push(short),
        (_, Ok(short)) => {
            out.push(126);
            out.extend_from_slice(&short.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// Writes a close; the answer to one without a code has none either.
pub(super) fn write_close(close: &Close, out: &mut Vec<u8>) {
    let payload = match close.code() {
        Close::NO_CODE => Vec::new(),
        code => [&code.to_be_bytes(), close.reason().as_bytes()].concat(),
    };
    write(code::CLOSE, true, false, &payload, out);
}

#[cfg(test)]
mod tests;
