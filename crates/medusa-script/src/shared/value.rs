//! A value that scripts share, and why an operation on one is refused.

use bytes::Bytes;

use super::limits::{ALL, LARGEST, LIMIT, MAX_DICTIONARIES, MAX_NAME};

/// A value that may cross between VMs: anything without identity.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SharedValue {
    Bool(bool),
    Number(f64),
    Text(Bytes),
}

impl SharedValue {
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bool(_) | Self::Number(_) => 0,
        }
    }
}

/// The reason why an operation is refused.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(crate) enum SharedError {
    #[error("the shared dictionary is full ({} MiB): remove keys, or give them a time to live", LIMIT >> 20)]
    Full,
    #[error("all shared dictionaries together are full ({} MiB): remove keys, or give them a time to live", ALL >> 20)]
    AllFull,
    #[error("a key and its value may have {} MiB together, not {size} bytes", LARGEST >> 20)]
    TooLarge { size: usize },
    #[error("there are {MAX_DICTIONARIES} shared dictionaries already")]
    TooMany,
    #[error("the name of a shared dictionary may have {MAX_NAME} bytes, not {0}")]
    Name(usize),
    #[error("the key \"{0}\" does not hold a number")]
    NotANumber(String),
    #[error("the key \"{0}\" would hold a number beyond 2^53 - 1, where adding one may change nothing")]
    TooFar(String),
}
