//! A log target that takes connections and never reads: it costs requests nothing, memory is bounded, and every record is
//! delivered, spilled or counted.

use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use medusa_testkit::load::Report;
use medusa_testkit::{Load, Numbered, PATIENCE, Server, Site, Tally, cpu, memory, wait};
use serde_json::Value;

use super::live::established;
use super::support::start;

const CONNECTIONS: u32 = 16;

/// More requests than the kernel's buffers and the queue have room for.
const REQUESTS: u64 = 60_000;

/// Requests of a round, and those before the first.
const ROUND: u64 = 15_000;
const WARM: u64 = 5_000;

/// The number of rounds: on a quiet machine, and at the most.
const LEAST_ROUNDS: u64 = 3;
const ROUNDS: u64 = 12;

/// Records that may wait in memory: far fewer than there are requests.
const QUEUE: u64 = 4_096;

/// What may come to the queue in memory, in bytes: what a few thousand batches on their way and a busy allocator take.
const MEMORY: u64 = 48 << 20;

/// A target that lets others connect, and does nothing with what they send until it is told to read.
struct Deaf(TcpListener);

impl Deaf {
    fn listen() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("a free port"))
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("it listens")
    }

    /// The connection that the sink has made.
    fn accept(&self) -> TcpStream {
        self.0.accept().expect("a connection").0
    }
}

fn site(log: &str) -> Site {
    Site::script(&format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0', log = {log} }}
        web:mount('/', function() return 'x' end)"
    ))
}

fn syslog(to: SocketAddr, when_full: &str) -> Site {
    site(&format!(
        "medusa.log.syslog('tcp://{to}', {{ framing = 'lf', when_full = '{when_full}', queue = {QUEUE} }})"
    ))
}

/// The cost of the loads on a server so far.
#[derive(Debug)]
struct Cost {
    /// The best of all rounds: whatever else the machine does, only adds to it.
    p99: Duration,
    /// CPU time of the server, and what it was spent on.
    cpu: Duration,
    requests: u64,
    /// What the server held before the first round.
    held: u64,
}

impl Cost {
    /// Of a server that has done some work, but none that counts.
    #[track_caller]
    fn of(server: &Server) -> Self {
        press(server, WARM);
        Self { p99: Duration::MAX, cpu: Duration::ZERO, requests: 0, held: memory::resident(server.pid()) }
    }

    /// One more round.
    #[track_caller]
    fn add(&mut self, server: &Server) {
        let before = cpu::time(server.pid());
        let report = press(server, ROUND);
        self.cpu += cpu::time(server.pid()).saturating_sub(before);
        self.p99 = self.p99.min(report.p99);
        self.requests += report.requests;
    }

    fn per_request(&self) -> Duration {
        self.cpu.div_f64(self.requests as f64)
    }
}

/// A load of some requests, each of which has a good answer.
#[track_caller]
fn press(server: &Server, count: u64) -> Report {
    let before = server.number("http", "requests");
    let load = Load::start(server.address(), "/", CONNECTIONS);
    established(server, u64::from(CONNECTIONS));
    wait::until("the load has run", || (server.number("http", "requests") > before + count).then_some(()));
    let report = load.stop();
    wait::until("the load is gone", || (server.number("listener", "open") == 0).then_some(()));
    report.expect_clean();
    report
}

/// Its one syslog sink.
#[track_caller]
fn sink(server: &Server) -> Value {
    server.documents("log.syslog").remove(0)
}

fn count(sink: &Value, field: &str) -> u64 {
    sink[field].as_u64().unwrap_or_default()
}

/// The records that a sink knows of: each is in one of these places.
fn known(sink: &Value) -> u64 {
    ["written", "queue", "spilled", "lost"].iter().map(|place| count(sink, place)).sum()
}

/// Waits until it knows of as many as there were requests.
#[track_caller]
fn expect_all_known(server: &Server) -> Value {
    wait::until("every request is a record that is written, waiting, spilled or lost", || {
        let requests = server.number("http", "requests");
        Some(sink(server)).filter(|sink| known(sink) == requests)
    })
}

