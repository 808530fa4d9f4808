//! An uploaded file as a script's value.
//!
//! The value does not keep the content: that goes with the request, and a value kept longer gives an error.

use std::cell::Cell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::rc::{Rc, Weak};

use bytes::{Bytes, BytesMut};
use medusa_proto::with_causes;
use mlua::{Function, Lua, LuaString, UserData, UserDataFields, UserDataMethods};

use super::save::{Root, save};
use super::upload::{Content, Upload, blocking};
use crate::docs::{Class, item};
use crate::engine_context::EngineContext;
use crate::require::ScriptRoot;

/// The size that `chunks` gives at once, and `read` reads at once, in bytes.
const PIECE: usize = 64 * 1024;

/// The longest file that `read` gives as one string: a quarter of this is much for a VM already.
const MAX_READ: u64 = 16 * 1024 * 1024;

pub(crate) const CLASS: Class = Class {
    name: "UploadedFile",
    doc: "A file of a form, from `req:form`. Up to 64 KiB it is kept in memory, past that in a file without a name in \
          `/var/tmp` (or `TMPDIR`). It is gone when the request has been answered: `save` what is to stay.",
    fields: &[
        item(
            "filename",
            "string",
            "What the client calls it, without directories: the bytes it sent, with what browsers escape (`%22`, `%0D`, `%0A`) \
             undone. Anything else may stand in it, it need not be UTF-8, and it may be empty.",
        ),
        item("content_type", "string?", "The type the client claims it has. Nobody has checked it."),
        item("size", "number", "Its length in bytes."),
    ],
    methods: &[
        item(
            "read",
            "() -> string",
            "The whole content. More than 16 MiB is an error: go through it with `chunks`, or `save` it.",
        ),
        item("chunks", "() -> (() -> string?)", "Goes through the content: `for chunk in file:chunks() do`."),
        item(
            "save",
            "(path: string) -> ()",
            "Writes it to a file, relative to the script's directory, whose directory must be there. A file of that name \
             is replaced, in one step when the new one is whole and on disk. An error is a path that leads out of the \
             script's directory or into the server's state, one with `..` or a name that begins with a dot in it, and \
             one that ends in `.luau` or `.lua`: nothing that a client sends can become part of the server.",
        ),
    ],
};

/// The value.
#[derive(Debug)]
pub(super) struct UploadedFile {
    filename: Vec<u8>,
    content_type: Option<String>,
    size: u64,
    upload: Weak<Upload>,
}

impl UploadedFile {
    pub(super) fn new(upload: &Rc<Upload>) -> Self {
        Self {
            filename: upload.filename.clone(),
            content_type: upload.content_type.clone(),
            size: upload.content.len(),
            upload: Rc::downgrade(upload),
        }
    }

    fn content(&self) -> mlua::Result<Content> {
        content(&self.upload)
    }
}

fn content(upload: &Weak<Upload>) -> mlua::Result<Content> {
    let upload = upload.upgrade();
    let upload = upload
        .ok_or_else(|| mlua::Error::runtime("this file is gone: its request has been answered already"))?;
    Ok(upload.content.clone())
}

impl UserData for UploadedFile {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("filename", |lua, this| lua.create_string(&this.filename));
        fields.add_field_method_get("content_type", |_, this| Ok(this.content_type.clone()));
        fields.add_field_method_get("size", |_, this| Ok(this.size as f64));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_async_method("read", async |lua, this, ()| {
            let content = this.content()?;
            read(&lua, content).await
        });
        methods.add_method("chunks", |lua, this, ()| chunks(lua, Weak::clone(&this.upload)));
        methods.add_async_method("save", async |lua: Lua, this, path: LuaString| {
            let content = this.content()?;
            let directory = lua.app_data_ref::<ScriptRoot>().map(|root| root.0.clone());
            let directory = directory
                .ok_or_else(|| mlua::Error::runtime("file:save: there is no directory to save to"))?;
            let root = Root { directory, state: EngineContext::of(&lua)?.state.clone() };
            let path = PathBuf::from(OsStr::from_bytes(&path.as_bytes()));
            let saved = blocking(move || Ok(save(&root, &path, &content))).await;
            saved?.map_err(|error| mlua::Error::runtime(format!("file:save: {}", with_causes(&error))))
        });
        methods.add_meta_method("__tostring", |_, this, ()| {
            Ok(format!("UploadedFile {:?} ({} bytes)", String::from_utf8_lossy(&this.filename), this.size))
        });
    }
}

async fn read(lua: &Lua, content: Content) -> mlua::Result<LuaString> {
    let length = content.len();
    if length > MAX_READ {
        return Err(mlua::Error::runtime(format!(
            "file:read: the file is {length} bytes long; go through it with file:chunks()"
        )));
    }
    let mut all = BytesMut::with_capacity(length as usize);
    while (all.len() as u64) < length {
        all.extend_from_slice(&piece(&content, all.len() as u64).await?);
    }
    lua.create_string(all)
}

/// A function that gives the next piece each time it is called, and nil at the end.
fn chunks(lua: &Lua, upload: Weak<Upload>) -> mlua::Result<Function> {
    let offset = Rc::new(Cell::new(0));
    lua.create_async_function(move |lua, ()| {
        let (upload, offset) = (Weak::clone(&upload), Rc::clone(&offset));
        async move {
            let piece = piece(&content(&upload)?, offset.get()).await?;
            offset.set(offset.get() + piece.len() as u64);
            if piece.is_empty() { Ok(None) } else { lua.create_string(piece).map(Some) }
        }
    })
}

/// The piece at `offset`: at once where it is in memory.
async fn piece(content: &Content, offset: u64) -> mlua::Result<Bytes> {
    let piece = match content {
        Content::Memory(_) => content.read_at(offset, PIECE),
        Content::Disk(..) => {
            let content = content.clone();
            blocking(move || content.read_at(offset, PIECE)).await
        }
    };
    piece.map_err(|error| mlua::Error::runtime(format!("reading an uploaded file failed: {error}")))
}
