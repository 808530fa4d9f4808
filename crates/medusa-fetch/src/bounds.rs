//! Bounds that several modules know, and the messages about them.

use http::HeaderMap;

/// The longest URL, in bytes. Servers take 8 KiB or less.
pub(crate) const MAX_URL: usize = 16 * 1024;

/// The longest header of an answer, in bytes; also of one that is refused only once it is there (HTTP/1, where hyper
/// stops reading at some 400 KiB).
pub(crate) const MAX_HEAD: usize = 64 * 1024;

/// The number of informational answers (1xx) that may come. Servers send one or two (100, 103), or one every few
/// seconds while they work (102).
pub(crate) const MAX_INTERIM: usize = 100;

/// The length of fields, with the colon, the space and the line's end.
pub(crate) fn head_length(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}
