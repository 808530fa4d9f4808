//! Placeholders: bytes that stand for a piece of a file.
//!
//! A protocol implementation takes a response's content as bytes; a file's need not become any, for the kernel can send
//! it by itself. So the protocol is given a *placeholder*: as many bytes as the piece has, of a region that nobody reads.
//! It frames, queues and counts them as any others, and when they come to be written, the cork knows them by their
//! address and has the kernel send the piece instead.
//!
//! Invariant: placeholders are written in the order in which they were made, and none is copied on its way (a copy
//! would be sent as the zeros it is made of). Both are the protocol's doing, and tested with the one that is used.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::descriptors::SharedFile;

/// The longest piece, in bytes: long enough that the system calls of one do not count, short enough that a connection
/// that takes everything at once (in a fraction of a millisecond) gives the others their turn. As nginx has it.
pub const LONGEST: usize = 2 * 1024 * 1024;

thread_local! {
    /// Zeroed memory that is never touched, so that it takes addresses and no pages.
    static REGION: Bytes = Bytes::from(vec![0; LONGEST]);
}

/// The pieces whose placeholders were made and are not yet sent.
#[derive(Debug, Default)]
pub(super) struct Pieces(VecDeque<Piece>);

#[derive(Debug)]
pub(super) struct Piece {
    pub(super) file: SharedFile,
    pub(super) at: u64,
    pub(super) len: usize,
}

impl Pieces {
    /// Notes a piece of at most [`LONGEST`] bytes, and returns its placeholder.
    pub(super) fn add(&mut self, file: SharedFile, at: u64, len: usize) -> Bytes {
        let len = len.min(LONGEST);
        self.0.push_back(Piece { file, at, len });
        REGION.with(|region| region.slice(..len))
    }

    /// The piece to be sent next.
    pub(super) fn first(&self) -> Option<&Piece> {
        self.0.front()
    }

    /// Notes that `count` bytes of the first piece were sent.
    pub(super) fn sent(&mut self, count: usize) {
        if let Some(first) = self.0.front_mut() {
            first.at += count as u64;
            first.len = first.len.saturating_sub(count);
            if first.len == 0 {
                self.0.pop_front();
            }
        }
    }
}

/// Whether `bytes`, not empty, stand for a piece of a file.
pub(super) fn is(bytes: &[u8]) -> bool {
    REGION.with(|region| region.as_ptr_range().contains(&bytes.as_ptr()))
}
