//! The commands of a session as they are installed, and what each is where a statement runs again: at a load, for it was saved, or as
//! its generation is made again.
//!
//! **Invariant:** there, a command does nothing, unless it says itself what it is. What only looks has nobody to tell, and what it
//! would look at is not there; what was done to sessions, requests and files was done when the statement ran first.

use std::rc::Rc;

use mlua::{FromLuaMulti, Function, IntoLua, IntoLuaMulti, Lua, MultiValue, Table, Value};

use crate::reference::lookup;
use crate::transaction::Transaction;

/// The commands, while they are installed.
pub(super) struct CommandTable<'lua> {
    lua: &'lua Lua,
    table: Table,
}

impl<'lua> CommandTable<'lua> {
    /// None so far.
    pub(super) fn new(lua: &'lua Lua) -> mlua::Result<Self> {
        Ok(Self { lua, table: lua.create_table()? })
    }

    /// The table, with those that are installed, and those that will be.
    pub(super) fn table(&self) -> Table {
        self.table.clone()
    }

    /// Adds a command, which does nothing where its statement runs again.
    pub(super) fn add<A: FromLuaMulti, R: IntoLuaMulti>(
        &self,
        name: &'static str,
        command: impl Fn(&Lua, A) -> mlua::Result<R> + 'static,
    ) -> mlua::Result<()> {
        let unless_again = move |lua: &Lua, given: MultiValue| {
            if Transaction::current_replays() {
                return nothing(lua, name);
            }
            command(lua, A::from_lua_multi(given, lua)?)?.into_lua_multi(lua)
        };
        self.add_replayed(name, self.lua.create_function(unless_again)?)
    }

    /// The same with one that waits.
    pub(super) fn add_async<A: FromLuaMulti + 'static, R: IntoLuaMulti>(
        &self,
        name: &'static str,
        command: impl AsyncFn(Lua, A) -> mlua::Result<R> + 'static,
    ) -> mlua::Result<()> {
        let command = Rc::new(command);
        let unless_again = move |lua: Lua, given: MultiValue| {
            let command = Rc::clone(&command);
            async move {
                if Transaction::current_replays() {
                    return nothing(&lua, name);
                }
                command(lua.clone(), A::from_lua_multi(given, &lua)?).await?.into_lua_multi(&lua)
            }
        };
        self.add_replayed(name, self.lua.create_async_function(unless_again)?)
    }

    /// Adds a command that says itself what it is where its statement runs again.
    pub(super) fn add_replayed(&self, name: &'static str, command: Function) -> mlua::Result<()> {
        self.table.set(name, command)
    }
}

/// What a command returns that does nothing: empty texts and tables, and zeros, as its type has them.
fn nothing(lua: &Lua, name: &str) -> mlua::Result<MultiValue> {
    let result = lookup::item(name).and_then(|item| lookup::result_of(item.signature)).unwrap_or_default();
    let results = result.trim_matches(['(', ')']).split(',').map(str::trim).filter(|one| !one.is_empty());
    let empty = |result: &str| match result {
        "string" => "".into_lua(lua),
        "number" => 0.into_lua(lua),
        list if list.starts_with('{') => lua.create_table()?.into_lua(lua),
        _ => Ok(Value::Nil),
    };
    results.map(empty).collect()
}
