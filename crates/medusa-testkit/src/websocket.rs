//! `WebSocket`, frame by frame: what a test gives goes out as it is, right or wrong, and what comes back is taken apart
//! strictly. Written without a library, as the server has one: its mistakes must not cancel out.

use std::net::SocketAddr;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

use crate::Client;

/// The bit of a frame's first byte that says it is a message's last.
pub const FIN: u8 = 0x80;
/// The bit of a message that is compressed ([RFC 7692 §6](https://www.rfc-editor.org/rfc/rfc7692#section-6)).
pub const COMPRESSED: u8 = 0x40;
/// The code of a frame that goes on with a message.
pub const CONTINUE: u8 = 0;
/// The code of a text.
pub const TEXT: u8 = 1;
/// The code of bytes.
pub const BINARY: u8 = 2;
/// The code of a close.
pub const CLOSE: u8 = 8;
/// The code of a ping.
pub const PING: u8 = 9;
/// The code of a pong.
pub const PONG: u8 = 10;

/// The mask of frames to the server; a test need not be unpredictable.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A session, as its client sees it.
#[derive(Debug)]
pub struct WebSocket {
    client: Client,
    extensions: Option<String>,
}

/// A frame from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Whether it is the last of its message.
    pub fin: bool,
    /// Whether it begins a message that is compressed.
    pub compressed: bool,
    /// What it is.
    pub code: u8,
    /// What is in it.
    pub payload: Vec<u8>,
}

impl WebSocket {
    /// Opens a session.
    ///
    /// # Panics
    ///
    /// The server does not want one, or answers wrongly.
    #[track_caller]
    pub fn connect(address: SocketAddr, path: &str) -> Self {
        Self::open(Client::connect(address), path, &[])
    }

    /// Opens a session on a connection, by a handshake with more fields.
    ///
    /// # Panics
    ///
    /// The server does not want one, or answers wrongly.
    #[track_caller]
    pub fn open(mut client: Client, path: &str, headers: &[(&str, &str)]) -> Self {
        let key = generate_key();
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {key}\r\n"
        );
        if !headers.iter().any(|(name, _)| *name == "Host") {
            request.push_str("Host: test\r\n");
        }
        for (name, value) in headers {
            request.extend([name, ": ", value, "\r\n"]);
        }
        client.send(request + "\r\n");
        let head = client.head();
        assert_eq!(head.status, 101, "{head:?}");
        assert_eq!(head.header("sec-websocket-accept"), Some(derive_accept_key(key.as_bytes()).as_str()));
        assert_eq!(head.header("upgrade").map(str::to_lowercase).as_deref(), Some("websocket"));
        assert_eq!(head.header("connection").map(str::to_lowercase).as_deref(), Some("upgrade"));
        let extensions = head.header("sec-websocket-extensions").map(str::to_owned);
        let asked = headers.iter().any(|(name, _)| *name == "Sec-WebSocket-Extensions");
        assert!(asked || extensions.is_none(), "nobody asked for {extensions:?}");
        Self { client, extensions }
    }

    /// The server's word on extensions.
    pub fn extensions(&self) -> Option<&str> {
        self.extensions.as_deref()
    }

    /// The connection.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Sends a text in one frame.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.send_frame(FIN | TEXT, text.as_bytes());
    }

    /// Sends a frame with this first byte.
    #[track_caller]
    pub fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.client.send(frame(first, payload));
    }

    /// The next frame, whatever it is.
    ///
    /// # Panics
    ///
    /// None comes, or it is none that a server may send.
    #[track_caller]
    pub fn frame(&mut self) -> Frame {
        let head = self.client.read(2);
        assert_eq!(head[0] & 0x30, 0, "a reserved bit is set: {head:x?}");
        let compressed = head[0] & COMPRESSED != 0;
        assert!(!compressed || self.extensions.is_some(), "that was not agreed on: {head:x?}");
        assert_eq!(head[1] & 0x80, 0, "a server's frame is masked: {head:x?}");
        let length = match head[1] {
            126 => self.number(2),
            127 => self.number(8),
            short => u64::from(short),
        };
        let (fin, code) = (head[0] & FIN != 0, head[0] & 0x0f);
        let length = usize::try_from(length).expect("a length that fits");
        assert!(code < CLOSE || (fin && length <= 125), "no control frame: {head:x?}");
        assert!(!compressed || matches!(code, TEXT | BINARY), "it cannot be compressed: {head:x?}");
        Frame { fin, compressed, code, payload: self.client.read(length) }
    }

    #[track_caller]
    fn number(&mut self, bytes: usize) -> u64 {
        self.client.read(bytes).into_iter().fold(0, |number, byte| number << 8 | u64::from(byte))
    }

    /// The next message: its code and its bytes.
    ///
    /// # Panics
    ///
    /// Something else comes.
    #[track_caller]
    pub fn message(&mut self) -> (u8, Vec<u8>) {
        let Frame { mut fin, compressed, code, mut payload } = self.frame();
        assert!(matches!(code, TEXT | BINARY), "a message was expected, not {code} {payload:?}");
        while !fin {
            let more = self.frame();
            assert_eq!(more.code, CONTINUE);
            payload.extend(more.payload);
            fin = more.fin;
        }
        if compressed { (code, inflated(&payload)) } else { (code, payload) }
    }

    /// The next message, which must be a text.
    #[track_caller]
    pub fn text(&mut self) -> String {
        let (code, text) = self.message();
        assert_eq!(code, TEXT);
        String::from_utf8(text).expect("UTF-8")
    }

    /// Closes the session and waits for the server to do so, too.
    #[track_caller]
    pub fn close(&mut self, code: u16, reason: &str) {
        self.send_frame(FIN | CLOSE, &close(code, reason));
        let answer = self.frame();
        assert_eq!((answer.code, answer.payload), (CLOSE, close(code, reason)));
        self.client.expect_close();
    }

    /// Waits for the server to close the session with this code, answers, and waits for the end of the connection.
    /// Returns the reason.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) -> String {
        let Frame { code: kind, payload, .. } = self.frame();
        assert_eq!(kind, CLOSE, "a close was expected, not {payload:?}");
        let (number, reason) = payload.split_at(2);
        let reason = String::from_utf8_lossy(reason).into_owned();
        assert_eq!(u16::from_be_bytes([number[0], number[1]]), code, "{reason}");
        // A server that was told nonsense may have stopped listening.
        let _gone = self.client.try_send(frame(FIN | CLOSE, &close(code, "")));
        self.client.expect_close();
        reason
    }
}

