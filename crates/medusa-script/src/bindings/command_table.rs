//! The commands of a session as they are installed, and what each is where a statement runs again: at a load, for it was saved, or as
//! its generation is made again.
//!
//! **Invariant:** there, a command does nothing, unless it says itself what it is. What only looks has nobody to tell, and what it
//! would look at is not there; what was done to sessions, requests and files was done when the statement ran first.

use std::rc::Rc;

use mlua::{FromLuaMulti, Function, IntoLua, IntoLuaMulti, Lua, MultiValue, Table, Value};

use crate::transaction::Transaction;

/// The commands, while they are installed.
pub(super) struct CommandTable<'lua> {
    lua: &'lua Lua,
    table: Table,
    /// The type of what a command of this name returns, as the reference has it.
    result_of: fn(&str) -> Option<&'static str>,
}

impl<'lua> CommandTable<'lua> {
    /// None so far.
    pub(super) fn new(lua: &'lua Lua, result_of: fn(&str) -> Option<&'static str>) -> mlua::Result<Self> {
        Ok(Self { lua, table: lua.create_table()?, result_of })
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
        let result = (self.result_of)(name).unwrap_or_default();
        let unless_again = move |lua: &Lua, given: MultiValue| {
            if Transaction::current_replays() {
                return nothing(lua, result);
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
        let (command, result) = (Rc::new(command), (self.result_of)(name).unwrap_or_default());
        let unless_again = move |lua: Lua, given: MultiValue| {
            let command = Rc::clone(&command);
            async move {
                if Transaction::current_replays() {
                    return nothing(&lua, result);
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

/// What a command of this result returns that does nothing: empty texts and tables, and zeros.
fn nothing(lua: &Lua, result: &str) -> mlua::Result<MultiValue> {
    let results = result.trim_matches(['(', ')']).split(',').map(str::trim).filter(|one| !one.is_empty());
    let empty = |one: &str| match one {
        "string" => "".into_lua(lua),
        "number" => 0.into_lua(lua),
        list if list.starts_with('{') => lua.create_table()?.into_lua(lua),
        _ => Ok(Value::Nil),
    };
    results.map(empty).collect()
}
