//! `medusa.handler`: the handlers that come with the server.

mod allow;
mod auth;
mod concurrency;
mod cors;
mod csrf;
mod dav;
mod errors;
mod files;
mod first;
mod function;
mod headers;
mod limit;
mod log;
mod login;
mod proxy;
mod publish;
mod put;
mod redirect;
mod rewrite;
mod rust;
mod script;
mod timeout;
mod user_dirs;
mod value;
mod wrap;

use medusa_http::handlers::compress::Compress;
use mlua::{AnyUserData, Lua, Table, Value};

pub(super) use self::script::of_file;
pub(super) use self::value::{HandlerValue, handler_of, to_handler};
use self::wrap::Wrapper;
use crate::docs::{Class, Item, main_item};

/// The kind of a handler that compresses, in the status.
const COMPRESS: &str = "handler.compress";

pub(crate) const DOCS: &[Item] = &[
    auth::DOC,
    login::DOC,
    files::DOC,
    put::DOC,
    dav::DOC,
    publish::DOC,
    user_dirs::DOC,
    main_item(
        "medusa.handler.compress",
        "(handler: Handler | (req: Request) -> Answer) -> Handler",
        "Wraps a handler: what it answers is compressed (zstd or gzip, as the client likes). Strings of 1 KiB and \
              more as a whole; what is streamed chunk by chunk, each sent at once. Only text and the like; never events \
              (`text/event-stream`), what has a `Content-Encoding`, or says `Cache-Control: no-transform`. Do not wrap \
              pages that hold a secret (a token) and also repeat something of the request: their length tells of both. \
              `medusa.handler.files` compresses by itself.",
    ),
    first::DOC,
    headers::DOC,
    allow::ALLOW_DOC,
    allow::DENY_DOC,
    limit::DOC,
    concurrency::DOC,
    timeout::DOC,
    cors::DOC,
    csrf::DOC,
    errors::DOC,
    log::DOC,
    rewrite::DOC,
    script::DOC,
    function::DOC,
    rust::DOC,
    proxy::DOC,
    redirect::HTTPS_DOC,
    redirect::DOC,
];

pub(crate) const CLASS: Class = Class {
    name: "Handler",
    doc: "Something that answers requests: mount it with `HttpServer:mount`.",
    fields: &[],
    methods: &[],
};

pub(crate) const AUTH_OPTIONS: Class = auth::OPTIONS;
pub(crate) const LOGIN_OPTIONS: Class = login::OPTIONS;
pub(crate) const FILES_OPTIONS: Class = files::OPTIONS;
pub(crate) const PUBLISH_OPTIONS: Class = publish::OPTIONS;
pub(crate) const PUT_OPTIONS: Class = put::OPTIONS;
pub(crate) const DAV_OPTIONS: Class = dav::OPTIONS;
pub(crate) const HEADERS_OPTIONS: Class = headers::OPTIONS;
pub(crate) const RATE_OPTIONS: Class = limit::OPTIONS;
pub(crate) const CONCURRENCY_OPTIONS: Class = concurrency::OPTIONS;
pub(crate) const CORS_OPTIONS: Class = cors::OPTIONS;
pub(crate) const CSRF_OPTIONS: Class = csrf::OPTIONS;
pub(crate) const ERRORS_OPTIONS: Class = errors::OPTIONS;
pub(crate) const REWRITE_OPTIONS: Class = rewrite::OPTIONS;
pub(crate) const PROXY_OPTIONS: Class = proxy::OPTIONS;
pub(crate) const PROXY_HEALTH: Class = proxy::HEALTH_OPTIONS;
pub(crate) const HTTPS_OPTIONS: Class = redirect::HTTPS_OPTIONS;
pub(crate) const REDIRECT_OPTIONS: Class = redirect::OPTIONS;

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    let handler = lua.create_table()?;
    handler.set("auth", lua.create_function(auth::auth)?)?;
    handler.set("login", lua.create_function(login::login)?)?;
    handler.set("files", lua.create_function(files::files)?)?;
    handler.set("user_dirs", lua.create_function(user_dirs::user_dirs)?)?;
    handler.set("publish", lua.create_function(publish::publish)?)?;
    handler.set("put", lua.create_function(put::put)?)?;
    handler.set("dav", lua.create_function(dav::dav)?)?;
    handler.set("compress", lua.create_function(compress)?)?;
    handler.set("headers", lua.create_function(headers::headers)?)?;
    handler.set("allow", lua.create_function(allow::allow)?)?;
    handler.set("deny", lua.create_function(allow::deny)?)?;
    handler.set("limit", lua.create_function(limit::limit)?)?;
    handler.set("concurrency", lua.create_function(concurrency::concurrency)?)?;
    handler.set("timeout", lua.create_function(timeout::timeout)?)?;
    handler.set("cors", lua.create_function(cors::cors)?)?;
    handler.set("csrf", lua.create_function(csrf::csrf)?)?;
    handler.set("errors", lua.create_function(errors::errors)?)?;
    handler.set("log", lua.create_function(log::log)?)?;
    handler.set("rewrite", lua.create_function(rewrite::rewrite)?)?;
    handler.set("rust", lua.create_function(rust::rust)?)?;
    handler.set("script", lua.create_function(script::script)?)?;
    handler.set("first", lua.create_function(first::first)?)?;
    handler.set("wrap", lua.create_function(function::wrap)?)?;
    handler.set("proxy", lua.create_function(proxy::proxy)?)?;
    handler.set("https", lua.create_function(redirect::https)?)?;
    handler.set("redirect", lua.create_function(redirect::redirect)?)?;
    medusa.set("handler", handler)
}

/// `medusa.handler.compress(handler)`
fn compress(lua: &Lua, inner: Value) -> mlua::Result<Value> {
    let is_compressed =
        |data: &AnyUserData| data.borrow::<HandlerValue>().is_ok_and(|handler| handler.kind() == COMPRESS);
    if inner.as_userdata().is_some_and(is_compressed) {
        // Once is enough; wrapped a thousand times, a request would go through all of them.
        return Ok(inner);
    }
    let wrapped = Wrapper::new(COMPRESS, "", Compress::new).around(lua, &inner)?;
    lua.create_userdata(wrapped).map(Value::UserData)
}
