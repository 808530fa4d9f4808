//! Connections that break: what was sent and has not arrived comes again.

use std::collections::HashSet;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::drain::drain_all;
use crate::queue::{SpillOptions, WhenFull};

/// Reads `count` lines, and hangs up with whatever else has come unread.
fn read_some(peer: impl Read, count: usize) -> Vec<usize> {
    let lines = BufReader::with_capacity(256, peer).lines().take(count);
    lines.map(|line| number(&line.expect("a line"))).collect()
}

fn seen_by_all(incarnations: impl IntoIterator<Item = Vec<usize>>) -> HashSet<usize> {
    incarnations.into_iter().flatten().collect()
}

#[test]
fn every_record_arrives_at_one_of_two_receivers() {
    let (listener, target) = tcp();
    let sink = sink(target, lines());
    thread::scope(|scope| {
        let receivers = scope.spawn(|| {
            let (first, _) = listener.accept().expect("a connection");
            let first = read_some(first, 300);
            let (second, _) = listener.accept().expect("another connection");
            (first, numbers(&rest(second)))
        });
        for start in (0..20_000).step_by(100) {
            submit(&sink, start..start + 100);
        }
        until(&sink, "reconnects", 1_u64);
        assert!(flush(&sink).is_complete());
        let resent = field(&sink, "resent");
        assert_ne!(resent, Value::Count(0), "the first has left most unread");
        drop(sink);
        let (first, second) = receivers.join().expect("no panic");
        assert_eq!(first, (0..300).collect::<Vec<_>>());
        assert_eq!(seen_by_all([first, second.clone()]).len(), 20_000);
        assert!(second.is_sorted(), "in order");
    });
}

/// What a restless receiver does with its next connection.
#[derive(Clone, Copy, Debug)]
struct Visit {
    /// Lines to read.
    lines: usize,
    /// Whether to say goodbye before hanging up, which does not reset the connection.
    polite: bool,
}

fn visits() -> impl Strategy<Value = Vec<Visit>> {
    let visit = (0..3000_usize, any::<bool>()).prop_map(|(lines, polite)| Visit { lines, polite });
    proptest::collection::vec(visit, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn however_often_a_receiver_hangs_up_it_is_told_everything(visits in visits()) {
        const RECORDS: usize = 10_000;
        let (listener, target) = tcp();
        let sink = sink(target, lines());
        let hang_ups = visits.len() as u64;
        let seen = thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                let mut seen = HashSet::new();
                for visit in visits {
                    let (peer, _) = listener.accept().expect("a connection");
                    seen.extend(read_some(&peer, visit.lines));
                    if visit.polite {
                        peer.shutdown(std::net::Shutdown::Write).expect("a connection");
                    }
                }
                let (last, _) = listener.accept().expect("a connection");
                seen.extend(numbers(&rest(last)));
                seen
            });
            for start in (0..RECORDS).step_by(50) {
                submit(&sink, start..start + 50);
            }
            until(&sink, "reconnects", hang_ups);
            assert!(flush(&sink).is_complete());
            drop(sink);
            receiver.join().expect("no panic")
        });
        prop_assert_eq!(seen.len(), RECORDS);
    }
}

