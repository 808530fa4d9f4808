//! `medusa.handler.cors`: which pages of other origins may see what is answered.

use std::sync::Arc;

use medusa_http::handlers::OriginList;
use medusa_http::handlers::cors::{Cors, CorsOptions, CorsRules};
use mlua::{Lua, Table, Value};

use super::value::HandlerValue;
use super::wrap::Wrapper;
use crate::call_site::fail;
use crate::docs::{Class, Item, main_item};
use crate::options::{Options, strings};
use crate::print::show;

const FUNCTION: &str = "medusa.handler.cors";

/// The most origins, and the most names of a list: they are in every answer.
const MOST_ORIGINS: usize = 1024;
const MOST_NAMES: usize = 64;
/// The longest that browsers keep an answer, in seconds: a day.
const LONGEST: u64 = 86_400;

/// The most bytes of the list of origins.
const MOST_BYTES: usize = 64 * 1024;

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(options: CorsOptions, handler: Handler | (req: Request) -> Answer) -> Handler",
    "Wraps a handler: browsers let pages of these origins see what it answers (CORS). A *preflight*, the OPTIONS by \
     which a browser asks first, is answered here, with 204, and gets here whatever methods the mount takes: one \
     that asks about a PUT goes to the mount that would get the PUT, where nothing but this sees it, no function before or beside \
     it either, if the mount does not take OPTIONS. So this stands outside of what asks for \
     credentials, which a preflight has none of. All other requests get to the handler, whatever their origin: see \
     `medusa.handler.csrf` for refusing them. What the handler says of these fields itself is replaced, and a page \
     that the server sends because the handler has failed or took too long has them, too. For WebSockets see `origins` of \
     `Request:websocket`.",
);

pub(super) const OPTIONS: Class = Class {
    name: "CorsOptions",
    doc: "What `medusa.handler.cors` takes.",
    fields: &[
        main_item(
            "origins",
            "{ string } | string",
            "The origins: `{ \"https://app.example\", \"http://localhost:3000\" }`, each with scheme, host and port \
             exactly as browsers have it, `\"null\"` for pages without one, or `\"*\"` for all there are.",
        ),
        main_item(
            "methods",
            "{ string }?",
            "The methods that they may ask by beside GET, HEAD and POST; `{ \"*\" }` for all.",
        ),
        main_item(
            "headers",
            "{ string }?",
            "The fields that their requests may have beside the few that all may: `{ \"Content-Type\", \
             \"Authorization\" }`, the former for JSON; `{ \"*\" }` for all but the latter.",
        ),
        main_item(
            "expose",
            "{ string }?",
            "The fields of the answer that they may read beside the few that all may; `{ \"*\" }` for all.",
        ),
        main_item(
            "credentials",
            "boolean?",
            "Whether requests may come with cookies and the like. Default false. With that nothing is `\"*\"`.",
        ),
        main_item(
            "max_age",
            "number?",
            "The time for which a browser need not ask again, in seconds, a day at most; by default it is 5.",
        ),
    ],
    methods: &[],
};

/// `medusa.handler.cors(options, handler)`
pub(super) fn cors(lua: &Lua, (options, inner): (Value, Value)) -> mlua::Result<HandlerValue> {
    let mut given = Options::new(lua, FUNCTION, options)?;
    let origins = match given.get::<Value>("origins", "")? {
        Some(Value::Table(list)) => Some(origin_list(lua, FUNCTION, "origins", &list)?),
        Some(Value::String(all)) if all == "*" => None,
        other => {
            let shown = other.map_or_else(|| "nil".to_owned(), |other| show(&other));
            return Err(given.wrong("origins", format_args!("a list of origins, or \"*\", not {shown}")));
        }
    };
    let options = CorsOptions {
        origins,
        methods: given.strings("methods", MOST_NAMES)?.unwrap_or_default(),
        headers: given.strings("headers", MOST_NAMES)?.unwrap_or_default(),
        expose: given.strings("expose", MOST_NAMES)?.unwrap_or_default(),
        credentials: given.get("credentials", "a boolean")?.unwrap_or(false),
        max_age: given.whole("max_age", 0..=LONGEST)?,
    };
    given.finish()?;
    let rules = CorsRules::new(options).map_err(|error| fail(lua, format!("{FUNCTION}: {error}")))?;
    let (key, rules) = (rules.key(), Arc::new(rules));
    Wrapper::new("handler.cors", &key, move |inner| Cors::new(inner, Arc::clone(&rules))).around(lua, &inner)
}

/// The origins of an option's list.
pub(super) fn origin_list(
    lua: &Lua,
    function: &'static str,
    key: &str,
    list: &Table,
) -> mlua::Result<OriginList> {
    let option = format!("{function}: `{key}`");
    let entries = strings(lua, option.as_str(), list, MOST_ORIGINS, MOST_BYTES)?;
    OriginList::parse(entries).map_err(|error| fail(lua, format!("{option}: {error}")))
}
