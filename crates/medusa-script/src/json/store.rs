//! The store: the stack of a coroutine that never runs, on which lies what is being written.
#![expect(unsafe_code, reason = "strings are looked at where Luau has them")]

use std::cell::Cell;
use std::cmp::Ordering;
use std::ffi::{c_int, c_void};
use std::rc::Rc;
use std::slice;

use mlua::{Function, Lua, LuaSerdeExt, Thread, ffi};

/// The source of stores.
pub(super) struct Stores {
    /// One that is not in use: making one takes longer than writing a small value.
    pub(super) spare: Cell<Option<Thread>>,
    /// What a coroutine is made of.
    pub(super) nothing: Function,
    /// The metatable that marks arrays.
    pub(super) arrays: *const c_void,
}

impl Stores {
    pub(super) fn new(lua: &Lua) -> mlua::Result<Rc<Self>> {
        let nothing = lua.create_function(|_, (): ()| Ok(()))?;
        Ok(Rc::new(Self { spare: Cell::new(None), nothing, arrays: lua.array_metatable().to_pointer() }))
    }
}

/// A string on the store.
#[derive(Clone, Copy)]
pub(super) struct StoredText {
    at: *const u8,
    pub(super) length: usize,
    pub(super) slot: c_int,
}

impl StoredText {
    /// The string on top of the store.
    ///
    /// # Safety
    ///
    /// There is one.
    pub(super) unsafe fn top(store: *mut ffi::lua_State) -> Self {
        let mut length = 0;
        // SAFETY: the caller's promise; of a string, this neither allocates nor throws.
        let at = unsafe { ffi::lua_tolstring(store, -1, &raw mut length) };
        // SAFETY: any state of the VM may be asked.
        Self { at: at.cast(), length, slot: unsafe { ffi::lua_gettop(store) } }
    }

    /// Its bytes; Luau does not move strings.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: a `StoredText` is kept only as long as its string lies on the store: a name until its level ends, a value
        // until it is written.
        unsafe { slice::from_raw_parts(self.at, self.length) }
    }
}

impl Ord for StoredText {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

impl PartialOrd for StoredText {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for StoredText {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for StoredText {}
