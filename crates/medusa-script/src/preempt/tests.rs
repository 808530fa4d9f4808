//! The watchdog's races.

use std::time::Duration;

use mlua::{Thread, Value};

use super::*;
use crate::luau::Heap;
use crate::memory::Memory;

/// The watchdog may take so long over arming that the slice is over.
#[test]
fn what_was_armed_for_one_slice_does_nothing_to_the_next() {
    const LIMIT: usize = 16 * 1024 * 1024;
    let lua = Lua::new();
    lua.set_memory_limit(LIMIT).unwrap();
    let account = Memory::new(LIMIT).open(Heap::new(&lua, LIMIT).unwrap());
    let meter = Rc::new(Meter::new(account, Duration::from_secs(1)));
    let preemption = Preemption::install(&lua).unwrap();
    let next: Thread =
        lua.load("return coroutine.create(function() for _ = 1, 100 do end end)").eval().unwrap();
    let slice = preemption.slot.sequence() + 1;
    preemption.slice(&meter, || ());
    preemption.slot.arm(slice);
    let begun = thread_cpu_time();
    while thread_cpu_time().saturating_sub(begun) < 2 * MAX_HOLD {}
    take_preempted();
    let yielded: Value = preemption.slice(&meter, || next.resume(())).unwrap();
    assert!(take_preempted() == 0 && yielded.is_nil(), "{yielded:?}");
    assert_eq!(preemption.overruns(), 0);
}
