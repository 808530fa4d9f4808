//! Sinks against real sockets.

mod break_off;
mod datagrams;
mod end;
mod journal;
mod secured;
mod stall;

use std::io::{BufRead as _, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use medusa_proto::format::Format;
use medusa_proto::status::Value;
use medusa_proto::syslog::{AppName, Facility, Style, SyslogFraming, SyslogHeader};

use super::*;
use crate::batch::tests::batch;
use crate::drain::Drain;

/// Beyond this, something that should happen will not.
const PATIENCE: Duration = Duration::from_secs(20);

fn lines() -> RemoteOptions {
    options(RecordFraming::Lines(Format::Common, LineEnd::Newline))
}

fn options(framing: RecordFraming) -> RemoteOptions {
    RemoteOptions { framing, tls: TlsOptions::default(), max_size: None, queue: QueueOptions::default() }
}

fn messages(style: Style, framing: SyslogFraming) -> RemoteOptions {
    let header = SyslogHeader {
        style,
        facility: Facility::Daemon,
        app_name: AppName::default(),
        hostname: String::new(),
        procid: "42".to_owned(),
        structured: None,
    };
    options(RecordFraming::Syslog(Box::new(header), Format::Common, framing))
}

fn target(text: &str) -> RemoteTarget {
    RemoteTarget::parse(text).expect("a target")
}

/// A sink that has been prepared.
fn sink(target: RemoteTarget, options: RemoteOptions) -> RemoteSink {
    let sink = RemoteSink::new(target, options);
    sink.prepare().expect("nothing is in the way");
    sink
}

fn tcp() -> (TcpListener, RemoteTarget) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = target(&format!("tcp://{}", listener.local_addr().expect("an address")));
    (listener, target)
}

fn unix(path: &Path, kind: UnixKind) -> RemoteTarget {
    RemoteTarget::Unix(path.to_owned(), kind)
}

fn submit(sink: &RemoteSink, numbers: std::ops::Range<usize>) {
    sink.submit(&batch(numbers.map(|number| format!("/{number}"))));
}

fn flush(sink: &RemoteSink) -> Flushed {
    sink.flush(Instant::now() + PATIENCE)
}

/// The number in `GET /12 HTTP/1.1`.
fn number(line: &str) -> usize {
    let target = line.split(' ').find_map(|word| word.strip_prefix('/')).expect(line);
    target.parse().expect(line)
}

fn numbers(text: &str) -> Vec<usize> {
    text.lines().map(number).collect()
}

fn field(sink: &RemoteSink, name: &str) -> Value {
    sink.status().get(name).cloned().unwrap_or(Value::Count(0))
}

/// Waits until the field `name` of the sink's status is `value`.
fn until(sink: &RemoteSink, name: &str, value: impl Into<Value>) {
    let (value, deadline) = (value.into(), Instant::now() + PATIENCE);
    while field(sink, name) != value {
        assert!(Instant::now() < deadline, "{name} is not {value:?}:\n{}", sink.status());
        std::thread::yield_now();
    }
}

/// All that comes until the sink hangs up.
fn rest(mut from: impl Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).expect("text until the end");
    text
}

#[test]
fn lines_arrive_by_tcp_and_the_end_is_orderly() {
    let (listener, target) = tcp();
    let sink = sink(target, lines());
    submit(&sink, 0..3);
    submit(&sink, 3..5);
    let (peer, _) = listener.accept().expect("a connection");
    assert!(flush(&sink).is_complete());
    assert_eq!((field(&sink, "written"), field(&sink, "connected")), (Value::Count(5), Value::Flag(true)));
    drop(sink);
    assert_eq!(numbers(&rest(peer)), [0, 1, 2, 3, 4]);
}

#[test]
fn lines_arrive_by_unix_and_may_end_in_nul() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log");
    let listener = UnixListener::bind(&path).expect("a socket");
    let sink =
        sink(unix(&path, UnixKind::Stream), options(RecordFraming::Lines(Format::Common, LineEnd::Nul)));
    submit(&sink, 0..3);
    let (peer, _) = listener.accept().expect("a connection");
    drop(sink);
    let text = rest(peer);
    assert!(text.ends_with('\0') && !text.contains('\n'));
    assert_eq!(text.split_terminator('\0').map(number).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn messages_of_a_stream_have_their_length_before_them() {
    let (listener, target) = tcp();
    let sink = RemoteSink::new(target, messages(Style::Rfc5424, SyslogFraming::Octet));
    sink.prepare().expect("nothing is in the way");
    submit(&sink, 0..2);
    let (peer, _) = listener.accept().expect("a connection");
    drop(sink);
    let text = rest(peer);
    let mut left = text.as_str();
    for expected in 0..2 {
        let (length, behind) = left.split_once(' ').expect("a length");
        let (message, next) = behind.split_at(length.parse().expect("a number"));
        assert!(message.starts_with("<30>1 1970-01-01T") && number(message) == expected, "{message}");
        left = next;
    }
    assert_eq!(left, "");
}

#[test]
fn a_target_that_is_not_there_yet_is_waited_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log");
    let sink = sink(unix(&path, UnixKind::Stream), lines());
    submit(&sink, 0..2);
    until(&sink, "failing", true);
    assert_eq!(field(&sink, "connected"), Value::Flag(false));
    let listener = UnixListener::bind(&path).expect("a socket");
    let (peer, _) = listener.accept().expect("a connection, soon");
    assert!(flush(&sink).is_complete());
    assert_eq!(field(&sink, "failing"), Value::Flag(false));
    let mut line = String::new();
    BufReader::new(peer).read_line(&mut line).expect("a line");
    assert_eq!(number(&line), 0);
}

#[test]
fn a_name_without_an_address_is_refused() {
    let sink = RemoteSink::new(target("tcp://no-such-host.invalid:514"), lines());
    for result in [sink.check(), sink.prepare()] {
        let error = result.expect_err("RFC 6761 says so").to_string();
        assert!(error.contains("\"no-such-host.invalid\"") && error.contains("tcp://"), "{error}");
    }
    submit(&sink, 0..2);
    assert_eq!(sink.flush(Instant::now() + PATIENCE).left, 2, "at once");
}

#[test]
fn a_name_leads_to_all_of_its_addresses() {
    // Most systems give localhost ::1 as well, where nobody listens here.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let sink = sink(target(&format!("tcp://localhost:{port}")), lines());
    submit(&sink, 0..1);
    let (peer, _): (TcpStream, _) = listener.accept().expect("a connection");
    drop(sink);
    assert_eq!(numbers(&rest(peer)), [0]);
}

#[test]
fn checking_connects_to_nobody() {
    let (listener, target) = tcp();
    listener.set_nonblocking(true).expect("a socket");
    RemoteSink::new(target, lines()).check().expect("it resolves");
    listener.accept().expect_err("nobody there");
}