/// Presses on a server that logs to a file and on one whose log is never read, in turns: on a busy machine until a round
/// of each was left alone, but not for ever.
#[track_caller]
fn expect_to_cost_no_more(when_full: &str, with_file: &Server, stalled: &Server) {
    let (mut file, mut stall) = (Cost::of(with_file), Cost::of(stalled));
    let is_fast = |stall: &Cost, file: &Cost| stall.p99 <= 3 * file.p99 + Duration::from_millis(5);
    for round in 1..=ROUNDS {
        file.add(with_file);
        stall.add(stalled);
        if round >= LEAST_ROUNDS && is_fast(&stall, &file) {
            break;
        }
    }
    let grown = memory::resident(stalled.pid()).saturating_sub(stall.held);
    eprintln!(
        "{when_full}: p99 {:?}, with a file {:?}; CPU per request {:?}, with a file {:?}; grown by {} KiB",
        stall.p99,
        file.p99,
        stall.per_request(),
        file.per_request(),
        grown >> 10
    );
    assert!(is_fast(&stall, &file), "{when_full}: requests wait for a log: {stall:?}, with a file {file:?}");
    assert!(stall.per_request() <= 3 * file.per_request(), "{when_full}: {stall:?}, with a file {file:?}");
    assert!(grown <= MEMORY, "{when_full}: grown by {grown} bytes");
}

#[test]
fn a_target_that_never_reads_costs_requests_nothing_under_load() {
    let to_file = site("medusa.log.file('access.log')");
    let with_file = start(&to_file);
    for when_full in ["drop_new", "drop_old", "spill"] {
        let deaf = Deaf::listen();
        let site = syslog(deaf.address(), when_full);
        let server = start(&site);
        let _held = deaf.accept();
        expect_to_cost_no_more(when_full, &with_file, &server);
        let sink = expect_all_known(&server);
        eprintln!("{sink}");
        assert!(count(&sink, "queue") <= QUEUE, "{sink}");
        let elsewhere = if when_full == "spill" { "spilled" } else { "lost" };
        assert!(count(&sink, elsewhere) > 0, "{when_full}: nothing is {elsewhere}: {sink}");
    }
}

/// The number of records that a message says were lost.
fn lost_in(message: &str) -> Option<u64> {
    let (before, _) =
        message.split_once(" records lost between ").or_else(|| message.split_once(" record lost at "))?;
    before.rsplit(' ').next()?.parse().ok()
}

#[test]
fn a_target_that_reads_at_last_is_told_what_is_missing_under_load() {
    for when_full in ["drop_new", "drop_old", "spill"] {
        let deaf = Deaf::listen();
        let site = syslog(deaf.address(), when_full);
        let server = start(&site);
        let stream = deaf.accept();
        stream.set_read_timeout(Some(PATIENCE)).expect("our own socket");
        let load = Numbered::start(server.address(), CONNECTIONS as usize);
        wait::until("the load has run", || (load.answered() > REQUESTS).then_some(()));
        let made = load.stop();
        made.expect_clean();
        let sink = expect_all_known(&server);
        assert_eq!(known(&sink), made.requests());
        eprintln!("{when_full}: {} requests, {sink}", made.requests());

        let (mut tally, mut lost) = (Tally::new(), 0);
        let mut lines = BufReader::new(stream).lines();
        let mut next = || lines.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
        while tally.distinct() + lost < made.requests() {
            let line = next().unwrap_or_else(|error| {
                panic!("{error} after {} records, {lost} lost: {}", tally.distinct(), self::sink(&server))
            });
            tally.note(&line);
            lost += lost_in(&line).unwrap_or_default();
        }
        let sink = wait::until("all is written", || {
            Some(self::sink(&server)).filter(|sink| count(sink, "queue") == 0 && count(sink, "spilled") == 0)
        });
        assert_eq!(lost, count(&sink, "lost"), "{when_full}: the stream says what the status says: {sink}");
        assert!(lost > 0 || when_full == "spill", "{sink}");
        assert_eq!((tally.repeated(), tally.disordered()), (0, 0), "{when_full}: {sink}");
    }
}
