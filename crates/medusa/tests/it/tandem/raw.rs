//! An upstream that says what a test has it say, byte for byte, right or wrong.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use medusa_testkit::PATIENCE;

/// What happens to a request: its connection, and itself.
pub(crate) struct Asked<'a> {
    /// The number of its connection, from 0.
    pub(crate) connection: usize,
    /// The number of the request on that, from 0.
    pub(crate) request: usize,
    /// The head, without the empty line.
    pub(crate) head: &'a str,
    stream: &'a mut TcpStream,
    ahead: &'a mut Vec<u8>,
}

/// What becomes of the connection.
pub(crate) enum Then {
    Next,
    Close,
}

impl Asked<'_> {
    /// Sends these bytes; who does not want them has left.
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _gone = self.stream.write_all(bytes.as_ref());
    }

    /// Sends a short answer with its length.
    pub(crate) fn answer(&mut self, body: &str) -> Then {
        let sent = if self.head.starts_with("HEAD ") { "" } else { body };
        self.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{sent}", body.len()));
        Then::Next
    }

    /// The next bytes of the body, or whatever comes, as they come; none at the end.
    pub(crate) fn read(&mut self) -> Vec<u8> {
        if !self.ahead.is_empty() {
            return std::mem::take(self.ahead);
        }
        let mut bytes = vec![0; 64 * 1024];
        let read = self.stream.read(&mut bytes).unwrap_or(0);
        bytes.truncate(read);
        bytes
    }

    /// Reads until what has come ends with `end`.
    pub(crate) fn read_until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        while !all.ends_with(end) {
            let more = self.read();
            assert!(!more.is_empty(), "the connection ended behind {:?}", String::from_utf8_lossy(&all));
            all.extend(more);
        }
        all
    }

    /// The value of a field that is there once at most.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(self.head, name)
    }
}

/// The value of a field in a head that is there once at most.
#[track_caller]
pub(crate) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let mut values = fields.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let value = values.next();
    assert_eq!(values.next(), None, "{name} is there more than once: {head}");
    value
}

/// A server that listens until it is dropped.
pub(crate) struct Raw {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    heads: Mutex<Vec<String>>,
    accepted: AtomicUsize,
    ended: AtomicUsize,
    is_over: AtomicBool,
}

impl Raw {
    /// `answer` answers each request, on a thread for each connection.
    pub(crate) fn start(answer: impl Fn(&mut Asked<'_>) -> Then + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (heads, accepted, ended, is_over) = Default::default();
        let shared = Arc::new(Shared { heads, accepted, ended, is_over });
        let (answer, known) = (Arc::new(answer), Arc::clone(&shared));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if known.is_over.load(SeqCst) {
                    return;
                }
                let connection = known.accepted.fetch_add(1, SeqCst);
                let (answer, known) = (Arc::clone(&answer), Arc::clone(&known));
                let stream = stream.expect("a connection");
                thread::spawn(move || {
                    serve(stream, connection, &known, &*answer);
                    known.ended.fetch_add(1, SeqCst);
                });
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of all requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().expect("no panic").clone()
    }

    /// The number of connections that were closed here.
    pub(crate) fn ended(&self) -> usize {
        self.shared.ended.load(SeqCst)
    }

    /// The number of connections so far.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(SeqCst)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.shared.is_over.store(true, SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

fn serve(mut stream: TcpStream, connection: usize, shared: &Shared, answer: &dyn Fn(&mut Asked<'_>) -> Then) {
    stream.set_read_timeout(Some(PATIENCE)).expect("our own socket");
    stream.set_nodelay(true).expect("our own socket");
    let mut ahead = Vec::new();
    for request in 0.. {
        let end = loop {
            if let Some(at) = ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            let mut bytes = [0; 4096];
            match stream.read(&mut bytes) {
                Ok(0) | Err(_) => return,
                Ok(read) => ahead.extend_from_slice(&bytes[..read]),
            }
        };
        let head = String::from_utf8_lossy(&ahead[..end]).into_owned();
        ahead.drain(..end + 4);
        shared.heads.lock().expect("no panic").push(head.clone());
        let mut asked = Asked { connection, request, head: &head, stream: &mut stream, ahead: &mut ahead };
        if matches!(answer(&mut asked), Then::Close) {
            return;
        }
    }
}
