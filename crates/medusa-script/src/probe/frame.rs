//! The locals of a function that runs, read where Luau has them.
//!
//! **Invariant:** nothing in here allocates in the VM, runs its code or raises an error: it may be at its memory limit,
//! and it is in the middle of somebody's request. The stack has room for 20 values; at most 12 are on it.
#![expect(unsafe_code, reason = "locals are looked at where Luau has them")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::slice;
use std::time::{Duration, Instant};

use medusa_http::Head;
use medusa_proto::access::Peer;
use medusa_proto::shown::Escaped;
use mlua::ffi;

use super::snapshot::{Copied, CopiedTable, Snapshot};
use crate::chunk::file_of;
use crate::counted::shown_bytes;
use crate::print::MAX_SHOWN;
use crate::request::Requests;
use crate::sentinel;

/// The names that are copied: of more than 50 locals nobody sees anything.
const MAX_NAMES: usize = 50;
/// The values in tables, of all locals together, and in one table.
const MAX_VALUES: usize = 400;
const MAX_ITEMS: usize = 100;
/// How deep tables are gone into: what is shown goes as deep.
const MAX_DEPTH: usize = 3;
/// The longest text, and all of them together, in bytes.
const MAX_TEXT: usize = 1024;
const MAX_TEXTS: usize = 16 * 1024;
/// The arguments behind `...`.
const MAX_VARARGS: c_int = 20;
/// The time after which no further value is copied.
const MAX_TIME: Duration = Duration::from_micros(200);
/// The fields of a metatable that are looked at for the one that says what it is of.
const MAX_META: usize = 32;

/// A function that runs.
pub(super) struct Frame<'a> {
    pub(super) state: *mut ffi::lua_State,
    /// Where on the stack it is.
    pub(super) function: c_int,
    /// The first argument behind those that have names, if it takes any.
    pub(super) varargs: Option<c_int>,
    pub(super) requests: Option<&'a Requests>,
}

#[derive(Clone, Copy)]
enum NameSource {
    Local(c_int),
    Upvalue(c_int),
}

impl Frame<'_> {
    /// Copies its locals, and what it uses of the functions around it.
    ///
    /// # Safety
    ///
    /// It is level 0 of `state`, which has room for 18 values on its stack.
    pub(super) unsafe fn copy(&self) -> Snapshot {
        let mut copy = Copy {
            state: self.state,
            requests: self.requests,
            snapshot: Snapshot::default(),
            tables: Vec::new(),
            values: MAX_VALUES,
            keep: 0,
            text: MAX_TEXTS,
            // Half of it is for what is in tables.
            keep_text: MAX_TEXTS / 2,
            until: Instant::now() + MAX_TIME,
        };
        // SAFETY: the caller's promise; what a slot pushes is taken off again.
        unsafe {
            let mut later = Vec::new();
            for (name, slot) in self.slots(&mut copy.snapshot.more) {
                self.push(slot);
                let (value, is_new) = copy.value();
                if let (Copied::Table(at), true) = (&value, is_new) {
                    later.push((slot, *at));
                }
                copy.snapshot.names.push((name, value));
                ffi::lua_settop(self.state, -2);
            }
            self.copy_varargs(&mut copy);
            // Each has its share: the first one does not take all.
            let count = later.len();
            for (done, (slot, at)) in later.into_iter().enumerate() {
                copy.keep = copy.values - copy.values / (count - done);
                copy.keep_text = copy.text - copy.text / (count - done);
                if Instant::now() >= copy.until {
                    copy.snapshot.tables[at].more = true;
                    continue;
                }
                self.push(slot);
                copy.fill(at, 1);
                ffi::lua_settop(self.state, -2);
            }
        }
        copy.snapshot
    }

    /// The names there are, the innermost first.
    unsafe fn slots(&self, more: &mut bool) -> Vec<(String, NameSource)> {
        let mut slots: Vec<(String, NameSource)> = Vec::new();
        // SAFETY: both give a name and push a value, or neither.
        unsafe {
            for n in 1.. {
                let Some(name) = named(ffi::lua_getlocal(self.state, 0, n)) else { break };
                ffi::lua_settop(self.state, -2);
                if slots.len() == MAX_NAMES {
                    *more = true;
                    return slots;
                }
                // Which of two hides the other, Luau does not tell.
                let same = slots.iter().filter(|(known, _)| name_of(known) == name).count();
                let name = if same > 0 { format!("{name} ({})", same + 1) } else { name };
                slots.push((name, NameSource::Local(n)));
            }
            for n in 1.. {
                let Some(name) = named(ffi::lua_getupvalue(self.state, self.function, n)) else { break };
                ffi::lua_settop(self.state, -2);
                if slots.len() == MAX_NAMES {
                    *more = true;
                    break;
                }
                if !name.is_empty() && !slots.iter().any(|(known, _)| *known == name) {
                    slots.push((name, NameSource::Upvalue(n)));
                }
            }
        }
        slots
    }

    /// What is behind `...`, as a list: tables in it are not gone into.
    unsafe fn copy_varargs(&self, copy: &mut Copy<'_>) {
        let Some(first) = self.varargs else { return };
        let mut list = CopiedTable::default();
        // SAFETY: as in `copy`; what there is not is not pushed.
        unsafe {
            for n in 0..=MAX_VARARGS {
                if ffi::lua_getargument(self.state, 0, first + n) == 0 {
                    break;
                }
                if n == MAX_VARARGS {
                    list.more = true;
                } else {
                    let value = copy.value().0;
                    list.pairs.push((Copied::Number(f64::from(n + 1)), value));
                }
                ffi::lua_settop(self.state, -2);
            }
        }
        if !list.pairs.is_empty() {
            let at = copy.add(list, std::ptr::null());
            copy.snapshot.names.push(("...".to_owned(), Copied::Table(at)));
        }
    }

    /// Pushes the value of a slot.
    unsafe fn push(&self, slot: NameSource) {
        // SAFETY: `slots` has seen that it is there.
        unsafe {
            match slot {
                NameSource::Local(n) => ffi::lua_getlocal(self.state, 0, n),
                NameSource::Upvalue(n) => ffi::lua_getupvalue(self.state, self.function, n),
            };
        }
    }
}

