//! Luau's own functions that would hold their thread: nothing interrupts a C function, and some take seconds over what
//! the memory limit allows.
//!
//! Each of [`NATIVES`] is replaced by a C closure that looks at how much it is asked to do. What is little goes on to
//! the builtin, in the same frame, so that results, errors and their places are the builtin's own, at a few nanoseconds;
//! what is much goes to the function of the same name in `natives.luau`, which does it in pieces, and is
//! stopped and preempted between them as any script is. What cannot be done in pieces has a limit, and an error that
//! names it.
#![expect(unsafe_code, reason = "C closures: a function of mlua's would cost each call three times as much")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::slice;
use std::sync::OnceLock;

use memchr::memmem;
use mlua::ffi::{self, lua_CFunction, lua_State};
use mlua::{Function, Lua, Table, Value};

use crate::chunk::load;
use crate::preempt::{MAX_HOLD, thread_cpu_time};

/// What an entry decides about a call.
enum Choice {
    /// The builtin does it.
    Builtin,
    /// `natives.luau` does it, in pieces.
    Pieces,
    /// The builtin does it, in a frame of its own: it may call what the script gave it, which must not give way in there.
    /// (In the closure's frame Luau would take it for able to, for that has a continuation.)
    Called,
    /// It is done; so many results are on the stack.
    Done(c_int),
    /// It is too much, for which there are no pieces.
    TooMuch(&'static CStr),
}

/// A function of a library that is replaced.
struct Native {
    library: &'static str,
    name: &'static CStr,
    /// Looks at the arguments, and raises no error.
    choose: unsafe fn(*mut lua_State) -> Choice,
    builtin: OnceLock<lua_CFunction>,
}

/// How much a builtin may do in one go, in bytes: a fraction of a millisecond for what takes the longest with each.
const TEXT: usize = 64 * 1024;

/// How much a builtin may do in one go, in values of a table.
const VALUES: usize = 1024;

/// The longest text or buffer that is made in one go, in bytes: some milliseconds. A VM of 256 MiB holds few of these.
const MAX_TEXT: f64 = 16.0 * 1024.0 * 1024.0;

/// The longest table that is made in one go: as many bytes.
const MAX_VALUES: f64 = 1024.0 * 1024.0;

/// The most values that one call returns: they are copied from table to stack to table.
const MAX_RETURNED: f64 = 256.0 * 1024.0;

/// How many bytes of texts are sorted in one go: each is compared some twenty times.
const SORTED: usize = 1024 * 1024;

/// How many comparisons of bytes a search may take.
const COMPARISONS: usize = 1024 * 1024;

/// The longest format of `os.date`, `string.format`, `string.pack` and the like: each byte may stand for work.
const FORMAT: usize = 4096;

/// The longest pattern. No person writes longer ones, and each byte of it may be compared with each of the text.
const MAX_PATTERN: usize = 4096;

/// How many comparisons a class of characters (`[a-z_]*`) may take over a text: some 10 ms, which nothing interrupts.
const CLASS_COMPARISONS: usize = 16 * 1024 * 1024;

/// The most that `%q` quotes, in bytes.
const MAX_QUOTED: usize = 512 * 1024;

const TOO_MANY_RETURNED: &CStr = c"more than 262,144 values at once";
const TEXT_TOO_LONG: &CStr = c"the text would be longer than 16 MiB";
const FORMAT_TOO_LONG: &CStr = c"the format is longer than 4096 bytes";

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

/// What scripts call.
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

/// What was done in pieces is done: its results are the function's.
unsafe extern "C-unwind" fn came_back(state: *mut lua_State, _status: c_int) -> c_int {
    // SAFETY: called by Luau with the closure's own frame.
    unsafe { ffi::lua_gettop(state) }
}

fn pieces(much: bool) -> Choice {
    if much { Choice::Pieces } else { Choice::Builtin }
}

/// The string at `index`. Numbers, which are taken for strings, are short: the builtin converts them.
unsafe fn text<'a>(state: *mut lua_State, index: c_int) -> Option<&'a [u8]> {
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

/// How many values the table at `index` has.
unsafe fn values(state: *mut lua_State, index: c_int) -> usize {
    // SAFETY: an index beyond the arguments is none, which is no table.
    unsafe { if ffi::lua_type(state, index) == ffi::LUA_TTABLE { ffi::lua_objlen(state, index) } else { 0 } }
}

/// How far it is from one argument to another; nothing where either is no number.
unsafe fn span(state: *mut lua_State, from: c_int, to: c_int) -> f64 {
    // SAFETY: what is no number is 0.
    unsafe { ffi::lua_tonumber(state, to) - ffi::lua_tonumber(state, from) }
}

unsafe fn bounded_format(state: *mut lua_State) -> Choice {
    // SAFETY: as `text`.
    let format = unsafe { text(state, 1) };
    if format.is_some_and(|format| format.len() > FORMAT) {
        Choice::TooMuch(FORMAT_TOO_LONG)
    } else {
        Choice::Builtin
    }
}

unsafe fn bounded_number(state: *mut lua_State, most: f64, why: &'static CStr) -> Choice {
    // SAFETY: what is no number is 0.
    if unsafe { ffi::lua_tonumber(state, 1) } > most { Choice::TooMuch(why) } else { Choice::Builtin }
}

/// `string.rep`: says what is too long before it is tried.
unsafe fn rep(state: *mut lua_State) -> Choice {
    // SAFETY: as `text`.
    let (text, times) = unsafe {
        if ffi::lua_type(state, 1) == ffi::LUA_TNUMBER {
            ffi::lua_tolstring(state, 1, std::ptr::null_mut()); // becomes its text, as the builtin has it
        }
        (text(state, 1), ffi::lua_tonumber(state, 2))
    };
    if text.is_some_and(|text| text.len() as f64 * times > MAX_TEXT) {
        return Choice::TooMuch(TEXT_TOO_LONG);
    }
    Choice::Builtin
}

/// `string.format`: a format, and a string that is quoted byte by byte, have a length that holds nobody up.
unsafe fn format(state: *mut lua_State) -> Choice {
    // SAFETY: as `text`.
    unsafe {
        let Some(format) = text(state, 1) else { return Choice::Builtin };
        if format.len() > FORMAT {
            return Choice::TooMuch(FORMAT_TOO_LONG);
        }
        let (mut all, mut calls) = (0, false);
        for index in 2..=ffi::lua_gettop(state) {
            all += text(state, index).map_or(0, <[u8]>::len);
            calls |= may_call(ffi::lua_type(state, index));
        }
        if all as f64 > MAX_TEXT {
            return Choice::TooMuch(TEXT_TOO_LONG);
        }
        if all > MAX_QUOTED && quotes(format) {
            return Choice::TooMuch(c"more than 512 KiB to quote with %q");
        }
        if calls { Choice::Called } else { Choice::Builtin }
    }
}

/// Whether a conversion of the format is a `%q`, with or without a width.
fn quotes(format: &[u8]) -> bool {
    let conversion = |item: &[u8]| item.iter().copied().find(|byte| !b"-+ #.0123456789".contains(byte));
    format.split(|&byte| byte == b'%').skip(1).any(|item| conversion(item) == Some(b'q'))
}

/// `string.pack`: its texts, and what `c` pads, are as long as other texts.
unsafe fn pack(state: *mut lua_State) -> Choice {
    // SAFETY: as `text`.
    unsafe {
        let Some(format) = text(state, 1) else { return Choice::Builtin };
        if format.len() > FORMAT {
            return Choice::TooMuch(FORMAT_TOO_LONG);
        }
        let mut length = padded(format);
        for index in 2..=ffi::lua_gettop(state) {
            length += text(state, index).map_or(0.0, |text| text.len() as f64);
        }
        if length > MAX_TEXT { Choice::TooMuch(TEXT_TOO_LONG) } else { Choice::Builtin }
    }
}

/// The sum of the sizes behind each `c` of a format of `string.pack`.
fn padded(format: &[u8]) -> f64 {
    let size = |rest: &[u8]| {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0.0, |size, digit| size * 10.0 + f64::from(digit - b'0'))
    };
    format.split(|&byte| byte == b'c').skip(1).map(size).sum()
}

/// `string.find` of a plain text: the builtin's search compares everything with everything.
unsafe fn find(state: *mut lua_State) -> Choice {
    // SAFETY: as `text`.
    unsafe {
        let (text, Some(wanted)) = (text(state, 1), text(state, 2)) else { return Choice::Builtin };
        let length = text.map_or(0, <[u8]>::len);
        if wanted.len() <= MAX_PATTERN && length.saturating_mul(wanted.len()) <= COMPARISONS {
            return Choice::Builtin;
        }
        if ffi::lua_toboolean(state, 4) == 0 && wanted.iter().any(|byte| MAGIC.contains(byte)) {
            return pattern(state);
        }
        let Some(text) = text else { return Choice::Builtin };
        if wanted.len() > MAX_WANTED {
            return Choice::TooMuch(c"more than 1 MiB to search for");
        }
        let start = match ffi::lua_type(state, 3) {
            ffi::LUA_TNONE | ffi::LUA_TNIL => 1.0,
            _ if ffi::lua_isnumber(state, 3) != 0 => ffi::lua_tonumber(state, 3).trunc(),
            _ => return Choice::Builtin,
        };
        let length = text.len() as f64;
        let start = if start < 0.0 { (start + length + 1.0).max(1.0) } else { start.max(1.0) };
        let rest = if start <= length + 1.0 { text.get(start as usize - 1..) } else { None };
        match rest.map_or(Ok(None), |rest| search(rest, wanted)) {
            Err(why) => Choice::TooMuch(why),
            Ok(None) => {
                ffi::lua_pushnil(state);
                Choice::Done(1)
            }
            Ok(Some(at)) => {
                let from = start + at as f64;
                ffi::lua_pushnumber(state, from);
                ffi::lua_pushnumber(state, from + wanted.len() as f64 - 1.0);
                Choice::Done(2)
            }
        }
    }
}

/// The longest text that is searched for literally: what is known of it beforehand is found out in one go.
const MAX_WANTED: usize = 1024 * 1024;

/// Where `wanted` is in `text`: in linear time, a fraction of a millisecond for a MiB, but for texts that are made to take ten
/// times as long.
fn search(text: &[u8], wanted: &[u8]) -> Result<Option<usize>, &'static CStr> {
    let (finder, begun) = (memmem::Finder::new(wanted), thread_cpu_time());
    for from in (0..=text.len()).step_by(MAX_WANTED) {
        let piece = &text[from..text.len().min(from + MAX_WANTED + wanted.len())];
        if let Some(at) = finder.find(piece) {
            return Ok(Some(from + at));
        }
        if thread_cpu_time().saturating_sub(begun) > MAX_HOLD {
            return Err(c"it takes more than 10 ms over this text; search it in pieces");
        }
    }
    Ok(None)
}

