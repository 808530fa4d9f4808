//! A log server that is stopped and started again, and Medusa stopped while it is gone: with `when_full = "spill"` no
//! record is lost uncounted.

use std::fs;

use medusa_testkit::syslog::{Kind, LogServer};
use medusa_testkit::{Numbered, Server, Signal, Site, Tally, wait};
use serde_json::Value;

use super::support::{MEDUSA, start};

const CONNECTIONS: usize = 8;

/// The most records of one batch.
const BATCH: u64 = 256;

/// The number of requests between one thing that happens to the log server and the next.
const BETWEEN: u64 = 8_000;

/// Fewer records than there are requests: they go to the disk even while the log server works. If that is slow some are
/// lost, and counted.
const SCARCE: &str = "queue = 4096";

/// More than are ever waiting, however slow the disk is: none is lost. They go there when the log server fails.
const AMPLE: &str = "queue = 4000000, queue_bytes = '1 GiB'";

/// A site that logs there, with these options besides.
fn logging(target: &str, options: &str) -> Site {
    Site::script(&format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0', limits = {{ requests = 0 }}, log = medusa.log.syslog('{target}',
            {{ message = 'common', when_full = 'spill', {options} }}) }}
        web:mount('/', function() return 'x' end)"
    ))
}

fn tcp(log: &LogServer, options: &str) -> Site {
    logging(&format!("tcp://{}", log.tcp_octet()), options)
}

#[track_caller]
fn sink(server: &Server) -> Value {
    server.documents("log.syslog").remove(0)
}

fn count(sink: &Value, field: &str) -> u64 {
    sink[field].as_u64().unwrap_or_default()
}

#[track_caller]
fn more(load: &Numbered, requests: u64) {
    let before = load.answered();
    wait::until("the load has run", || (load.answered() >= before + requests).then_some(()));
}

/// Reads what the log server writes until it has all of `requests`, less those counted as lost; goes on as long as
/// something comes. Returns what the sink then says.
#[track_caller]
fn read_all(tally: &mut Tally, log: &LogServer, server: &Server, requests: u64) -> Value {
    loop {
        let before = tally.distinct() + tally.repeated();
        let done = wait::until(&format!("more than {} of {requests} have come", tally.distinct()), || {
            tally.read(&log.file(), |_| {});
            let sink = sink(server);
            let all = tally.distinct() + count(&sink, "lost") >= requests;
            let more = tally.distinct() + tally.repeated() > before;
            (all || more).then_some(all.then_some(sink))
        });
        if let Some(sink) = done {
            return sink;
        }
    }
}

/// Stops the log server and starts it again, so many times, while requests are made as fast as can be: every record has
/// come in the end, or is counted as lost.
#[track_caller]
fn expect_all_through_restarts(mut log: LogServer, site: &Site, times: u64) -> (Tally, Value) {
    let server = start(site);
    let load = Numbered::start(server.address(), CONNECTIONS);
    for _ in 0..times {
        more(&load, BETWEEN);
        log.stop();
        more(&load, BETWEEN);
        wait::until("records are on disk", || (count(&sink(&server), "spilled") > 0).then_some(()));
        let file = log.file();
        let size = || fs::metadata(&file).expect("it was there before").len();
        let before = size();
        log.restart();
        wait::until("records come again", || (size() > before).then_some(()));
    }
    more(&load, BETWEEN);
    let made = load.stop();
    made.expect_clean();
    let mut tally = Tally::new();
    read_all(&mut tally, &log, &server, made.requests());
    // Nothing is behind it that would come twice.
    let sink = wait::until("all is written", || {
        Some(sink(&server)).filter(|sink| count(sink, "queue") == 0 && count(sink, "spilled") == 0)
    });
    server.terminate();
    tally.read(&log.file(), |_| {});
    eprintln!(
        "{} requests, {} distinct records, {} twice; {sink}",
        made.requests(),
        tally.distinct(),
        tally.repeated()
    );
    assert_eq!(tally.distinct() + count(&sink, "lost"), made.requests(), "{sink}");
    assert!(count(&sink, "reconnects") >= times, "{sink}");
    // What was being sent when the connection broke is not counted: it had not been sent as a whole.
    let again = count(&sink, "resent") + times * BATCH;
    assert!(tally.repeated() <= again, "more came twice than was sent again: {sink}");
    assert_eq!(tally.disordered(), 0, "{sink}");
    (tally, sink)
}

#[test]
fn what_is_acknowledged_comes_once_through_restarts_under_load() {
    let log = LogServer::start(Kind::Rsyslog);
    let site = logging(&format!("relp://{}", log.relp()), AMPLE);
    let (tally, sink) = expect_all_through_restarts(log, &site, 3);
    assert_eq!((tally.repeated(), count(&sink, "lost")), (0, 0), "{sink}");
}

