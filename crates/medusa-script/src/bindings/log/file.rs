//! `medusa.log.file`.

use std::convert::Infallible;
use std::sync::Arc;

use medusa_log::{FileSink, Options as FileOptions, Sink, Target};
use mlua::{Lua, Table, Value};

use super::{SinkValue, format};
use crate::bindings::options::Options;
use crate::bindings::{Reach, fail};
use crate::reference::{self, Class, Item};

pub(crate) const DOCS: Item = Item {
    path: "medusa.log.file",
    signature: "(path: string, options: LogFileOptions?) -> LogSink",
    reach: reference::Reach::Main,
    doc: "Appends a line per request to a file (`\"-\"`: standard output, `\"stderr\"`: standard error). A request never \
          waits for it: records go through a bounded queue to a thread of the sink's own; what does not fit is counted, \
          and the loss is written into the file when it works again. The directory is made if need be.",
};

/// The option `format`, of whatever sink.
pub(super) const FORMAT: &str = "How a record is written: `\"combined\"` (the default) and `\"common\"`, Apache's log \
     formats; `\"json\"`, with ECS field names; `\"logfmt\"`; or a template in Apache's letters, such as \
     `'%h %l %u %t \"%r\" %>s %b %D'`. Letters: `%h` client (its name, if one was found), `%a` its address, `%u` user, `%l` \
     always `-`, `%t` and `%{strftime}t` time, `%r` request line, `%m` method, `%U` path, `%q` query, `%H` protocol, `%s` \
     status, `%b` and `%B` bytes, `%D` `%{ms}T` `%T` duration in µs, ms, s, `%v` server, `%V` host asked for, `%L` request \
     id, `%{Referer}i`, `%{User-Agent}i`, `%{Host}i`, `%%`. A value never holds the character that stands behind it in the \
     template, nor a control character: those are written as `\\xHH`. Events of the server's own start with `# ` in the text \
     formats.";

pub(crate) const OPTIONS: Class = Class {
    name: "LogFileOptions",
    doc: "What `medusa.log.file` takes.",
    fields: &[Item { path: "format", signature: "string?", reach: reference::Reach::Main, doc: FORMAT }],
    methods: &[],
};

pub(super) fn install(lua: &Lua, log: &Table) -> mlua::Result<()> {
    log.set("file", lua.create_function(file)?)
}

fn file(lua: &Lua, (path, options): (String, Value)) -> mlua::Result<SinkValue> {
    const FUNCTION: &str = "medusa.log.file";
    let reach = Reach::of(lua)?;
    let mut given = Options::new(lua, FUNCTION, options)?;
    let mut options = FileOptions::default();
    if let Some(format) = format(lua, &mut given, FUNCTION, "format")? {
        options.format = format;
    }
    given.finish()?;
    let target = match path.as_str() {
        "" => return Err(fail(lua, format!("{FUNCTION}: the path is empty; \"-\" is standard output"))),
        "-" => Target::Stdout,
        "stderr" => Target::Stderr,
        path => Target::Path(reach.path(path)),
    };
    let key = format!("file\0{target:?}\0{options:?}");
    let Ok(sink) = reach
        .live
        .parts()
        .sink(key, || -> Result<Arc<dyn Sink>, Infallible> { Ok(Arc::new(FileSink::new(target, options))) });
    Ok(SinkValue(sink))
}
