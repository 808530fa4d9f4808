//! Two functions of Luau that are ours: how strings are hashed, and how a thread is reset.
//!
//! Luau is built with `luau/medusa_luau.h` before each of its files, which gives way for them at link time; nothing of
//! Luau is copied. Without that header the link fails with a symbol defined twice.
#![expect(unsafe_code, reason = "functions that Luau's C++ calls, and one look at mlua's allocator")]

use std::ffi::c_void;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;
use std::{ptr, slice};

use mlua::{Lua, ffi};

/// Luau's hash of a string, with a seed: without one, a client that sends keys which collide (they are quickly found)
/// makes each look-up a walk through all of them. SipHash-1-3, as fast as Luau's own on strings of all lengths.
///
/// # Safety
///
/// `text` points to `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn medusa_luau_hash(text: *const u8, length: usize) -> u32 {
    static SEED: OnceLock<RandomState> = OnceLock::new();
    let mut hasher = SEED.get_or_init(RandomState::new).build_hasher();
    // SAFETY: the caller's promise; an empty string's pointer is not null in Luau.
    hasher.write(unsafe { slice::from_raw_parts(text, length) });
    hasher.finish() as u32
}

unsafe extern "C-unwind" {
    /// Luau's own.
    fn luau_resetthread_raw(state: *mut ffi::lua_State);
}

/// What mlua keeps for each VM behind Luau's allocator (`memory.rs` there, private, `repr(C)`). [`check`] compares.
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
    // SAFETY: mlua's VMs are the only ones, and `check` saw that the layout is as above.
    unsafe {
        let memory = memory_state(state);
        let before = (*memory).ignore_limit;
        (*memory).ignore_limit = true;
        luau_resetthread_raw(state);
        (*memory).ignore_limit = before;
    }
}

/// Whether mlua's allocator is laid out as [`lua_resetthread`] believes. `lua` has a memory limit of `limit`.
pub(crate) fn check(lua: &Lua, limit: usize) -> mlua::Result<()> {
    let used = lua.used_memory();
    let mut same = false;
    // SAFETY: the pointer is mlua's own; two words of it are read, which is how long it is at the least.
    unsafe {
        lua.exec_raw::<()>((), |state| {
            let memory = memory_state(state);
            same =
                (*memory).limit == limit as isize && (*memory).used.unsigned_abs().abs_diff(used) < 64 * 1024;
        })?;
    }
    if same { Ok(()) } else { Err(mlua::Error::runtime("mlua's allocator is laid out in another way")) }
}