/// The longest text that a pattern goes over: a class of characters is searched without a look at the clock.
const MAX_SEARCHED: usize = 4 * 1024 * 1024;

/// `string.match` and the like.
unsafe fn pattern(state: *mut lua_State) -> Choice {
    // SAFETY: as `text`.
    unsafe { too_much(state) }.map_or(Choice::Builtin, Choice::TooMuch)
}

/// Why the text at 1 is not searched for the pattern at 2.
unsafe fn too_much(state: *mut lua_State) -> Option<&'static CStr> {
    // SAFETY: as `text`. A number is a short text.
    let (text, pattern) = unsafe { (text(state, 1).unwrap_or_default(), text(state, 2).unwrap_or_default()) };
    if text.len() > MAX_SEARCHED {
        return Some(c"more than 4 MiB to search; search it in pieces, or for a text literally");
    }
    if pattern.len() > MAX_PATTERN {
        return Some(
            c"the pattern is longer than 4096 bytes; `find(text, from, true)` searches for a text literally",
        );
    }
    // A shorter text is not worth the look: the longest pattern over it is within the bound.
    let is_long = text.len() * pattern.len() > CLASS_COMPARISONS;
    (is_long && text.len() * longest_class(pattern) > CLASS_COMPARISONS)
        .then_some(c"a class (`[...]`) as long as this takes too long over this text; search it in pieces")
}

