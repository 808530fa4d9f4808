//! What is known of a directory beside its files: locks and properties. All handlers of one directory share it, also those of an old and
//! a new generation.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};

use medusa_http::store::{Store, StoreId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::locks::LockTable;
use crate::properties::Properties;

static PLACES: LazyLock<Mutex<HashMap<StoreId, Weak<Place>>>> = LazyLock::new(Mutex::default);

/// A directory.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) store: Arc<Store>,
    pub(crate) locks: Mutex<LockTable>,
    /// A change of files that was under way no longer is.
    pub(crate) changed: Notify,
    pub(crate) properties: Properties,
}

impl Place {
    /// The one of this store.
    pub(crate) fn of(store: Arc<Store>) -> Arc<Self> {
        let mut places = PLACES.lock();
        if let Some(place) = places.get(&store.identity()).and_then(Weak::upgrade) {
            return place;
        }
        places.retain(|_, place| place.strong_count() > 0);
        let (identity, properties) = (store.identity(), Properties::new(Arc::clone(&store)));
        let place = Arc::new(Self { store, locks: Mutex::default(), changed: Notify::new(), properties });
        places.insert(identity, Arc::downgrade(&place));
        place
    }
}
