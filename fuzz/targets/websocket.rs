//! Frames of WebSocket: what a client may send, read as the server reads it; what the server cuts messages into.

#![no_main]

extern crate self as tokio_tungstenite;

#[expect(dead_code, unreachable_pub, reason = "the module as it is, without those that use it")]
#[path = "."]
mod websocket {
    //! Of sessions, the messages and how they are cut.

    #[path = "../../crates/medusa-http/src/websocket/fragments.rs"]
    mod fragments;
    #[path = "../../crates/medusa-http/src/websocket/message.rs"]
    mod message;

    use std::io::{self, Cursor, Read, Write};

    use tungstenite::Message as Frames;
    use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

    use message::{Close, Kind, Message};

    /// The longest message that is taken, in bytes.
    const LONGEST: usize = 1024;

    /// A client that has said all it says, and hears nothing.
    struct Said<'a>(Cursor<&'a [u8]>);

    impl Read for Said<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Said<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Reads what a client sends. Its end is an error sooner or later.
    pub(crate) fn read(bytes: &[u8]) {
        let config = WebSocketConfig::default()
            .read_buffer_size(4096)
            .write_buffer_size(0)
            .max_message_size(Some(LONGEST))
            .max_frame_size(Some(LONGEST));
        let mut socket = WebSocket::from_raw_socket(Said(Cursor::new(bytes)), Role::Server, Some(config));
        while let Ok(frames) = socket.read() {
            match frames {
                Frames::Text(text) => assert!(text.len() <= LONGEST),
                Frames::Binary(data) => assert!(data.len() <= LONGEST),
                Frames::Ping(data) | Frames::Pong(data) => assert!(data.len() <= 125),
                Frames::Close(frame) => {
                    let close = Close::received(frame);
                    assert!(close.reason().len() <= 123, "{close:?}");
                }
                Frames::Frame(_) => panic!("a frame by itself is not read"),
            }
        }
    }

    /// Cuts a message as the server does; a client makes the same of it.
    pub(crate) fn write(bytes: &[u8]) {
        // Longer than a frame may be: the input over and over.
        let whole = bytes.repeat(70_000 / bytes.len().max(1));
        let message = Message::binary(whole.clone());
        let mut fragments = fragments::Fragments::of(&message);
        let mut wire = Vec::new();
        loop {
            let (frame, last) = fragments.next();
            frame.format(&mut wire).expect("memory takes everything");
            if last {
                break;
            }
        }
        let mut client = WebSocket::from_raw_socket(Said(Cursor::new(&wire)), Role::Client, None);
        assert_eq!(message.kind(), Kind::Binary);
        assert_eq!(client.read().expect("a message").into_data(), whole);
    }
}

pub use tungstenite;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    websocket::read(bytes);
    if bytes.first() == Some(&0) {
        websocket::write(bytes);
    }
});
