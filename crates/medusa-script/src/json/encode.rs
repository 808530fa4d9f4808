//! JSON of a value, by walking its tables.
//!
//! A value may be far longer as text than it is in the VM: thirty tables that each hold the next one twice are a
//! thousand million values. So it is written once, counted while it is written, and in steps: between two of them
//! others have their turn, and who asked may be stopped. What was written lies in the VM, whose limit it counts
//! against; here is one step of it.
//!
//! **Invariant:** what is being walked lies on the stack of a coroutine that never runs, the *store*. It is alive
//! between steps whatever the script does to its tables meanwhile. Nothing here calls what can throw: room on that
//! stack is asked for beforehand.
#![expect(unsafe_code, reason = "tables are walked by Luau's own iterator, which mlua does not wrap")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ffi::c_int;
use std::rc::Rc;
use std::{fmt, ptr, slice};

use mlua::{Lua, Thread, UserData, Value, ffi};

use super::error::EncodeError;
use super::level::{Level, Stage, place};
use super::limits::{MAX_DEPTH, MAX_EXACT, MAX_NAMES, MAX_VALUES};
use super::output::Output;
use super::store::{StoredText, Stores};
use crate::counted::shown_name;

/// The work of one step at most: so many entries looked at or written, and when its text is so long, no more. 0.2 ms.
const STEP: usize = 1000;
const STEP_TEXT: usize = 64 * 1024;

/// The length of the names that one step puts in order, in bytes: each is compared with some others.
const STEP_NAMES: usize = 256 * 1024;

/// A store with more names than this is not kept for the next value: its stack stays as long as it was.
const MAX_KEPT: usize = 1000;

/// A value on its way to be text.
pub(super) struct Encoder {
    stores: Rc<Stores>,
    store: Thread,
    path: Vec<Level>,
    /// The string that is being written: a value on top of the store, or the innermost level's name, whose value is on
    /// top.
    text: Option<Writing>,
    /// How long the names are that this step put in order.
    ordered: usize,
    values: usize,
    /// The number of names that wait in all levels, and the most that did.
    names: usize,
    most_names: usize,
    out: Output,
}

impl UserData for Encoder {}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("values", &self.values).finish_non_exhaustive()
    }
}

/// A string that is being written.
#[derive(Clone, Copy)]
struct Writing {
    text: StoredText,
    /// How much of it was.
    written: usize,
    is_name: bool,
}

/// The reason why a step failed.
#[derive(Debug)]
pub(super) enum StepError {
    EncodeError(EncodeError),
    /// The VM has no memory for it.
    Vm(mlua::Error),
}

impl From<mlua::Error> for StepError {
    fn from(error: mlua::Error) -> Self {
        Self::Vm(error)
    }
}

impl Encoder {
    /// Takes up a value.
    pub(super) fn new(lua: &Lua, stores: &Rc<Stores>, value: Value) -> Result<Self, StepError> {
        let store = stores.spare.take().map_or_else(|| lua.create_thread(stores.nothing.clone()), Ok)?;
        let (path, text, out) = Default::default();
        let (ordered, values, names, most_names) = Default::default();
        let stores = Rc::clone(stores);
        let mut encoder = Self { stores, store, path, text, ordered, values, names, most_names, out };
        // Given to Luau again it would be a number, which does not hold it.
        if let Value::Integer(number) = value
            && number.unsigned_abs() > MAX_EXACT
        {
            encoder
                .count()
                .and_then(|()| encoder.out.put(number.to_string().as_bytes()))
                .map_err(StepError::EncodeError)?;
            return Ok(encoder);
        }
        encoder.on_store(lua, value, |encoder, store, caller| {
            // SAFETY: both are threads of one VM; the value is on top of the caller's stack.
            unsafe {
                ffi::lua_settop(store, 0);
                encoder.reserve(store)?;
                ffi::lua_xmove(caller, store, 1);
                encoder.value(store)
            }
        })?;
        Ok(encoder)
    }

