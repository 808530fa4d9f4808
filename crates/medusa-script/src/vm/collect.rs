//! Collecting a VM's memory, between tasks and in steps.

use std::rc::Rc;
use std::time::Duration;

use super::Vm;

/// The time after a large task until its VM's memory is collected: long enough for one collection to serve a row of
/// them.
const LATER: Duration = Duration::from_secs(2);

impl Vm {
    /// Has memory collected, between tasks; nothing if that is under way.
    pub(crate) fn collect(self: &Rc<Self>) {
        self.memory.press(self.heap);
        // Without an event loop the VM is about to go.
        if tokio::runtime::Handle::try_current().is_ok() && self.memory.begin_collecting() {
            tokio::task::spawn_local(Rc::clone(self).collect_in_steps());
        }
    }

    /// Has memory collected in a while, once for all that ends until then: a task that held much is over. Luau paces its
    /// collector by what was alive then, so where little happens, what is left of it would stay.
    pub(crate) fn collect_later(self: &Rc<Self>) {
        if tokio::runtime::Handle::try_current().is_ok() && self.memory.expect_collection() {
            let vm = Rc::downgrade(self);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(LATER).await;
                if let Some(vm) = vm.upgrade() {
                    vm.memory.meet_collection();
                    vm.collect();
                }
            });
        }
    }

    /// Each step is about a millisecond's work. Others have their turn after each.
    async fn collect_in_steps(self: Rc<Self>) {
        self.heap.hurry(true);
        let mut found_before = false;
        loop {
            tokio::task::yield_now().await; // in which those who were stopped let go of what they held
            // What has become garbage during a cycle is freed by the next.
            let cycles = if self.heap.is_at_rest() { 1 } else { 2 };
            for _ in 0..cycles {
                self.memory.begin_cycle();
                while !self.step() {
                    tokio::task::yield_now().await;
                }
            }
            if !self.memory.settle(self.heap, found_before) {
                break;
            }
            found_before = true;
        }
        self.heap.hurry(false);
        self.memory.end_collecting();
    }

    /// Whether a cycle has ended.
    fn step(&self) -> bool {
        self.lua.gc_step().unwrap_or_else(|error| {
            tracing::warn!(%error, "collecting a script VM's memory failed");
            true
        })
    }
}
