//! What is found out of a request on its way, such as who asks.
//!
//! **Invariant:** all copies of a head have the same findings, whichever they are made on: a wrapper that changes the path or the
//! fields of a request has a head of its own, and the access record knows the one that came.

use std::sync::{Arc, OnceLock};

/// Something that is found out of a request once, if at all.
#[derive(Debug)]
pub struct Finding<T>(OnceLock<Arc<OnceLock<T>>>);

impl<T> Finding<T> {
    /// What was found out.
    pub fn get(&self) -> Option<&T> {
        self.0.get()?.get()
    }

    /// Sets it.
    ///
    /// # Errors
    ///
    /// It was found out before; here is `value` again.
    pub fn set(&self, value: T) -> Result<(), T> {
        self.shared().set(value)
    }

    fn shared(&self) -> &Arc<OnceLock<T>> {
        self.0.get_or_init(Arc::default)
    }
}

impl<T> Default for Finding<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> Clone for Finding<T> {
    /// One that is the same, also when it is found out later.
    fn clone(&self) -> Self {
        Self(OnceLock::from(Arc::clone(self.shared())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_out_of_a_copy_is_known_of_all() {
        let first = Finding::default();
        assert_eq!(first.get(), None::<&&str>);
        let second = first.clone();
        let third = second.clone();
        assert_eq!(third.set("ada"), Ok(()));
        assert_eq!(first.set("eve"), Err("eve"));
        assert_eq!([first.get(), second.get(), third.get()], [Some(&"ada"); 3]);
    }
}
