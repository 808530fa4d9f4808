//! `medusa.versions`: what `medusa.handler.put` keeps of files that were replaced or removed.

use std::time::{SystemTime, UNIX_EPOCH};

use medusa_http::store::{PagePath, Store, StoreError, StoreOptions};
use medusa_proto::with_causes;
use mlua::{Lua, Table, Value};
use tokio::task::spawn_blocking;

use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::options::text_argument;

const LIST: &str = "medusa.versions.list";
const RESTORE: &str = "medusa.versions.restore";

pub(crate) const DOCS: &[Item] = &[
    main_item(
        LIST,
        "(root: string, path: string) -> { FileVersion }",
        "The versions that are kept of the file at `path` below `root`, a directory of `medusa.handler.put`; the latest first. A file \
         that was removed has them, too.",
    ),
    main_item(
        RESTORE,
        "(root: string, path: string, version: string) -> ()",
        "Publishes a version of the file anew, in one step. What is there becomes a version itself, so that can be taken back. For who \
         looks after the site: no quota holds for it, and directories that are missing are made.",
    ),
];

pub(crate) const CLASS: Class = Class {
    name: "FileVersion",
    doc: "What a published file was, until it was replaced or removed: a plain table.",
    fields: &[
        main_item("version", "string", "Tells it from the others of its file."),
        main_item("size", "number", "Its length in bytes."),
        main_item(
            "modified",
            "number",
            "When it was published, or last changed by others; see `medusa.time.iso`.",
        ),
        main_item("replaced", "number", "When it was replaced or removed."),
        main_item(
            "user",
            "string?",
            "Who had published it, if `req.user` was known then and the file system keeps such notes (user attributes).",
        ),
    ],
    methods: &[],
};

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    let versions = lua.create_table()?;
    versions.set("list", lua.create_async_function(list)?)?;
    versions.set("restore", lua.create_async_function(restore)?)?;
    medusa.set("versions", versions)
}

/// `medusa.versions.list(root, path)`
async fn list(lua: Lua, (root, path): (Value, Value)) -> mlua::Result<Table> {
    let versions = with_store(&lua, LIST, (&root, &path), Store::versions).await?;
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    lua.create_sequence_from(
        versions
            .into_iter()
            .map(|version| {
                let entry = lua.create_table()?;
                entry.raw_set("version", version.id)?;
                entry.raw_set("size", version.size as f64)?;
                entry.raw_set("modified", seconds(version.modified))?;
                entry.raw_set("replaced", seconds(version.replaced))?;
                entry.raw_set("user", version.user)?;
                Ok(entry)
            })
            .collect::<mlua::Result<Vec<Table>>>()?,
    )
}

/// `medusa.versions.restore(root, path, version)`
async fn restore(lua: Lua, (root, path, version): (Value, Value, Value)) -> mlua::Result<()> {
    let version = text_argument(&lua, RESTORE, "the version", &version)?;
    // None of the others goes for it.
    let options = StoreOptions { versions: usize::MAX, ..StoreOptions::default() };
    with_store(&lua, RESTORE, (&root, &path), move |store, path| store.restore(path, &version, &options))
        .await
}

/// What `work` makes of a file below a directory, off the script's thread.
async fn with_store<T: Send + 'static>(
    lua: &Lua,
    function: &str,
    (root, path): (&Value, &Value),
    work: impl FnOnce(&Store, &PagePath) -> Result<T, StoreError> + Send + 'static,
) -> mlua::Result<T> {
    let root = text_argument(lua, function, "the directory", root)?;
    let root = MainContext::of(lua)?.path(root);
    let given = text_argument(lua, function, "the path", path)?;
    let path = PagePath::plain(given.strip_prefix('/').unwrap_or(&given)).ok_or_else(|| {
        fail(
            lua,
            format!(
                "{function}: nothing is published at {given:?}; give a path below the directory, not encoded"
            ),
        )
    })?;
    let done = spawn_blocking(move || {
        let store = Store::open(&root).map_err(|error| with_causes(&error))?;
        work(&store, &path).map_err(|error| with_causes(&error))
    });
    let done = done.await.unwrap_or_else(|error| Err(error.to_string()));
    done.map_err(|error| fail(lua, format!("{function}: {error}")))
}
