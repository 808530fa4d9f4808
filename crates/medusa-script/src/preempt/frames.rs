//! Frames of a running script: where it is, and an error raised there.
#![expect(unsafe_code, reason = "looks at Luau's own frames")]

use std::ffi::{CStr, c_int};
use std::fmt::Write as _;
use std::slice;

use mlua::ffi;

use crate::chunk::file_of;

/// The line of the script that runs: `site.luau:12`.
pub(super) unsafe fn place(state: *mut ffi::lua_State) -> String {
    // SAFETY: as `interrupt`; what is pushed is taken off again.
    unsafe {
        ffi::lua_rawcheckstack(state, 1);
        ffi::luaL_where(state, scripts_level(state));
        let mut length = 0;
        let text: *const u8 = ffi::lua_tolstring(state, -1, &raw mut length).cast();
        let place = String::from_utf8_lossy(slice::from_raw_parts(text, length))
            .trim_end_matches([':', ' '])
            .to_owned();
        ffi::lua_settop(state, -2);
        place
    }
}

/// Writes the same, without asking the VM for memory.
pub(super) unsafe fn write_place(state: *mut ffi::lua_State, place: &mut String) {
    // SAFETY: `lua_getinfo` fills what "s" and "l" ask for, if there is such a level.
    unsafe {
        let mut frame: ffi::lua_Debug = std::mem::zeroed();
        let found = ffi::lua_getinfo(state, scripts_level(state), c"sl".as_ptr(), &raw mut frame) != 0;
        if found && !frame.source.is_null() {
            let source = CStr::from_ptr(frame.source).to_string_lossy();
            place.push_str(source.trim_start_matches(['@', '=']));
            let _written = write!(place, ":{}", frame.currentline);
        }
    }
}

/// Raises an error with the place in the script that runs.
pub(super) unsafe fn raise(state: *mut ffi::lua_State, message: &CStr) {
    // SAFETY: as `interrupt`.
    unsafe {
        ffi::lua_rawcheckstack(state, 3);
        ffi::luaL_where(state, scripts_level(state));
        ffi::lua_pushstring(state, message.as_ptr());
        ffi::lua_concat(state, 2);
        ffi::lua_error(state);
    }
}

/// The number of frames of the host's own behind which a script's is looked for.
const LEVELS: c_int = 16;

/// The innermost frame that is a script's: not a native function's, nor of the host's Luau (`=natives`).
unsafe fn scripts_level(state: *mut ffi::lua_State) -> c_int {
    for level in 0..LEVELS {
        // SAFETY: `lua_getinfo` fills what "s" asks for, if there is such a level.
        unsafe {
            let mut frame: ffi::lua_Debug = std::mem::zeroed();
            if ffi::lua_getinfo(state, level, c"s".as_ptr(), &raw mut frame) == 0 || frame.source.is_null() {
                break;
            }
            if file_of(CStr::from_ptr(frame.source).to_bytes()).is_some() {
                return level;
            }
        }
    }
    // SAFETY: as `interrupt`.
    c_int::from(unsafe { is_native(state) })
}

/// Whether it is a native function that runs.
pub(super) unsafe fn is_native(state: *mut ffi::lua_State) -> bool {
    // SAFETY: level 0 is what runs; `lua_getinfo` fills what "s" asks for.
    unsafe {
        let mut frame: ffi::lua_Debug = std::mem::zeroed();
        ffi::lua_getinfo(state, 0, c"s".as_ptr(), &raw mut frame) != 0
            && !frame.what.is_null()
            && *frame.what == b'C' as std::ffi::c_char
    }
}
