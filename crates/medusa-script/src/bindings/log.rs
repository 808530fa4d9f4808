//! `medusa.log`: where access records go.

use std::convert::Infallible;
use std::sync::Arc;

use medusa_log::{FileSink, MultiSink, Options as FileOptions, Sink, Target};
use medusa_proto::format::Format;
use mlua::{FromLua, Lua, Table, UserData, UserDataMethods, Value};

use super::options::Options;
use super::{Reach, fail};
use crate::print::show;
use crate::reference::{self, Class, Item};

pub(crate) const DOCS: &[Item] = &[
    Item {
        path: "medusa.log.file",
        signature: "(path: string, options: LogFileOptions?) -> LogSink",
        reach: reference::Reach::Main,
        doc: "Appends a line per request to a file (`\"-\"`: standard output, `\"stderr\"`: standard error). A request \
              never waits for it: records go through a bounded queue to a thread of the sink's own; what does not fit is \
              counted, and the loss is written into the file when it works again. The directory is made if need be.",
    },
    Item {
        path: "medusa.log.multi",
        signature: "(sinks: { LogSink }) -> LogSink",
        reach: reference::Reach::Main,
        doc: "Every record goes to all of these.",
    },
];

pub(crate) const CLASS: Class =
    Class { name: "LogSink", doc: "Where records go: the `log` of a server.", fields: &[], methods: &[] };

pub(crate) const FILE_OPTIONS: Class = Class {
    name: "LogFileOptions",
    doc: "What `medusa.log.file` takes.",
    fields: &[Item {
        path: "format",
        signature: "\"combined\" | \"common\" | \"json\" | nil",
        reach: reference::Reach::Main,
        doc: "How a record is written: Apache's Combined (the default) or Common Log Format, or JSON with ECS field names.",
    }],
    methods: &[],
};

/// A sink, as a value of the script.
#[derive(Debug, Clone)]
pub(super) struct SinkValue(pub(super) Arc<dyn Sink>);

impl UserData for SinkValue {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method("__tostring", |_, this, ()| {
            let status = this.0.status();
            Ok(format!("LogSink {} {}", status.kind, status.name))
        });
    }
}

impl FromLua for SinkValue {
    fn from_lua(value: Value, _: &Lua) -> mlua::Result<Self> {
        match value {
            Value::UserData(data) => data.borrow::<Self>().map(|sink| sink.clone()),
            _ => Err(mlua::Error::runtime("not a log sink")),
        }
    }
}

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    let log = lua.create_table()?;
    log.set("file", lua.create_function(file)?)?;
    log.set("multi", lua.create_function(multi)?)?;
    medusa.set("log", log)
}

fn file(lua: &Lua, (path, options): (String, Value)) -> mlua::Result<SinkValue> {
    const FUNCTION: &str = "medusa.log.file";
    let reach = Reach::of(lua)?;
    let mut given = Options::new(lua, FUNCTION, options)?;
    let mut options = FileOptions::default();
    if let Some(format) = given.get::<String>("format", "a string")? {
        options.format =
            format.parse::<Format>().map_err(|error| fail(lua, format!("{FUNCTION}: {error}")))?;
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

fn multi(lua: &Lua, sinks: Table) -> mlua::Result<SinkValue> {
    let reach = Reach::of(lua)?;
    let mut all = Vec::new();
    for value in sinks.sequence_values::<Value>() {
        let value = value?;
        let shown = show(&value);
        let sink = SinkValue::from_lua(value, lua).map_err(|_other| {
            fail(lua, format!("medusa.log.multi: expected a list of logs, found {shown}"))
        })?;
        all.push(sink.0);
    }
    if all.is_empty() {
        return Err(fail(
            lua,
            "medusa.log.multi: give it a list of logs: multi { medusa.log.file(\"-\"), ... }",
        ));
    }
    // The sinks are the same objects while they live, so their addresses name them.
    let key = all.iter().map(|sink| format!("{:p}", Arc::as_ptr(sink))).collect::<Vec<_>>().join(",");
    let Ok(sink) =
        reach.live.parts().sink(format!("multi\0{key}"), || -> Result<Arc<dyn Sink>, Infallible> {
            Ok(Arc::new(MultiSink::new(all)))
        });
    Ok(SinkValue(sink))
}
