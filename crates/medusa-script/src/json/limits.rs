//! The length and depth that JSON may have, both ways.

/// The depth that values may be nested to, both ways.
pub(super) const MAX_DEPTH: usize = 127;

/// The most values and names of a text that a script has decoded: 15 MB of the VM when each is a table.
pub(super) const MAX_DECODED: usize = 200_000;

/// The most values and names of a client's text: 4 MB of the VM when each is a table, so that it takes many requests at
/// once to fill it. Bodies that are sent to an API have a few thousand.
pub(crate) const MAX_FROM_CLIENT: usize = 50_000;

/// The most values and names of one text: some 0.2 s of work.
pub(super) const MAX_VALUES: usize = 1_000_000;

/// The longest text, in bytes. The VM has it twice while its pieces are joined: an eighth of what it may hold.
pub(super) const MAX_TEXT: usize = 16 * 1024 * 1024;

/// The most names that wait to be written in alphabetical order. They are sorted in 24 bytes each that are not the VM's.
pub(super) const MAX_NAMES: usize = 100_000;

/// The number up to which each whole one is a Luau number.
pub(super) const MAX_EXACT: u64 = 1 << 53;
