//! Frames of WebSocket: what a client may send, read as the server reads it; what the server cuts messages into.

#![no_main]

#[expect(dead_code, reason = "the module as it is, without those that use it")]
#[path = "."]
mod websocket {
    //! Of sessions, the messages, how they are cut, and how they are read.

    #[path = "../../crates/medusa-http/src/websocket/deflate/mod.rs"]
    mod deflate;
    #[path = "../../crates/medusa-http/src/websocket/fragments.rs"]
    mod fragments;
    #[path = "../../crates/medusa-http/src/websocket/frames/mod.rs"]
    mod frames;
    #[path = "../../crates/medusa-http/src/websocket/message.rs"]
    mod message;

    use std::io::{self, Cursor, Read, Write};

    use tungstenite::protocol::{Role, WebSocket};

    use frames::{Failure, NextFrame, Reader, Received};
    use message::Message;

    /// The longest message that is taken, in bytes.
    const LONGEST: usize = 1024;

    /// A server that has said all it says, and hears nothing.
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

    /// Reads what a client sends, in pieces of a length.
    fn received(bytes: &[u8], pieces: usize) -> Result<Vec<Received>, Failure> {
        let (mut reader, mut all) = (Reader::new(LONGEST, true), Vec::new());
        for piece in bytes.chunks(pieces) {
            reader.push(piece);
            loop {
                match reader.next()? {
                    NextFrame::Received(received) => all.push(received),
                    NextFrame::Busy => {}
                    NextFrame::Wait => break,
                }
            }
        }
        Ok(all)
    }

    /// Reads what a client sends, which comes to the same in any pieces.
    pub(crate) fn read(bytes: &[u8]) {
        let whole = received(bytes, usize::MAX);
        // Of two things that are wrong, pieces may show the other first.
        assert_eq!(whole.as_ref().ok(), received(bytes, 1).as_ref().ok());
        for received in whole.into_iter().flatten() {
            match received {
                Received::Message { message, .. } => assert!(message.data().len() <= LONGEST),
                Received::Ping(data) => assert!(data.len() <= 125),
                Received::Close(close) => assert!(close.reason().len() <= 123, "{close:?}"),
                Received::Pong => {}
            }
        }
    }

    /// Cuts a message as the server does; a client makes the same of it.
    pub(crate) fn write(bytes: &[u8]) {
        // Longer than a frame may be: the input over and over.
        let whole = bytes.repeat(70_000 / bytes.len().max(1));
        let mut fragments = fragments::Fragments::of(&Message::binary(whole.clone()), None);
        let mut wire = Vec::new();
        while !fragments.next(&mut wire) {}
        let mut client = WebSocket::from_raw_socket(Said(Cursor::new(&wire)), Role::Client, None);
        assert_eq!(client.read().expect("a message").into_data(), whole);
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    websocket::read(bytes);
    if bytes.first() == Some(&0) {
        websocket::write(bytes);
    }
});
