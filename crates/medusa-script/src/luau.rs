//! Where mlua does not reach: two functions of Luau that are ours (how strings are hashed, how a thread is reset), and the
//! heap's numbers.
//!
//! Luau is built with `luau/medusa_luau.h` before each of its files, which gives way for them at link time; nothing of
//! Luau is copied. Without that header the link fails with a symbol defined twice.
#![expect(unsafe_code, reason = "functions that Luau's C++ calls, and looks at mlua's allocator")]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;
use std::{mem, ptr, slice};

use mlua::{Lua, ffi};

/// The longest string of which all is hashed, in bytes. Of strings longer than this, a VM at its limit holds 4,096: as
/// many comparisons, of a client's strings some dozens.
const HASHED: usize = 64 * 1024;

/// Luau's hash of a string, with a seed: without one, a client that sends keys which collide (they are quickly found)
/// makes each look-up a walk through all of them. SipHash-1-3, as fast as Luau's own on strings of all lengths.
///
/// Of a string longer than [`HASHED`] the length and both ends count: hashing a long one would hold its thread for longer
/// than copying it does. Such strings can be made to collide, and cannot hurt by it: the VM has no room for many.
///
/// # Safety
///
/// `text` points to `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn medusa_luau_hash(text: *const u8, length: usize) -> u32 {
    static SEED: OnceLock<RandomState> = OnceLock::new();
    let mut hasher = SEED.get_or_init(RandomState::new).build_hasher();
    // SAFETY: the caller's promise; an empty string's pointer is not null in Luau.
    let text = unsafe { slice::from_raw_parts(text, length) };
    if length <= HASHED {
        hasher.write(text);
    } else {
        hasher.write_usize(length);
        hasher.write(&text[..HASHED / 2]);
        hasher.write(&text[length - HASHED / 2..]);
    }
    hasher.finish() as u32
}

unsafe extern "C-unwind" {
    /// Luau's own.
    fn luau_resetthread_raw(state: *mut ffi::lua_State);
}

/// The record that mlua keeps for each VM behind Luau's allocator (`memory.rs` there, private, `repr(C)`).
/// [`Heap::new`] compares.
#[repr(C)]
struct MemoryState {
    used: isize,
    limit: isize,
    ignore_limit: bool,
}

/// The VM's own, as long as it lives.
unsafe fn memory_state(state: *mut ffi::lua_State) -> *mut MemoryState {
    let mut data: *mut c_void = ptr::null_mut();
    // SAFETY: `state` belongs to a VM of mlua's, which gave Luau this pointer.
    unsafe { ffi::lua_getallocf(state, &raw mut data) };
    data.cast()
}

/// Resets a thread, beyond the memory limit if need be. Luau shrinks the thread's call frames, for which it allocates; at
/// the limit that throws, and mlua resets threads where it drops them, with nothing around that catches: the process
/// would abort. It needs a few KiB, and frees more.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn lua_resetthread(state: *mut ffi::lua_State) {
    // SAFETY: mlua's VMs are the only ones, and `Heap::new` saw that the layout is as above.
    unsafe {
        let memory = memory_state(state);
        let before = (*memory).ignore_limit;
        (*memory).ignore_limit = true;
        luau_resetthread_raw(state);
        (*memory).ignore_limit = before;
    }
}

/// Fixes of Luau's that are off in this version: its name, and what goes wrong without it.
const FLAGS: [&str; 1] = [
    // A table that cannot grow for want of memory loses keys. It may be one of the script's own, that all requests use.
    "LuauTableRobustOom",
];

/// Turns [`FLAGS`] on: before the first VM.
pub(crate) fn set_flags() -> mlua::Result<()> {
    static SET: OnceLock<Result<(), &str>> = OnceLock::new();
    let set = SET
        .get_or_init(|| FLAGS.into_iter().try_for_each(|name| Lua::set_fflag(name, true).map_err(|()| name)));
    set.map_err(|name| mlua::Error::runtime(format!("Luau has no flag {name}")))
}

/// A VM's heap, past mlua's guards: it is looked at after every slice of every script.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heap {
    state: *mut ffi::lua_State,
    memory: *mut MemoryState,
}

/// The share of the collector's work that each allocation pays for, in per cent of its size; Luau's own choice, and
/// that of a VM which fills up. Then a cycle over a full heap (256 MiB to mark, as many to sweep) is over within 32
/// MiB.
const STEP_PERCENT: [c_int; 2] = [200, 1600];

/// In what portions, in KiB of allocations. The larger one is a millisecond's work.
const STEP_KIB: [c_int; 2] = [1, 32];

