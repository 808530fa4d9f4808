//! What is open beside the load, on mounts that nobody changes: it must neither end nor fall silent.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use medusa_testkit::Client;
use tungstenite::Message;

use crate::bench::side::Side;
use crate::bench::websocket::client::{Connection, connect};
use crate::error::Result;

/// Sessions and streams, on two mounts each: of functions of the script, and of handler files.
const WEBSOCKETS: usize = 200;
const STREAMS: usize = 50;
pub(super) const ECHOES: [&str; 2] = ["/echo", "/echo-file"];
pub(super) const TICKS: [&str; 2] = ["/ticks", "/ticks-file"];
/// Between two messages of a session.
const PACE: Duration = Duration::from_millis(250);

/// What comes of something that is to go on; else why it does not.
type StillThere = std::result::Result<(), String>;

/// The sessions and streams.
pub(super) struct LongLived {
    websockets: Vec<Connection>,
    streams: Vec<Client>,
}

impl LongLived {
    /// Opens them all.
    pub(super) fn open(side: &Side) -> Result<Self> {
        let websockets = (0..WEBSOCKETS).map(|at| connect(side, ECHOES[at % ECHOES.len()]));
        let streams = (0..STREAMS).map(|at| {
            let mut client = side.ours().connect();
            let path = TICKS[at % TICKS.len()];
            client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
            match client.head().status {
                200 => Ok(client),
                status => Err(side.fault(&format!("answered {status} to a request for the stream {path}"))),
            }
        });
        Ok(Self { websockets: websockets.collect::<Result<_>>()?, streams: streams.collect::<Result<_>>()? })
    }

    /// The number of them.
    pub(super) fn len(&self) -> usize {
        self.websockets.len() + self.streams.len()
    }

    /// Has all of them go on until it is `over`, and once more after that. Returns what became of those that did not.
    pub(super) fn live(&mut self, over: &AtomicBool) -> Vec<String> {
        let mut dropped = Vec::new();
        loop {
            let is_last = over.load(Ordering::Relaxed);
            self.websockets.retain_mut(|websocket| note(&mut dropped, "a WebSocket", echo(websocket)));
            self.streams.retain_mut(|stream| note(&mut dropped, "a stream", tick(stream)));
            if is_last {
                return dropped;
            }
            thread::park_timeout(PACE); // a client's pace, not a wait for something
        }
    }
}

/// Whether it goes on.
fn note(dropped: &mut Vec<String>, what: &str, outcome: StillThere) -> bool {
    let goes_on = outcome.is_ok();
    dropped.extend(outcome.err().map(|why| format!("{what}: {why}")));
    goes_on
}

/// A message there and back.
fn echo(websocket: &mut Connection) -> StillThere {
    websocket.send(Message::text("still there?")).map_err(|error| error.to_string())?;
    loop {
        match websocket.read().map_err(|error| error.to_string())? {
            Message::Text(text) if text == "still there?" => return Ok(()),
            // It was silent for long: the machine is busy.
            Message::Ping(_) => {}
            other => return Err(format!("{other:?} came for an echo")),
        }
    }
}

/// Reads all that has come, and waits for what comes next.
fn tick(stream: &mut Client) -> StillThere {
    let mut next = || match stream.try_read_some(usize::MAX) {
        Ok(bytes) if bytes.is_empty() => Err("it ended".to_owned()),
        Ok(bytes) if bytes.ends_with(b"0\r\n\r\n") => Err("its last chunk came".to_owned()),
        Ok(_) => Ok(stream.is_readable_within(Duration::ZERO)),
        Err(error) => Err(error.to_string()),
    };
    while next()? {}
    next().map(drop)
}
