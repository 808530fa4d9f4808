//! What handler files have, and the main script, too: what a handler needs to answer.

use std::sync::Arc;

use mlua::{Lua, Table, Value};

use super::print::print_function;
use super::{cookie, events, fetch, json, shared, time, url};
use crate::chunk::seal;
use crate::engine_context::EngineContext;

/// The bindings of a worker's VM: what a handler needs to answer, not what changes the Site.
pub(crate) fn install_in_worker(lua: &Lua, globals: &Table, engine: &Arc<EngineContext>) -> mlua::Result<()> {
    let medusa = install_everywhere(lua, globals, engine)?;
    refuse_the_rest(lua, &medusa, "medusa")?;
    refuse_the_rest(lua, &medusa.get("http")?, "medusa.http")?;
    finish(globals, &medusa)
}

/// Says of what is not in `table` why it is not there.
fn refuse_the_rest(lua: &Lua, table: &Table, name: &'static str) -> mlua::Result<()> {
    let meta = lua.create_table()?;
    let refuse = lua.create_function(move |_, (_, key): (Table, Value)| -> mlua::Result<()> {
        let key = key.to_string().unwrap_or_default();
        Err(mlua::Error::runtime(format!(
            "there is no {name}.{key} in a handler file: only the main script changes the site"
        )))
    })?;
    meta.set("__index", refuse)?;
    seal(&meta, name)?;
    table.set_metatable(Some(meta))
}

pub(super) fn install_everywhere(
    lua: &Lua,
    globals: &Table,
    engine: &Arc<EngineContext>,
) -> mlua::Result<Table> {
    lua.set_app_data(Arc::clone(engine));
    let medusa = lua.create_table()?;
    medusa.set("version", env!("CARGO_PKG_VERSION"))?;
    let http = lua.create_table()?;
    cookie::install(lua, &http)?;
    events::install(lua, &http)?;
    medusa.set("http", http)?;
    json::install(lua, &medusa)?;
    url::install(lua, &medusa)?;
    time::install(lua, &medusa)?;
    fetch::install(lua, &medusa)?;
    shared::install(lua, &medusa, &engine.dictionaries)?;
    globals.set("print", print_function(lua, globals)?)?;
    // The script's own is put in its place when it is loaded.
    globals.raw_remove("require")?;
    Ok(medusa)
}

/// Closes the `medusa` table.
pub(super) fn finish(globals: &Table, medusa: &Table) -> mlua::Result<()> {
    for pair in medusa.pairs::<Value, Value>() {
        if let (_, Value::Table(part)) = pair? {
            part.set_readonly(true);
        }
    }
    medusa.set_readonly(true);
    globals.set("medusa", medusa)
}
