//! A table on its way to be text, and the place in a value that it is at.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ffi::{c_int, c_void};

use super::store::StoredText;
use crate::counted::shown_name;
use crate::print::is_name;

/// A table that is being written.
pub(super) struct Level {
    /// Where on the store it lies. What its level needs of the store lies above, up to the next level's.
    pub(super) slot: c_int,
    pub(super) table: *const c_void,
    pub(super) state: Stage,
    /// The number of items or names that were begun.
    pub(super) begun: usize,
    /// Those that are still to be written.
    pub(super) names: BinaryHeap<Reverse<StoredText>>,
    /// The one whose value is being written.
    pub(super) name: Option<StoredText>,
}

#[derive(Clone, Copy)]
pub(super) enum Stage {
    /// It is looked at from end to end, to learn whether it is an array or an object.
    Looking {
        marked: bool,
        iter: c_int,
        items: usize,
    },
    Array {
        length: usize,
    },
    Object,
}

/// The number of levels that are named at each end of a place.
const SHOWN_LEVELS: usize = 8;

/// The place in a value that the last level is at.
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
