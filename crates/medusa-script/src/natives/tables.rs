//! What is little of `table`.
#![expect(unsafe_code, reason = "arguments are looked at where Luau has them")]

use std::ffi::{CStr, c_int};

use mlua::ffi::{self, lua_State};

use super::arguments::{may_call, text, values};
use super::choice::{Choice, TEXT, VALUES, pieces, returned};

/// The number of bytes of texts that are sorted in one go: each is compared some twenty times.
const SORTED: usize = 1024 * 1024;

/// `table.concat`: many values, or long ones.
pub(super) unsafe fn concat(state: *mut lua_State) -> Choice {
    // SAFETY: as `values`; what is pushed is taken off again.
    unsafe {
        let count = values(state, 1);
        if count > VALUES || ffi::lua_isnumber(state, 3) != 0 {
            return Choice::Pieces;
        }
        let mut bytes = text(state, 2).map_or(0, <[u8]>::len) * count;
        let (given, mut at) = (ffi::lua_gettop(state), 0);
        while at < count {
            // As many at a time as there are places for.
            for _ in 0..ffi::LUA_MINSTACK.min((count - at) as c_int) {
                at += 1;
                if ffi::lua_rawgeti(state, 1, at as ffi::lua_Integer) == ffi::LUA_TSTRING {
                    bytes += ffi::lua_objlen(state, -1);
                }
            }
            ffi::lua_settop(state, given);
        }
        pieces(bytes > TEXT)
    }
}

/// `table.sort`: as `gsub` if the script is called to compare, and in pieces if that takes long.
pub(super) unsafe fn sort(state: *mut lua_State) -> Choice {
    // SAFETY: as `values`; what is pushed is taken off again.
    unsafe {
        let count = values(state, 1);
        if count > VALUES || (count > 1 && ffi::lua_type(state, 2) == ffi::LUA_TFUNCTION) {
            return Choice::Pieces;
        }
        let (mut calls, mut bytes) = (false, 0);
        for at in 1..=count {
            let kind = ffi::lua_rawgeti(state, 1, at as ffi::lua_Integer);
            calls |= may_call(kind);
            if kind == ffi::LUA_TSTRING {
                bytes += ffi::lua_objlen(state, -1);
            }
            ffi::lua_settop(state, -2);
        }
        pieces(calls || bytes > SORTED)
    }
}

/// `table.unpack`.
pub(super) unsafe fn unpack(state: *mut lua_State) -> Choice {
    // SAFETY: what is no number is 0.
    unsafe {
        let first = if ffi::lua_isnoneornil(state, 2) != 0 { 1.0 } else { ffi::lua_tonumber(state, 2) };
        let all = ffi::lua_isnoneornil(state, 3) != 0;
        let last = if all { values(state, 1) as f64 } else { ffi::lua_tonumber(state, 3) };
        returned(last - first)
    }
}

/// Guards functions that make as much as their first argument says.
pub(super) unsafe fn bounded_number(state: *mut lua_State, most: f64, why: &'static CStr) -> Choice {
    // SAFETY: what is no number is 0.
    if unsafe { ffi::lua_tonumber(state, 1) } > most { Choice::TooMuch(why) } else { Choice::Builtin }
}
