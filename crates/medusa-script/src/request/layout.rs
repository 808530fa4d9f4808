//! The buffer from which `request.luau` reads what most handlers ask for, without a call into the host.
//!
//! In little-endian order: the handle (f64); a span (offset and length, u16 each) for method, path, query; the number
//! of parameters (u16), then for each the spans of name and value. A length of `ABSENT` means there is none,
//! `ELSEWHERE` that it did not fit and the host must be asked.

use medusa_http::Head;
use smallvec::SmallVec;

/// The size of a request's buffer: a path and a query of the usual length.
pub(super) const LAID_OUT: usize = 512;
const ABSENT: u16 = 0xFFFF;
const ELSEWHERE: u16 = 0xFFFE;
/// The place of the number of parameters.
const PARAMS: usize = 20;
/// The most parameters that are laid out.
const MAX_PARAMS: usize = 8;

/// The mark of a buffer that holds no request.
pub(super) const NOBODY: [u8; 8] = 0_f64.to_le_bytes();

/// Lays out what most handlers ask for.
pub(super) fn lay_out(handle: u64, head: &Head) -> SmallVec<[u8; LAID_OUT]> {
    let params: SmallVec<[(&str, &[u8]); MAX_PARAMS]> = head.params.iter().take(MAX_PARAMS + 1).collect();
    let fits = params.len() <= MAX_PARAMS;
    let start = PARAMS + 2 + if fits { params.len() * 8 } else { 0 };
    let mut data = SmallVec::from_elem(0, start);
    data[..8].copy_from_slice(&(handle as f64).to_le_bytes());
    put(&mut data, 8, Some(head.method.as_str().as_bytes()));
    put(&mut data, 12, Some(head.path().as_bytes()));
    put(&mut data, 16, head.uri.query().map(str::as_bytes));
    let mut complete = fits;
    for (at, (name, value)) in params.iter().enumerate().take(if fits { MAX_PARAMS } else { 0 }) {
        let at = PARAMS + 2 + at * 8;
        complete &= put(&mut data, at, Some(name.as_bytes())) && put(&mut data, at + 4, Some(value));
    }
    let count = if complete { params.len() as u16 } else { ELSEWHERE };
    data[PARAMS..PARAMS + 2].copy_from_slice(&count.to_le_bytes());
    data
}

/// Adds a text behind what is there and its span at `at`; false if it does not fit.
fn put(data: &mut SmallVec<[u8; LAID_OUT]>, at: usize, text: Option<&[u8]>) -> bool {
    let offset = data.len() as u16;
    let length = match text {
        None => ABSENT,
        Some(text) if data.len() + text.len() <= LAID_OUT => {
            data.extend_from_slice(text);
            text.len() as u16
        }
        Some(_) => ELSEWHERE,
    };
    data[at..at + 2].copy_from_slice(&offset.to_le_bytes());
    data[at + 2..at + 4].copy_from_slice(&length.to_le_bytes());
    length != ELSEWHERE
}