#[test]
fn nor_does_it_come_twice_over_tls_under_load() {
    let log = LogServer::start(Kind::Rsyslog);
    let [cert, key] = log.identity();
    let (ca, cert, key) = (log.ca(), cert.display(), key.display());
    let tls = format!("{AMPLE}, tls = {{ ca = '{}', cert = '{cert}', key = '{key}' }}", ca.display());
    let site = logging(&format!("relp+tls://{}", log.relp_tls()), &tls);
    let (tally, sink) = expect_all_through_restarts(log, &site, 1);
    assert_eq!((tally.repeated(), count(&sink, "lost")), (0, 0), "{sink}");
}

#[test]
fn a_log_server_that_is_restarted_five_times_misses_nothing_under_load() {
    let log = LogServer::start(Kind::Rsyslog);
    let site = tcp(&log, SCARCE);
    expect_all_through_restarts(log, &site, 5);
}

#[test]
fn nor_does_one_that_is_spoken_to_over_tls_under_load() {
    let log = LogServer::start(Kind::Rsyslog);
    let tls = format!("{SCARCE}, tls = {{ ca = '{}' }}", log.ca().display());
    let site = logging(&format!("tls://{}", log.tls()), &tls);
    expect_all_through_restarts(log, &site, 1);
}

#[test]
fn nor_does_one_that_is_spoken_to_by_a_unix_stream_under_load() {
    let log = LogServer::start(Kind::SyslogNg);
    let site =
        logging(&format!("unix:{}", log.unix_stream().display()), &format!("{SCARCE}, format = 'rfc5424'"));
    expect_all_through_restarts(log, &site, 1);
}

#[test]
fn nor_does_one_that_is_spoken_to_by_unix_datagrams_under_load() {
    let log = LogServer::start(Kind::SyslogNg);
    let site = logging(&format!("unix:{}", log.unix_datagram().display()), SCARCE);
    expect_all_through_restarts(log, &site, 1);
}

#[test]
fn what_is_spilled_comes_in_order_after_a_restart_of_ours_under_load() {
    let mut log = LogServer::stopped(Kind::Rsyslog);
    let site = tcp(&log, AMPLE);
    let state = Site::new();
    let serve = || MEDUSA.serve_with_state(site.path(), state.path()).start();
    let (mut tally, mut requests) = (Tally::new(), 0);
    for run in 0..2 {
        let server = serve();
        let load = Numbered::start_as(server.address(), run * CONNECTIONS..(run + 1) * CONNECTIONS);
        more(&load, 3 * BETWEEN);
        let made = load.stop();
        made.expect_clean();
        requests += made.requests();
        server.terminate();
    }
    log.restart();
    let server = serve();
    let load = Numbered::start_as(server.address(), 2 * CONNECTIONS..3 * CONNECTIONS);
    more(&load, BETWEEN);
    let made = load.stop();
    made.expect_clean();
    requests += made.requests();
    let sink = read_all(&mut tally, &log, &server, requests);
    eprintln!("{requests} requests, {} distinct records; {sink}", tally.distinct());
    assert_eq!((tally.distinct(), count(&sink, "lost")), (requests, 0), "{sink}");
    assert_eq!((tally.repeated(), tally.disordered()), (0, 0), "{sink}");
    // In the order of the runs, as a connection's number says which run it was of.
    let text = fs::read_to_string(log.file()).expect("what came");
    let runs: Vec<usize> = text.lines().filter_map(run_of).collect();
    assert!(runs.is_sorted(), "a later run came before an earlier one");
}

#[test]
fn what_is_on_disk_outlives_a_kill_under_load() {
    let mut log = LogServer::stopped(Kind::Rsyslog);
    let site = tcp(&log, AMPLE);
    let state = Site::new();
    let serve = || MEDUSA.serve_with_state(site.path(), state.path()).start();
    let mut server = serve();
    let load = Numbered::start(server.address(), CONNECTIONS);
    more(&load, 3 * BETWEEN);
    let spilled = count(&sink(&server), "spilled");
    server.signal(Signal::KILL);
    server.wait();
    let made = load.stop();
    log.restart();
    let server = serve();
    let mut tally = Tally::new();
    let sink = read_all(&mut tally, &log, &server, spilled);
    eprintln!("{} answered, {spilled} on disk, {} have come; {sink}", made.answered(), tally.distinct());
    assert!(spilled > BETWEEN, "{sink}");
    assert_eq!(count(&sink, "lost"), 0, "{sink}");
}

/// The run of the server that a record is of.
fn run_of(line: &str) -> Option<usize> {
    let (_, rest) = line.split_once("number-")?;
    Some(rest.split_once('-')?.0.parse::<usize>().ok()? / CONNECTIONS)
}