/// A name without the number that was put behind it.
fn name_of(name: &str) -> &str {
    name.split_once(" (").map_or(name, |(name, _)| name)
}

unsafe fn named(name: *const c_char) -> Option<String> {
    // SAFETY: null, or a string of Luau's.
    (!name.is_null()).then(|| shown_bytes(unsafe { CStr::from_ptr(name) }.to_bytes(), MAX_SHOWN))
}

/// A copy that is being made.
struct Copy<'a> {
    state: *mut ffi::lua_State,
    requests: Option<&'a Requests>,
    snapshot: Snapshot,
    /// Which tables those of the snapshot are.
    tables: Vec<*const c_void>,
    /// How many values may still be copied, and how many of them are for others.
    values: usize,
    keep: usize,
    /// The same of bytes of text.
    text: usize,
    keep_text: usize,
    until: Instant,
}

impl Copy<'_> {
    fn add(&mut self, table: CopiedTable, address: *const c_void) -> usize {
        self.tables.push(address);
        self.snapshot.tables.push(table);
        self.snapshot.tables.len() - 1
    }

    /// The value on top of the stack, and whether it is a table that is still to be filled.
    unsafe fn value(&mut self) -> (Copied, bool) {
        let state = self.state;
        // SAFETY: there is a value; each function is one for its type, for which it converts nothing.
        let value = unsafe {
            match ffi::lua_type(state, -1) {
                ffi::LUA_TNIL => Copied::Nil,
                ffi::LUA_TBOOLEAN => Copied::Boolean(ffi::lua_toboolean(state, -1) != 0),
                ffi::LUA_TNUMBER => Copied::Number(ffi::lua_tonumberx(state, -1, std::ptr::null_mut())),
                ffi::LUA_TSTRING => {
                    let mut length = 0;
                    let text: *const u8 = ffi::lua_tolstring(state, -1, &raw mut length).cast();
                    self.text(slice::from_raw_parts(text, length))
                }
                ffi::LUA_TTABLE => {
                    let address = ffi::lua_topointer(state, -1);
                    if let Some(known) = self.tables.iter().position(|known| *known == address) {
                        return (Copied::Table(known), false);
                    }
                    return (Copied::Table(self.add(CopiedTable::default(), address)), true);
                }
                ffi::LUA_TFUNCTION => Copied::Other(self.function()),
                // As `print` shows it, which JSON's null is.
                ffi::LUA_TLIGHTUSERDATA if ffi::lua_tolightuserdata(state, -1).is_null() => {
                    Copied::Other("null".to_owned())
                }
                other => Copied::Other(named(ffi::lua_typename(state, other)).unwrap_or_default()),
            }
        };
        (value, false)
    }

    fn text(&mut self, text: &[u8]) -> Copied {
        let room = self.text.saturating_sub(self.keep_text).min(MAX_TEXT);
        self.text -= text.len().min(room);
        match text.get(..room) {
            Some(_) if room == 0 && !text.is_empty() => {
                Copied::Other(format!("a string of {} bytes", text.len()))
            }
            Some(first) if first.len() < text.len() => Copied::Text([first, "…".as_bytes()].concat()),
            _ => Copied::Text(text.to_owned()),
        }
    }

    /// The function on top of the stack.
    unsafe fn function(&self) -> String {
        // SAFETY: "s" of a function is always there.
        unsafe {
            let mut info: ffi::lua_Debug = std::mem::zeroed();
            if ffi::lua_getinfo(self.state, -1, c"s".as_ptr(), &raw mut info) == 0 || info.source.is_null() {
                return "function".to_owned();
            }
            match file_of(CStr::from_ptr(info.source).to_bytes()) {
                Some(file) => format!("function {}:{}", shown_bytes(file, MAX_SHOWN), info.linedefined),
                None => "function".to_owned(),
            }
        }
    }

    /// Fills the copy of the table on top of the stack.
    unsafe fn fill(&mut self, at: usize, depth: usize) {
        let state = self.state;
        let mut copied = CopiedTable::default();
        // SAFETY: it is a table; its iterator pushes a key and a value, or nothing at its end. Of what is gone into, 3
        // levels are on the stack at the most, each with two values.
        unsafe {
            let table = ffi::lua_gettop(state);
            copied.kind = self.kind(table);
            let mut handle = None;
            let mut next = 0;
            loop {
                next = ffi::lua_rawiter(state, table, next);
                if next < 0 {
                    break;
                }
                if ffi::lua_type(state, -2) == ffi::LUA_TLIGHTUSERDATA {
                    if ffi::lua_tolightuserdata(state, -2) == sentinel::host_key().0
                        && ffi::lua_type(state, -1) == ffi::LUA_TNUMBER
                    {
                        handle = Some(ffi::lua_tonumberx(state, -1, std::ptr::null_mut()));
                    }
                    ffi::lua_settop(state, -3);
                    continue;
                }
                let is_full = copied.pairs.len() >= MAX_ITEMS || self.values <= self.keep;
                if is_full || depth > MAX_DEPTH || Instant::now() >= self.until {
                    copied.more = true;
                    ffi::lua_settop(state, -3);
                    break;
                }
                self.values -= 1;
                let (value, is_new) = self.value();
                if let (Copied::Table(nested), true) = (&value, is_new) {
                    self.fill(*nested, depth + 1);
                }
                ffi::lua_settop(state, -2);
                let key = if ffi::lua_type(state, -1) == ffi::LUA_TTABLE {
                    Copied::Other("table".to_owned())
                } else {
                    self.value().0
                };
                copied.pairs.push((key, value));
                ffi::lua_settop(state, -2);
            }
            let head = self.requests.zip(handle).and_then(|(requests, handle)| requests.head(handle));
            if let Some(head) = head {
                self.add_head(&mut copied, &head);
            }
        }
        self.snapshot.tables[at] = copied;
    }

    /// What an object of the host's says it is: `request`.
    unsafe fn kind(&self, table: c_int) -> Option<String> {
        let state = self.state;
        // SAFETY: as in `fill`.
        unsafe {
            if ffi::lua_getmetatable(state, table) == 0 {
                return None;
            }
            let metatable = ffi::lua_gettop(state);
            let mut kind = None;
            let mut next = 0;
            for _ in 0..MAX_META {
                next = ffi::lua_rawiter(state, metatable, next);
                if next < 0 {
                    break;
                }
                let is_text = |at| ffi::lua_type(state, at) == ffi::LUA_TSTRING;
                if is_text(-2) && is_text(-1) {
                    let name = CStr::from_ptr(ffi::lua_tolstring(state, -2, std::ptr::null_mut()));
                    if name == c"__metatable" {
                        let name = named(ffi::lua_tolstring(state, -1, std::ptr::null_mut()));
                        kind = name.map(|name| Escaped::line(&name).to_string());
                    }
                }
                ffi::lua_settop(state, -3);
            }
            ffi::lua_settop(state, metatable - 1);
            kind
        }
    }

    /// What a script finds in a request, if it has not asked for it yet.
    fn add_head(&mut self, request: &mut CopiedTable, head: &Head) {
        let client = match head.client {
            Peer::Ip(ip) => ip.to_string(),
            Peer::Unix => "unix".to_owned(),
        };
        let mut params = CopiedTable::default();
        for (name, value) in head.params.iter().take(MAX_ITEMS) {
            let pair = (self.text(name.as_bytes()), self.text(value));
            params.pairs.push(pair);
        }
        let params = self.add(params, std::ptr::null());
        let id = head.id.to_string();
        let fields = [
            ("method", Some(head.method.as_str())),
            ("path", Some(head.path())),
            ("query", head.uri.query()),
            ("host", head.host()),
            ("client", Some(client.as_str())),
            ("id", Some(id.as_str())),
        ];
        let known = request.pairs.len();
        let has = |request: &CopiedTable, name: &str| {
            let known = request.pairs[..known].iter();
            known.into_iter().any(|(key, _)| matches!(key, Copied::Text(key) if key == name.as_bytes()))
        };
        for (name, value) in fields {
            if let Some(value) = value.filter(|_| !has(request, name)) {
                let value = self.text(value.as_bytes());
                request.pairs.push((Copied::Text(name.into()), value));
            }
        }
        if !has(request, "params") {
            request.pairs.push((Copied::Text(b"params".to_vec()), Copied::Table(params)));
        }
    }
}
