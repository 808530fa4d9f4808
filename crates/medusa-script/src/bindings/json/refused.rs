//! Why a value cannot be written as JSON, and where in it that is.

use super::MAX_DEPTH;
use super::encode::{Level, MAX_NAMES, MAX_TEXT, MAX_VALUES};
use crate::counted::shown_name;
use crate::print::is_name;

/// Why a value cannot be written. What comes first is the place: `value.items[3]`.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
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

/// How many levels are named at each end of a place.
const SHOWN_LEVELS: usize = 8;

/// Where in a value the last level is, or what it is at.
pub(super) fn place(path: &[Level]) -> String {
    let mut place = String::from("value");
    for (at, level) in path.iter().enumerate() {
        if at == SHOWN_LEVELS && path.len() > 2 * SHOWN_LEVELS {
            place.push('…');
        }
        if at < SHOWN_LEVELS || path.len() - at <= SHOWN_LEVELS {
            place.push_str(&step(level));
        }
    }
    place
}

fn step(level: &Level) -> String {
    match &level.name {
        Some(name) => {
            let name = shown_name(name.bytes());
            if is_name(&name) { format!(".{name}") } else { format!("[{name:?}]") }
        }
        None if level.begun > 0 => format!("[{}]", level.begun),
        None => String::new(),
    }
}
