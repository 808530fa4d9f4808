//! `medusa.handler.user_dirs`: files in the homes of the system's users.

use std::sync::Arc;

use medusa_http::Handler;
use medusa_http::handlers::user_dirs::UserDirs;
use medusa_proto::with_causes;
use mlua::{Lua, Value};

use super::files;
use super::value::HandlerValue;
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Item, main_item};
use crate::options::text_argument;

const FUNCTION: &str = "medusa.handler.user_dirs";

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(directory: string, options: FilesOptions?) -> Handler",
    "Serves a directory in the home of each of the system's users, such as `\"public_html\"`, for a mount with `{user}` in its pattern: \
     `web:mount(\"/~{user}/\", medusa.handler.user_dirs(\"public_html\"))`. Only what belongs to the user is there, in a \
     directory that does, too. Who has none, does not exist, or is no person (root, and who has a number below `UID_MIN` of \
     `/etc/login.defs`) is answered 404. The options are those of `medusa.handler.files`, for each user; a page that `not_found` or \
     `fallback` names need not be there. What users put there is part of the site to browsers, and may use its cookies: \
     give them a host of its own, or `untrusted = true`.",
);

/// `medusa.handler.user_dirs(directory, options)`
pub(super) fn user_dirs(lua: &Lua, (directory, options): (Value, Value)) -> mlua::Result<HandlerValue> {
    let directory = text_argument(lua, FUNCTION, "the directory", &directory)?;
    let options = files::read(lua, FUNCTION, options)?;
    let key = format!("user_dirs\0{directory}\0{options:?}");
    let made = MainContext::of(lua)?
        .interner(lua)
        .handler(key, || UserDirs::new(&directory, options).map(|dirs| Arc::new(dirs) as Arc<dyn Handler>));
    made.map(HandlerValue::Made).map_err(|error| fail(lua, format!("{FUNCTION}: {}", with_causes(&error))))
}