    /// Writes on. Returns what was written, and whether that was the end.
    pub(super) fn step(&mut self, lua: &Lua) -> Result<(Vec<u8>, bool), StepError> {
        // SAFETY: the store is as `new` and the steps before left it.
        let done = self.on_store(lua, Value::Nil, |encoder, store, _| unsafe { encoder.write(store) })?;
        if done && self.most_names <= MAX_KEPT {
            self.stores.spare.set(Some(self.store.clone()));
        }
        Ok((self.out.take(), done))
    }

    /// Does something with the store, and a state that has `value` on top.
    fn on_store<T>(
        &mut self,
        lua: &Lua,
        value: Value,
        work: impl FnOnce(&mut Self, *mut ffi::lua_State, *mut ffi::lua_State) -> Result<T, EncodeError>,
    ) -> Result<T, StepError> {
        let mut result = None;
        let arguments = (self.store.clone(), value);
        // SAFETY: `work` takes from the caller's stack no more than `value`; what is left is dropped.
        unsafe {
            lua.exec_raw::<()>(arguments, |caller| {
                let store = ffi::lua_tothread(caller, 1);
                result = Some(work(self, store, caller));
                ffi::lua_settop(caller, 0);
            })?;
        }
        let result = result.unwrap_or_else(|| Err(self.too_many_names()));
        result.map_err(StepError::EncodeError)
    }

    fn place(&self) -> String {
        place(&self.path)
    }

