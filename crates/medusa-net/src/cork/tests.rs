//! The cork on a stream that records each write it gets and takes only as much as the test allows.

use std::fs::File;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::core::MAX_SLICES;
use super::*;
use crate::address::ListenAddr;
use crate::conn::{Peer, Phase, Signal};
use crate::descriptors::OpenFile;
use crate::worker_listener::{ListenerId, WorkerListener};

mod turns;

impl SendFile for Recorder {
    fn can_send_files(&self) -> bool {
        true
    }

    fn poll_send_file(
        &mut self,
        _: &mut Context<'_>,
        file: &File,
        at: u64,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        use std::os::unix::fs::FileExt;
        let mut sent = vec![0; len.min(self.room)];
        if sent.is_empty() {
            return Poll::Pending;
        }
        let read = file.read_at(&mut sent, at)?;
        sent.truncate(read);
        self.room -= sent.len();
        let count = sent.len();
        self.writes.push(sent);
        Poll::Ready(Ok(count))
    }
}

/// Records writes, each one a system call on a real stream; takes `room` bytes, then is not ready.
#[derive(Default)]
struct Recorder {
    writes: Vec<Vec<u8>>,
    room: usize,
    input: Vec<u8>,
    shut: bool,
    broken: bool,
    /// Takes bytes without writing them, as encrypted streams do.
    holding: bool,
}

impl AsyncRead for Recorder {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        buf.put_slice(&std::mem::take(&mut self.input));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Recorder {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut write: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        write.truncate(self.room);
        if write.is_empty() {
            return Poll::Pending;
        }
        let taken = write.len();
        self.room -= taken;
        self.writes.push(write);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.holding { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut = true;
        Poll::Ready(Ok(()))
    }
}

struct Rig {
    io: CorkIo<Recorder>,
    handle: CorkHandle<Recorder>,
    conn: Rc<Conn>,
}

impl Rig {
    fn with_room(room: usize) -> Self {
        let conn = Rc::new(Conn::new(
            1,
            WorkerListener::new(ListenerId::next(), ListenAddr::Unix("x".into())),
            Peer::Unix,
        ));
        let (io, handle) = cork(Recorder { room, ..Recorder::default() }, conn.clone());
        Self { io, handle, conn }
    }

    fn write(&mut self, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(&mut cx(), buf)
    }

    fn write_many(&mut self, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(&mut cx(), bufs)
    }

    fn flush(&mut self) {
        assert!(Pin::new(&mut self.io).poll_flush(&mut cx()).is_ready());
    }

    fn write_out(&self) -> Poll<io::Result<()>> {
        self.handle.poll_write_out(&mut cx())
    }

    fn make_room(&self, room: usize) {
        self.handle.core.borrow_mut().stream.room = room;
    }

    /// The size of each write the stream got.
    fn sizes(&self) -> Vec<usize> {
        self.handle.core.borrow().stream.writes.iter().map(Vec::len).collect()
    }

