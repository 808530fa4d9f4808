//! Luau's own functions that would hold their thread: nothing interrupts a C function, and some take seconds over what
//! the memory limit allows.
//!
//! Each of [`NATIVES`] is replaced by a C closure that looks at how much it is asked to do. What is little goes on to
//! the builtin, in the same frame, so that results, errors and their places are the builtin's own, at a few nanoseconds;
//! what is much goes to the function of the same name in `natives.luau`, which does it in pieces, and is
//! stopped and preempted between them as any script is. What cannot be done in pieces has a limit, and an error that
//! names it.
#![expect(unsafe_code, reason = "C closures: a function of mlua's would cost each call three times as much")]

mod arguments;
mod choice;
mod search;
mod strings;
mod tables;
#[cfg(test)]
mod tests;

use std::ffi::{CStr, c_int, c_void};
use std::sync::OnceLock;

use mlua::ffi::{self, lua_CFunction, lua_State};
use mlua::{Function, Lua, Table, Value};

use self::arguments::{span, text};
use self::choice::{Choice, MAX_TEXT, MAX_VALUES, TEXT, VALUES, pieces};
use self::strings::{bounded_format, bytes, find, format, gsub, pack, pattern, rep, split, tonumber};
use self::tables::{bounded_number, concat, sort, unpack};
use crate::chunk::load;

/// A function of a library that is replaced.
struct Native {
    library: &'static str,
    name: &'static CStr,
    /// Looks at the arguments, and raises no error.
    choose: unsafe fn(*mut lua_State) -> Choice,
    builtin: OnceLock<lua_CFunction>,
}

macro_rules! natives {
    ($($library:literal $name:literal $choose:expr;)*) => {
        [$(Native { library: $library, name: $name, choose: $choose, builtin: OnceLock::new() }),*]
    };
}

/// All that are replaced.
static NATIVES: [Native; 28] = natives! {
    "string" c"find" find;
    "string" c"match" pattern;
    "string" c"gmatch" pattern;
    "string" c"split" split;
    "string" c"gsub" gsub;
    "string" c"upper" |state| unsafe { pieces(text(state, 1).is_some_and(|text| text.len() > TEXT)) };
    "string" c"lower" |state| unsafe { pieces(text(state, 1).is_some_and(|text| text.len() > TEXT)) };
    "string" c"reverse" |state| unsafe { pieces(text(state, 1).is_some_and(|text| text.len() > TEXT)) };
    "string" c"rep" rep;
    "string" c"format" format;
    "string" c"pack" pack;
    "string" c"packsize" |state| unsafe { bounded_format(state) };
    "string" c"unpack" |state| unsafe { bounded_format(state) };
    "string" c"byte" bytes;
    "table" c"concat" concat;
    "table" c"foreach" |_| Choice::Pieces;
    "table" c"foreachi" |_| Choice::Pieces;
    "table" c"unpack" unpack;
    "table" c"sort" sort;
    "table" c"move" |state| unsafe { pieces(span(state, 2, 3) > VALUES as f64) };
    "table" c"create" |state| unsafe { bounded_number(state, MAX_VALUES, c"more than 1,048,576 values at once") };
    "buffer" c"create" |state| unsafe { bounded_number(state, MAX_TEXT, c"more than 16 MiB") };
    "utf8" c"codepoint" bytes;
    "utf8" c"len" |state| unsafe { pieces(text(state, 1).is_some_and(|text| text.len() > TEXT)) };
    "utf8" c"offset" |state| unsafe { pieces(ffi::lua_tonumber(state, 2).abs() > TEXT as f64) };
    "os" c"date" |state| unsafe { bounded_format(state) };
    "_G" c"tonumber" tonumber;
    "_G" c"unpack" unpack;
};

/// Puts the closures in the place of the builtins. Before the VM is sandboxed.
pub(crate) fn install(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    let in_pieces = in_pieces(lua, VALUES, TEXT)?;
    for native in &NATIVES {
        let library: Table = globals.get(native.library)?;
        let name = native.name.to_string_lossy();
        let builtin: Function = library.raw_get(&*name)?;
        let pieces: Value = in_pieces.raw_get(format!("{}.{name}", native.library))?;
        library.raw_set(&*name, replaced(lua, native, builtin, pieces)?)?;
    }
    Ok(())
}

/// The functions that do it in pieces of so many values and bytes.
fn in_pieces(lua: &Lua, values: usize, text: usize) -> mlua::Result<Table> {
    load(lua, include_str!("natives.luau"), "=natives", None)?.call((values, text))
}

/// The closure of a native. Its upvalues are the function that does it in pieces, `native`, and the builtin.
fn replaced(lua: &Lua, native: &'static Native, builtin: Function, pieces: Value) -> mlua::Result<Function> {
    // Only of what is done in pieces: Luau takes a frame with a continuation for one in which the script may give way.
    let after: Option<ffi::lua_Continuation> = if pieces.is_nil() { None } else { Some(came_back) };
    // SAFETY: `exec_raw` checks the stack for the arguments and some more; `native` lives for ever.
    unsafe {
        lua.exec_raw((pieces, builtin), |state| {
            if let Some(builtin) = ffi::lua_tocfunction(state, -1) {
                native.builtin.get_or_init(|| builtin);
            }
            ffi::lua_pushlightuserdata(state, (&raw const *native).cast_mut().cast::<c_void>());
            ffi::lua_insert(state, -2);
            ffi::lua_pushcclosurek(state, called, native.name.as_ptr(), 3, after);
        })
    }
}

/// The function that scripts call.
unsafe extern "C-unwind" fn called(state: *mut lua_State) -> c_int {
    // SAFETY: the second upvalue is one of `NATIVES`, set by `replaced`. No value with a destructor is alive where an error
    // may unwind. C functions have `LUA_MINSTACK` places on the stack beyond their arguments.
    unsafe {
        let native = &*ffi::lua_tolightuserdata(state, ffi::lua_upvalueindex(2)).cast::<Native>();
        match (native.choose)(state) {
            Choice::Done(results) => results,
            Choice::Pieces => {
                ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
                ffi::lua_insert(state, 1);
                ffi::lua_callyieldable(state, ffi::lua_gettop(state) - 1, ffi::LUA_MULTRET)
            }
            Choice::Called => {
                ffi::lua_pushvalue(state, ffi::lua_upvalueindex(3));
                ffi::lua_insert(state, 1);
                ffi::lua_call(state, ffi::lua_gettop(state) - 1, ffi::LUA_MULTRET);
                ffi::lua_gettop(state)
            }
            Choice::TooMuch(why) => {
                ffi::luaL_where(state, 1);
                ffi::lua_pushstring(state, native.name.as_ptr());
                ffi::lua_pushstring(state, c": ".as_ptr());
                ffi::lua_pushstring(state, why.as_ptr());
                ffi::lua_concat(state, 4);
                ffi::lua_error(state)
            }
            Choice::Builtin => match native.builtin.get() {
                Some(builtin) => builtin(state),
                None => 0,
            },
        }
    }
}

/// Goes on when what was done in pieces is done: its results are the function's.
unsafe extern "C-unwind" fn came_back(state: *mut lua_State, _status: c_int) -> c_int {
    // SAFETY: called by Luau with the closure's own frame.
    unsafe { ffi::lua_gettop(state) }
}