impl Heap {
    /// The heap of the VM that `state` belongs to.
    ///
    /// # Safety
    ///
    /// The VM is one of mlua's, lives as long as this is used, and is used on this thread only.
    pub(crate) unsafe fn of(state: *mut ffi::lua_State) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self { state, memory: memory_state(state) } }
    }

    /// The heap of `lua`, which has a memory limit of `limit`, for as long as that lives. Looks whether mlua's allocator is
    /// laid out as believed here.
    pub(crate) fn new(lua: &Lua, limit: usize) -> mlua::Result<Self> {
        let used = lua.used_memory();
        let mut heap = Self { state: ptr::null_mut(), memory: ptr::null_mut() };
        // SAFETY: outside of a call this is the VM's main thread, which lives as long as the VM.
        unsafe { lua.exec_raw::<()>((), |state| heap = Self::of(ffi::lua_mainthread(state)))? };
        // SAFETY: the pointer is mlua's own; two words of it are read, which is how long it is at the least.
        let (same_limit, believed) =
            unsafe { ((*heap.memory).limit == limit as isize, (*heap.memory).used.unsigned_abs()) };
        if same_limit && believed.abs_diff(used) < 64 * 1024 {
            Ok(heap)
        } else {
            Err(mlua::Error::runtime("mlua's allocator is laid out in another way"))
        }
    }

    /// The bytes in use, garbage included.
    pub(crate) fn used(self) -> usize {
        // SAFETY: as promised in `of`.
        unsafe { (*self.memory).used.unsigned_abs() }
    }

    /// Sets the most that may be in use; returns what it was.
    pub(crate) fn set_limit(self, bytes: usize) -> usize {
        // SAFETY: as promised in `of`. It is never 0, which mlua takes for "no allocation fails".
        unsafe { mem::replace(&mut (*self.memory).limit, bytes as isize).unsigned_abs() }
    }

    /// The bytes of one category ([`categorize`]), garbage included.
    pub(crate) fn of_category(self, category: u8) -> usize {
        // SAFETY: as promised in `of`; only reads.
        unsafe { ffi::lua_totalbytes(self.state, c_int::from(category)) }
    }

    /// Whether no collection is under way.
    pub(crate) fn is_at_rest(self) -> bool {
        // SAFETY: as promised in `of`; only reads.
        unsafe { ffi::lua_gc(self.state, ffi::LUA_GCISPAUSED, 0) != 0 }
    }

    /// Begins a collection for which whoever allocates pays at once, or lets it be as Luau has it. Collects nothing itself.
    pub(crate) fn hurry(self, hurry: bool) {
        let which = usize::from(hurry);
        // SAFETY: as promised in `of`; these set numbers.
        unsafe {
            ffi::lua_gc(self.state, ffi::LUA_GCSETSTEPMUL, STEP_PERCENT[which]);
            ffi::lua_gc(self.state, ffi::LUA_GCSETSTEPSIZE, STEP_KIB[which]);
            if hurry {
                ffi::lua_gc(self.state, ffi::LUA_GCRESTART, 0);
            }
        }
    }
}

thread_local! {
    static CATEGORY: Cell<u8> = const { Cell::new(0) };
}

/// Whatever coroutines are resumed on this thread from now on allocate under `category`; returns what it was.
pub(crate) fn set_category(category: u8) -> u8 {
    CATEGORY.replace(category)
}

/// Makes the VM charge what a coroutine allocates to the category of whoever resumes it: mlua's are used again and again.
pub(crate) fn categorize(lua: &Lua) -> mlua::Result<()> {
    unsafe extern "C-unwind" fn resumed(state: *mut ffi::lua_State) {
        // SAFETY: Luau calls this with the thread it is about to run.
        unsafe { ffi::lua_setmemcat(state, c_int::from(CATEGORY.get())) };
    }
    // SAFETY: the callbacks are the VM's own; mlua does not use this one.
    unsafe { lua.exec_raw::<()>((), |state| (*ffi::lua_callbacks(state)).preresume = Some(resumed)) }
}

/// Makes room for so many references to values of the VM beside those there are: mlua keeps them on a stack, 16 bytes each.
/// At the memory limit that cannot grow, and mlua fails, in a few places with a panic.
pub(crate) fn reserve_references(lua: &Lua, references: usize) -> mlua::Result<()> {
    // Clones share a reference; of one string there may be many.
    (0..references).map(|_| lua.create_string("")).collect::<mlua::Result<Vec<_>>>().map(drop)
}

#[cfg(test)]
mod hash_tests;
#[cfg(test)]
mod tests;
