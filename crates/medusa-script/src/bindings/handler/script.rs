//! `medusa.handler.script`: a handler in a file of its own.

use std::path::{Component, Path, PathBuf};

use mlua::{Lua, Value};

use super::value::HandlerValue;
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Item, main_item};
use crate::options::text_argument;

const FUNCTION: &str = "medusa.handler.script";

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(file: string) -> Handler",
    "A handler in a file of its own, which returns a `function(req)`. It is loaded by every worker and runs on \
              the request's own core; what it shares with others goes through `medusa.shared`. At a reload it is loaded \
              anew only if it, or a module it requires, has changed.",
);

/// `medusa.handler.script(file)`
pub(super) fn script(lua: &Lua, file: Value) -> mlua::Result<HandlerValue> {
    of_file(lua, FUNCTION, &text_argument(lua, FUNCTION, "the file", &file)?)
}

/// The handler of a file, as `function` is given it.
pub(in crate::bindings) fn of_file(lua: &Lua, function: &str, file: &str) -> mlua::Result<HandlerValue> {
    let context = MainContext::of(lua)?;
    let path = below(Path::new(file)).ok_or_else(|| {
        fail(lua, format!("{function}: {file:?} is not a path below the script's directory"))
    })?;
    let handler = context.scripts.handler(&context.sources, path);
    let handler = handler.map_err(|error| fail(lua, format!("{function}: {error}")))?;
    Ok(HandlerValue::Made(handler))
}

/// `path` without detours, if it stays below where it starts.
fn below(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => clean.push(part),
            Component::CurDir => {}
            Component::ParentDir if clean.pop() => {}
            _ => return None,
        }
    }
    Some(clean)
}
