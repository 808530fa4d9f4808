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
    let (records, told) = read(&reader.join().expect("no panic"));
    assert_eq!((told, records.len() + lost), (lost, submitted));
}

/// The numbers of the records in `text`, and how many it tells as lost.
fn read(text: &str) -> (Vec<usize>, usize) {
    let (told, records): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with("# "));
    let told = told.iter().map(|line| line.split(' ').nth(1).and_then(|word| word.parse::<usize>().ok()));
    (records.into_iter().map(number).collect(), told.map(|number| number.expect("a number")).sum())
}

#[test]
fn what_was_told_of_a_loss_is_told_again_if_nobody_has_read_it() {
    let (listener, mut peer, sink, submitted) = stalled();
    let mut first = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    while count(&sink, "queue") > 0 {
        let length = peer.read(&mut buffer).expect("a connection");
        first.extend_from_slice(&buffer[..length]);
    }
    drop(peer); // with all that stands behind what it has read, the loss as well
    let (second, _) = listener.accept().expect("another connection");
    let reader = std::thread::spawn(move || rest(second));
    assert!(flush(&sink).is_complete());
    let lost = count(&sink, "lost");
    drop(sink);
    let first = String::from_utf8(first).expect("text");
    let (first, told) = read(first.rsplit_once('\n').expect("a line").0);
    assert_eq!(told, 0);
    let (second, told) = read(&reader.join().expect("no panic"));
    assert_eq!(told, lost);
    let mut all = [first, second].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len() + lost, submitted);
}

#[test]
fn a_flush_waits_until_the_other_end_has_it() {
    let (listener, target) = tcp();
    // A peer with little room, so that most of it stays with our kernel.
    socket2::SockRef::from(&listener).set_recv_buffer_size(4096).expect("a socket");
    let sink = sink(target, lines());
    for start in (0..5000).step_by(250) {
        submit(&sink, start..start + 250);
    }
    let (peer, _) = listener.accept().expect("a connection");
    until(&sink, "written", 5000_u64);
    let left = sink.flush(Instant::now() + Duration::from_millis(50)).left;
    assert!((1..=5000).contains(&left), "{left} records");
    let reader = std::thread::spawn(move || rest(peer));
    assert!(flush(&sink).is_complete());
    drop(sink);
    assert_eq!(numbers(&reader.join().expect("no panic")).len(), 5000);
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
