//! What the main script has: all that a handler file has, and what changes the Site.

use mlua::{Lua, Table};

use super::command_table::CommandTable;
use super::everywhere::{finish, install_everywhere};
use super::{
    auth, dns, handler, handlers, help, history, http, log, monitor, probe, runs, site, timer, top, trace,
    upgrade, versions,
};
use crate::context::MainContext;
use crate::reference::lookup;
use crate::require::ScriptRoot;

/// The bindings of a main VM.
pub(crate) fn install_in_main(lua: &Lua, globals: &Table, context: MainContext) -> mlua::Result<()> {
    let medusa = install_everywhere(lua, globals, context.scripts.engine())?;
    lua.set_app_data(ScriptRoot(context.sources.root().into()));
    lua.set_app_data(context);
    http::install(lua, &medusa)?;
    auth::install(lua, &medusa)?;
    handler::install(lua, &medusa)?;
    log::install(lua, &medusa)?;
    dns::install(lua, &medusa)?;
    monitor::install(lua, &medusa)?;
    timer::install(lua, &medusa)?;
    upgrade::install(lua, &medusa)?;
    versions::install(lua, &medusa)?;
    finish(globals, &medusa)
}

/// Adds to the names of the main script what changes: the VM's own globals hold only what does not.
pub(crate) fn install_in_script(names: &Table) -> mlua::Result<()> {
    names.raw_set("site", site::SiteValue)
}

/// What statements have beside the names of the main script: the commands of a session.
pub(crate) fn commands(lua: &Lua) -> mlua::Result<Table> {
    let result_of = |name: &str| lookup::item(name).and_then(|item| lookup::result_of(item.signature));
    let commands = CommandTable::new(lua, result_of)?;
    history::install(lua, &commands)?;
    handlers::install(&commands)?;
    trace::install(&commands)?;
    probe::install(&commands)?;
    runs::install(&commands)?;
    timer::install_in_sessions(&commands)?;
    top::install(&commands)?;
    help::install(&commands)?;
    let commands = commands.table();
    commands.set_readonly(true);
    Ok(commands)
}
