//! `permessage-deflate` ([RFC 7692](https://www.rfc-editor.org/rfc/rfc7692)): what is agreed on, and the two directions.
//!
//! Neither side goes on with the window of an earlier message: an answer says so both ways (`..._no_context_takeover`),
//! whether the client asked or not. So a session that waits holds nothing of it, where a window and a compressor for each
//! would be 300 KiB, and no message tells by its length what was in another. Within a message the whole window counts.
//!
//! Invariant: what one call does is bounded ([`SLICE`]), and what comes of a message never grows beyond the limit it was
//! given, however little it is compressed.

use std::cell::RefCell;

use bytes::{Buf, Bytes};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use http::{HeaderMap, HeaderValue, header};

use super::frames::Failure;

/// The size of an inflater, in bytes: its window and tables.
pub(super) const INFLATER: u64 = 48 * 1024;
/// The size of a compressor.
pub(super) const COMPRESSOR: u64 = 320 * 1024;
/// The length that is made of a message at a time, in bytes, before others have their turn.
pub(super) const SLICE: usize = 64 * 1024;
/// The same, of one call of the library.
const PIECE: usize = 16 * 1024;
/// The bytes that every compressed message ends with, and none is sent with
/// ([RFC 7692 §7.2.1](https://www.rfc-editor.org/rfc/rfc7692#section-7.2.1)).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Time counts more than what is left of the bytes: most messages are short.
const LEVEL: u32 = 1;

/// The largest window, as the logarithm of its length.
const LARGEST: u8 = 15;

/// The longest a compressed message may be that is no longer than `max` itself: what cannot be compressed takes nine bits for
/// eight in the worst case.
pub(super) fn longest(max: u64) -> u64 {
    max.saturating_add(max / 8 + 64)
}

/// The parameters that were agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeflateParams {
    /// The logarithm of the largest window that the client can read.
    pub(super) window: u8,
    /// The client has asked for it.
    asked: bool,
}

impl DeflateParams {
    /// The extension agreed on of those a client offers: its first offer that can be met
    /// ([RFC 7692 §5.1](https://www.rfc-editor.org/rfc/rfc7692#section-5.1)).
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let lists = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter();
        lists.filter_map(|list| list.to_str().ok()).flat_map(|list| split(list, ',')).find_map(Self::of_offer)
    }

    fn of_offer(offer: &str) -> Option<Self> {
        let mut parts = split(offer, ';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case("permessage-deflate") {
            return None;
        }
        let mut agreed = Self { window: LARGEST, asked: false };
        let mut seen = [false; 4];
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim(), Some(unquoted(value.trim()))),
                None => (part, None),
            };
            let nth = match (name, value) {
                ("server_no_context_takeover", None) => 0,
                ("client_no_context_takeover", None) => 1,
                ("server_max_window_bits", Some(value)) => {
                    // The smallest of all is none that the compressor has.
                    agreed = Self { window: bits(value).filter(|&bits| bits > 8)?, asked: true };
                    2
                }
                ("client_max_window_bits", value) => {
                    if let Some(value) = value {
                        bits(value)?;
                    }
                    3
                }
                _ => return None,
            };
            // None is there twice.
            if std::mem::replace(&mut seen[nth], true) {
                return None;
            }
        }
        Some(agreed)
    }

    /// The answer.
    pub(super) fn field(self) -> HeaderValue {
        const PLAIN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        let window = self.asked.then(|| format!("{PLAIN}; server_max_window_bits={}", self.window));
        window
            .and_then(|field| HeaderValue::from_str(&field).ok())
            .unwrap_or(const { HeaderValue::from_static(PLAIN) })
    }
}

/// The logarithm of a window's length, without leading zeros.
fn bits(value: &str) -> Option<u8> {
    value.parse().ok().filter(|bits| (8..=LARGEST).contains(bits) && !value.starts_with(['0', '+']))
}

/// The parts of a list, whose values may be quoted.
fn split(list: &str, by: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    list.split(move |c| {
        is_quoted ^= c == '"';
        c == by && !is_quoted
    })
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

thread_local! {
    /// One of each is kept on every worker: making one takes longer than most messages do.
    static INFLATERS: RefCell<Option<Decompress>> = const { RefCell::new(None) };
    static COMPRESSORS: RefCell<Option<(u8, Compress)>> = const { RefCell::new(None) };
}

/// Makes one message of what came of it.
pub(super) struct Inflater {
    /// None once it was given back.
    inflate: Option<Decompress>,
    /// What came, and was not looked at yet.
    input: Bytes,
    /// The end is to be looked at as well.
    tail: bool,
    /// There may be more to come of what was looked at.
    more: bool,
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflater").field("input", &self.input.len()).finish_non_exhaustive()
    }
}