    fn output(&self) -> Vec<u8> {
        self.handle.core.borrow().stream.writes.concat()
    }
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn taken(poll: Poll<io::Result<usize>>) -> usize {
    match poll {
        Poll::Ready(Ok(count)) => count,
        other => panic!("expected a count, got {other:?}"),
    }
}

#[test]
fn many_small_responses_are_one_write() {
    let mut rig = Rig::with_room(usize::MAX);
    for _ in 0..16 {
        assert_eq!(taken(rig.write(b"response")), 8);
        rig.flush();
    }
    assert_eq!(rig.sizes(), []);
    assert_eq!(rig.handle.buffered(), 128);

    assert!(rig.write_out().is_ready());
    assert_eq!(rig.sizes(), [128]);
    assert_eq!((rig.handle.buffered(), rig.handle.bytes_written()), (0, 128));

    assert!(rig.write_out().is_ready());
    assert_eq!(rig.sizes(), [128], "nothing collected, nothing written");
}

#[test]
fn a_large_write_takes_the_collected_with_it_in_one_call() {
    let mut rig = Rig::with_room(usize::MAX);
    assert_eq!(taken(rig.write(b"head")), 4);
    assert_eq!(taken(rig.write(&[b'b'; DIRECT])), DIRECT);
    assert_eq!(rig.sizes(), [4 + DIRECT]);
    assert_eq!(rig.output().get(..5), Some(&b"headb"[..]));
    assert_eq!(rig.handle.buffered(), 0);
}

#[test]
fn slices_are_collected_or_passed_on_together() {
    let mut rig = Rig::with_room(usize::MAX);
    let small = [IoSlice::new(b"a"), IoSlice::new(b""), IoSlice::new(b"b")];
    assert_eq!(taken(Pin::new(&mut rig.io).poll_write_vectored(&mut cx(), &small)), 2);
    assert_eq!(rig.sizes(), []);

    let half = [b'c'; DIRECT / 2];
    let large = [IoSlice::new(&half), IoSlice::new(&half)];
    assert_eq!(taken(Pin::new(&mut rig.io).poll_write_vectored(&mut cx(), &large)), DIRECT);
    assert_eq!(rig.sizes(), [2 + DIRECT]);
}

#[test]
fn more_slices_than_fit_are_a_partial_write() {
    let mut rig = Rig::with_room(usize::MAX);
    let part = [b'x'; 1024];
    let many = vec![IoSlice::new(&part); 2 * MAX_SLICES];
    let count = taken(Pin::new(&mut rig.io).poll_write_vectored(&mut cx(), &many));
    assert_eq!(count, MAX_SLICES * 1024);
}

#[test]
fn a_large_write_on_a_slow_stream_keeps_the_order() {
    let mut rig = Rig::with_room(2);
    assert_eq!(taken(rig.write(b"head")), 4);
    assert!(rig.write(&[b'b'; DIRECT]).is_pending(), "none of it was taken, only part of the head");
    assert_eq!(rig.handle.buffered(), 2);

    rig.make_room(5);
    assert_eq!(taken(rig.write(&[b'b'; DIRECT])), 3);
    rig.make_room(usize::MAX);
    assert_eq!(taken(rig.write(b"end")), 3);
    assert!(rig.write_out().is_ready());
    assert_eq!(rig.output(), b"headbbbend");
}

#[test]
fn past_the_high_water_mark_writes_wait_for_the_stream() {
    let mut rig = Rig::with_room(0);
    let chunk = [b'x'; 1024];
    for _ in 0..HIGH_WATER / chunk.len() {
        assert_eq!(taken(rig.write(&chunk)), chunk.len());
    }
    assert!(rig.write(b"y").is_pending());
    assert!(rig.write_out().is_pending());
    assert!(!rig.handle.push_raw(b"y"));
    assert_eq!(rig.handle.buffered(), HIGH_WATER);

    rig.make_room(usize::MAX);
    assert_eq!(taken(rig.write(b"y")), 1);
    assert_eq!(rig.sizes(), [HIGH_WATER]);
    assert_eq!(rig.handle.buffered(), 1);
}

#[test]
fn shutdown_writes_out_first() {
    let mut rig = Rig::with_room(1);
    assert_eq!(taken(rig.write(b"bye")), 3);
    assert!(rig.handle.poll_shutdown(&mut cx()).is_pending());
    assert!(!rig.handle.core.borrow().stream.shut);

    rig.make_room(usize::MAX);
    assert!(rig.handle.poll_shutdown(&mut cx()).is_ready());
    assert_eq!(rig.output(), b"bye");
    assert!(rig.handle.core.borrow().stream.shut);
}

#[test]
fn the_driver_can_add_a_reply_after_the_protocol_gave_up() {
    let mut rig = Rig::with_room(usize::MAX);
    assert_eq!(taken(rig.write(b"200 ")), 4);
    assert!(rig.handle.push_raw(b"400"));
    rig.io = rig.handle.io();
    assert!(rig.handle.poll_shutdown(&mut cx()).is_ready());
    assert_eq!(rig.output(), b"200 400");
}

#[test]
fn an_error_discards_what_was_collected() {
    let mut rig = Rig::with_room(usize::MAX);
    assert_eq!(taken(rig.write(b"lost")), 4);
    rig.handle.core.borrow_mut().stream.broken = true;
    assert!(matches!(rig.write_out(), Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe));
    assert_eq!(rig.handle.buffered(), 0);
}

#[test]
fn the_first_byte_read_begins_a_request_head() {
    let mut rig = Rig::with_room(0);
    rig.handle.core.borrow_mut().stream.input = b"GET".to_vec();
    assert_eq!(rig.conn.phase(), Phase::Idle);

    let mut space = [0; 16];
    let mut buf = ReadBuf::new(&mut space);
    assert!(Pin::new(&mut rig.io).poll_read(&mut cx(), &mut buf).is_ready());
    assert_eq!((buf.filled(), rig.conn.phase()), (&b"GET"[..], Phase::Head));
    assert_eq!(rig.handle.bytes_read(), 3);
}

#[test]
fn a_stream_that_takes_nothing_is_noticed() {
    let mut rig = Rig::with_room(0);
    rig.conn.enter(Phase::Busy);
    rig.conn.set_deadlines(crate::Deadlines { write: Duration::from_secs(1), ..Default::default() });
    assert!(!rig.conn.check(2), "nothing to write, nothing to wait for");

    assert_eq!(taken(rig.write(b"x")), 1);
    assert!(rig.write_out().is_pending());
    assert!(rig.conn.check(2));
    assert_eq!(rig.conn.poll_signal(&mut cx()), Signal::Stalled);

    rig.make_room(1);
    assert!(rig.write_out().is_ready());
    assert_eq!(rig.conn.poll_signal(&mut cx()), Signal::None);
}

fn a_file(content: &[u8]) -> SharedFile {
    use std::io::Write;
    let mut file = tempfile::tempfile().expect("works");
    file.write_all(content).expect("works");
    Arc::new(OpenFile::new(file, None).expect("there is room"))
}

#[test]
fn a_placeholder_is_sent_as_the_piece_it_stands_for() {
    let mut rig = Rig::with_room(usize::MAX);
    let file = a_file(b"0123456789");
    let pieces = [rig.handle.file_placeholder(file.clone(), 2, 3), rig.handle.file_placeholder(file, 7, 3)];
    let bufs =
        [IoSlice::new(b"head "), IoSlice::new(&pieces[0]), IoSlice::new(&pieces[1]), IoSlice::new(b" tail")];
    assert_eq!(taken(rig.write_many(&bufs)), 5, "what stands before is taken first");
    assert_eq!(taken(rig.write_many(&bufs[1..])), 3);
    assert_eq!(taken(rig.write_many(&bufs[2..])), 3);
    assert_eq!(taken(rig.write_many(&bufs[3..])), 5);
    assert!(rig.write_out().is_ready());
    assert_eq!(rig.output(), b"head 234789 tail");
    assert_eq!(rig.handle.bytes_written(), 16);
}

#[test]
fn a_piece_goes_on_where_a_slow_peer_stopped_it() {
    let mut rig = Rig::with_room(4);
    let placeholder = rig.handle.file_placeholder(a_file(b"0123456789"), 0, 10);
    assert_eq!(taken(rig.write(&placeholder)), 4);
    assert!(rig.write(&placeholder[4..]).is_pending());
    rig.make_room(usize::MAX);
    assert_eq!(taken(rig.write(&placeholder[4..])), 6);
    assert_eq!(rig.output(), b"0123456789");
}

#[test]
fn a_file_that_shrank_breaks_the_stream_off() {
    let mut rig = Rig::with_room(usize::MAX);
    let placeholder = rig.handle.file_placeholder(a_file(b"01234"), 0, 10);
    assert_eq!(taken(rig.write(&placeholder)), 5);
    let Poll::Ready(Err(error)) = rig.write(&placeholder[5..]) else { panic!("there is no more") };
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn what_is_given_back_is_read_again_first() {
    let mut rig = Rig::with_room(0);
    rig.handle.core.borrow_mut().stream.input = b"third".to_vec();
    rig.handle.unread(Bytes::from_static(b"second "));
    rig.handle.unread(Bytes::from_static(b"first "));
    let mut read = Vec::new();
    for _ in 0..4 {
        let mut some = [0; 6];
        let mut some = ReadBuf::new(&mut some);
        assert!(Pin::new(&mut rig.io).poll_read(&mut cx(), &mut some).is_ready());
        read.extend_from_slice(some.filled());
    }
    assert_eq!(read, b"first second third");
    assert_eq!(rig.handle.bytes_read(), 5, "what is given back was counted when it was read");
}

#[test]
fn what_the_stream_itself_holds_back_is_waited_for() {
    let mut rig = Rig::with_room(usize::MAX);
    rig.conn.enter(Phase::Busy);
    rig.conn.set_deadlines(crate::Deadlines { write: Duration::from_secs(1), ..Default::default() });
    rig.handle.core.borrow_mut().stream.holding = true;
    assert_eq!(taken(rig.write(b"x")), 1);
    assert!(rig.write_out().is_pending(), "taken, and not yet on its way");
    assert_eq!(rig.handle.buffered(), 0);
    assert!(rig.conn.check(2), "the peer takes nothing");

    rig.handle.core.borrow_mut().stream.holding = false;
    assert!(rig.write_out().is_ready());
    assert_eq!(rig.conn.poll_signal(&mut cx()), Signal::None);
    assert!(!rig.conn.check(3));
}

#[test]
fn a_stream_that_holds_nothing_back_can_still_be_stalled() {
    let mut rig = Rig::with_room(0);
    rig.conn.enter(Phase::Busy);
    rig.conn.set_deadlines(crate::Deadlines { write: Duration::from_secs(1), ..Default::default() });
    assert!(rig.write(&[b'b'; DIRECT]).is_pending());
    assert!(rig.write_out().is_ready(), "nothing is collected");
    assert!(rig.conn.check(2), "but the protocol waits");
}
