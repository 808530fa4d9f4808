//! The surroundings that the bindings of a main VM work on.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use medusa_site::{Interner, Live};
use mlua::Lua;

use crate::chunk::ScriptFiles;
use crate::commands::Commands;
use crate::functions::Functions;
use crate::handler_files::Scripts;
use crate::log::LogFunctions;
use crate::require::Sources;
use crate::timers::Timers;

/// The surroundings that the bindings of a main VM work on.
#[derive(Debug, Clone)]
pub(crate) struct MainContext {
    pub(crate) live: Arc<Live>,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) sources: Arc<Sources>,
    /// The files that it has loaded.
    pub(crate) chunks: ScriptFiles,
    pub(crate) functions: Rc<Functions>,
    pub(crate) logs: Rc<LogFunctions>,
    pub(crate) timers: Rc<Timers>,
    /// The engine that this is a VM of, if it is of one.
    pub(crate) engine: Option<Weak<dyn Commands>>,
    /// The state directory, if there is one.
    pub(crate) state: Option<Rc<Path>>,
    /// The time at which memory was last collected to make room for objects.
    pub(crate) collected: Rc<Cell<Option<Instant>>>,
}

/// The time until memory is collected anew to make room for objects.
const COLLECT_AGAIN: Duration = Duration::from_secs(1);

impl MainContext {
    /// That of the VM; an error in a worker's.
    pub(crate) fn of(lua: &Lua) -> mlua::Result<Self> {
        let context = lua.app_data_ref::<Self>().map(|context| context.clone());
        context.ok_or_else(|| mlua::Error::runtime("only the main script can do this"))
    }

    /// The objects that there are, with room for another if that can be had: a script's own memory may hold what it does
    /// not need any more. It is collected for that once in a second at the most.
    pub(crate) fn interner(&self, lua: &Lua) -> &Interner {
        let interner = self.live.interner();
        if interner.is_full() && self.collected.get().is_none_or(|last| last.elapsed() > COLLECT_AGAIN) {
            self.collected.set(Some(Instant::now()));
            // So may the history.
            self.live.forget(None);
            // Twice: what the first cycle finalises, the second frees. An error is one of memory, which the script meets.
            let _ = lua.gc_collect().and_then(|()| lua.gc_collect());
        }
        interner
    }

    /// The engine, for commands of a session.
    pub(crate) fn engine(&self) -> mlua::Result<Rc<dyn Commands>> {
        let engine = self.engine.as_ref().and_then(Weak::upgrade);
        engine.ok_or_else(|| mlua::Error::runtime("the server is ending"))
    }

    /// A path of the script: relative to the script's directory.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.sources.root().join(path)
    }
}
