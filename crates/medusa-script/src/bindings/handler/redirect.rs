//! `medusa.handler.https` and `medusa.handler.redirect`: clients are sent elsewhere.

use std::convert::Infallible;
use std::num::NonZeroU16;
use std::sync::Arc;

use medusa_http::Handler;
use medusa_http::handlers::redirect::{Https, Redirect, RedirectOptions};
use mlua::{Lua, Value};

use super::value::HandlerValue;
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::options::Options;

const HTTPS: &str = "medusa.handler.https";
const REDIRECT: &str = "medusa.handler.redirect";

pub(super) const HTTPS_DOC: Item = main_item(
    HTTPS,
    "(options: HttpsOptions?) -> Handler",
    "Redirects every request to `https://`, the same host, path and query: 301 for GET and HEAD, 308 for others. For a \
     server that listens on port 80 beside the encrypted one. A request without a host gets 400; one that is encrypted \
     already gets 404, and the log says once that the handler is mounted in the wrong place.",
);

pub(super) const DOC: Item = main_item(
    REDIRECT,
    "(to: string, options: RedirectOptions?) -> Handler",
    "Redirects every request to a path on this server (`\"/new/\"`) or a URL (`\"https://example.com/\"`): 302 for GET and \
     HEAD, 307 for others, which come again with their body. No link can make it lead to another server than `to` names.",
);

pub(super) const HTTPS_OPTIONS: Class = Class {
    name: "HttpsOptions",
    doc: "What `medusa.handler.https` takes.",
    fields: &[main_item("port", "number?", "The port that is encrypted, as clients see it. Default 443.")],
    methods: &[],
};

pub(super) const OPTIONS: Class = Class {
    name: "RedirectOptions",
    doc: "What `medusa.handler.redirect` takes.",
    fields: &[
        main_item(
            "permanent",
            "boolean?",
            "Whether clients may remember it for good: 301 and 308. Default false, for it cannot be taken back.",
        ),
        main_item(
            "keep_path",
            "boolean?",
            "Whether the path below the mount goes behind `to`, and the query with it: mounted on `/old/`, \
             `redirect(\"/new/\", { keep_path = true })` sends `/old/a?b` to `/new/a?b`. Default false.",
        ),
    ],
    methods: &[],
};

/// `medusa.handler.https(options)`
pub(super) fn https(lua: &Lua, options: Value) -> mlua::Result<HandlerValue> {
    let mut options = Options::new(lua, HTTPS, options)?;
    let port = options.whole::<u16>("port", 1..=u16::MAX.into())?.and_then(NonZeroU16::new);
    options.finish()?;
    let make = || Ok::<_, Infallible>(Arc::new(Https::new(port)) as Arc<dyn Handler>);
    let made = MainContext::of(lua)?.interner(lua).handler(format!("https\0{port:?}"), make);
    made.map(HandlerValue::Made).map_err(|error| fail(lua, error))
}

/// `medusa.handler.redirect(to, options)`
pub(super) fn redirect(lua: &Lua, (to, options): (Value, Value)) -> mlua::Result<HandlerValue> {
    let Value::String(to) = to else {
        let shown = crate::print::show(&to);
        return Err(fail(lua, format!("{REDIRECT}: where to must be a string, not {shown}")));
    };
    let to = to.to_string_lossy();
    let mut given = Options::new(lua, REDIRECT, options)?;
    let options = RedirectOptions {
        permanent: given.get("permanent", "a boolean")?.unwrap_or(false),
        keep_path: given.get("keep_path", "a boolean")?.unwrap_or(false),
    };
    given.finish()?;
    let key = format!("redirect\0{to}\0{options:?}");
    let make = || Redirect::new(&to, options).map(|handler| Arc::new(handler) as Arc<dyn Handler>);
    let made = MainContext::of(lua)?.interner(lua).handler(key, make);
    made.map(HandlerValue::Made).map_err(|error| fail(lua, format!("{REDIRECT}: {error}")))
}
