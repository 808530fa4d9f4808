//! Dictionaries that every VM sees: what scripts on different workers share.
//!
//! A dictionary is split into shards by key, each behind its own lock, held for one operation; every operation on one
//! key is atomic. It lives as long as the process, across reloads, and never holds more than its limit.

mod dictionary;
mod limits;
mod shard;
mod value;

use std::collections::HashMap;
use std::sync::Arc;

use medusa_proto::status::{Status, Value};
use parking_lot::Mutex;

pub(crate) use self::dictionary::Dictionary;
use self::limits::{ALL, MAX_DICTIONARIES, MAX_NAME};
pub(crate) use self::limits::{LARGEST, SHARDS};
use self::shard::Held;
pub(crate) use self::value::{SharedError, SharedValue};

/// All dictionaries of the process, by name.
#[derive(Debug, Default)]
pub(crate) struct Dictionaries {
    by_name: Mutex<HashMap<Box<[u8]>, Arc<Dictionary>>>,
    held: Arc<Held>,
}

impl Dictionaries {
    /// The dictionary of that name, made when it is first asked for.
    pub(crate) fn open(&self, name: &[u8]) -> Result<Arc<Dictionary>, SharedError> {
        if name.len() > MAX_NAME {
            return Err(SharedError::Name(name.len()));
        }
        let mut all = self.by_name.lock();
        if let Some(known) = all.get(name) {
            return Ok(Arc::clone(known));
        }
        if all.len() >= MAX_DICTIONARIES {
            return Err(SharedError::TooMany);
        }
        let made = Arc::new(Dictionary::new(&self.held));
        all.insert(name.into(), Arc::clone(&made));
        Ok(made)
    }

    /// Describes how many there are and what they hold, once there are any.
    pub(crate) fn status(&self) -> Option<Status> {
        let count = self.by_name.lock().len();
        let status = || {
            Status::new("shared", "dictionaries")
                .gauge("dictionaries", count)
                .gauge("memory", Value::Bytes(self.held.bytes()))
                .gauge("memory_limit", Value::Bytes(ALL as u64))
        };
        (count > 0).then(status)
    }
}

#[cfg(test)]
mod tests;
