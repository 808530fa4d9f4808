//! Bytes on their way to a target that may take them in pieces.

use std::io::{self, ErrorKind, Write};

/// Lines to be written, of which the first bytes may have been.
///
/// What has been written is kept until all has, so that a line cut off by an error can be finished, or, in another file,
/// begun again.
#[derive(Debug, Default)]
pub(super) struct Pending {
    bytes: Vec<u8>,
    /// How many of them are written.
    at: usize,
}

/// Memory kept between two batches; a larger one was an exception.
const KEEP: usize = 256 * 1024;

impl Pending {
    /// The bytes, for appending whole lines.
    pub(super) fn lines(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes held, those that are written already included: the place where the next line will begin.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of these that are yet to be written.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Bytes of the next line, or of what is left of one that has been begun; 0 if there is none.
    pub(super) fn next_line(&self) -> usize {
        self.bytes[self.at..].split_inclusive(|&b| b == b'\n').next().map_or(0, <[u8]>::len)
    }

    /// The end of the last line that there is room for, and at least the next one.
    fn piece(&self, room: Option<usize>) -> usize {
        let Some(room) = room.filter(|room| *room < self.left()) else { return self.bytes.len() };
        let fits = self.bytes[self.at..self.at + room].iter().rposition(|&b| b == b'\n');
        self.at + fits.map_or_else(|| self.next_line(), |end| end + 1)
    }

    /// Tells whether nothing is left to be written.
    pub(super) fn is_done(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Writes as many whole lines as there is room for, or the next one, until an error. Forgets all once it is written.
    pub(super) fn send(&mut self, room: Option<usize>, to: &mut impl Write) -> io::Result<()> {
        let end = self.piece(room);
        while let Some(rest) = self.bytes.get(self.at..end).filter(|rest| !rest.is_empty()) {
            match to.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.at += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.is_done() {
            self.bytes.clear();
            self.bytes.shrink_to(KEEP);
            self.at = 0;
        }
        Ok(())
    }

    /// Drops the lines behind `begin` of which nothing is written yet. One that has been begun stays, to be finished.
    /// Returns the length after that.
    pub(super) fn drop_unbegun(&mut self, begin: usize) -> usize {
        let end = self.at + if self.is_mid_line() { self.next_line() } else { 0 };
        self.bytes.truncate(end.max(begin));
        self.bytes.len()
    }

    /// Forgets the lines that are written, so that a target that works now and then cannot make this grow.
    pub(super) fn forget_written(&mut self) {
        let begin = self.line_start();
        self.bytes.drain(..begin);
        self.at -= begin;
    }

    /// Goes back to the start of a line that has been begun: its target is being replaced.
    pub(super) fn restart_line(&mut self) {
        self.at = self.line_start();
    }

    /// The beginning of the line that will be written next, or go on being written.
    fn line_start(&self) -> usize {
        self.bytes[..self.at].iter().rposition(|&b| b == b'\n').map_or(0, |newline| newline + 1)
    }

    /// Tells whether a line has been begun and not finished.
    pub(super) fn is_mid_line(&self) -> bool {
        self.at > 0 && self.bytes[self.at - 1] != b'\n'
    }

    /// The number of lines behind `from`.
    pub(super) fn lines_after(&self, from: usize) -> usize {
        self.bytes.get(from..).unwrap_or_default().split_inclusive(|&b| b == b'\n').count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, then fails.
    struct Room(Vec<u8>, usize);

    impl Write for Room {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match bytes.len().min(self.1) {
                0 => Err(ErrorKind::StorageFull.into()),
                count => {
                    self.0.extend_from_slice(&bytes[..count]);
                    self.1 -= count;
                    Ok(count)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pending(sent: usize) -> (Pending, Room) {
        let mut pending = Pending::default();
        pending.lines().extend_from_slice(b"one\ntwo\nthree\n");
        let mut room = Room(Vec::new(), sent);
        pending.send(None, &mut room).expect_err("no room for all");
        (pending, room)
    }

    #[test]
    fn a_begun_line_is_kept_and_finished() {
        let (mut pending, mut room) = pending(5);
        assert!(pending.is_mid_line());
        assert_eq!(pending.drop_unbegun(0), 8);
        assert_eq!(pending.lines_after(0), 2);
        pending.forget_written();
        assert_eq!((pending.len(), pending.left()), (4, 3));
        room.1 = 100;
        pending.send(None, &mut room).expect("room");
        assert_eq!(room.0, b"one\ntwo\n");
        assert!(pending.is_done());
    }

    #[test]
    fn at_a_line_end_nothing_is_kept() {
        for (sent, kept) in [(0, 0), (4, 4), (8, 8)] {
            let (mut pending, _) = pending(sent);
            assert!(!pending.is_mid_line());
            assert_eq!(pending.drop_unbegun(0), kept);
            assert!(pending.is_done());
        }
    }

    #[test]
    fn another_file_gets_the_whole_line() {
        let (mut pending, _) = pending(6);
        pending.restart_line();
        assert_eq!(pending.drop_unbegun(8), 8, "a line owed from before is not dropped");
        pending.lines().extend_from_slice(b"three\n");
        let mut other = Room(Vec::new(), 100);
        pending.send(None, &mut other).expect("room");
        assert_eq!(other.0, b"two\nthree\n");
    }

    #[test]
    fn a_piece_is_whole_lines_or_one() {
        let (mut pending, mut room) = (Pending::default(), Room(Vec::new(), 100));
        pending.lines().extend_from_slice(b"one\ntwo\nthree\nfour\n");
        for (bytes, sent) in [(0, "one\n"), (11, "two\nthree\n"), (3, "four\n")] {
            room.0.clear();
            assert!(!pending.is_done());
            pending.send(Some(bytes), &mut room).expect("room");
            assert_eq!(String::from_utf8_lossy(&room.0), sent);
        }
        assert!(pending.is_done() && pending.len() == 0);
    }
}
