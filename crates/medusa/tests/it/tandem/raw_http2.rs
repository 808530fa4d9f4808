//! An upstream of HTTP/2 that says what a test has it say, frame by frame, right or wrong.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use medusa_testkit::PATIENCE;
use medusa_testkit::http2::{
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, frame,
};

use super::raw::Then;

/// The status 200, as a block of fields.
pub(crate) const OK: &[u8] = &[0x88];

/// A reason to end a stream or a connection: none.
pub(crate) const NO_ERROR: u32 = 0;
/// Something went wrong.
pub(crate) const INTERNAL_ERROR: u32 = 2;
/// The request was not looked at.
pub(crate) const REFUSED_STREAM: u32 = 7;

/// A request that has come whole.
pub(crate) struct AskedStream<'a> {
    /// The number of its connection, from 0.
    pub(crate) connection: usize,
    /// The number of the request on that, from 0.
    pub(crate) request: usize,
    pub(crate) stream: u32,
    /// The length of its body.
    pub(crate) length: usize,
    io: &'a mut TcpStream,
}

impl AskedStream<'_> {
    /// Sends these bytes; who does not want them has left.
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _gone = self.io.write_all(bytes.as_ref());
    }

    /// Sends a frame on its stream.
    pub(crate) fn send(&mut self, kind: u8, flags: u8, payload: &[u8]) {
        self.say(frame(kind, flags, self.stream, payload));
    }

    /// Sends a short answer.
    pub(crate) fn answer(&mut self, body: &str) -> Then {
        self.send(HEADERS, END_HEADERS, OK);
        self.send(DATA, END_STREAM, body.as_bytes());
        Then::Next
    }

    /// Ends its stream.
    pub(crate) fn reset(&mut self, reason: u32) -> Then {
        self.send(RST_STREAM, 0, &reason.to_be_bytes());
        Then::Next
    }

    /// Says goodbye, with the last stream that was looked at.
    pub(crate) fn go_away(&mut self, last: u32, reason: u32) -> Then {
        self.say(frame(GOAWAY, 0, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat()));
        Then::Next
    }
}

/// A server that listens until it is dropped.
pub(crate) struct RawHttp2 {
    address: SocketAddr,
    shared: Arc<RawState>,
}

#[derive(Default)]
struct RawState {
    accepted: AtomicUsize,
    requests: AtomicUsize,
    is_over: AtomicBool,
    /// Nothing is said but what a test says.
    is_mute: bool,
}

impl RawHttp2 {
    /// `answer` answers each request, on a thread for each connection.
    pub(crate) fn start(answer: impl Fn(&mut AskedStream<'_>) -> Then + Send + Sync + 'static) -> Self {
        let settings = |stream: &mut TcpStream| drop(stream.write_all(&frame(SETTINGS, 0, 0, &[])));
        Self::begin(settings, false, answer)
    }

    /// The same, with what is said first on a connection, and with no answers to pings if it `is_mute`.
    pub(crate) fn begin(
        begin: impl Fn(&mut TcpStream) + Send + Sync + 'static,
        is_mute: bool,
        answer: impl Fn(&mut AskedStream<'_>) -> Then + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(RawState { is_mute, ..RawState::default() });
        let (behaviour, known) = (Arc::new((begin, answer)), Arc::clone(&shared));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if known.is_over.load(SeqCst) {
                    return;
                }
                let connection = known.accepted.fetch_add(1, SeqCst);
                let (behaviour, known) = (Arc::clone(&behaviour), Arc::clone(&known));
                let mut stream = stream.expect("a connection");
                thread::spawn(move || {
                    stream.set_read_timeout(Some(PATIENCE)).expect("our own socket");
                    stream.set_nodelay(true).expect("our own socket");
                    behaviour.0(&mut stream);
                    serve(&mut stream, connection, &known, &behaviour.1);
                });
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("h2c://{}", self.address)
    }

    /// The number of connections so far.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(SeqCst)
    }

    /// The number of heads of requests so far.
    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(SeqCst)
    }
}

impl Drop for RawHttp2 {
    fn drop(&mut self) {
        self.shared.is_over.store(true, SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

/// A connection, until it ends or is to end.
fn serve(
    stream: &mut TcpStream,
    connection: usize,
    shared: &RawState,
    answer: &impl Fn(&mut AskedStream<'_>) -> Then,
) {
    let mut preface = [0; PREFACE.len()];
    if stream.read_exact(&mut preface).is_err() {
        return;
    }
    let (mut request, mut length) = (0, 0);
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            return;
        }
        let size = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        let on = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; size];
        if stream.read_exact(&mut payload).is_err() {
            return;
        }
        match kind {
            SETTINGS | PING if flags & ACK == 0 && !shared.is_mute => {
                let seen: &[u8] = if kind == PING { &payload } else { &[] };
                let _gone = stream.write_all(&frame(kind, ACK, 0, seen));
            }
            // A head of a request; trailers are no end of a body that a test counts.
            HEADERS => {
                shared.requests.fetch_add(1, SeqCst);
                length = 0;
            }
            DATA => length += size,
            _ => {}
        }
        if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
            let mut asked = AskedStream { connection, request, stream: on, length, io: &mut *stream };
            request += 1;
            if matches!(answer(&mut asked), Then::Close) {
                return;
            }
        }
    }
}
