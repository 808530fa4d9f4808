//! The sizes that dictionaries may hold.

/// The size that all keys and values of one dictionary may take together, in bytes.
pub(super) const LIMIT: usize = 64 * 1024 * 1024;

/// The size that those of all dictionaries may take together, in bytes: as much as one VM may hold. They are in no
/// VM's limit, and a script may make as many as it likes.
pub(super) const ALL: usize = 256 * 1024 * 1024;

/// The number of dictionaries that there may be. Their names are chosen by the script; one for each client would
/// never go again.
pub(super) const MAX_DICTIONARIES: usize = 1024;

/// The longest name of a dictionary, in bytes: names are kept beside what [`ALL`] counts.
pub(super) const MAX_NAME: usize = 256;

pub(crate) const SHARDS: usize = 32;

/// The size that one shard may hold, and so the largest entry.
pub(crate) const LARGEST: usize = LIMIT / SHARDS;
