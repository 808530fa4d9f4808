//! The arguments of a call, looked at on Luau's stack: none of this allocates or raises an error.
#![expect(unsafe_code, reason = "arguments are looked at where Luau has them")]

use std::ffi::{c_char, c_int};
use std::slice;

use mlua::ffi::{self, lua_State};

/// The string at `index`. Numbers, which are taken for strings, are short: the builtin converts them.
pub(super) unsafe fn text<'a>(state: *mut lua_State, index: c_int) -> Option<&'a [u8]> {
    // SAFETY: the string stays on the stack, and alive, while the closure runs.
    unsafe {
        if ffi::lua_type(state, index) != ffi::LUA_TSTRING {
            return None;
        }
        let mut length = 0;
        let start: *const c_char = ffi::lua_tolstring(state, index, &raw mut length);
        Some(slice::from_raw_parts(start.cast(), length))
    }
}

/// The number of values in the table at `index`.
pub(super) unsafe fn values(state: *mut lua_State, index: c_int) -> usize {
    // SAFETY: an index beyond the arguments is none, which is no table.
    unsafe { if ffi::lua_type(state, index) == ffi::LUA_TTABLE { ffi::lua_objlen(state, index) } else { 0 } }
}

/// The distance from one argument to another; nothing where either is no number.
pub(super) unsafe fn span(state: *mut lua_State, from: c_int, to: c_int) -> f64 {
    // SAFETY: what is no number is 0.
    unsafe { ffi::lua_tonumber(state, to) - ffi::lua_tonumber(state, from) }
}

/// Whether a value of this type may have metamethods.
pub(super) fn may_call(kind: c_int) -> bool {
    kind == ffi::LUA_TTABLE || kind == ffi::LUA_TUSERDATA
}

pub(super) unsafe fn has_metatable(state: *mut lua_State, index: c_int) -> bool {
    // SAFETY: what is pushed is taken off again.
    unsafe {
        let has = ffi::lua_type(state, index) == ffi::LUA_TTABLE && ffi::lua_getmetatable(state, index) != 0;
        if has {
            ffi::lua_settop(state, -2);
        }
        has
    }
}
