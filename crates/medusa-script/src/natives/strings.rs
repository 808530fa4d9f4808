//! What is little of `string` and its like.
#![expect(unsafe_code, reason = "arguments are looked at where Luau has them")]

use std::ffi::CStr;

use mlua::ffi::{self, lua_State};

use super::arguments::{has_metatable, may_call, text};
use super::choice::{Choice, MAX_TEXT, TEXT, pieces, returned};
use super::search::{CLASS_COMPARISONS, MAX_PATTERN, MAX_SEARCHED, MAX_WANTED, longest_class, search};

/// The number of comparisons of bytes that a search may take.
const COMPARISONS: usize = 1024 * 1024;

/// The longest format of `os.date`, `string.format`, `string.pack` and the like: each byte may stand for work.
const FORMAT: usize = 4096;

/// The most that `%q` quotes, in bytes.
const MAX_QUOTED: usize = 512 * 1024;

const TEXT_TOO_LONG: &CStr = c"the text would be longer than 16 MiB";

const FORMAT_TOO_LONG: &CStr = c"the format is longer than 4096 bytes";

pub(super) unsafe fn bounded_format(state: *mut lua_State) -> Choice {
    // SAFETY: as `text`.
    let format = unsafe { text(state, 1) };
    if format.is_some_and(|format| format.len() > FORMAT) {
        Choice::TooMuch(FORMAT_TOO_LONG)
    } else {
        Choice::Builtin
    }
}

/// `string.rep`: says what is too long before it is tried.
pub(super) unsafe fn rep(state: *mut lua_State) -> Choice {
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
pub(super) unsafe fn format(state: *mut lua_State) -> Choice {
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
pub(super) unsafe fn pack(state: *mut lua_State) -> Choice {
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
pub(super) unsafe fn find(state: *mut lua_State) -> Choice {
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

/// `string.match` and the like.
pub(super) unsafe fn pattern(state: *mut lua_State) -> Choice {
    // SAFETY: as `text`.
    unsafe { too_much(state) }.map_or(Choice::Builtin, Choice::TooMuch)
}

/// The reason why the text at 1 is not searched for the pattern at 2.
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

/// `string.gsub`: what calls the script is done in pieces however short it is, and can give way in the calls.
pub(super) unsafe fn gsub(state: *mut lua_State) -> Choice {
    // SAFETY: as `text`.
    unsafe {
        if let Some(why) = too_much(state) {
            return Choice::TooMuch(why);
        }
        let calls = ffi::lua_type(state, 3) == ffi::LUA_TFUNCTION || has_metatable(state, 3);
        pieces(calls || text(state, 1).is_some_and(|text| text.len() > TEXT))
    }
}

/// `string.byte` and the like.
pub(super) unsafe fn bytes(state: *mut lua_State) -> Choice {
    // SAFETY: as `text`; what is no number is 0.
    unsafe {
        let (length, last) = (text(state, 1).map_or(0, <[u8]>::len) as f64, ffi::lua_tonumber(state, 3));
        let at = |place: f64| if place < 0.0 { place + length + 1.0 } else { place.min(length) };
        returned(at(last) - at(ffi::lua_tonumber(state, 2)).max(1.0))
    }
}

/// `tonumber`: no number is as long as a text may be.
pub(super) unsafe fn tonumber(state: *mut lua_State) -> Choice {
    // SAFETY: as `text`.
    unsafe {
        if text(state, 1).is_none_or(|text| text.len() <= TEXT) {
            return Choice::Builtin;
        }
        ffi::lua_pushnil(state);
        Choice::Done(1)
    }
}

/// The characters that make a pattern of a text.
const MAGIC: &[u8] = b"^$*+?.([%-";

pub(super) unsafe fn split(state: *mut lua_State) -> Choice {
    // SAFETY: as `text`.
    let (text, separator) = unsafe { (text(state, 1), text(state, 2)) };
    let (length, width) = (text.map_or(0, <[u8]>::len), separator.map_or(1, <[u8]>::len));
    pieces(length > TEXT || length.saturating_mul(width) > COMPARISONS)
}