#[test]
fn a_receiver_that_hangs_up_while_nothing_is_sent_is_noticed_in_time() {
    let (listener, target) = tcp();
    let sink = sink(target, lines());
    submit(&sink, 0..10);
    let (first, _) = listener.accept().expect("a connection");
    assert!(flush(&sink).is_complete());
    drop(first); // all of it unread
    let (second, _) = listener.accept().expect("another connection, without anything new to send");
    assert!(flush(&sink).is_complete());
    drop(sink);
    assert_eq!(numbers(&rest(second)), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_unix_receiver_that_goes_is_no_different() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log");
    let listener = UnixListener::bind(&path).expect("a socket");
    let sink = sink(unix(&path, UnixKind::Stream), lines());
    submit(&sink, 0..100);
    let (first, _): (UnixStream, _) = listener.accept().expect("a connection");
    let first = read_some(first, 7);
    let (second, _) = listener.accept().expect("another connection");
    submit(&sink, 100..200);
    drop(sink);
    assert_eq!(seen_by_all([first, numbers(&rest(second))]).len(), 200);
}

#[test]
fn what_a_receiver_has_long_read_is_not_sent_again() {
    let (listener, target) = tcp();
    let sink = sink(target, lines());
    submit(&sink, 0..10);
    let (mut first, _) = listener.accept().expect("a connection");
    let mut buffer = [0; 4096];
    while !buffer.windows(4).any(|four| four == b" /9 ") {
        assert_ne!(first.read(&mut buffer).expect("ten lines"), 0);
    }
    let until = Instant::now() + window::GRACE + LOOKS;
    while Instant::now() < until {
        thread::park_timeout(LOOKS);
    }
    drop(first);
    submit(&sink, 10..20);
    let (second, _) = listener.accept().expect("another connection");
    drop(sink);
    assert_eq!(numbers(&rest(second)), (10..20).collect::<Vec<_>>());
}

/// Time for the writer to look after its connection, twice.
const LOOKS: Duration = Duration::from_millis(1100);

#[test]
fn a_receiver_that_talks_is_heard_and_kept() {
    let (listener, target) = tcp();
    let sink = sink(target, lines());
    let (mut peer, _) = listener.accept().expect("a connection");
    for start in 0..50 {
        peer.write_all(&[b'x'; 5000]).expect("it is read");
        submit(&sink, start..start + 1);
        assert!(flush(&sink).is_complete());
    }
    assert_eq!(field(&sink, "reconnects"), Value::Count(0));
    drop(sink);
    assert_eq!(numbers(&rest(peer)).len(), 50);
}

#[test]
fn a_sink_that_is_dropped_while_its_target_is_gone_ends_in_time() {
    let dir = tempfile::tempdir().expect("a directory");
    let sink = sink(unix(&dir.path().join("log"), UnixKind::Stream), lines());
    submit(&sink, 0..10);
    let queue = Arc::clone(&sink.queue);
    drop(sink);
    let flushed = queue.flush(Instant::now() + PATIENCE);
    assert!(flushed.is_complete(), "given up within 5 seconds");
    assert_eq!((queue.accounts().written, queue.accounts().lost), (0, 10));
}

/// Submits ten records by a sink that is then dropped, and returns its queue and the connection once they are written.
fn dropped_before_it_is_read(listener: &UnixListener, sink: RemoteSink) -> (Arc<Queue>, UnixStream) {
    submit(&sink, 0..10);
    let queue = Arc::clone(&sink.queue);
    let (first, _) = listener.accept().expect("a connection");
    drop(sink);
    let deadline = Instant::now() + PATIENCE;
    while queue.accounts().written < 10 {
        assert!(Instant::now() < deadline, "it is not written");
        thread::yield_now();
    }
    (queue, first)
}

#[test]
fn what_a_receiver_leaves_unread_when_the_sink_is_gone_already_comes_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log");
    let listener = UnixListener::bind(&path).expect("a socket");
    let sink = sink(unix(&path, UnixKind::Stream), lines());
    let (queue, first) = dropped_before_it_is_read(&listener, sink);
    drop(first);
    let (second, _) = listener.accept().expect("another connection");
    assert_eq!(numbers(&rest(second)), (0..10).collect::<Vec<_>>());
    assert!(queue.drain(Instant::now() + PATIENCE).is_complete());
    let accounts = queue.accounts();
    assert_eq!((accounts.written, accounts.pending, accounts.lost), (10, 0, 0), "{accounts:?}");
}

#[test]
fn what_a_receiver_leaves_unread_when_the_sink_is_gone_already_is_spilled() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log");
    let listener = UnixListener::bind(&path).expect("a socket");
    let spill = SpillOptions { directory: dir.path().join("spill"), bytes: u64::MAX };
    let mut options = lines();
    options.queue.when_full = WhenFull::Spill(spill);
    let sink = sink(unix(&path, UnixKind::Stream), options);
    let (queue, first) = dropped_before_it_is_read(&listener, sink);
    drop((first, listener));
    let _ = queue.drain(Instant::now() + PATIENCE);
    let accounts = queue.accounts();
    assert_eq!((accounts.written, accounts.pending, accounts.lost), (0, 0, 0), "{accounts:?}");
    assert_eq!(accounts.spilled, 10);
}

#[test]
fn the_end_of_the_process_waits_for_sinks_that_are_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log");
    let sink = sink(unix(&path, UnixKind::Stream), lines());
    submit(&sink, 0..10);
    drop(sink);
    thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let (peer, _) = UnixListener::bind(&path).expect("a socket").accept().expect("a connection");
            numbers(&rest(peer))
        });
        assert_eq!(drain_all(Instant::now() + PATIENCE), Flushed::default());
        assert_eq!(receiver.join().expect("no panic"), (0..10).collect::<Vec<_>>());
    });
}
