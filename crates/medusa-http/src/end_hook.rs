//! Functions to be called once a response has ended.

use std::fmt;

/// The end of a response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Bytes of its body that were handed over to the client's connection.
    pub bytes: u64,
    /// Whether that is all of it: neither did it break off, nor has the client left, nor was it dropped before it was sent.
    pub is_whole: bool,
}

/// Functions that are called once, when the last byte of a response was handed over, or the response is dropped.
#[derive(Default)]
pub struct EndHook(Option<Box<dyn FnOnce(Delivery)>>);

impl EndHook {
    /// Has `hook` called, too, after those that are here already. It must not panic, and return soon.
    pub fn add(&mut self, hook: impl FnOnce(Delivery) + 'static) {
        self.0 = Some(match self.0.take() {
            None => Box::new(hook),
            Some(first) => Box::new(move |delivery| {
                first(delivery);
                hook(delivery);
            }),
        });
    }

    pub(crate) fn call(&mut self, delivery: Delivery) {
        if let Some(hook) = self.0.take() {
            hook(delivery);
        }
    }
}

impl Drop for EndHook {
    fn drop(&mut self) {
        self.call(Delivery::default());
    }
}

impl fmt::Debug for EndHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EndHook").field(&self.0.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn each_is_called_once_in_order_and_at_the_latest_when_it_is_dropped() {
        let calls = Rc::<RefCell<Vec<_>>>::default();
        let hook = |name: &'static str| {
            let calls = Rc::clone(&calls);
            move |delivery: Delivery| calls.borrow_mut().push((name, delivery))
        };
        let sent = Delivery { bytes: 5, is_whole: true };
        let mut hooks = EndHook::default();
        hooks.add(hook("first"));
        hooks.add(hook("second"));
        hooks.call(sent);
        drop(hooks);
        assert_eq!(calls.take(), [("first", sent), ("second", sent)]);
        let mut dropped = EndHook::default();
        dropped.add(hook("dropped"));
        drop(dropped);
        assert_eq!(calls.take(), [("dropped", Delivery::default())]);
    }
}
