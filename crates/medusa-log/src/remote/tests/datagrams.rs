//! UDP and unix datagrams.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use super::*;

fn udp() -> (UdpSocket, RemoteTarget) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let target = target(&format!("udp://{}", socket.local_addr().expect("an address")));
    (socket, target)
}

fn receive(socket: &UdpSocket) -> String {
    let mut buffer = vec![0; 65_536];
    let length = socket.recv(&mut buffer).expect("a datagram");
    String::from_utf8(buffer[..length].to_vec()).expect("whole characters")
}

fn receive_unix(socket: &UnixDatagram) -> String {
    let mut buffer = vec![0; 300_000];
    let length = socket.recv(&mut buffer).expect("a datagram");
    String::from_utf8(buffer[..length].to_vec()).expect("whole characters")
}

#[test]
fn a_datagram_is_one_record_cut_to_a_safe_size() {
    let (socket, target) = udp();
    let sink = sink(target.clone(), messages(Style::Rfc5424, SyslogFraming::Octet));
    sink.submit(&batch(["/0".to_owned(), format!("/{}", "ü".repeat(4000)), "/2".to_owned()]));
    assert_eq!(number(&receive(&socket)), 0);
    let cut = receive(&socket);
    assert!((2045..=2048).contains(&cut.len()), "{}", cut.len());
    let last = receive(&socket);
    assert!(last.starts_with("<30>1 ") && number(&last) == 2, "no frame: {last}");
    assert!(flush(&sink).is_complete());
    assert_eq!(field(&sink, "truncated"), Value::Count(1));

    let sink = self::sink(target, RemoteOptions { max_size: Some(600), ..lines() });
    sink.submit(&batch([format!("/{}", "ü".repeat(4000))]));
    assert!((599..=600).contains(&receive(&socket).len()));
}

#[test]
fn while_nobody_listens_records_wait() {
    let (socket, target) = udp();
    let addr = socket.local_addr().expect("an address");
    let sink = sink(target, lines());
    submit(&sink, 0..100);
    let mut seen: Vec<_> = (0..100).map(|_| number(&receive(&socket))).collect();
    drop(socket);
    submit(&sink, 100..200);
    until(&sink, "failing", true);
    submit(&sink, 200..300);
    let socket = UdpSocket::bind(addr).expect("the same port");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
    seen.extend((0..200).map(|_| number(&receive(&socket))));
    assert_eq!(seen, (0..300).collect::<Vec<_>>(), "loopback says at once what it refuses");
    assert!(flush(&sink).is_complete());
    assert_eq!(field(&sink, "lost"), Value::Count(0));
}

#[test]
fn a_reopen_looks_for_the_target_anew() {
    let (socket, target) = udp();
    let sink = sink(target, lines());
    submit(&sink, 0..1);
    assert_eq!(number(&receive(&socket)), 0);
    sink.reopen().expect("it resolves");
    until(&sink, "reconnects", 1_u64);
    submit(&sink, 1..2);
    assert_eq!(number(&receive(&socket)), 1);
}

#[test]
fn a_unix_reader_that_is_slow_or_replaced_loses_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log");
    let first = UnixDatagram::bind(&path).expect("a socket");
    let sink = sink(unix(&path, UnixKind::Datagram), lines());
    submit(&sink, 0..5000); // more than a reader's queue
    let mut seen: Vec<_> = (0..3000).map(|_| number(&receive_unix(&first))).collect();
    assert_eq!(seen, (0..3000).collect::<Vec<_>>());
    std::fs::remove_file(&path).expect("a socket");
    drop(first);
    let second = UnixDatagram::bind(&path).expect("a socket");
    submit(&sink, 5000..5100);
    second.set_read_timeout(Some(PATIENCE)).expect("a socket");
    while seen.last() != Some(&5099) {
        seen.push(number(&receive_unix(&second)));
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 5100);
}

#[test]
fn unread_datagrams_of_a_reader_that_dies_are_sent_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log");
    let first = UnixDatagram::bind(&path).expect("a socket");
    let sink = sink(unix(&path, UnixKind::Datagram), lines());
    submit(&sink, 0..5);
    assert_eq!(number(&receive_unix(&first)), 0, "they are there");
    until(&sink, "written", 5_u64);
    drop(first);
    std::fs::remove_file(&path).expect("a socket");
    until(&sink, "connected", false);
    let second = UnixDatagram::bind(&path).expect("a socket");
    assert_eq!((0..5).map(|_| number(&receive_unix(&second))).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn what_the_kernel_finds_too_long_is_cut() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log");
    let reader = UnixDatagram::bind(&path).expect("a socket");
    let sink = sink(unix(&path, UnixKind::Datagram), lines());
    let (connection, _) = connect::Connector::new(unix(&path, UnixKind::Datagram), None, false)
        .connect(None)
        .expect("a reader");
    let connect::Connection::Datagrams(mut datagrams) = connection else { panic!("datagrams") };
    let long = "ü".repeat(500_000);
    assert!(matches!(datagrams.send(long.as_bytes()).expect("cut"), datagram::DatagramOutcome::Cut));
    let cut = receive_unix(&reader);
    assert!(cut.len() > 60_000 && long.starts_with(&cut), "{}", cut.len());
    submit(&sink, 0..1);
    assert_eq!(number(&receive_unix(&reader)), 0);
}

#[test]
fn dev_log_may_be_of_either_kind() {
    let dir = tempfile::tempdir().expect("a directory");
    let (stream, datagram) = (dir.path().join("stream"), dir.path().join("datagram"));
    let listener = UnixListener::bind(&stream).expect("a socket");
    let reader = UnixDatagram::bind(&datagram).expect("a socket");
    for path in [&stream, &datagram] {
        let sink = RemoteSink::new(unix(path, UnixKind::Either), messages(Style::Rfc3164, SyslogFraming::Lf));
        sink.prepare().expect("nothing is in the way");
        submit(&sink, 7..8);
        assert!(flush_unread(&sink));
    }
    let (peer, _) = listener.accept().expect("a connection");
    let (line, message) = (rest(peer), receive_unix(&reader));
    assert_eq!(line.trim_end_matches('\n'), message);
    assert!(
        message.starts_with("<30>Jan  1 ") && message.contains(" medusa[42]: 127.0.0.1 - - ["),
        "{message}"
    );
}

/// Tells whether all is written, though nobody has read it.
fn flush_unread(sink: &RemoteSink) -> bool {
    until(sink, "written", 1_u64);
    field(sink, "queue") == Value::Count(0)
}
