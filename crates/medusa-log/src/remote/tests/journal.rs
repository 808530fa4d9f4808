//! The journal: datagrams of fields, and files for those that are too long.

use std::fs::File;
use std::io::{IoSliceMut, Seek as _};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixDatagram;

use medusa_proto::access::Record;
use medusa_proto::journal::Journal;
use rustix::fs::{SealFlags, fcntl_get_seals};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::*;
use crate::batch::tests::record;

/// The next message, and whether it came in a file.
fn receive(socket: &UnixDatagram) -> (Vec<u8>, bool) {
    let mut bytes = vec![0; 1 << 20];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut handed = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut handed, RecvFlags::CMSG_CLOEXEC);
    bytes.truncate(received.expect("a datagram").bytes);
    let Some(RecvAncillaryMessage::ScmRights(mut files)) = handed.drain().next() else {
        return (bytes, false);
    };
    assert!(bytes.is_empty(), "what is in a file is not beside it");
    let mut file = File::from(files.next().expect("a file"));
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    assert_eq!(fcntl_get_seals(&file).expect("a file in memory"), seals);
    file.rewind().expect("a file");
    file.read_to_end(&mut bytes).expect("a file");
    (bytes, true)
}

/// The fields of a message, as the journal reads it.
fn fields(mut message: &[u8]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    while !message.is_empty() {
        let end = message.iter().position(|&byte| byte == b'\n').expect("the end of a line");
        let (line, rest) = (&message[..end], &message[end + 1..]);
        if let Some(equals) = line.iter().position(|&byte| byte == b'=') {
            fields.push((text(&line[..equals]), text(&line[equals + 1..])));
            message = rest;
        } else {
            let (length, rest) = rest.split_first_chunk().expect("a length");
            let (value, rest) = rest.split_at(u64::from_le_bytes(*length) as usize);
            fields.push((text(line), text(value)));
            message = rest.strip_prefix(b"\n").expect("the end of a value");
        }
    }
    fields
}

#[test]
fn what_is_too_long_for_a_datagram_comes_whole_in_a_sealed_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("socket");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let journal = Journal { identifier: AppName::default(), message: Format::Combined };
    let sink = RemoteSink::new(unix(&path, UnixKind::Datagram), options(RecordFraming::Journal(journal)));
    sink.prepare().expect("nothing is in the way");
    // Control characters take four bytes each in a line, and a record has at most 16 KiB of each.
    let (long, bytes, user) =
        (format!("/{}", "\u{1}".repeat(8_000)), vec![1; 16_000], "\u{1}".repeat(16_000));
    let mut batch = Batch::new();
    batch.push(&record("/short", 0));
    batch.push(&Record {
        referer: Some(&bytes),
        user_agent: Some(&bytes),
        user: Some(&user),
        ..record(&long, 1)
    });
    batch.push(&record("/last", 2));
    sink.submit(&batch.seal());
    let expected = [("/short", false), (&long, true), ("/last", false)];
    for (target, is_long) in expected {
        let (message, is_file) = receive(&socket);
        let fields = fields(&message);
        let value = |name: &str| fields.iter().find(|(known, _)| known == name).expect(name).1.as_str();
        assert_eq!((value("HTTP_TARGET"), is_file), (target, is_long));
        assert_eq!((value("SYSLOG_IDENTIFIER"), value("PRIORITY")), ("medusa", "6"));
        assert!(value("MESSAGE").contains("\"GET "), "{}", value("MESSAGE"));
    }
    assert!(flush(&sink).is_complete());
    assert_eq!((field(&sink, "written"), field(&sink, "truncated")), (Value::Count(3), Value::Count(0)));
}
