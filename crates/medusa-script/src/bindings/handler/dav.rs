//! `medusa.handler.dav`: a directory is mounted by WebDAV.

use std::sync::Arc;

use medusa_dav::{Dav, DavOptions};
use medusa_http::Handler;
use medusa_http::handlers::files::FilesError;
use medusa_http::store::Store;
use medusa_proto::with_causes;
use mlua::{Lua, Value};

use super::put;
use super::value::HandlerValue;
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::options::{Options, text_argument};

const FUNCTION: &str = "medusa.handler.dav";

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(root: string, options: DavOptions?) -> Handler",
    "Has a directory mounted by WebDAV (RFC 4918, classes 1, 2 and 3): by Finder, Explorer, Office, davfs2, rclone. Files are put there, \
     kept as versions and bounded as by `medusa.handler.put`, and read as by `medusa.handler.files`, which serves them elsewhere at once. \
     Locks are a user's own; they end with their time (an hour at most), and with the process. What clients say of files (*dead properties*) is \
     kept beside the versions. Whoever reaches it may write: put `medusa.handler.auth` before it. Mount it with a slash at the end, under \
     the path that clients see. See docs/webdav.md.",
);

pub(super) const OPTIONS: Class = Class {
    name: "DavOptions",
    doc: "What `medusa.handler.dav` takes.",
    fields: &[
        put::MAX_SIZE,
        put::QUOTA,
        put::VERSIONS,
        main_item(
            "dotfiles",
            "boolean?",
            "Whether names may begin with a dot. Default false: then they are answered 403, and 404 where they are only looked for, but for \
             `/.well-known/`, as `.git` and `.htpasswd` are somebody else's.",
        ),
        main_item(
            "litter",
            "boolean?",
            "Whether the files are taken that systems leave everywhere: `._*`, `.DS_Store`, `Thumbs.db`, `desktop.ini`, `.~lock.*#`. Of these \
             no versions are kept. Default true: with false, Finder cannot copy files that have attributes.",
        ),
    ],
    methods: &[],
};

/// `medusa.handler.dav(root, options)`
pub(super) fn dav(lua: &Lua, (root, options): (Value, Value)) -> mlua::Result<HandlerValue> {
    let context = MainContext::of(lua)?;
    let root = text_argument(lua, FUNCTION, "the directory", &root)?;
    let mut given = Options::new(lua, FUNCTION, options)?;
    let default = DavOptions::default();
    let options = DavOptions {
        put: put::common(&mut given)?,
        dotfiles: given.get("dotfiles", "a boolean")?.unwrap_or(default.dotfiles),
        litter: given.get("litter", "a boolean")?.unwrap_or(default.litter),
    };
    given.finish()?;
    let (root, real) = put::directory(lua, FUNCTION, &context, &root)?;
    // Both names: what is written is looked up anew each time, and may lead elsewhere then.
    let key = format!("dav\0{}\0{}\0{options:?}", root.display(), real.display());
    let made = context.interner(lua).handler(key, || {
        let dav = Dav::new(Store::open(&root)?, options)?;
        Ok::<_, FilesError>(Arc::new(dav) as Arc<dyn Handler>)
    });
    made.map(HandlerValue::Made).map_err(|error| fail(lua, format!("{FUNCTION}: {}", with_causes(&error))))
}
