//! Servers of the simplest kind: a thread for each connection, an answer for each request, TLS if need be.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The time that a connection may be silent before its thread ends.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server; it serves until the test ends.
pub(crate) struct Origin {
    pub(crate) addr: SocketAddr,
    accepted: Arc<AtomicUsize>,
    /// One message for each connection that the client has closed.
    closed: Mutex<Receiver<()>>,
}

/// The answer to a request; nothing: never.
type Answer = Option<&'static str>;

impl Origin {
    /// Answers every request with `answer`.
    pub(crate) fn start(answer: Answer, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let (tell_closed, closed) = sync_channel(10_000);
        let counter = Arc::clone(&accepted);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, tls, tell) = (stream.unwrap(), tls.clone(), tell_closed.clone());
                counter.fetch_add(1, SeqCst);
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                thread::spawn(move || serve_connection(stream, tls, answer, &tell));
            }
        });
        Self { addr, accepted, closed: Mutex::new(closed) }
    }

    /// The number of connections it has taken.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    /// Waits until a client has closed a connection.
    pub(crate) fn wait_for_close(&self) {
        self.closed.lock().unwrap().recv_timeout(PATIENCE).expect("no connection was closed");
    }
}

fn serve_connection(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    answer: Answer,
    closed: &SyncSender<()>,
) {
    match tls {
        None => serve(stream, answer),
        Some(config) => serve(StreamOwned::new(ServerConnection::new(config).unwrap(), stream), answer),
    }
    // The test may be over.
    let _told = closed.send(());
}

/// Requests without a body, one after the other, until there are no more.
fn serve(mut stream: impl Read + Write, answer: Answer) {
    let mut head = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            if let Some(answer) = answer
                && stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).is_err()
            {
                return;
            }
        }
    }
}

/// A short answer on a connection that lives on.
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
