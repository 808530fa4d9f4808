//! Requests that can be told apart: each asks for a path that no other asks for, so that whatever becomes of them (a line
//! in a log) can be counted one by one.
//!
//! **Invariant:** a connection sends number after number, from 0, without a gap, and knows when each answer had come. What
//! is counted here is the number of requests made, exactly: nothing is estimated from how long it took.

mod tally;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::PATIENCE;

pub use tally::Tally;

/// Requests that a connection sends at a time, in one write, before it reads the answers.
const AT_A_TIME: usize = 32;

/// A load under way.
#[derive(Debug)]
pub struct Numbered {
    shared: Arc<Progress>,
    connections: Vec<JoinHandle<Connection>>,
}

#[derive(Debug, Default)]
struct Progress {
    stop: AtomicBool,
    answered: AtomicU64,
}

/// The outcome of a load.
#[derive(Debug)]
pub struct Made {
    connections: Vec<Connection>,
}

/// The work of one connection.
#[derive(Debug, Default)]
struct Connection {
    number: usize,
    /// Requests sent, perhaps in part.
    sent: u64,
    /// The number of answers, and since when.
    answered: Vec<(Instant, u64)>,
    /// The reason why it ended before it was told to.
    broken: Option<io::Error>,
}

impl Numbered {
    /// Asks for `/number-<connection>-<number>` on so many connections, as fast as the answers come. All must be the same: 200,
    /// and of one length, and the server must let a connection make as many requests as it comes to.
    pub fn start(address: SocketAddr, connections: usize) -> Self {
        Self::start_as(address, 0..connections)
    }

    /// Does as [`start`](Self::start), on connections of these numbers: not those of a load before it.
    pub fn start_as(address: SocketAddr, numbers: Range<usize>) -> Self {
        let shared = Arc::<Progress>::default();
        let connections = numbers.map(|number| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || press(&shared, address, number))
        });
        Self { connections: connections.collect(), shared }
    }

    /// The number of answers that have come.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Ends it, once what is under way is answered or broken.
    ///
    /// # Panics
    ///
    /// An answer was not as the others.
    #[track_caller]
    pub fn stop(self) -> Made {
        self.shared.stop.store(true, Ordering::Relaxed);
        let join = |thread: JoinHandle<Connection>| thread.join().expect("every answer is as the others");
        Made { connections: self.connections.into_iter().map(join).collect() }
    }
}

impl Made {
    /// The number of requests sent.
    pub fn requests(&self) -> u64 {
        self.connections.iter().map(|connection| connection.sent).sum()
    }

    /// The number of them that were answered.
    pub fn answered(&self) -> u64 {
        self.connections.iter().map(Connection::answers).sum()
    }

    /// Asserts that every request had its answer.
    #[track_caller]
    pub fn expect_clean(&self) {
        let broken: Vec<&Connection> =
            self.connections.iter().filter(|one| one.sent > one.answers()).collect();
        let shown = |one: &&Connection| format!("{} of {}: {:?}", one.answers(), one.sent, one.broken);
        assert!(
            broken.is_empty(),
            "requests without an answer: {:?}",
            broken.iter().map(shown).collect::<Vec<_>>()
        );
    }

    /// Those that were answered and that `tally` has not seen, each with the time at which its answer had come.
    pub fn missing_of(&self, tally: &Tally) -> Vec<Instant> {
        let of_one = |connection: &Connection| {
            let mut from = 0;
            let mut missing = Vec::new();
            for (at, answered) in &connection.answered {
                missing.extend((from..*answered).filter(|n| !tally.has(connection.number, *n)).map(|_| *at));
                from = *answered;
            }
            missing
        };
        self.connections.iter().flat_map(of_one).collect()
    }
}

impl Connection {
    /// Notes these answers to the last requests sent.
    fn note(&mut self, shared: &Progress, answers: &[u8], length: usize) {
        let mut each = answers.chunks_exact(length);
        assert!(length > 0 && each.all(|answer| answer.starts_with(GOOD)), "an answer is not good");
        self.answered.push((Instant::now(), self.sent));
        shared.answered.fetch_add((answers.len() / length) as u64, Ordering::Relaxed);
    }

    fn answers(&self) -> u64 {
        self.answered.last().map_or(0, |(_, answered)| *answered)
    }
}

/// The beginning of every answer.
const GOOD: &[u8] = b"HTTP/1.1 200 ";

/// Longer than any answer, in bytes.
const LONGEST: usize = 4096;

/// One connection, to its end.
fn press(shared: &Progress, address: SocketAddr, number: usize) -> Connection {
    let mut done = Connection { number, ..Connection::default() };
    // A server that goes away ends it; what it owed is then not among the answered.
    done.broken = press_on(shared, address, &mut done).err();
    done
}

fn press_on(shared: &Progress, address: SocketAddr, done: &mut Connection) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answers = vec![0; LONGEST];
    send(&mut stream, done, 1)?;
    let length = stream.read(&mut answers)?;
    done.note(shared, &answers[..length], length);
    answers.resize(AT_A_TIME * length, 0);
    while !shared.stop.load(Ordering::Relaxed) {
        send(&mut stream, done, AT_A_TIME)?;
        stream.read_exact(&mut answers)?;
        done.note(shared, &answers, length);
    }
    Ok(())
}

/// Sends the next requests of a connection, in one write.
fn send(stream: &mut TcpStream, done: &mut Connection, count: usize) -> io::Result<()> {
    let mut requests = Vec::new();
    for _ in 0..count {
        write!(requests, "GET /number-{}-{} HTTP/1.1\r\nHost: t\r\n\r\n", done.number, done.sent)?;
        done.sent += 1;
    }
    stream.write_all(&requests)
}
