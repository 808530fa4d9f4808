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

/// Requests that are measured, in so many rounds, and those that come before.
const REQUESTS: u64 = 60_000;
const ROUNDS: u64 = 3;
const WARM: u64 = 5_000;

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

/// What loads have cost.
#[derive(Debug)]
struct Cost {
    /// The best of several: whatever else the machine does, only adds to it.
    p99: Duration,
    /// CPU time of the server, per request.
    cpu: Duration,
    /// By how much the server has grown, in bytes.
    grown: u64,
}

/// Presses on a server, several times after another.
#[track_caller]
fn press(server: &Server) -> Cost {
    let load = |count: u64| {
        let before = server.number("http", "requests");
        let load = Load::start(server.address(), "/", CONNECTIONS);
        established(server, u64::from(CONNECTIONS));
        wait::until("the load has run", || {
            (server.number("http", "requests") > before + count).then_some(())
        });
        let report = load.stop();
        wait::until("the load is gone", || (server.number("listener", "open") == 0).then_some(()));
        report.expect_clean();
        report
    };
    load(WARM);
    let (size, cpu) = (memory::resident(server.pid()), cpu::time(server.pid()));
    let reports: Vec<Report> = (0..ROUNDS).map(|_| load(REQUESTS / ROUNDS)).collect();
    let requests = reports.iter().map(|report| report.requests as f64).sum();
    Cost {
        p99: reports.iter().map(|report| report.p99).min().unwrap_or_default(),
        cpu: cpu::time(server.pid()).saturating_sub(cpu).div_f64(requests),
        grown: memory::resident(server.pid()).saturating_sub(size),
    }
}

/// Its one syslog sink.
#[track_caller]
fn sink(server: &Server) -> Value {
    server.parts("log.syslog").remove(0)
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

#[test]
fn a_target_that_never_reads_costs_requests_nothing_under_load() {
    let site = site("medusa.log.file('access.log')");
    let to_file = press(&start(&site));
    eprintln!("file: {to_file:?}");
    for when_full in ["drop_new", "drop_old", "spill"] {
        let deaf = Deaf::listen();
        let site = syslog(deaf.address(), when_full);
        let server = start(&site);
        let _held = deaf.accept();
        let stalled = press(&server);
        let sink = expect_all_known(&server);
        eprintln!("{when_full}: {stalled:?}, {sink}");
        let limit = 3 * to_file.p99 + Duration::from_millis(5);
        assert!(
            stalled.p99 <= limit,
            "{when_full}: requests wait for a log: {stalled:?}, with a file {to_file:?}"
        );
        assert!(stalled.cpu <= 3 * to_file.cpu, "{when_full}: {stalled:?}, with a file {to_file:?}");
        assert!(stalled.grown <= MEMORY, "{when_full}: {stalled:?}");
        assert!(count(&sink, "queue") <= QUEUE, "{sink}");
        let elsewhere = if when_full == "spill" { "spilled" } else { "lost" };
        assert!(count(&sink, elsewhere) > 0, "{when_full}: nothing is {elsewhere}: {sink}");
    }
}

/// How many records a message says were lost.
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

        let (mut tally, mut told) = (Tally::new(), 0);
        let mut lines = BufReader::new(stream).lines();
        let mut next = || lines.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
        while tally.distinct() + told < made.requests() {
            let line = next().unwrap_or_else(|error| {
                panic!("{error} after {} records, {told} lost: {}", tally.distinct(), self::sink(&server))
            });
            tally.note(&line);
            told += lost_in(&line).unwrap_or_default();
        }
        let sink = wait::until("all is written", || {
            Some(self::sink(&server)).filter(|sink| count(sink, "queue") == 0 && count(sink, "spilled") == 0)
        });
        assert_eq!(told, count(&sink, "lost"), "{when_full}: the stream says what the status says: {sink}");
        assert!(told > 0 || when_full == "spill", "{sink}");
        assert_eq!((tally.repeated(), tally.disordered()), (0, 0), "{when_full}: {sink}");
    }
}
