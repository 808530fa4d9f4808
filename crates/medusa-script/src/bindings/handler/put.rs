//! `medusa.handler.put`: files are published.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use medusa_http::Handler;
use medusa_http::handlers::put::{Put, PutOptions};
use medusa_http::store::{Store, StoreOptions};
use medusa_proto::with_causes;
use mlua::{Lua, Value};

use super::value::HandlerValue;
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::options::{Options, text_argument};

const FUNCTION: &str = "medusa.handler.put";

/// The most versions of a file: they are looked through whenever there is another.
const MOST_VERSIONS: u64 = 1000;

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(root: string, options: PutOptions?) -> Handler",
    "Publishes files below a directory: PUT puts one there (201, or 204 in the place of another), DELETE removes it (204). A reader \
     sees the old file or the new one, whole, also if the server is killed meanwhile; `medusa.handler.files` serves it at once. \
     `If-Match`, `If-None-Match: *` and `If-Unmodified-Since` keep one author from undoing another's work (412), with the \
     `ETag` that `files` and PUT answer. Whoever reaches it may write: put `medusa.handler.auth` before it. Answers beside these: \
     400 for a part (`Content-Range`), 403 for a name that nothing is published under (as begin with a dot, `*.luau`), a symbolic \
     link, another file system, or no file; 409 for a directory in the way, and for one that is missing; 413, 415 for a \
     `Content-Encoding`, 507 where there is no room. An empty directory is removed by its address with a slash.",
);

pub(super) const MAX_SIZE: Item = main_item(
    "max_size",
    "(number | string)?",
    "The longest file: bytes, or a text like `\"64MiB\"`. In place of `limits.body`, which is about memory. Default 100 MiB; \
     more is answered 413.",
);

pub(super) const QUOTA: Item = main_item(
    "quota",
    "(number | string)?",
    "The most bytes below `root`, versions included, each file in blocks of 4 KiB. Versions give way, the oldest first; then \
     more is answered 507. Default nil: the disk.",
);

pub(super) const VERSIONS: Item = main_item(
    "versions",
    "number?",
    "How many versions of each file are kept when it is replaced or removed: see `medusa.versions`. They are in \
     `.medusa-versions` in `root`, which is never served. Default 20, at most 1000; 0 keeps none.",
);

pub(super) const OPTIONS: Class = Class {
    name: "PutOptions",
    doc: "What `medusa.handler.put` takes.",
    fields: &[
        MAX_SIZE,
        QUOTA,
        VERSIONS,
        main_item(
            "create_directories",
            "boolean?",
            "Whether directories that are missing are made. Default false: then a mistyped address is answered 409 and makes no new part \
             of the site.",
        ),
    ],
    methods: &[],
};

/// `medusa.handler.put(root, options)`
pub(super) fn put(lua: &Lua, (root, options): (Value, Value)) -> mlua::Result<HandlerValue> {
    let context = MainContext::of(lua)?;
    let root = text_argument(lua, FUNCTION, "the directory", &root)?;
    let mut given = Options::new(lua, FUNCTION, options)?;
    let options = read(&mut given)?;
    given.finish()?;
    let (root, real) = directory(lua, FUNCTION, &context, &root)?;
    // Both names: what is written is looked up anew each time, and may lead elsewhere then.
    let key = format!("put\0{}\0{}\0{options:?}", root.display(), real.display());
    let made = context.interner(lua).handler(key, || {
        Store::open(&root).map(|store| Arc::new(Put::new(Arc::new(store), options)) as Arc<dyn Handler>)
    });
    made.map(HandlerValue::Made).map_err(|error| fail(lua, format!("{FUNCTION}: {}", with_causes(&error))))
}

/// The options of what publishes files one by one.
pub(super) fn read(given: &mut Options<'_>) -> mlua::Result<PutOptions> {
    let mut options = common(given)?;
    let default = options.store.create_directories;
    options.store.create_directories = given.get("create_directories", "a boolean")?.unwrap_or(default);
    Ok(options)
}

/// The options that whatever publishes has.
pub(super) fn common(given: &mut Options<'_>) -> mlua::Result<PutOptions> {
    let default = PutOptions::default();
    Ok(PutOptions {
        max_size: given.size("max_size", 0)?.unwrap_or(default.max_size),
        store: StoreOptions {
            quota: given.size("quota", 1)?,
            versions: given.whole("versions", 0..=MOST_VERSIONS)?.unwrap_or(default.store.versions),
            create_directories: false,
        },
    })
}

/// The directory to publish in, and its real path: it may hold nothing of the server's own.
pub(super) fn directory(
    lua: &Lua,
    function: &str,
    context: &MainContext,
    root: &str,
) -> mlua::Result<(PathBuf, PathBuf)> {
    let root = context.path(root);
    // By the real path, as for `files`.
    let real = root.canonicalize().unwrap_or_else(|_missing| root.clone());
    let holds = |path: &Path| path.canonicalize().is_ok_and(|path| path.starts_with(&real));
    for (path, what) in
        [(Some(context.sources.root()), "script"), (context.state.as_deref(), "server's state")]
    {
        if path.is_some_and(holds) {
            return Err(fail(
                lua,
                format!(
                    "{function}: the {what} is in `{}`, and who publishes there could change it; give a directory that has nothing \
                     but what is published",
                    root.display()
                ),
            ));
        }
    }
    Ok((root, real))
}
