//! `medusa.handler`: the handlers that come with the server.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use medusa_http::Handler;
use medusa_http::handlers::files::{Files, Options as FilesOptions};
use medusa_proto::with_causes;
use mlua::{FromLua, Lua, Table, UserData, UserDataMethods, Value};

use super::options::Options;
use super::{Reach, fail};
use crate::print::show;
use crate::reference::{self, Class, Item};

pub(crate) const DOCS: &[Item] = &[
    Item {
        path: "medusa.handler.files",
        signature: "(root: string, options: FilesOptions?) -> Handler",
        reach: reference::Reach::Main,
        doc: "Serves the files below a directory: index files, types, conditional and range requests, HEAD. Nothing \
              outside the directory is reached, symlinks included. The path below the mount names the file.",
    },
    Item {
        path: "medusa.handler.script",
        signature: "(file: string) -> Handler",
        reach: reference::Reach::Main,
        doc: "A handler in a file of its own, which returns a `function(req)`. It is loaded by every worker and runs on \
              the request's own core; what it shares with others goes through `medusa.shared`. At a reload it is loaded \
              anew only if it, or a module it requires, has changed.",
    },
];

pub(crate) const CLASS: Class = Class {
    name: "Handler",
    doc: "Something that answers requests: mount it with `HttpServer:mount`.",
    fields: &[],
    methods: &[],
};

pub(crate) const FILES_OPTIONS: Class = Class {
    name: "FilesOptions",
    doc: "What `medusa.handler.files` takes.",
    fields: &[
        Item {
            path: "index",
            signature: "string | { string } | nil",
            reach: reference::Reach::Main,
            doc: "What is served for a directory, the first that exists. Default `\"index.html\"`.",
        },
        Item {
            path: "listing",
            signature: "boolean?",
            reach: reference::Reach::Main,
            doc: "Whether a directory without an index is listed. Default false: names nobody links to stay unknown.",
        },
        Item {
            path: "dotfiles",
            signature: "boolean?",
            reach: reference::Reach::Main,
            doc: "Whether names that start with a dot are served (`.well-known` always is). Default false: they are \
                  more often secrets (`.git`, `.env`) than content.",
        },
    ],
    methods: &[],
};

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
    handler.set("files", lua.create_function(files)?)?;
    handler.set("script", lua.create_function(script)?)?;
    medusa.set("handler", handler)
}

fn files(lua: &Lua, (root, options): (String, Value)) -> mlua::Result<HandlerValue> {
    const FUNCTION: &str = "medusa.handler.files";
    let reach = Reach::of(lua)?;
    let mut given = Options::new(lua, FUNCTION, options)?;
    let mut options = FilesOptions::default();
    match given.get::<Value>("index", "a string or a list of strings")? {
        None => {}
        Some(Value::Table(list)) => {
            let names: mlua::Result<Vec<String>> = list.sequence_values().collect();
            options.index = names
                .map_err(|_other| fail(lua, format!("{FUNCTION}: `index` must be a list of strings")))?;
        }
        Some(name) => options.index = vec![index_name(lua, name)?],
    }
    if let Some(listing) = given.get("listing", "a boolean")? {
        options.listing = listing;
    }
    if let Some(dotfiles) = given.get("dotfiles", "a boolean")? {
        options.dotfiles = dotfiles;
    }
    given.finish()?;
    let root = reach.path(&root);
    // By the real path: a symlink that was turned elsewhere makes another handler at the next reload.
    let real = root.canonicalize().unwrap_or_else(|_missing| root.clone());
    let key = format!("files\0{}\0{options:?}", real.display());
    let made = reach
        .live
        .parts()
        .handler(key, || Files::open(&root, options).map(|files| Arc::new(files) as Arc<dyn Handler>));
    made.map(HandlerValue).map_err(|error| fail(lua, format!("{FUNCTION}: {}", with_causes(&error))))
}

fn index_name(lua: &Lua, name: Value) -> mlua::Result<String> {
    match name {
        Value::String(name) => Ok(name.to_string_lossy()),
        other => {
            let other = show(&other);
            Err(fail(
                lua,
                format!("medusa.handler.files: `index` must be a string or a list of strings, not {other}"),
            ))
        }
    }
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
