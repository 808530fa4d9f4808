//! The main VMs: the current one, those that the history keeps to go back to, which are paused, and those that were replaced
//! for good, until their last request ends.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use medusa_proto::status::Status;
use medusa_site::Live;
use tokio::sync::mpsc;

use crate::inline::Call;
use crate::main_vm::MainVm;

/// How much memory the scripts of all paused VMs may have together, in bytes. Beyond that the history cannot go back to the
/// oldest of them any more.
const MAX_PAUSED: usize = 256 * 1024 * 1024;

/// How many replaced VMs may go on for the sake of sessions that are kept, and how much memory their scripts may have together, in
/// bytes. Beyond that the sessions of the oldest end.
const MAX_KEPT: usize = 8;
const MAX_KEPT_BYTES: usize = 256 * 1024 * 1024;

/// The main VMs.
#[derive(Debug)]
pub(crate) struct MainVms {
    live: Arc<Live>,
    /// By the generation each has loaded.
    loaded: RefCell<BTreeMap<u64, LoadedVm>>,
    /// Replaced, and not yet gone.
    replaced: RefCell<Vec<Weak<MainVm>>>,
}

#[derive(Debug)]
struct LoadedVm {
    vm: Rc<MainVm>,
    /// Keeps it taking calls.
    _calls: mpsc::Sender<Call>,
}

impl MainVms {
    pub(crate) fn new(live: &Arc<Live>) -> Rc<Self> {
        Rc::new(Self { live: Arc::clone(live), loaded: RefCell::default(), replaced: RefCell::default() })
    }

    /// The VM that statements run in: that of the running Site.
    pub(crate) fn current(&self) -> Option<Rc<MainVm>> {
        self.loaded.borrow().get(&self.live.site().loaded).map(|loaded| Rc::clone(&loaded.vm))
    }

    /// Adds the VM that has loaded the running generation.
    pub(crate) fn add(&self, vm: Rc<MainVm>, calls: mpsc::Sender<Call>) {
        self.loaded.borrow_mut().insert(self.live.site().loaded, LoadedVm { vm, _calls: calls });
        self.follow();
    }

    /// Has the VM of the running Site go on, the others pause, and those be retired that nothing leads back to.
    pub(crate) fn follow(&self) {
        let current = self.live.site().loaded;
        let mut gone = self.retire(current);
        loop {
            let paused: Vec<_> = {
                let loaded = self.loaded.borrow();
                let paused = loaded.iter().filter(|(load, _)| **load != current);
                paused.map(|(load, paused)| (*load, paused.vm.memory_used())).collect()
            };
            let used: usize = paused.iter().map(|(_, used)| used).sum();
            match paused.first() {
                Some((oldest, _)) if used > MAX_PAUSED && self.live.forget(Some(*oldest)) => {}
                _ => break,
            }
            gone.extend(self.retire(current));
        }
        for (load, loaded) in &*self.loaded.borrow() {
            loaded.vm.set_current(*load == current);
        }
        // Now that nothing of this is borrowed.
        drop(gone);
        self.end_sessions();
    }

    /// Ends the sessions of the oldest replaced VMs, if those hold too much.
    fn end_sessions(&self) {
        let replaced: Vec<_> = self.replaced.borrow().iter().filter_map(Weak::upgrade).collect();
        let mut used = 0;
        for (count, vm) in replaced.iter().rev().enumerate() {
            used += vm.memory_used();
            if count >= MAX_KEPT || used > MAX_KEPT_BYTES {
                vm.end_sessions();
            }
        }
    }

    /// Retires the VMs that no generation leads back to. What is returned is to be dropped.
    fn retire(&self, current: u64) -> Vec<LoadedVm> {
        let whole = self.live.loads();
        let mut loaded = self.loaded.borrow_mut();
        let gone = loaded.extract_if(.., |load, _| *load != current && !whole.contains(load));
        let gone: Vec<_> = gone.map(|(_, gone)| gone).collect();
        drop(loaded);
        let mut replaced = self.replaced.borrow_mut();
        replaced.retain(|vm| vm.strong_count() > 0);
        for LoadedVm { vm, .. } in &gone {
            vm.retire();
            replaced.push(Rc::downgrade(vm));
        }
        gone
    }

    /// Lets go of what ended sessions had in any of them.
    pub(crate) fn forget_sessions(&self) {
        let loaded: Vec<_> = self.loaded.borrow().values().map(|loaded| Rc::clone(&loaded.vm)).collect();
        let replaced: Vec<_> = self.replaced.borrow().iter().filter_map(Weak::upgrade).collect();
        loaded.iter().chain(&replaced).for_each(|vm| vm.forget_sessions());
    }

    /// What each holds.
    pub(crate) fn status(&self) -> Vec<Status> {
        self.follow();
        let current = self.live.site().loaded;
        let loaded = self.loaded.borrow();
        let loaded = loaded.iter().rev().map(|(load, loaded)| {
            if *load == current { loaded.vm.status() } else { loaded.vm.status_paused(*load) }
        });
        let replaced = self.replaced.borrow();
        let replaced = replaced.iter().filter_map(Weak::upgrade).map(|vm| vm.status_replaced());
        loaded.chain(replaced).collect()
    }
}
