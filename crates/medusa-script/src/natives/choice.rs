//! What is decided about a call, and how much is little.

use std::ffi::{CStr, c_int};

/// An entry's decision about a call.
pub(super) enum Choice {
    /// The builtin does it.
    Builtin,
    /// `natives.luau` does it, in pieces.
    Pieces,
    /// The builtin does it, in a frame of its own: it may call what the script gave it, which must not give way in there.
    /// (In the closure's frame Luau would take it for able to, for that has a continuation.)
    Called,
    /// It is done; so many results are on the stack.
    Done(c_int),
    /// It is too much, for which there are no pieces.
    TooMuch(&'static CStr),
}

/// The work that a builtin may do in one go, in bytes: a fraction of a millisecond for what takes the longest with
/// each.
pub(super) const TEXT: usize = 64 * 1024;

/// The work that a builtin may do in one go, in values of a table.
pub(super) const VALUES: usize = 1024;

/// The longest text or buffer that is made in one go, in bytes: some milliseconds. A VM of 256 MiB holds few of these.
pub(super) const MAX_TEXT: f64 = 16.0 * 1024.0 * 1024.0;

/// The longest table that is made in one go: as many bytes.
pub(super) const MAX_VALUES: f64 = 1024.0 * 1024.0;

/// The most values that one call returns: they are copied from table to stack to table.
const MAX_RETURNED: f64 = 256.0 * 1024.0;

const TOO_MANY_RETURNED: &CStr = c"more than 262,144 values at once";

pub(super) fn pieces(much: bool) -> Choice {
    if much { Choice::Pieces } else { Choice::Builtin }
}

pub(super) fn returned(count: f64) -> Choice {
    if count >= MAX_RETURNED { Choice::TooMuch(TOO_MANY_RETURNED) } else { Choice::Builtin }
}
