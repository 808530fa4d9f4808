//! `medusa.handler.csrf`: what pages of other sites have a browser send is refused.

use std::sync::Arc;

use medusa_http::handlers::csrf::Csrf;
use mlua::{Lua, Table, Value};

use super::cors::origin_list;
use super::value::HandlerValue;
use super::wrap::Wrapper;
use crate::call_site::fail;
use crate::docs::{Class, Item, main_item};
use crate::options::Options;

const FUNCTION: &str = "medusa.handler.csrf";

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(options: CsrfOptions?, handler: Handler | (req: Request) -> Answer) -> Handler",
    "Wraps a handler: what a page of another site has a browser send is answered 403 (cross-site request forgery), \
     without tokens in forms. GET, HEAD and OPTIONS pass, so they must change nothing. The rules are those of Go's \
     `http.CrossOriginProtection`: `Sec-Fetch-Site` must be `same-origin` or `none`; where a browser does not send \
     it, `Origin` must be the host that is asked; who sends neither is no browser and passes. Where that request \
     is encrypted, `Origin` must be, too. Behind a proxy that changes `Host`, list the site's own origin as \
     trusted.",
);

pub(super) const OPTIONS: Class = Class {
    name: "CsrfOptions",
    doc: "What `medusa.handler.csrf` takes.",
    fields: &[main_item(
        "trusted",
        "{ string }?",
        "Origins whose pages may send what they like: `{ \"https://sso.example.com\" }`. Other hosts of the same site \
         are not trusted by themselves.",
    )],
    methods: &[],
};

/// `medusa.handler.csrf(options, handler)`
pub(super) fn csrf(lua: &Lua, (options, inner): (Value, Value)) -> mlua::Result<HandlerValue> {
    let mut given = Options::new(lua, FUNCTION, options)?;
    let trusted = given.get::<Table>("trusted", "a list of strings")?;
    given.finish()?;
    let trusted =
        trusted.map(|list| origin_list(lua, FUNCTION, "trusted", &list)).transpose()?.unwrap_or_default();
    if trusted.has_null() {
        let why =
            "`trusted`: \"null\" is the origin of any page that wants to have none, and cannot be trusted";
        return Err(fail(lua, format!("{FUNCTION}: {why}")));
    }
    let (key, trusted) = (format!("{trusted:?}"), Arc::new(trusted));
    Wrapper::new("handler.csrf", &key, move |inner| Csrf::new(inner, Arc::clone(&trusted)))
        .around(lua, &inner)
}
