//! `medusa.log.multi`.

use std::sync::Arc;

use medusa_log::MultiSink;
use mlua::{FromLua, Lua, Table};

use super::value::{SinkValue, intern, not_too_deep};
use crate::call_site::fail;
use crate::docs::{Item, main_item};
use crate::options::list;
use crate::print::show;

pub(crate) const DOCS: Item = main_item(
    "medusa.log.multi",
    "(sinks: { LogSink }) -> LogSink",
    "Every record goes to all of these. One that would be written more than 64 times is an error: each `multi` \
          within another multiplies.",
);

/// The number of times a record may be written.
const MAX_WIDTH: usize = 64;

pub(super) fn install(lua: &Lua, log: &Table) -> mlua::Result<()> {
    log.set("multi", lua.create_function(multi)?)
}

fn multi(lua: &Lua, sinks: Table) -> mlua::Result<SinkValue> {
    let mut all = Vec::new();
    for value in list(lua, "medusa.log.multi", &sinks, MAX_WIDTH)? {
        let shown = show(&value);
        let sink = SinkValue::from_lua(value, lua).map_err(|_other| {
            fail(lua, format!("medusa.log.multi: expected a list of logs, found {shown}"))
        })?;
        not_too_deep(lua, "medusa.log.multi", &sink.0)?;
        all.push(sink.0);
    }
    if all.is_empty() {
        return Err(fail(
            lua,
            "medusa.log.multi: give it a list of logs: multi { medusa.log.file(\"-\"), ... }",
        ));
    }
    let width = all.iter().map(|sink| sink.width()).fold(0, usize::saturating_add);
    if width > MAX_WIDTH {
        return Err(fail(
            lua,
            format!("medusa.log.multi: each record would be written {width} times; {MAX_WIDTH} are allowed"),
        ));
    }
    // The sinks are the same objects while they live, so their addresses name them.
    let key = all.iter().map(|sink| format!("{:p}", Arc::as_ptr(sink))).collect::<Vec<_>>().join(",");
    intern(lua, format!("multi\0{key}"), || Arc::new(MultiSink::new(all)))
}
