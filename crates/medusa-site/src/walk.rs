//! The walk over all objects of a Site: each once, however many parts and objects hold it.

use std::collections::HashSet;
use std::sync::Arc;

use medusa_log::Sink;

use crate::object::{Object, Use};
use crate::part::{Part, Parts};

/// An object of a Site.
#[derive(Debug)]
pub(crate) struct Used {
    /// The part that uses it, itself or by what stands before it.
    pub(crate) part: Arc<dyn Part>,
    /// Where the script gives it to that part.
    pub(crate) origin: Arc<str>,
    pub(crate) object: Object,
}

/// All objects of some parts, each once, with its first use. What stands before others comes after them.
pub(crate) fn objects(parts: &Parts) -> Vec<Used> {
    fn enter(used: Used, seen: &mut HashSet<*const ()>, all: &mut Vec<Used>) {
        if seen.insert(used.object.address()) {
            for object in used.object.inner() {
                let (part, origin) = (Arc::clone(&used.part), Arc::clone(&used.origin));
                enter(Used { part, origin, object }, seen, all);
            }
            all.push(used);
        }
    }
    let (mut seen, mut all) = (HashSet::new(), Vec::new());
    for part in parts.iter() {
        for Use { origin, object } in part.uses() {
            enter(Used { part: Arc::clone(part), origin, object }, &mut seen, &mut all);
        }
    }
    all
}

/// The sinks among some objects.
pub(crate) fn sinks(objects: &[Used]) -> impl Iterator<Item = &Arc<dyn Sink>> {
    objects.iter().filter_map(|used| used.object.sink())
}