/// How long the longest class of a pattern is, in bytes.
fn longest_class(pattern: &[u8]) -> usize {
    let (mut longest, mut rest) = (0, pattern);
    while let [first, behind @ ..] = rest {
        let length = match (first, behind.first()) {
            (b'%', Some(b'b')) => 4,
            (b'%', _) => 2,
            (b'[', _) => class_length(rest),
            _ => 1,
        };
        if *first == b'[' {
            longest = longest.max(length);
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    longest
}

/// How long the class is with which the pattern begins. A `]` that comes first is one of its characters.
fn class_length(pattern: &[u8]) -> usize {
    let mut at = if pattern.get(1) == Some(&b'^') { 2 } else { 1 };
    loop {
        at += if pattern.get(at) == Some(&b'%') { 2 } else { 1 };
        if matches!(pattern.get(at), None | Some(b']')) {
            return at + 1;
        }
    }
}

/// `string.gsub`: what calls the script is done in pieces however short it is, and can give way in the calls.
unsafe fn gsub(state: *mut lua_State) -> Choice {
    // SAFETY: as `text`.
    unsafe {
        if let Some(why) = too_much(state) {
            return Choice::TooMuch(why);
        }
        let calls = ffi::lua_type(state, 3) == ffi::LUA_TFUNCTION || has_metatable(state, 3);
        pieces(calls || text(state, 1).is_some_and(|text| text.len() > TEXT))
    }
}

/// `table.concat`: many values, or long ones.
unsafe fn concat(state: *mut lua_State) -> Choice {
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
unsafe fn sort(state: *mut lua_State) -> Choice {
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
unsafe fn unpack(state: *mut lua_State) -> Choice {
    // SAFETY: what is no number is 0.
    unsafe {
        let first = if ffi::lua_isnoneornil(state, 2) != 0 { 1.0 } else { ffi::lua_tonumber(state, 2) };
        let all = ffi::lua_isnoneornil(state, 3) != 0;
        let last = if all { values(state, 1) as f64 } else { ffi::lua_tonumber(state, 3) };
        returned(last - first)
    }
}

/// `string.byte` and the like.
unsafe fn bytes(state: *mut lua_State) -> Choice {
    // SAFETY: as `text`; what is no number is 0.
    unsafe {
        let (length, last) = (text(state, 1).map_or(0, <[u8]>::len) as f64, ffi::lua_tonumber(state, 3));
        let at = |place: f64| if place < 0.0 { place + length + 1.0 } else { place.min(length) };
        returned(at(last) - at(ffi::lua_tonumber(state, 2)).max(1.0))
    }
}

fn returned(count: f64) -> Choice {
    if count >= MAX_RETURNED { Choice::TooMuch(TOO_MANY_RETURNED) } else { Choice::Builtin }
}

/// `tonumber`: no number is as long as a text may be.
unsafe fn tonumber(state: *mut lua_State) -> Choice {
    // SAFETY: as `text`.
    unsafe {
        if text(state, 1).is_none_or(|text| text.len() <= TEXT) {
            return Choice::Builtin;
        }
        ffi::lua_pushnil(state);
        Choice::Done(1)
    }
}

/// Whether a value of this type may have metamethods.
fn may_call(kind: c_int) -> bool {
    kind == ffi::LUA_TTABLE || kind == ffi::LUA_TUSERDATA
}

unsafe fn has_metatable(state: *mut lua_State, index: c_int) -> bool {
    // SAFETY: what is pushed is taken off again.
    unsafe {
        let has = ffi::lua_type(state, index) == ffi::LUA_TTABLE && ffi::lua_getmetatable(state, index) != 0;
        if has {
            ffi::lua_settop(state, -2);
        }
        has
    }
}

/// What makes a pattern of a text.
const MAGIC: &[u8] = b"^$*+?.([%-";

unsafe fn split(state: *mut lua_State) -> Choice {
    // SAFETY: as `text`.
    let (text, separator) = unsafe { (text(state, 1), text(state, 2)) };
    let (length, width) = (text.map_or(0, <[u8]>::len), separator.map_or(1, <[u8]>::len));
    pieces(length > TEXT || length.saturating_mul(width) > COMPARISONS)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use mlua::VmState;
    use mlua::thread::ThreadStatus;

    use super::*;

    /// With the closures in place, and scripts that give way wherever they can.
    fn lua() -> Lua {
        let lua = Lua::new();
        install(&lua, &lua.globals()).unwrap();
        // Where it gave way, it is asked again when it goes on.
        let gave_way = Cell::new(false);
        lua.set_interrupt(move |_| {
            Ok(if gave_way.replace(!gave_way.get()) { VmState::Continue } else { VmState::Yield })
        });
        lua
    }

    /// Runs `source`; tells how often it gave way.
    fn times_given_way(lua: &Lua, source: &str) -> mlua::Result<usize> {
        let thread = lua.create_thread(lua.load(source).set_name("@test.luau").into_function()?)?;
        let mut times = 0;
        loop {
            thread.resume::<()>(())?;
            if thread.status() != ThreadStatus::Resumable {
                return Ok(times);
            }
            times += 1;
        }
    }

    #[test]
    fn what_is_long_gives_way() {
        for (source, least) in [
            ("local parts = text:split(',') assert(#parts == 200001)", 200_000),
            ("local parts = text:split('') assert(#parts == 200000)", 200_000),
            ("text:split(text .. 'b')", 1),
            ("assert(text:gsub(',', ';') == (';'):rep(2e5))", 200_000),
            ("assert(text:gsub('x*', '') == text)", 200_000),
            ("assert(#text:upper() == 2e5)", 3),
            ("assert(#text:reverse() == 2e5)", 3),
            ("assert(#table.concat(list, ',') == 108893)", 15),
            ("table.sort(list) assert(list[1] == 1)", 20_000),
            ("table.sort(list, function(a, b) return a > b end) assert(list[1] == 20000)", 200_000),
            ("assert(table.move(list, 1, 20000, 2, {})[20001] == list[20000])", 15),
            ("local last = list[20000] table.move(list, 1, 20000, 3) assert(list[20002] == last)", 15),
            ("table.move(list, 1, 2147483645, 2)", 20_000),
            ("table.sort({ text .. 'c', text .. 'b', text:rep(20) .. 'a' })", 3),
            ("table.sort({ lazy(1), lazy(2), lazy(3), lazy(4) })", 6),
            ("assert(#table.concat({ text, text, text }, ',') == 600002)", 3),
            ("table.foreach(list, function() end)", 20_000),
            ("assert(table.foreachi(list, function(at) return if at == 9 then at else nil end) == 9)", 9),
            ("assert(utf8.len(text) == 200000)", 3),
            ("assert(utf8.offset(text, 200000) == 200000)", 3),
        ] {
            let lua = lua();
            let setup = "text = (','):rep(2e5)
                local class = { __lt = function(a, b) return a.n > b.n end }
                function lazy(n) return setmetatable({ n = n }, class) end
                list = {} for i = 1, 20000 do list[i] = i * 7 % 20001 end";
            times_given_way(&lua, setup).unwrap();
            let times = times_given_way(&lua, source).unwrap();
            assert!(times >= least, "{source}: gave way {times} times");
        }
    }

    /// What a builtin calls cannot give way, and what is called in pieces can: either comes to the same.
    #[test]
    fn what_calls_the_script_is_not_disturbed() {
        let lua = lua();
        times_given_way(
            &lua,
            "local function busy(value) for _ = 1, 50 do end return value end
            assert(('abc'):gsub('.', function(c) return busy(c .. c) end) == 'aabbcc')
            local lazy = setmetatable({}, { __index = function(_, key) return busy(key .. key) end })
            assert(('abc'):gsub('.', lazy) == 'aabbcc')
            assert(string.gsub(123, '.', function(c) return busy(c .. c) end) == '112233')
            assert(string.gsub(123, '.', lazy) == '112233')
            assert(string.gsub(123, '2', '') == '13')
            assert(tonumber((' '):rep(1e5) .. '1') == nil and tonumber((' '):rep(1e4) .. '1') == 1)
            assert(#{ unpack(table.create(262144, 1)) } == 262144)
            local long = setmetatable({ 3, 1, 2 }, { __len = function() return 1e9 end })
            assert(table.concat(long, ',', '2') == '1,2')
            table.sort(long, function(a, b) return a < b end)
            assert(table.concat(long, ',', 1, '3') == '1,2,3')
            local list = { 3, 1, 2 }
            table.sort(list, function(a, b) return busy(a > b) end)
            assert(table.concat(list) == '321')
            local class = { __lt = function(a, b) return busy(a.n < b.n) end }
            local objects = {}
            for n = 1, 20 do objects[n] = setmetatable({ n = n * 7 % 20 }, class) end
            table.sort(objects)
            for n = 2, 20 do assert(objects[n - 1].n <= objects[n].n) end
            local shown = setmetatable({}, { __tostring = function() return busy('shown') end })
            assert(string.format('<%* %d>', shown, 7) == '<shown 7>')
            local told = select(2, pcall(table.sort, { 1, 'x' }))
            assert(string.find(told, 'attempt to compare'), told)",
        )
        .unwrap();
    }

    /// The same calls, done by the builtins and in pieces of three values and five bytes.
    #[test]
    fn in_pieces_it_comes_to_the_same() {
        let lua = Lua::new();
        lua.globals().set("pieces", in_pieces(&lua, 3, 5).unwrap()).unwrap();
        lua.load(include_str!("natives_test.luau")).set_name("@natives_test.luau").exec().unwrap();
    }

    #[test]
    fn a_plain_search_is_the_builtins() {
        let lua = lua();
        times_given_way(
            &lua,
            "local long, wanted = ('ab'):rep(100000), ('ab'):rep(5000) .. 'b'
            local text = long .. wanted .. long
            for _, start in { 1, 2, 0, -1, -200001, 1.5, 200000, 1e6, -1e9 } do
                assert(text:find('abb', start, true) == text:find('ab[b]', start), start)
                local from, to = text:find(wanted, start, true)
                local expected = text:find('ab[b]', start)
                assert(if expected then to == expected + 2 and to - from == 10000 else from == nil, start)
            end
            assert(text:find(wanted) == text:find(wanted, 1, true))
            assert(text:find(text .. 'x', nil, true) == nil)
            local far = ('a'):rep(1048574) .. 'bcde' .. ('a'):rep(1048576)
            assert(far:find('bcd', 1, true) == 1048575 and far:find('bcf', 1, true) == nil)
            assert(far:find('bcde' .. ('a'):rep(1048000), 1, true) == 1048575)
            assert(#text:split(wanted) == 2)
            assert(text:find(wanted, '2', true) == text:find(wanted, 2, true))
            local needle = ('a'):rep(100000) .. 'b'
            assert((('a'):rep(200000) .. 'b'):find(needle) == 100001)
            assert(string.find(12, needle) == nil)
            assert((('a'):rep(200000)):gsub(('a'):rep(3000) .. 'b', '') == ('a'):rep(200000))",
        )
        .unwrap();
    }

    #[test]
    fn what_is_too_much_says_so() {
        let lua = lua();
        for (source, told) in [
            ("('x'):rep(1e8)", "test.luau:1: rep: the text would be longer than 16 MiB"),
            ("string.format(('%%'):rep(1e4))", "test.luau:1: format: the format is longer than 4096 bytes"),
            (
                "string.format('%q', ('x'):rep(2e6))",
                "test.luau:1: format: more than 512 KiB to quote with %q",
            ),
            ("string.pack(('x'):rep(1e4))", "test.luau:1: pack: the format"),
            ("string.unpack(('x'):rep(1e4), 'x')", "test.luau:1: unpack: the format"),
            ("('x'):rep(5e6):match('y')", "test.luau:1: match: more than 4 MiB to search"),
            (
                "('a'):rep(4194304):match('^[' .. ('b'):rep(1000000) .. 'a]*$')",
                "test.luau:1: match: the pattern is longer than 4096 bytes",
            ),
            (
                "string.find(1, '^[' .. ('b'):rep(1000000) .. ']*')",
                "test.luau:1: find: the pattern is longer",
            ),
            ("('a'):rep(1e5):gsub('[' .. ('b'):rep(4000) .. ']', '')", "test.luau:1: gsub: a class"),
            ("('a'):rep(1e5):gmatch('%b[][]' .. ('b'):rep(4000) .. ']*')", "test.luau:1: gmatch: a class"),
            ("string.pack('c250000000', '')", "test.luau:1: pack: the text would be longer than 16 MiB"),
            ("string.format('%1q', ('x'):rep(2e6))", "test.luau:1: format: more than 512 KiB to quote"),
            ("string.rep(1111111111, 2e7)", "test.luau:1: rep: the text would be longer than 16 MiB"),
            (
                "local s = ('x'):rep(9e6) string.format('%s%s', s, s)",
                "test.luau:1: format: the text would be longer than 16 MiB",
            ),
            ("os.date(('%c'):rep(1e4))", "test.luau:1: date: the format"),
            ("unpack(table.create(300000, 1))", "test.luau:1: unpack: more than 262,144 values at once"),
            ("table.unpack({}, -1, 300000)", "test.luau:1: unpack: more than 262,144 values at once"),
            ("('x'):rep(1e6):byte(2, -2)", "test.luau:1: byte: more than 262,144 values at once"),
            ("utf8.codepoint(('x'):rep(1e6), '1', 3e5)", "test.luau:1: codepoint: more than 262,144 values"),
            ("local s = ('x'):rep(5e6) s:find(s)", "test.luau:1: find: more than 1 MiB to search for"),
            (
                "table.concat(table.create(3, ('x'):rep(6e6)))",
                "test.luau:1: the text would be longer than 16 MiB",
            ),
            (
                "table.concat(table.create(1000, 1), ('x'):rep(1e5))",
                "test.luau:1: the text would be longer than 16 MiB",
            ),
            ("local t = table.create(5000, 1) t[3000] = {} table.sort(t)", "test.luau:1: attempt to compare"),
            ("table.sort({ {}, {} })", "test.luau:1: attempt to compare table < table"),
            ("('x'):gsub('%', function() end)", "test.luau:1: malformed pattern (ends with '%')"),
            ("('x'):rep(1e5):gsub('x', print, {})", "test.luau:1: invalid argument #4 to 'gsub'"),
            ("utf8.offset(('ä'):rep(1e5), 7e4, 2)", "test.luau:1: initial position is a continuation byte"),
            ("table.create(1e7, 1)", "test.luau:1: create: more than 1,048,576 values at once"),
            ("buffer.create(1e8)", "test.luau:1: create: more than 16 MiB"),
            (
                "table.concat(table.create(5000, {}))",
                "test.luau:1: invalid value (table) at index 1 in table for 'concat'",
            ),
            (
                "table.sort(table.freeze(table.create(5000, 1)))",
                "test.luau:1: attempt to modify a readonly table",
            ),
            (
                "('x'):rep(1e6):split({})",
                "test.luau:1: invalid argument #2 to 'split' (string expected, got table)",
            ),
            ("('x'):rep(1e6):gsub('x', '%')", "invalid use of '%' in replacement string"),
            ("('x'):rep(1e6):gsub('x', true)", "test.luau:1: invalid argument #3 to 'gsub'"),
        ] {
            let error = times_given_way(&lua, source).unwrap_err().to_string();
            assert!(error.contains(told), "{source}: {error}");
        }
    }

    /// Prints what `docs/natives.md` tells: the longest that each call holds its thread, and how long it takes in all.
    /// `cargo test --release -p medusa-script natives::tests::measure -- --ignored --nocapture`
    #[test]
    #[ignore = "prints a measurement"]
    fn measure() {
        for line in include_str!("natives_cases.txt").lines() {
            let (setup, call) = line.split_once("|||").unwrap_or(("", line));
            let lua = lua();
            times_given_way(&lua, setup).unwrap();
            lua.gc_collect().unwrap();
            let thread = lua.create_thread(lua.load(call).into_function().unwrap()).unwrap();
            let (mut longest, mut all, mut failed) = (Duration::ZERO, Duration::ZERO, None);
            while matches!(thread.status(), ThreadStatus::Resumable) && all < Duration::from_secs(5) {
                let begun = thread_cpu_time();
                failed = thread.resume::<()>(()).err().map(|error| error.to_string());
                let took = thread_cpu_time().saturating_sub(begun);
                (longest, all) = (took.max(longest), all + took);
            }
            let failed = failed.unwrap_or_default();
            let failed = failed.lines().next().unwrap_or_default();
            eprintln!("{longest:>10.1?} {all:>10.1?}  {call}  {failed}");
        }
    }
}
