//! What a handler file leaves to the one that takes its place: a copy of its `state`, for the `upgrade` of the new one.
//!
//! **Invariant:** nothing of the old files is changed, nor held by the new ones.

use std::path::Path;
use std::rc::Rc;

use mlua::{Function, Lua, Value};

use crate::chunk::{ScriptFiles, load};

/// How deep a state may be, in tables: as deep as JSON.
const MAX_DEPTH: usize = 127;

/// The files whose place others take.
#[derive(Debug)]
pub(crate) struct Handover {
    before: ScriptFiles,
    /// Copies a value; or tells why it cannot be.
    copy: Function,
}

impl Handover {
    /// Begins to load files in the place of those `before`, which were loaded in the same VM.
    pub(crate) fn begin(lua: &Lua, before: ScriptFiles) -> mlua::Result<Rc<Self>> {
        let copy = load(lua, include_str!("handover.luau"), "=handover", None)?.call(MAX_DEPTH)?;
        Ok(Rc::new(Self { before, copy }))
    }

    /// Calls the function `upgrade` of a file that was run, if it has one, with a copy of what the one before it has as `state`.
    pub(crate) async fn hand_over(&self, relative: &Path, chunk: &Function) -> mlua::Result<()> {
        let Value::Function(upgrade) = own(chunk, "upgrade")? else { return Ok(()) };
        let file = relative.display().to_string();
        let before = self.before.of(&file);
        let state = before.last().map_or(Ok(Value::Nil), |before| own(&before.function, "state"))?;
        let (copy, wrong) = self.copy.call_async::<(Value, Option<String>)>(state).await?;
        if let Some(wrong) = wrong {
            let line = upgrade.info().line_defined.unwrap_or(1);
            return Err(mlua::Error::runtime(format!(
                "{file}:{line}: upgrade is given a copy of the old state, which must be plain data, and {wrong}"
            )));
        }
        upgrade.call_async::<()>(copy).await
    }
}

/// What a file has assigned to a global name.
fn own(chunk: &Function, name: &str) -> mlua::Result<Value> {
    chunk.environment().map_or(Ok(Value::Nil), |names| names.raw_get(name))
}
