//! Output that was accepted but not yet written.
//!
//! Invariant: what [`pending`](Outbox::pending) shows is exactly what was pushed and not consumed, in order; an empty
//! outbox holds no memory.

use super::pool;

/// Written bytes in front of pending ones are dropped when there are this many, or a slow reader who never quite empties
/// the outbox would make it grow for ever.
const COMPACT: usize = 32 * 1024;

/// A queue of bytes whose buffer comes from the worker's pool.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    /// How many of `bytes` are already written. Kept instead of moving the rest forward.
    written: usize,
}

impl Outbox {
    pub(super) fn pending(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.bytes.capacity() == 0 {
            self.bytes = pool::take();
        }
        if self.written >= COMPACT {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes `count` bytes off the front: at most what is pending.
    pub(super) fn consume(&mut self, count: usize) {
        self.written = self.bytes.len().min(self.written + count);
        if self.is_empty() {
            self.clear();
        }
    }

    /// Takes back what was pushed last, from the last occurrence of `mark` on. False if it is not there.
    pub(super) fn cut(&mut self, mark: &[u8]) -> bool {
        let found = self.pending().windows(mark.len()).rposition(|window| window == mark);
        if let Some(at) = found {
            self.bytes.truncate(self.written + at);
        }
        found.is_some()
    }

    pub(super) fn clear(&mut self) {
        self.written = 0;
        pool::recycle(std::mem::take(&mut self.bytes));
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order_and_the_buffer_with_the_last() {
        let mut outbox = Outbox::default();
        outbox.push(b"abc");
        outbox.push(b"def");
        outbox.consume(2);
        assert_eq!(outbox.pending(), b"cdef");
        outbox.push(b"g");
        assert_eq!(outbox.pending(), b"cdefg");
        assert_eq!(outbox.len(), 5);

        outbox.consume(5);
        assert!(outbox.is_empty());
        assert_eq!(outbox.bytes.capacity(), 0);
    }

    #[test]
    fn what_was_pushed_last_can_be_taken_back() {
        let mut outbox = Outbox::default();
        outbox.push(b"reply one, reply two");
        outbox.consume(3);
        assert!(!outbox.cut(b"nothing"));
        assert!(outbox.cut(b"reply"));
        assert_eq!(outbox.pending(), b"ly one, ");
        assert!(!outbox.cut(b"reply"), "what is written is gone");
    }

    #[test]
    fn an_outbox_that_is_never_empty_does_not_grow() {
        let mut outbox = Outbox::default();
        outbox.push(b"x");
        for _ in 0..100 {
            outbox.push(&[b'y'; 10_000]);
            outbox.consume(10_000);
        }
        assert_eq!(outbox.len(), 1);
        assert!(outbox.bytes.capacity() <= 128 * 1024, "{}", outbox.bytes.capacity());
    }
}
