//! HTTP/2 by hand ([RFC 9113 §4.1](https://www.rfc-editor.org/rfc/rfc9113#section-4.1)): what no honest client sends.

use std::io;
use std::time::Duration;

use crate::{Client, Server};

/// The kind of a frame with a part of a body.
pub const DATA: u8 = 0;
/// The kind of a frame with a head, or its beginning.
pub const HEADERS: u8 = 1;
/// The kind of a frame that says which stream another depends on.
pub const PRIORITY: u8 = 2;
/// The kind of a frame that ends a stream at once.
pub const RST_STREAM: u8 = 3;
/// The kind of a frame with settings, or that has seen the other's.
pub const SETTINGS: u8 = 4;
/// The kind of a frame that asks for a sign of life, or gives it.
pub const PING: u8 = 6;
/// The kind of a frame that says goodbye.
pub const GOAWAY: u8 = 7;
/// The kind of a frame that lets the other send more.
pub const WINDOW_UPDATE: u8 = 8;
/// The kind of a frame that goes on with a head.
pub const CONTINUATION: u8 = 9;

/// The flag of settings that were seen, and of a ping that is answered.
pub const ACK: u8 = 1;
/// The flag of a stream's last frame.
pub const END_STREAM: u8 = 1;
/// The flag of a head's last frame.
pub const END_HEADERS: u8 = 4;

/// What a client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame.
#[derive(Debug)]
pub struct Http2Frame {
    /// What it is.
    pub kind: u8,
    /// The stream it is about; 0 for the connection.
    pub stream: u32,
    /// What is in it.
    pub payload: Vec<u8>,
}

/// A frame as it is sent.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field that no table remembers, by its name and value
/// ([RFC 7541 §6.2.2](https://www.rfc-editor.org/rfc/rfc7541#section-6.2.2)).
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![0];
    for text in [name, value] {
        integer(&mut block, text.len());
        block.extend(text.as_bytes());
    }
    block
}

/// A number behind one free bit ([RFC 7541 §5.1](https://www.rfc-editor.org/rfc/rfc7541#section-5.1)).
pub fn integer(block: &mut Vec<u8>, number: usize) {
    if number < 127 {
        block.push(u8::try_from(number).expect("it is less"));
        return;
    }
    block.push(127);
    let mut rest = number - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).expect("it is less") | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).expect("it is less"));
}

/// The head of a request, as a block of fields.
pub fn request(method: &str, path: &str) -> Vec<u8> {
    [field(":method", method), field(":scheme", "http"), field(":path", path), field(":authority", "t")]
        .concat()
}

/// A connection that speaks HTTP/2 as far as a test wants it to.
#[derive(Debug)]
pub struct Http2 {
    client: Client,
    came: Vec<u8>,
    /// Of answers that came before they were asked for.
    statuses: Vec<(u32, u16)>,
}

impl Http2 {
    /// Connects, and sends the preface and these settings.
    #[track_caller]
    pub fn connect(server: &Server, settings: &[(u16, u32)]) -> Self {
        Self::begin(server.connect(), settings)
    }

    /// Begins on a connection, with the preface and these settings.
    #[track_caller]
    pub fn begin(mut client: Client, settings: &[(u16, u32)]) -> Self {
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| name.to_be_bytes().into_iter().chain(value.to_be_bytes()))
            .collect();
        // Without a table (SETTINGS_HEADER_TABLE_SIZE), so that the status of an answer can be read by itself.
        let settings = [&[0, 1, 0, 0, 0, 0], settings.as_slice()].concat();
        client.send([PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat());
        Self { client, came: Vec::new(), statuses: Vec::new() }
    }

