//! The handler functions of one main VM.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use medusa_http::{Handler, Sessions};
use mlua::Function;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::inline::{Call, InlineHandler, VmLink, WaitingCalls};
use crate::request::Requests;

/// A handler's function.
#[derive(Debug)]
struct HandlerFunction {
    /// As the script has it.
    given: Function,
    /// As it is called.
    called: Function,
    origin: Arc<str>,
    handler: Weak<InlineHandler>,
}

/// The handler functions of one VM, and the way for others to reach them.
#[derive(Debug)]
pub(crate) struct Functions {
    by_id: RefCell<HashMap<u64, HandlerFunction>>,
    /// The sessions of all handlers that are there, and of those that are gone and have sessions left.
    sessions: RefCell<Vec<Arc<Sessions>>>,
    next: Cell<u64>,
    /// Weak, so that only handlers keep a replaced VM alive.
    calls: mpsc::WeakSender<Call>,
    waiting: Arc<WaitingCalls>,
    released: Arc<Mutex<Vec<u64>>>,
    /// Set as soon as the VM is made, which its bindings are part of.
    requests: RefCell<Option<Requests>>,
}

impl Functions {
    /// Makes the functions of a VM that takes the calls at the other end of `calls`.
    pub(crate) fn new(calls: mpsc::WeakSender<Call>) -> Rc<Self> {
        Rc::new(Self {
            by_id: RefCell::default(),
            sessions: RefCell::default(),
            next: Cell::new(0),
            calls,
            waiting: Arc::default(),
            released: Arc::default(),
            requests: RefCell::default(),
        })
    }

    /// Sets the VM's requests.
    pub(crate) fn set_requests(&self, requests: Requests) {
        *self.requests.borrow_mut() = Some(requests);
    }

    /// The VM's requests.
    pub(crate) fn requests(&self) -> Option<Requests> {
        self.requests.borrow().clone()
    }

    /// The function of a handler and the place it is from.
    pub(crate) fn get(&self, id: u64) -> Option<(Function, Arc<str>)> {
        let by_id = self.by_id.borrow();
        by_id.get(&id).map(|known| (known.called.clone(), Arc::clone(&known.origin)))
    }

    /// The function that a handler was given as, if it is one of this VM's.
    pub(crate) fn function_of(&self, handler: &Arc<dyn Handler>) -> Option<Function> {
        let wanted = Arc::as_ptr(handler).cast::<()>();
        let by_id = self.by_id.borrow();
        let known = by_id.values().find(|known| known.handler.as_ptr().cast::<()>() == wanted)?;
        Some(known.given.clone())
    }

    /// The requests that its VM is at.
    pub(crate) fn requests_shown(&self) -> Option<String> {
        self.requests.borrow().as_ref().map(Requests::shown)
    }

    pub(crate) fn count(&self) -> usize {
        self.by_id.borrow().len()
    }

    /// Makes a handler of a function.
    pub(crate) fn handler(&self, function: &Function, origin: Arc<str>) -> mlua::Result<Arc<InlineHandler>> {
        self.forget_released();
        let calls =
            self.calls.upgrade().ok_or_else(|| mlua::Error::runtime("this script has been replaced"))?;
        let requests = self.requests();
        let requests = requests.ok_or_else(|| mlua::Error::runtime("the VM is not ready"))?;
        let id = self.next.replace(self.next.get() + 1);
        let (given, called) = (function.clone(), requests.wrap(function)?);
        let (waiting, released) = (Arc::clone(&self.waiting), Arc::clone(&self.released));
        let link = VmLink { calls, waiting, released };
        let sessions = Arc::new(Sessions::default());
        self.sessions.borrow_mut().push(Arc::clone(&sessions));
        let made = Arc::new(InlineHandler::new(id, link, Arc::clone(&origin), sessions));
        let handler = Arc::downgrade(&made);
        self.by_id.borrow_mut().insert(id, HandlerFunction { given, called, origin, handler });
        Ok(made)
    }

    /// Ends all sessions, also those that might stay longer.
    pub(crate) fn end_sessions(&self) {
        self.sessions.borrow().iter().for_each(|sessions| sessions.end_now());
    }

    /// Lets go of the functions whose handlers are gone.
    pub(crate) fn forget_released(&self) {
        let released = std::mem::take(&mut *self.released.lock());
        let mut by_id = self.by_id.borrow_mut();
        if released.is_empty() {
            return;
        }
        for id in released {
            by_id.remove(&id);
        }
        self.sessions.borrow_mut().retain(|sessions| Arc::strong_count(sessions) > 1 || !sessions.is_empty());
    }
}
