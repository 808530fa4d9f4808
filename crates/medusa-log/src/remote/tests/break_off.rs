//! Connections that break: what was sent and has not arrived comes again.

use std::collections::HashSet;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::thread;

use super::*;

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
