//! Mounts: a handler under a pattern, and its options.

use std::sync::Arc;

use medusa_http::router::Pattern;
use medusa_http::{Handler, Mount};
use medusa_site::{DraftError, MountId, MountSpec, Parts};
use mlua::{Lua, MultiValue, UserData, UserDataFields, UserDataMethods, Value};

use super::super::handler::to_handler;
use super::super::site::with_parts;
use super::at_place;
use crate::call_site::{fail, origin};
use crate::docs::{Class, main_item};
use crate::options::{Options, no_more};
use crate::print::show;
use crate::transaction::Transaction;

pub(crate) const CLASS: Class = Class {
    name: "Mount",
    doc: "A handler under a pattern.",
    fields: &[
        main_item("pattern", "string", "The pattern."),
        main_item(
            "origin",
            "string",
            "The place in the script that mounted it, or gave it its present handler.",
        ),
    ],
    methods: &[
        main_item(
            "replace",
            "(handler: Handler | (req: Request) -> Answer) -> ()",
            "Gives it another handler. Requests under way finish with the old one; counters go on.",
        ),
        main_item("remove", "() -> ()", "Removes it. Requests under way finish."),
    ],
};

pub(crate) const OPTIONS: Class = Class {
    name: "MountOptions",
    doc: "What `HttpServer:mount` takes.",
    fields: &[main_item(
        "body",
        "number?",
        "The longest request body here, in bytes, in place of the server's `limits.body`.",
    )],
    methods: &[],
};

/// The arguments of `mount`: pattern, handler, options, and what is too much.
pub(super) type MountArguments = (Value, Value, Value, MultiValue);

/// Checks the arguments of `mount`.
pub(super) fn spec(
    lua: &Lua,
    (pattern, handler, options, rest): MountArguments,
    at: &Arc<str>,
) -> mlua::Result<MountSpec> {
    no_more(lua, "server:mount(pattern, handler, options)", &rest)?;
    if pattern.is_nil() && handler.is_nil() {
        let why = "mount: it takes a pattern and a handler, and was given neither";
        return Err(fail(
            lua,
            format!("{why}: `server:mount(\"/path\", function(req) return \"hello\" end)`"),
        ));
    }
    let pattern = to_pattern(lua, "mount", &pattern)?;
    let handler = to_handler(lua, &handler, at)?;
    let mut options = Options::new(lua, "mount", options)?;
    let body = options.whole("body", 0..)?;
    options.finish()?;
    Ok(MountSpec { pattern, handler, body, origin: Arc::clone(at) })
}

/// The pattern that a method of a server is given.
pub(super) fn to_pattern(lua: &Lua, method: &str, value: &Value) -> mlua::Result<Pattern> {
    match value {
        Value::String(text) => text.to_string_lossy().parse().map_err(|error| fail(lua, error)),
        other => {
            let other = show(other);
            Err(fail(
                lua,
                format!(
                    "{method}: the pattern must be a string like \"/path\" or \"GET /path/\", not {other}"
                ),
            ))
        }
    }
}

/// A mount of the site, by its server and pattern.
#[derive(Debug, Clone)]
pub(super) struct MountValue(pub(super) MountId);

impl MountValue {
    fn look<R>(&self, lua: &Lua, look: impl FnOnce(&Mount) -> R) -> mlua::Result<R> {
        let find = |parts: &Parts| self.0.find(parts).map(|mount| look(mount));
        with_parts(lua, find)?.ok_or_else(|| fail(lua, DraftError::NoMount))
    }
}

/// What a mount is known by; none if it is no mount.
pub(in crate::bindings) fn mount_id(value: &Value) -> Option<MountId> {
    let mount = value.as_userdata().and_then(|data| data.borrow::<MountValue>().ok())?;
    Some(mount.0.clone())
}

/// The handler of a mount; none if it is no mount.
pub(in crate::bindings) fn mounted(lua: &Lua, value: &Value) -> Option<mlua::Result<Arc<dyn Handler>>> {
    Some(MountValue(mount_id(value)?).look(lua, |mount| Arc::clone(&mount.handler)))
}

impl UserData for MountValue {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("pattern", |lua, this| this.look(lua, |mount| mount.pattern.to_string()));
        fields.add_field_method_get("origin", |lua, this| this.look(lua, |mount| mount.origin.to_string()));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_async_method("replace", |lua, this, (handler, rest): (Value, MultiValue)| {
            let at = origin(&lua);
            let alone = no_more(&lua, "mount:replace(handler)", &rest);
            let handler = alone.and_then(|()| to_handler(&lua, &handler, &at));
            let mount = this.0.clone();
            async move {
                let (handler, place) = (handler?, Arc::clone(&at));
                let replaced = Transaction::edit(|draft| draft.replace(&mount, handler, at)).await;
                replaced.map_err(|error| at_place(&place, error))
            }
        });
        methods.add_async_method("remove", |lua, this, rest: MultiValue| {
            let (at, mount) = (origin(&lua), this.0.clone());
            let alone = no_more(&lua, "mount:remove()", &rest);
            async move {
                alone?;
                Transaction::edit(|draft| draft.unmount(&mount)).await.map_err(|error| at_place(&at, error))
            }
        });
        methods.add_meta_method("__tostring", |lua, this, ()| {
            this.look(lua, |mount| format!("Mount \"{}\" ({})", mount.pattern, mount.origin))
        });
    }
}