    /// Sends a frame.
    #[track_caller]
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.client.send(frame(kind, flags, stream, payload));
    }

    /// Whether the server says something within `time`.
    #[track_caller]
    pub fn is_readable_within(&self, time: Duration) -> bool {
        !self.came.is_empty() || self.client.is_readable_within(time)
    }

    /// Sends bytes as far as the server takes them.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.client.try_send(bytes)
    }

    /// Sends a whole request.
    #[track_caller]
    pub fn get(&mut self, stream: u32, path: &str) {
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", path));
    }

    /// Sends the head of a request whose body is to come.
    #[track_caller]
    pub fn post(&mut self, stream: u32, path: &str) {
        self.send(HEADERS, END_HEADERS, stream, &request("POST", path));
    }

    /// The next frame; `None` at the end of the connection, however it ends.
    pub fn next_frame(&mut self) -> Option<Http2Frame> {
        let head = self.take(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.take(length)?;
        if (head[3], head[4]) == (PING, 0) {
            // Asked by a server that wants to go, which waits for what was on its way.
            let _gone = self.try_send(&frame(PING, ACK, 0, &payload));
        }
        Some(Http2Frame { kind: head[3], stream, payload })
    }

    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.came.len() < length {
            match self.client.try_read_some(1 << 16) {
                Ok(bytes) if !bytes.is_empty() => self.came.extend(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("the server says nothing"),
                _ended => return None,
            }
        }
        let rest = self.came.split_off(length);
        Some(std::mem::replace(&mut self.came, rest))
    }

    /// The next frame of this kind; those before it are passed over.
    #[track_caller]
    pub fn expect(&mut self, kind: u8) -> Http2Frame {
        while let Some(frame) = self.next_frame() {
            if frame.kind == kind {
                return frame;
            }
        }
        panic!("the connection ended before there was a frame of kind {kind}");
    }

    /// The status of the answer on `stream`.
    #[track_caller]
    pub fn status(&mut self, stream: u32) -> u16 {
        loop {
            if let Some(at) = self.statuses.iter().position(|(of, _)| *of == stream) {
                return self.statuses.swap_remove(at).1;
            }
            let frame = self.expect(HEADERS);
            self.statuses.push((frame.stream, status_of(&frame.payload)));
        }
    }

    /// The status of the answer that comes next, on whatever stream.
    #[track_caller]
    pub fn next_status(&mut self) -> u16 {
        let known = self.statuses.pop().map(|(_, status)| status);
        known.unwrap_or_else(|| status_of(&self.expect(HEADERS).payload))
    }

    /// Reads to the end of the connection; the reason of the GOAWAY, if one came.
    pub fn end(&mut self) -> Option<u32> {
        let mut reason = None;
        while let Some(frame) = self.next_frame() {
            if frame.kind == GOAWAY {
                reason =
                    frame.payload.get(4..8).map(|code| u32::from_be_bytes(code.try_into().expect("four")));
            }
        }
        reason
    }
}

/// The status at the beginning of a block: an entry of the static table, or digits in Huffman's code
/// ([RFC 7541, appendices A and B](https://www.rfc-editor.org/rfc/rfc7541#appendix-A)).
#[track_caller]
fn status_of(block: &[u8]) -> u16 {
    const TABLE: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block {
        // The table was made smaller.
        [0x20..=0x3f, rest @ ..] => status_of(rest),
        [first @ 0x88..=0x8e, ..] => TABLE[usize::from(first - 0x88)],
        [0x48 | 0x08, length, digits @ ..] if length & 0x80 != 0 => huffman_digits(digits),
        _ => panic!("no status in {block:02x?}"),
    }
}

/// Three digits: 0 to 2 have five bits, which are their value, the others six, which are it and 22.
fn huffman_digits(code: &[u8]) -> u16 {
    let bits = code.iter().take(3).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
    let mut at = 24;
    let mut number = 0;
    for _ in 0..3 {
        let five = bits >> (at - 5) & 0x1f;
        let digit = if five <= 2 {
            at -= 5;
            five
        } else {
            at -= 6;
            (bits >> at & 0x3f) - 22
        };
        number = number * 10 + digit;
    }
    u16::try_from(number).expect("three digits")
}
