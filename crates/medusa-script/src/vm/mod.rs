//! One Luau VM: sandboxed, capped in memory, under the watchdog.
//!
//! **Invariant:** a script reaches nothing but pure computation and what the bindings hand it. There is no `io`, no
//! `os.execute`, no bytecode (every chunk is loaded as text), no `getfenv`; libraries and the `medusa` table are
//! read-only.

mod collect;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use medusa_proto::status::Status;
use mlua::{Function, Lua, LuaOptions, StdLib, Table, Value};

use crate::budget::Budget;
use crate::chunk::load;
use crate::error::ScriptError;
use crate::luau::{self, Heap};
use crate::memory::Memory;
use crate::natives;
use crate::preempt::{Meter, Preemption};
use crate::print::shown_value;
use crate::sentinel;

/// The most one VM may hold. A typical site's live heap is a few MiB; this is a bound on accidents.
const MEMORY_LIMIT: usize = 256 * 1024 * 1024;

/// The number of coroutines that are kept for the next requests: making one anew costs more than a small handler
/// does.
const COROUTINES: usize = 64;

/// The functions that scripts must not have.
const REMOVED: [&str; 4] = ["loadstring", "getfenv", "setfenv", "newproxy"];

/// A Luau VM on its thread.
#[derive(Debug)]
pub(crate) struct Vm {
    // Before `lua`, so that the watchdog lets go of the VM before it is freed.
    preemption: Preemption,
    lua: Lua,
    heap: Heap,
    memory: Rc<Memory>,
    /// Takes the table that a script has raised last, if nobody has caught it.
    take_raised: Function,
}

thread_local! {
    /// The VMs of this thread, and some that are gone.
    static VMS: RefCell<Vec<Weak<Vm>>> = const { RefCell::new(Vec::new()) };
}

/// The bytes that scripts hold in the VMs of this thread, and how many VMs those are.
pub(crate) fn memory_here() -> (u64, u64) {
    VMS.with_borrow(|vms| {
        let used = vms.iter().filter_map(Weak::upgrade).map(|vm| vm.heap.used() as u64);
        used.fold((0, 0), |(bytes, vms), used| (bytes + used, vms + 1))
    })
}

impl Vm {
    /// Makes a VM. `install` adds the bindings; what it sets in the globals is read-only afterwards.
    pub(crate) fn new(install: impl FnOnce(&Lua, &Table) -> mlua::Result<()>) -> mlua::Result<Rc<Self>> {
        Self::with_limit(MEMORY_LIMIT, install)
    }

    /// Makes a VM with room for `limit` bytes.
    pub(crate) fn with_limit(
        limit: usize,
        install: impl FnOnce(&Lua, &Table) -> mlua::Result<()>,
    ) -> mlua::Result<Rc<Self>> {
        luau::set_flags()?;
        // With `catch_rust_panics(false)` mlua would put its own `pcall` in place, in which nothing can give way.
        let lua = Lua::new_with(StdLib::ALL_SAFE, LuaOptions::new().thread_pool_size(COROUTINES))?;
        lua.set_memory_limit(limit)?;
        let (heap, memory) = (Heap::new(&lua, limit)?, Memory::new(limit));
        heap.set_limit(memory.host_limit());
        luau::categorize(&lua)?;
        let globals = lua.globals();
        for name in REMOVED {
            globals.raw_remove(name)?;
        }
        let (pending, preempted) = (Lua::poll_pending(), sentinel::preempted());
        let (pending, preempted) = (Value::LightUserData(pending), Value::LightUserData(preempted));
        let prelude = load(&lua, include_str!("../prelude.luau"), "=prelude", None)?;
        let text_of = lua.create_function(text_of)?;
        let (pcall, xpcall, error, take_raised) =
            prelude.call::<(Function, Function, Function, Function)>((pending, preempted, text_of))?;
        globals.raw_set("pcall", pcall)?;
        globals.raw_set("xpcall", xpcall)?;
        globals.raw_set("error", error)?;
        natives::install(&lua, &globals)?;
        install(&lua, &globals)?;
        lua.sandbox(true)?;
        let preemption = Preemption::install(&lua)?;
        let this = Rc::new(Self { preemption, lua, heap, memory, take_raised });
        VMS.with_borrow_mut(|vms| {
            vms.retain(|vm| vm.strong_count() > 0);
            vms.push(Rc::downgrade(&this));
        });
        Ok(this)
    }

    pub(crate) fn lua(&self) -> &Lua {
        &self.lua
    }

    /// A meter for a new task.
    pub(crate) fn meter(&self, budget: Budget) -> Rc<Meter> {
        Rc::new(Meter::new(self.memory.open(self.heap), budget.cpu))
    }

    /// Runs one poll of a task's future. Only in here does the limit hold for scripts; the host has a reserve beyond it.
    pub(crate) fn slice<R>(self: &Rc<Self>, meter: &Rc<Meter>, slice: impl FnOnce() -> R) -> R {
        let limit = LimitGuard { heap: self.heap, before: self.heap.set_limit(self.memory.limit()) };
        let result = self.preemption.slice(meter, slice);
        drop(limit);
        if self.memory.wants_collection(self.heap) {
            self.collect();
        }
        result
    }

    pub(crate) fn heap(&self) -> Heap {
        self.heap
    }

    /// The number of times a script of this VM held its thread for too long.
    pub(crate) fn overruns(&self) -> u64 {
        self.preemption.overruns()
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// An error that has ended a task. If it is a table, all that is left of which is an address, it is shown as values are.
    pub(crate) fn showing_raised(&self, error: mlua::Error) -> mlua::Error {
        match self.take_raised.call::<Value>(()) {
            Ok(Value::Table(raised)) => with_shown(error, &raised),
            _ => error,
        }
    }

    /// Adds what the VM holds to a status.
    pub(crate) fn describe(&self, status: Status) -> Status {
        self.memory.describe(status, self.heap).counter("overruns", self.overruns())
    }
}

/// Gives the VM its limit back when it is dropped.
struct LimitGuard {
    heap: Heap,
    before: usize,
}

impl Drop for LimitGuard {
    fn drop(&mut self) {
        self.heap.set_limit(self.before);
    }
}

/// The same error, with what was raised in the place of its address.
fn with_shown(error: mlua::Error, raised: &Table) -> mlua::Error {
    match error {
        mlua::Error::RuntimeError(text) => {
            let rest = text.strip_prefix(&format!("table: {:p}", raised.to_pointer()));
            let shown = rest.map(|rest| shown_value(&Value::Table(raised.clone())) + rest);
            mlua::Error::RuntimeError(shown.unwrap_or(text))
        }
        mlua::Error::CallbackError { traceback, mut cause } => {
            let inner = Arc::make_mut(&mut cause);
            *inner = with_shown(inner.clone(), raised);
            mlua::Error::CallbackError { traceback, cause }
        }
        other => other,
    }
}

/// Turns an error of the host into what a script that catches it sees: a string with the script's place. Any other
/// value is as it is.
fn text_of(lua: &Lua, value: Value) -> mlua::Result<Value> {
    match value {
        Value::Error(error) => {
            lua.create_string(ScriptError::from_lua(&error).to_string()).map(Value::String)
        }
        other => Ok(other),
    }
}
