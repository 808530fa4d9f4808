//! What a VM is given: chunks of code, and metatables that are the host's alone.

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, Table};

/// Compiles `source`, as text only, under a name that tracebacks show (`@file` or `=name`).
pub(crate) fn load(
    lua: &Lua,
    source: &str,
    name: &str,
    environment: Option<Table>,
) -> mlua::Result<Function> {
    let chunk = lua.load(source).set_mode(ChunkMode::Text).set_name(name);
    match environment {
        Some(environment) => chunk.set_environment(environment).into_function(),
        None => chunk.into_function(),
    }
}

/// Makes a metatable the host's alone: no script can get hold of it, change it or put another in its place. `name` is what
/// `getmetatable` gives instead.
pub(crate) fn seal(metatable: &Table, name: &str) -> mlua::Result<()> {
    metatable.raw_set("__metatable", name)?;
    metatable.set_readonly(true);
    Ok(())
}