impl Inflater {
    pub(super) fn new() -> Self {
        let kept = INFLATERS.take();
        let inflate = kept.map_or_else(
            || Decompress::new(false),
            |mut kept| {
                kept.reset(false);
                kept
            },
        );
        Self { inflate: Some(inflate), input: Bytes::new(), tail: false, more: false }
    }

    /// Adds what came, once [`step`](Self::step) has nothing to do.
    pub(super) fn push(&mut self, input: Bytes, is_last: bool) {
        self.input = input;
        self.tail = is_last;
    }

    /// Adds a slice of what comes of it to `out`. True: there is nothing left to do.
    pub(super) fn step(&mut self, out: &mut Vec<u8>, max: usize) -> Result<bool, Failure> {
        const WRONG: Failure = Failure::Content("not compressed as agreed on");
        let Some(inflate) = &mut self.inflate else { return Ok(true) };
        let mut piece = [0; PIECE];
        for _ in 0..SLICE / PIECE {
            if self.input.is_empty() && !self.more {
                if !std::mem::take(&mut self.tail) {
                    return Ok(true);
                }
                self.input = Bytes::from_static(&TAIL);
            }
            let before = (inflate.total_in(), inflate.total_out());
            let status =
                inflate.decompress(&self.input, &mut piece, FlushDecompress::Sync).map_err(|_wrong| WRONG)?;
            let read = usize::try_from(inflate.total_in() - before.0).map_err(|_wrong| WRONG)?;
            let made = usize::try_from(inflate.total_out() - before.1).map_err(|_wrong| WRONG)?;
            if out.len() + made > max {
                return Err(Failure::TooLong);
            }
            if read == 0 && made == 0 && !self.input.is_empty() {
                return Err(WRONG);
            }
            out.extend_from_slice(piece.get(..made).unwrap_or_default());
            self.input.advance(read.min(self.input.len()));
            self.more = made == PIECE;
            if status == Status::StreamEnd {
                // A last block, and others may follow.
                inflate.reset(false);
                self.more = false;
            }
        }
        Ok(false)
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        INFLATERS.set(self.inflate.take());
    }
}

/// Compresses one message.
pub(super) struct Compressor {
    window: u8,
    /// None once it was given back.
    compress: Option<Compress>,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").field("window", &self.window).finish_non_exhaustive()
    }
}

impl Compressor {
    pub(super) fn new(window: u8) -> Self {
        let kept = COMPRESSORS.take().filter(|(kept, _)| *kept == window);
        let compress = kept.map_or_else(
            || Compress::new_with_window_bits(Compression::new(LEVEL), false, window),
            |(_, mut kept)| {
                kept.reset();
                kept
            },
        );
        Self { window, compress: Some(compress) }
    }

    /// Compresses what comes next of the message. Flushed, all of it is in `out`, and the tail that every flush has.
    pub(super) fn push(&mut self, input: &[u8], is_flushed: bool, out: &mut Vec<u8>) {
        let Some(compress) = &mut self.compress else { return };
        let flush = if is_flushed { FlushCompress::Sync } else { FlushCompress::None };
        let mut rest = input;
        loop {
            out.reserve(rest.len() / 2 + 64);
            let before = compress.total_in();
            // Nothing can be wrong: there is room, and a flush is not asked for twice.
            let done = compress.compress_vec(rest, out, flush);
            let read = usize::try_from(compress.total_in() - before).unwrap_or(usize::MAX);
            rest = rest.get(read..).unwrap_or_default();
            if done.is_err() || (rest.is_empty() && out.len() < out.capacity()) {
                break;
            }
        }
    }

    /// Takes the tail off the end of a message.
    pub(super) fn end(out: &mut Vec<u8>) {
        if out.ends_with(&TAIL) {
            out.truncate(out.len() - TAIL.len());
        }
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        COMPRESSORS.set(self.compress.take().map(|compress| (self.window, compress)));
    }
}

#[cfg(test)]
mod tests;
