//! A session on the control socket: requests and replies, a line of JSON each (`docs/monitor.md`).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::{PATIENCE, Server};

/// A session. What does not come within [`PATIENCE`] is a panic.
#[derive(Debug)]
pub struct Session(BufReader<UnixStream>);

impl Session {
    /// Begins one.
    ///
    /// # Panics
    ///
    /// The server does not listen there.
    #[track_caller]
    pub fn begin(server: &Server) -> Self {
        let socket = UnixStream::connect(server.state().join("control")).expect("the control socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("our own socket");
        Self(BufReader::new(socket))
    }

    /// Sends a request as it is.
    #[track_caller]
    pub fn send(&mut self, request: &Value) {
        writeln!(self.0.get_mut(), "{request}").expect("it is read");
    }

    /// Sends a statement.
    #[track_caller]
    pub fn eval(&mut self, statement: &str) {
        self.send(&json!({ "version": 1, "op": "eval", "source": statement }));
    }

    /// The next reply.
    #[track_caller]
    pub fn reply(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a reply in time");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?} is no reply: {error}"))
    }
}
