//! What is known of a directory beside its files: locks and properties. All handlers of one directory share its locks, also those of an
//! old and a new generation.
//!
//! **Invariant:** a path is what is there now. Another directory may come to be at it, or it may come to be at another path: so each
//! handler works on its own path, and locks are those of the directory that is found there.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, LazyLock, Weak};

use medusa_http::store::{Store, StoreError, StoreId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::locks::LockTable;
use crate::properties::Properties;

static SHARED: LazyLock<Mutex<HashMap<StoreId, Weak<SharedPlace>>>> = LazyLock::new(Mutex::default);

/// A directory, as a handler comes to it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) store: Arc<Store>,
    pub(crate) properties: Arc<Properties>,
    identity: StoreId,
    shared: Arc<SharedPlace>,
}

/// What all handlers of a directory share.
#[derive(Debug, Default)]
pub(crate) struct SharedPlace {
    pub(crate) locks: Mutex<LockTable>,
    /// A change of files that was under way no longer is.
    pub(crate) changed: Notify,
}

impl Place {
    /// The directory that this store was opened for.
    pub(crate) fn of(store: Arc<Store>) -> Self {
        let (identity, properties) = (store.identity(), Properties::new(Arc::clone(&store)));
        Self { store, properties: Arc::new(properties), identity, shared: shared(identity) }
    }

    /// The directory that is at its path now. Blocks.
    ///
    /// # Errors
    ///
    /// There is none, or it cannot be looked at.
    pub(crate) fn now(self: Arc<Self>) -> Result<Arc<Self>, StoreError> {
        let identity = self.store.identity_now()?;
        if identity == self.identity {
            return Ok(self);
        }
        let (store, properties) = (Arc::clone(&self.store), Arc::clone(&self.properties));
        Ok(Arc::new(Self { store, properties, identity, shared: shared(identity) }))
    }
}

impl Deref for Place {
    type Target = SharedPlace;

    fn deref(&self) -> &SharedPlace {
        &self.shared
    }
}

fn shared(identity: StoreId) -> Arc<SharedPlace> {
    let mut all = SHARED.lock();
    if let Some(known) = all.get(&identity).and_then(Weak::upgrade) {
        return known;
    }
    all.retain(|_, place| place.strong_count() > 0);
    let new = Arc::default();
    all.insert(identity, Arc::downgrade(&new));
    new
}
