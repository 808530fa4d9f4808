//! The reason why a value cannot be written as JSON.

use super::limits::{MAX_DEPTH, MAX_NAMES, MAX_TEXT, MAX_VALUES};

/// The reason why a value cannot be written. What comes first is the place: `value.items[3]`.
#[derive(Debug, thiserror::Error)]
pub(super) enum EncodeError {
    #[error("{0} is a {1}, which JSON does not have")]
    Kind(String, &'static str),
    #[error("{0} is {1}, which JSON does not have: `medusa.json.null` can stand for it")]
    NotANumber(String, &'static str),
    #[error("{0} is not UTF-8: JSON is text; bytes must be encoded first")]
    NotUtf8(String),
    #[error("{0} has items, as an array has, and the name {1:?}, as an object has: make it either of them")]
    Mixed(String, String),
    #[error("{0} has later items, but no item {1}: `medusa.json.null` holds a place")]
    Hole(String, usize),
    #[error("{0} has a {1} as a key: the names of an object are strings, the items of an array count from 1")]
    Key(String, &'static str),
    #[error("{0} contains itself")]
    Cycle(String),
    #[error("{0} is more than {MAX_DEPTH} levels deep")]
    Deep(String),
    #[error("there are more than {MAX_VALUES} values and names")]
    TooMany,
    #[error("there are more than {MAX_NAMES} names in {0} and what it is in")]
    TooManyNames(String),
    #[error("the text is longer than {} MiB", MAX_TEXT >> 20)]
    TooLong,
}
