//! Buffers for output that is being collected, shared by all connections of a worker.
//!
//! Invariant: a connection with nothing to send holds no buffer, so idle connections cost no buffer memory; and the pool
//! keeps at most [`KEPT`] buffers of at most [`LARGEST`] bytes.

use std::cell::RefCell;

/// Buffers kept for reuse. Mostly one [turn](super::turn) of small answers is in use at a time.
const KEPT: usize = super::turn::MOST;

/// The capacity of a new buffer, in bytes: a common response.
const SMALLEST: usize = 4 * 1024;

/// A buffer larger than this, in bytes, is not kept.
const LARGEST: usize = 64 * 1024;

thread_local! {
    static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer.
pub(super) fn take() -> Vec<u8> {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(SMALLEST))
}

/// Gives a buffer back.
pub(super) fn recycle(mut buffer: Vec<u8>) {
    if !(SMALLEST..=LARGEST).contains(&buffer.capacity()) {
        return;
    }
    buffer.clear();
    // An error means that the thread is ending and the pool already gone.
    let _ = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < KEPT {
            pool.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_the_pool_is_bounded() {
        let mut buffer = take();
        buffer.extend_from_slice(b"left over");
        recycle(buffer);
        assert!(take().is_empty());

        for _ in 0..2 * KEPT {
            recycle(Vec::with_capacity(SMALLEST));
        }
        assert_eq!(POOL.with_borrow(Vec::len), KEPT);
    }

    #[test]
    fn what_is_too_large_or_never_allocated_is_not_kept() {
        recycle(Vec::with_capacity(LARGEST + 1));
        recycle(Vec::new());
        assert_eq!(POOL.with_borrow(Vec::len), 0);
    }
}
