//! What scripts can reach: the `medusa` table, `site`, `print`, `require`.
//!
//! A module here is one part of that table. Each has the same shape: an `install` that makes the functions, and a
//! [`DOCS`](crate::reference) table from which the type definitions and the reference are generated; a test compares the
//! two with the VM.

pub(crate) mod cookie;
pub(crate) mod dns;
pub(crate) mod events;
pub(crate) mod fetch;
mod files;
pub(crate) mod handler;
pub(crate) mod http;
pub(crate) mod json;
pub(crate) mod log;
pub(crate) mod options;
mod redirect;
pub(crate) mod shared;
pub(crate) mod site;
pub(crate) mod time;
pub(crate) mod timer;
pub(crate) mod url;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use medusa_site::{Live, Parts};
use mlua::{Function, Lua, LuaString, MultiValue, Table, Value};

use self::timer::Timers;
use crate::commons::Commons;
use crate::counted::{Counted, shown};
use crate::log::LogFunctions;
use crate::main_vm::Functions;
use crate::print::first_values;
use crate::require::{ScriptRoot, Sources};
use crate::transaction::Transaction;
use crate::vm::seal;
use crate::worker::Scripts;

/// What the bindings of a main VM work on.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    pub(crate) live: Arc<Live>,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) functions: Rc<Functions>,
    pub(crate) logs: Rc<LogFunctions>,
    pub(crate) timers: Rc<Timers>,
    /// The state directory, if there is one.
    pub(crate) state: Option<Rc<Path>>,
    /// When memory was last collected to make room for parts.
    pub(crate) collected: Rc<Cell<Option<Instant>>>,
}

/// How long until memory is collected anew to make room for parts.
const COLLECT_AGAIN: Duration = Duration::from_secs(1);

impl Reach {
    fn of(lua: &Lua) -> mlua::Result<Self> {
        let reach = lua.app_data_ref::<Self>().map(|reach| reach.clone());
        reach.ok_or_else(|| mlua::Error::runtime("only the main script can do this"))
    }

    /// The parts that there are, with room for another if that can be had: a script's own memory may hold what it does
    /// not need any more. It is collected for that once in a second at the most.
    fn parts(&self, lua: &Lua) -> &Parts {
        let parts = self.live.parts();
        if parts.is_full() && self.collected.get().is_none_or(|last| last.elapsed() > COLLECT_AGAIN) {
            self.collected.set(Some(Instant::now()));
            // Twice: what the first cycle finalises, the second frees. An error is one of memory, which the script meets.
            let _ = lua.gc_collect().and_then(|()| lua.gc_collect());
        }
        parts
    }

    /// A path of the script: relative to the script's directory.
    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.sources.root().join(path)
    }
}

/// The bindings of a main VM.
pub(crate) fn install_in_main(lua: &Lua, globals: &Table, reach: Reach) -> mlua::Result<()> {
    let medusa = install_everywhere(lua, globals, reach.scripts.commons())?;
    lua.set_app_data(ScriptRoot(reach.sources.root().into()));
    lua.set_app_data(reach);
    http::install(lua, &medusa)?;
    handler::install(lua, &medusa)?;
    log::install(lua, &medusa)?;
    dns::install(lua, &medusa)?;
    timer::install(lua, &medusa)?;
    finish(globals, &medusa)
}

/// Adds to the names of the main script what changes: the VM's own globals hold only what does not.
pub(crate) fn install_in_script(names: &Table) -> mlua::Result<()> {
    names.raw_set("site", site::SiteValue)
}

/// The bindings of a worker's VM: what a handler needs to answer, not what changes the Site.
pub(crate) fn install_in_worker(lua: &Lua, globals: &Table, commons: &Arc<Commons>) -> mlua::Result<()> {
    let medusa = install_everywhere(lua, globals, commons)?;
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

fn install_everywhere(lua: &Lua, globals: &Table, commons: &Arc<Commons>) -> mlua::Result<Table> {
    lua.set_app_data(Arc::clone(commons));
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
    shared::install(lua, &medusa, &commons.dictionaries)?;
    globals.set("print", print_function(lua, globals)?)?;
    // The script's own is put in its place when it is loaded.
    globals.raw_remove("require")?;
    Ok(medusa)
}

fn finish(globals: &Table, medusa: &Table) -> mlua::Result<()> {
    for pair in medusa.pairs::<Value, Value>() {
        if let (_, Value::Table(part)) = pair? {
            part.set_readonly(true);
        }
    }
    medusa.set_readonly(true);
    globals.set("medusa", medusa)
}

/// The longest line that is printed; the rest of a longer one is cut off.
const MAX_LINE: usize = 16 * 1024;

/// `print`: to whoever runs the statement, else to the server's log.
fn print_function(lua: &Lua, globals: &Table) -> mlua::Result<Function> {
    let tostring: Function = globals.get("tostring")?;
    let host = lua.create_function(move |lua, values: MultiValue| print(lua, &tostring, &values))?;
    first_values(lua, Some(host)).map(|(print, _)| print)
}

/// What comes first of the values is whether there are more than these.
fn print(lua: &Lua, tostring: &Function, values: &MultiValue) -> mlua::Result<()> {
    let mut line = Counted::new(MAX_LINE);
    let mut values = values.iter();
    let more = values.next().is_some_and(|more| more.as_boolean() == Some(true));
    for (at, value) in values.enumerate() {
        if at > 0 {
            line.push_str("\t");
        }
        match value {
            Value::String(text) => drop(line.push(&text.as_bytes())),
            // Its metatable may have something to say, of any length.
            Value::Table(_) | Value::UserData(_) => {
                line.push(&tostring.call::<LuaString>(value)?.as_bytes());
            }
            value => line.push_str(&value.to_string()?),
        }
    }
    if more {
        line.push_str("\t…");
    }
    let line = line.finish();
    let taken = Transaction::current().is_some_and(|transaction| transaction.print(&line));
    if !taken {
        tracing::info!(target: "script", origin = %origin(lua), "{line}");
    }
    Ok(())
}

/// Where in the script the running host function was called: `site.luau:12`.
pub(crate) fn origin(lua: &Lua) -> Arc<str> {
    for level in 0..16 {
        let place = lua.inspect_stack(level, |frame| {
            let source = frame.source();
            let name = source.source.as_deref()?;
            let name = name.strip_prefix('@').or_else(|| (name == "=statement").then_some("statement"))?;
            Some(format!("{name}:{}", frame.current_line()?))
        });
        match place {
            None => break,
            Some(Some(place)) => return place.into(),
            Some(None) => {}
        }
    }
    "script".into()
}

/// The longest message of an error of a host function. It may quote what the script gave.
const MAX_MESSAGE: usize = 4096;

/// An error of a host function, with the place it was called from.
pub(crate) fn fail(lua: &Lua, message: impl std::fmt::Display) -> mlua::Error {
    mlua::Error::runtime(format!("{}: {}", origin(lua), shown(message, MAX_MESSAGE)))
}