/// The content of a message that was compressed.
fn inflated(payload: &[u8]) -> Vec<u8> {
    let whole = [payload, &[0, 0, 0xff, 0xff]].concat();
    let (mut inflate, mut out) = (Decompress::new(false), Vec::new());
    loop {
        out.reserve(64 * 1024);
        let rest = &whole[inflate.total_in() as usize..];
        inflate.decompress_vec(rest, &mut out, FlushDecompress::Sync).expect("what was agreed on");
        if out.len() < out.capacity() {
            assert_eq!(inflate.total_in(), whole.len() as u64, "nothing comes of {rest:x?}");
            return out;
        }
    }
}

/// A message, compressed.
pub fn deflated(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 100 + 100);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(message, &mut out, FlushCompress::Sync).expect("there is room");
    assert_eq!(compress.total_in(), message.len() as u64);
    out.truncate(out.len() - 4);
    out
}

/// The content of a close.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// A frame of a client, with this first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len() as u64);
    frame[1] |= 0x80;
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The beginning of a frame that is not masked.
pub fn header(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first];
    match length {
        0..=125 => header.push(length as u8),
        126..=0xffff => header.extend([&[126][..], &(length as u16).to_be_bytes()].concat()),
        _ => header.extend([&[127][..], &length.to_be_bytes()].concat()),
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of [RFC 6455 §5.7](https://www.rfc-editor.org/rfc/rfc6455#section-5.7).
    #[test]
    fn frames_are_those_of_the_rfc() {
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(frame(FIN | TEXT, b"Hello"), masked);
        assert_eq!(header(FIN | BINARY, 256), [0x82, 0x7e, 0x01, 0x00]);
        assert_eq!(header(FIN | BINARY, 65536), [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(close(1000, "x"), [0x03, 0xe8, b'x']);
    }
}
