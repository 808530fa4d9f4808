//! Searching a text literally, and how long searching it for a pattern may take.

use std::ffi::CStr;

use memchr::memmem;

use crate::preempt::{MAX_HOLD, thread_cpu_time};

/// The longest pattern. No person writes longer ones, and each byte of it may be compared with each of the text.
pub(super) const MAX_PATTERN: usize = 4096;

/// The number of comparisons that a class of characters (`[a-z_]*`) may take over a text: some 10 ms, which nothing
/// interrupts.
pub(super) const CLASS_COMPARISONS: usize = 16 * 1024 * 1024;

/// The longest text that is searched for literally: what is known of it beforehand is found out in one go.
pub(super) const MAX_WANTED: usize = 1024 * 1024;

/// Finds `wanted` in `text`: in linear time, a fraction of a millisecond for a MiB, but for texts that are made to take ten
/// times as long.
pub(super) fn search(text: &[u8], wanted: &[u8]) -> Result<Option<usize>, &'static CStr> {
    let (finder, begun) = (memmem::Finder::new(wanted), thread_cpu_time());
    for from in (0..=text.len()).step_by(MAX_WANTED) {
        let piece = &text[from..text.len().min(from + MAX_WANTED + wanted.len())];
        if let Some(at) = finder.find(piece) {
            return Ok(Some(from + at));
        }
        if thread_cpu_time().saturating_sub(begun) > MAX_HOLD {
            return Err(c"it takes more than 10 ms over this text; search it in pieces");
        }
    }
    Ok(None)
}

/// The longest text that a pattern goes over: a class of characters is searched without a look at the clock.
pub(super) const MAX_SEARCHED: usize = 4 * 1024 * 1024;

/// The length of the longest class of a pattern, in bytes.
pub(super) fn longest_class(pattern: &[u8]) -> usize {
    let (mut longest, mut rest) = (0, pattern);
    while let [first, behind @ ..] = rest {
        let length = match (first, behind.first()) {
            (b'%', Some(b'b')) => 4,
            (b'%', _) => 2,
            (b'[', _) => class_length(rest),
            _ => 1,
        };
        if *first == b'[' {
            longest = longest.max(length);
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    longest
}

/// The length of the class with which the pattern begins. A `]` that comes first is one of its characters.
pub(super) fn class_length(pattern: &[u8]) -> usize {
    let mut at = if pattern.get(1) == Some(&b'^') { 2 } else { 1 };
    loop {
        at += if pattern.get(at) == Some(&b'%') { 2 } else { 1 };
        if matches!(pattern.get(at), None | Some(b']')) {
            return at + 1;
        }
    }
}