    fn wrong(&self, refused: fn(String, &'static str) -> EncodeError, kind: c_int) -> EncodeError {
        refused(self.place(), type_name(kind))
    }

    fn too_many_names(&self) -> EncodeError {
        EncodeError::TooManyNames(self.place())
    }

    /// Sees to it that what is pushed next has room.
    unsafe fn reserve(&self, store: *mut ffi::lua_State) -> Result<(), EncodeError> {
        // SAFETY: this grows the stack under protection, and says so if it cannot.
        if unsafe { ffi::lua_checkstack(store, 4) } == 0 { Err(self.too_many_names()) } else { Ok(()) }
    }

    /// Goes on until the step is over; whether everything is written.
    unsafe fn write(&mut self, store: *mut ffi::lua_State) -> Result<bool, EncodeError> {
        self.ordered = 0;
        for _ in 0..STEP {
            if self.out.length() >= STEP_TEXT || self.ordered >= STEP_NAMES {
                return Ok(false);
            }
            // SAFETY: the caller's promise, to each of these.
            unsafe {
                match self.path.last().map(|level| level.state) {
                    _ if self.text.is_some() => self.more_text(store)?,
                    None => return Ok(true),
                    Some(Stage::Looking { .. }) => self.look(store)?,
                    Some(Stage::Array { length }) => self.item(store, length)?,
                    Some(Stage::Object) => self.member(store)?,
                }
            }
        }
        Ok(false)
    }

    /// Looks at the next entry of the innermost table.
    unsafe fn look(&mut self, store: *mut ffi::lua_State) -> Result<(), EncodeError> {
        // SAFETY: the caller's promise.
        unsafe { self.reserve(store)? };
        let Some(level) = self.path.last_mut() else { return Ok(()) };
        let Stage::Looking { marked, iter, items } = &mut level.state else { return Ok(()) };
        // SAFETY: a table lies in the level's slot, and there is room for a key and its value.
        unsafe {
            *iter = ffi::lua_rawiter(store, level.slot, *iter);
            if *iter < 0 {
                let (is_array, length) = (*marked || *items > 0, *items);
                return self.looked(is_array, length);
            }
            ffi::lua_settop(store, -2); // only the key is left
            match ffi::lua_type(store, -1) {
                ffi::LUA_TSTRING => {
                    let name = StoredText::top(store);
                    self.ordered += name.length;
                    level.names.push(Reverse(name));
                }
                ffi::LUA_TNUMBER if is_index(ffi::lua_tonumber(store, -1)) => {
                    *items += 1;
                    ffi::lua_settop(store, -2);
                    return Ok(());
                }
                kind => return Err(self.wrong(EncodeError::Key, kind)),
            }
        }
        self.names += 1;
        self.most_names = self.most_names.max(self.names);
        if self.names > MAX_NAMES { Err(self.too_many_names()) } else { Ok(()) }
    }

    /// The innermost table has been looked at: begins to write it.
    fn looked(&mut self, is_array: bool, length: usize) -> Result<(), EncodeError> {
        let Some(level) = self.path.last_mut() else { return Ok(()) };
        if is_array && let Some(Reverse(name)) = level.names.peek() {
            let name = shown_name(name.bytes());
            return Err(EncodeError::Mixed(self.place(), name));
        }
        level.state = if is_array { Stage::Array { length } } else { Stage::Object };
        self.out.put(if is_array { b"[" } else { b"{" })
    }

    /// Writes the next item of an array, or its end.
    unsafe fn item(&mut self, store: *mut ffi::lua_State, length: usize) -> Result<(), EncodeError> {
        let Some(level) = self.path.last_mut() else { return Ok(()) };
        if level.begun == length {
            // SAFETY: the caller's promise.
            return unsafe { self.close(store, b"]") };
        }
        level.begun += 1;
        let (slot, number) = (level.slot, level.begun);
        if number > 1 {
            self.out.put(b",")?;
        }
        // SAFETY: a table lies in the level's slot, and there is room for its item.
        unsafe {
            self.reserve(store)?;
            if ffi::lua_rawgeti(store, slot, number as i64) == ffi::LUA_TNIL {
                self.path.pop();
                return Err(EncodeError::Hole(self.place(), number));
            }
            self.value(store)
        }
    }

    /// Writes the next name of an object and takes up its value, or writes its end.
    unsafe fn member(&mut self, store: *mut ffi::lua_State) -> Result<(), EncodeError> {
        // SAFETY: the caller's promise.
        unsafe { self.reserve(store)? };
        let Some(level) = self.path.last_mut() else { return Ok(()) };
        let Some(Reverse(name)) = level.names.pop() else {
            // SAFETY: the caller's promise.
            return unsafe { self.close(store, b"}") };
        };
        self.names -= 1;
        self.ordered += name.length;
        level.name = Some(name);
        // SAFETY: the table and the name lie in their slots, and there is room.
        unsafe {
            ffi::lua_pushvalue(store, name.slot);
            if ffi::lua_rawget(store, level.slot) == ffi::LUA_TNIL {
                ffi::lua_settop(store, -2); // taken out since it was looked at
                return Ok(());
            }
        }
        let first = level.begun == 0;
        level.begun += 1;
        if !first {
            self.out.put(b",")?;
        }
        self.count()?;
        // SAFETY: the value is on top, and the name in its slot.
        unsafe { self.begin_text(store, name, true) }
    }

    unsafe fn close(&mut self, store: *mut ffi::lua_State, end: &[u8]) -> Result<(), EncodeError> {
        if let Some(level) = self.path.pop() {
            // SAFETY: takes off the level's table and what lies above it.
            unsafe { ffi::lua_settop(store, level.slot - 1) };
        }
        self.out.put(end)
    }

    /// Writes the value on top of the store, and takes it off; or begins with it.
    unsafe fn value(&mut self, store: *mut ffi::lua_State) -> Result<(), EncodeError> {
        self.count()?;
        // SAFETY: there is a value on top, and none of these throws or allocates.
        unsafe {
            match ffi::lua_type(store, -1) {
                ffi::LUA_TTABLE => return self.begin(store),
                ffi::LUA_TSTRING => {
                    let text = StoredText::top(store);
                    return self.begin_text(store, text, false);
                }
                ffi::LUA_TNIL => self.out.put(b"null")?,
                ffi::LUA_TLIGHTUSERDATA if ffi::lua_touserdata(store, -1).is_null() => {
                    self.out.put(b"null")?;
                }
                ffi::LUA_TBOOLEAN if ffi::lua_toboolean(store, -1) != 0 => self.out.put(b"true")?,
                ffi::LUA_TBOOLEAN => self.out.put(b"false")?,
                ffi::LUA_TNUMBER => self.number(ffi::lua_tonumber(store, -1))?,
                ffi::LUA_TINTEGER => {
                    self.out.put(ffi::lua_tointeger64(store, -1, ptr::null_mut()).to_string().as_bytes())?;
                }
                ffi::LUA_TVECTOR => self.vector(slice::from_raw_parts(ffi::lua_tovector(store, -1), 3))?,
                kind => return Err(self.wrong(EncodeError::Kind, kind)),
            }
            ffi::lua_settop(store, -2);
        }
        Ok(())
    }

    /// Goes into the table on top of the store.
    unsafe fn begin(&mut self, store: *mut ffi::lua_State) -> Result<(), EncodeError> {
        // SAFETY: a table is on top, and there is room for its metatable.
        let (slot, table, marked) = unsafe {
            self.reserve(store)?;
            let marked = ffi::lua_getmetatable(store, -1) != 0 && {
                let meta = ffi::lua_topointer(store, -1);
                ffi::lua_settop(store, -2);
                meta == self.stores.arrays
            };
            (ffi::lua_gettop(store), ffi::lua_topointer(store, -1), marked)
        };
        if self.path.iter().any(|level| level.table == table) {
            return Err(EncodeError::Cycle(self.place()));
        }
        if self.path.len() == MAX_DEPTH {
            return Err(EncodeError::Deep(self.place()));
        }
        let state = Stage::Looking { marked, iter: 0, items: 0 };
        self.path.push(Level { slot, table, state, begun: 0, names: BinaryHeap::new(), name: None });
        Ok(())
    }

    /// Begins with a string. A short one is written at once.
    unsafe fn begin_text(
        &mut self,
        store: *mut ffi::lua_State,
        text: StoredText,
        is_name: bool,
    ) -> Result<(), EncodeError> {
        self.out.check(text.length)?;
        self.out.put(b"\"")?;
        self.text = Some(Writing { text, written: 0, is_name });
        // SAFETY: the caller's promise.
        unsafe { self.more_text(store) }
    }

    /// Writes on at a string, a step's worth of it; behind a name, its value.
    unsafe fn more_text(&mut self, store: *mut ffi::lua_State) -> Result<(), EncodeError> {
        let Some(Writing { text, written, is_name }) = self.text else { return Ok(()) };
        let rest = text.bytes().get(written..).unwrap_or_default();
        let mut piece = &rest[..rest.len().min(STEP_TEXT)];
        if let Err(error) = str::from_utf8(piece) {
            // At the end of a piece a character may be cut in two.
            if error.error_len().is_some() || piece.len() == rest.len() {
                return Err(EncodeError::NotUtf8(self.place()));
            }
            piece = &piece[..error.valid_up_to()];
        }
        self.out.escape(piece)?;
        if piece.len() < rest.len() {
            self.text = Some(Writing { text, written: written + piece.len(), is_name });
            return Ok(());
        }
        self.text = None;
        self.out.put(if is_name { b"\":" } else { b"\"" })?;
        // SAFETY: a name's value is on top of the store; or the string is, which is taken off.
        unsafe {
            if is_name {
                return self.value(store);
            }
            ffi::lua_settop(store, -2);
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), EncodeError> {
        self.values += 1;
        if self.values > MAX_VALUES { Err(EncodeError::TooMany) } else { Ok(()) }
    }

    fn number(&mut self, number: f64) -> Result<(), EncodeError> {
        if !number.is_finite() {
            let what = if number.is_nan() { "not a number (NaN)" } else { "infinite" };
            return Err(EncodeError::NotANumber(self.place(), what));
        }
        self.out.number(number)
    }

    fn vector(&mut self, numbers: &[f32]) -> Result<(), EncodeError> {
        for (at, number) in numbers.iter().enumerate() {
            self.out.put(if at == 0 { b"[" } else { b"," })?;
            self.number(f64::from(*number))?;
        }
        self.out.put(b"]")
    }
}

/// Whether a key counts an item of an array.
fn is_index(key: f64) -> bool {
    key >= 1.0 && key.fract() == 0.0
}

/// The kind of a value, in the script's words.
fn type_name(kind: c_int) -> &'static str {
    match kind {
        ffi::LUA_TBOOLEAN => "boolean",
        ffi::LUA_TNUMBER => "number",
        ffi::LUA_TTABLE => "table",
        ffi::LUA_TFUNCTION => "function",
        ffi::LUA_TTHREAD => "thread",
        ffi::LUA_TBUFFER => "buffer",
        ffi::LUA_TVECTOR => "vector",
        ffi::LUA_TINTEGER => "integer",
        _ => "userdata",
    }
}
