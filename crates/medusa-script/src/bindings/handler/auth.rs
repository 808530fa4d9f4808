//! `medusa.handler.auth`.

use std::sync::Arc;

use medusa_http::handlers::auth::{Auth, AuthOptions, Challenge};
use mlua::{Lua, Value};

use super::value::HandlerValue;
use super::wrap::Wrapper;
use crate::bindings::auth::users_of;
use crate::call_site::fail;
use crate::docs::{Class, Item, main_item};
use crate::options::Options;

const FUNCTION: &str = "medusa.handler.auth";
/// Its kind, in the status.
const KIND: &str = "handler.auth";

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(users: Users, handler: Handler | (req: Request) -> Answer, options: AuthOptions?) -> Handler",
    "Wraps a handler: who is none of the users gets 401 and is asked for a name and a password (HTTP Basic), or a token (Bearer), \
     also for a WebSocket. The handler sees who it is in `req.user`, and so does the access log; the field `Authorization` it does not \
     see. Credentials that are malformed get 400, a client with too many wrong passwords 429, and where too many wait to be \
     checked, 503, both with `Retry-After`. Passwords go over the wire as they are: use `tls`.",
);

pub(super) const OPTIONS: Class = Class {
    name: "AuthOptions",
    doc: "What `medusa.handler.auth` takes.",
    fields: &[
        main_item(
            "realm",
            "string?",
            "What is protected, as browsers tell people whom they ask for a password. Default `\"Members only\"`.",
        ),
        main_item(
            "pass_authorization",
            "boolean?",
            "Whether the handler sees the field `Authorization`, with the password in it; another `auth` behind this one needs it. \
             The user is the one whom the outer has found. Default false.",
        ),
    ],
    methods: &[],
};

/// `medusa.handler.auth(users, handler, options)`
pub(super) fn auth(lua: &Lua, (users, inner, options): (Value, Value, Value)) -> mlua::Result<HandlerValue> {
    let users = users_of(lua, FUNCTION, &users)?;
    let mut given = Options::new(lua, FUNCTION, options)?;
    let defaults = AuthOptions::default();
    let options = AuthOptions {
        realm: given.get("realm", "a string")?.unwrap_or(defaults.realm),
        pass_authorization: given
            .get("pass_authorization", "a boolean")?
            .unwrap_or(defaults.pass_authorization),
    };
    given.finish()?;
    if !options.pass_authorization && HandlerValue::of(lua, &inner)?.has(KIND) {
        let why = "behind it is another, which would find no credentials; give this one `pass_authorization = true`";
        return Err(fail(lua, format!("{FUNCTION}: {why}")));
    }
    let challenge = Challenge::new(&options).map_err(|error| fail(lua, format!("{FUNCTION}: {error}")))?;
    // The address tells them from others: the wrapper keeps them, so nobody else comes to be there.
    let key = format!("{:p}\0{options:?}", Arc::as_ptr(&users));
    Wrapper::new(KIND, &key, move |inner| Auth::new(inner, Arc::clone(&users), challenge.clone()))
        .around(lua, &inner)
}
