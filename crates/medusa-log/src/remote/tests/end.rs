//! The end of the process, with a receiver of RELP that acknowledges nothing.

use std::io::Write as _;

use super::*;
use crate::queue::{SpillOptions, WhenFull};

const RECORDS: usize = 3000;

/// What a receiver says to a session that it will have.
const WELCOME: &str = "1 rsp 37 200 OK\nrelp_version=1\ncommands=syslog\n";

/// A receiver, and the options of a sink to it that spills to `directory`.
fn receiver(directory: &Path) -> (TcpListener, RemoteTarget, RemoteOptions) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = target(&format!("relp://{}", listener.local_addr().expect("an address")));
    let spill = SpillOptions { directory: directory.to_owned(), bytes: SpillOptions::DEFAULT_BYTES };
    let queue = QueueOptions { when_full: WhenFull::Spill(spill), ..QueueOptions::default() };
    let options = messages(Style::Rfc5424, SyslogFraming::Octet);
    (listener, target, RemoteOptions { queue, ..options })
}

/// Takes a connection, and welcomes it.
fn welcome(listener: &TcpListener) -> BufReader<TcpStream> {
    let mut reader = BufReader::new(listener.accept().expect("a connection").0);
    let mut offer = String::new();
    while !offer.ends_with("commands=syslog\n") {
        reader.read_line(&mut offer).expect("an offer");
    }
    reader.get_mut().write_all(WELCOME.as_bytes()).expect("a connection");
    reader
}

#[test]
fn what_is_not_acknowledged_at_the_end_is_kept_on_disk_with_what_waits_behind_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let (listener, target, options) = receiver(directory.path());
    let sink = sink(target, options);
    let mute = welcome(&listener);
    (0..RECORDS).step_by(100).for_each(|first| submit(&sink, first..first + 100));
    until(&sink, "unacknowledged", super::super::relp::WINDOW / 100 * 100);
    let flushed = sink.queue.drain(Instant::now() + Duration::from_millis(100));
    assert_eq!(flushed.left, 0, "{}", sink.status());
    assert_eq!(
        (field(&sink, "lost"), field(&sink, "spilled")),
        (Value::Count(0), Value::Count(RECORDS as u64))
    );
    drop((sink, mute));

    let (listener, target, options) = receiver(directory.path());
    let sink = self::sink(target, options);
    let mut reader = welcome(&listener);
    let (mut line, mut came) = (String::new(), Vec::new());
    while came.len() < RECORDS {
        line.clear();
        reader.read_line(&mut line).expect("a message");
        came.push(number(&line));
        let number = line.split(' ').next().expect("a number");
        reader.get_mut().write_all(format!("{number} rsp 6 200 OK\n").as_bytes()).expect("a connection");
    }
    assert!(came.iter().copied().eq(0..RECORDS), "in their order, once");
    assert!(flush(&sink).is_complete());
}
