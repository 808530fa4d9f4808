//! `medusa.handler`: the handlers that come with the server.

use std::convert::Infallible;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use medusa_http::Handler;
use medusa_http::handlers::compress::Compress;
use mlua::{FromLua, Lua, Table, UserData, UserDataMethods, Value};

use super::{Reach, fail, files, origin, redirect};
use crate::print::show;
use crate::reference::{self, Class, Item};

pub(crate) const DOCS: &[Item] = &[
    files::DOC,
    Item {
        path: "medusa.handler.compress",
        signature: "(handler: Handler | (req: Request) -> Answer) -> Handler",
        reach: reference::Reach::Main,
        doc: "Wraps a handler: what it answers is compressed (zstd or gzip, as the client likes). Strings of 1 KiB and \
              more as a whole; what is streamed chunk by chunk, each sent at once. Only text and the like; never events \
              (`text/event-stream`), what has a `Content-Encoding`, or says `Cache-Control: no-transform`. Do not wrap \
              pages that hold a secret (a token) and also repeat something of the request: their length tells of both. \
              `medusa.handler.files` compresses by itself.",
    },
    Item {
        path: "medusa.handler.script",
        signature: "(file: string) -> Handler",
        reach: reference::Reach::Main,
        doc: "A handler in a file of its own, which returns a `function(req)`. It is loaded by every worker and runs on \
              the request's own core; what it shares with others goes through `medusa.shared`. At a reload it is loaded \
              anew only if it, or a module it requires, has changed.",
    },
    redirect::HTTPS_DOC,
    redirect::DOC,
];

pub(crate) const CLASS: Class = Class {
    name: "Handler",
    doc: "Something that answers requests: mount it with `HttpServer:mount`.",
    fields: &[],
    methods: &[],
};

pub(crate) const FILES_OPTIONS: Class = files::OPTIONS;
pub(crate) const HTTPS_OPTIONS: Class = redirect::HTTPS_OPTIONS;
pub(crate) const REDIRECT_OPTIONS: Class = redirect::OPTIONS;

/// A handler, as a value of the script.
#[derive(Debug, Clone)]
pub(super) struct HandlerValue(pub(super) Arc<dyn Handler>);

impl UserData for HandlerValue {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method("__tostring", |_, this, ()| {
            let status = this.0.status();
            Ok(format!("Handler {} {}", status.kind, status.name))
        });
    }
}

impl FromLua for HandlerValue {
    fn from_lua(value: Value, _: &Lua) -> mlua::Result<Self> {
        match value {
            Value::UserData(data) => data.borrow::<Self>().map(|handler| handler.clone()),
            _ => Err(mlua::Error::runtime("not a handler")),
        }
    }
}

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    let handler = lua.create_table()?;
    handler.set("files", lua.create_function(files::files)?)?;
    handler.set("compress", lua.create_function(compress)?)?;
    handler.set("script", lua.create_function(script)?)?;
    handler.set("https", lua.create_function(redirect::https)?)?;
    handler.set("redirect", lua.create_function(redirect::redirect)?)?;
    medusa.set("handler", handler)
}

/// A handler to be wrapped: a handler value, or a function of the script.
fn to_handler(lua: &Lua, value: Value) -> mlua::Result<Arc<dyn Handler>> {
    if let Value::Function(function) = value {
        return Ok(Arc::new(Reach::of(lua)?.functions.handler(&function, origin(lua))?));
    }
    let shown = show(&value);
    HandlerValue::from_lua(value, lua).map(|handler| handler.0).map_err(|_other| {
        fail(lua, format!("a handler must be a function(req) or come from medusa.handler, not {shown}"))
    })
}

/// `medusa.handler.compress(handler)`
fn compress(lua: &Lua, inner: Value) -> mlua::Result<HandlerValue> {
    let inner = to_handler(lua, inner)?;
    if inner.status().kind == "handler.compress" {
        // Once is enough; wrapped a thousand times, a request would go through all of them.
        return Ok(HandlerValue(inner));
    }
    // The wrapper of a handler is the same as long as the handler is: it keeps it alive, so that nothing else can come
    // to be at its address.
    let key = format!("compress\0{:p}", Arc::as_ptr(&inner));
    let made =
        Reach::of(lua)?.parts(lua).handler(key, || Ok::<_, Infallible>(Arc::new(Compress::new(inner)) as _));
    made.map(HandlerValue).map_err(|error| fail(lua, error))
}

fn script(lua: &Lua, file: String) -> mlua::Result<HandlerValue> {
    let reach = Reach::of(lua)?;
    let path = below(Path::new(&file)).ok_or_else(|| {
        fail(lua, format!("medusa.handler.script: {file:?} is not a path below the script's directory"))
    })?;
    let handler = reach.scripts.handler(&reach.sources, path);
    let handler = handler.map_err(|error| fail(lua, format!("medusa.handler.script: {error}")))?;
    Ok(HandlerValue(handler))
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
