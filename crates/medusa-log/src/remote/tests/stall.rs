//! Targets that take connections and never read.

use super::*;

/// A sink with little room whose target does not read, given records until it has lost some of them.
fn stalled() -> (TcpListener, TcpStream, RemoteSink, usize) {
    let (listener, target) = tcp();
    let queue = QueueOptions { records: 1024, ..QueueOptions::default() };
    let sink = sink(target, RemoteOptions { queue, ..lines() });
    let (peer, _) = listener.accept().expect("a connection");
    let mut submitted = 0;
    while count(&sink, "lost") == 0 {
        submit(&sink, submitted..submitted + 100);
        submitted += 100;
        let full = Instant::now();
        while count(&sink, "queue") > 512 && full.elapsed() < FULL {
            std::thread::yield_now();
        }
    }
    (listener, peer, sink, submitted)
}

/// How long a queue must have been full for the kernel to have no room.
const FULL: Duration = Duration::from_millis(500);

fn count(sink: &RemoteSink, name: &str) -> usize {
    match field(sink, name) {
        Value::Count(count) => count as usize,
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn what_does_not_fit_is_counted_and_told_when_the_target_reads_on() {
    let (_listener, peer, sink, submitted) = stalled();
    assert!(!sink.flush(Instant::now() + Duration::from_millis(50)).is_complete());
    let reader = std::thread::spawn(move || rest(peer));
    assert!(flush(&sink).is_complete());
    assert_eq!(count(&sink, "written") + count(&sink, "lost"), submitted);
    let lost = count(&sink, "lost");
    drop(sink);
    let text = reader.join().expect("no panic");
    let (told, records): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with("# "));
    let told = told.iter().map(|line| line.split(' ').nth(1).and_then(|word| word.parse::<usize>().ok()));
    assert_eq!(told.map(|number| number.expect("a number")).sum::<usize>(), lost);
    assert_eq!(records.len() + lost, submitted);
}

#[test]
fn a_stalled_target_counts_as_failing_and_ends_with_its_sink() {
    let (_listener, _peer, sink, submitted) = stalled();
    until(&sink, "failing", true);
    let Value::Text(error) = field(&sink, "last_error") else { panic!("an error") };
    assert!(error.contains("taken nothing for 5 seconds"), "{error}");
    let queue = Arc::clone(&sink.queue);
    drop(sink);
    assert!(queue.flush(Instant::now() + PATIENCE).is_complete());
    let accounts = queue.accounts();
    assert_eq!((accounts.written + accounts.lost) as usize, submitted);
}
