//! An entry of the log as a script sees it.

use std::net::IpAddr;

use medusa_log::EntryKind;
use medusa_proto::access::{Peer, Record, Timestamp};
use medusa_proto::entry::Entry;
use mlua::{Lua, Table};

/// The table for `entry`: class `LogRecord` of the reference. What is absent is nil.
pub(crate) fn record(lua: &Lua, entry: &Entry<'_>) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 20)?;
    table.raw_set("kind", EntryKind::of(entry).name())?;
    table.raw_set("time", seconds(entry.time()))?;
    table.raw_set("level", entry.level().name())?;
    match entry {
        Entry::Access(record) => access(lua, &table, record)?,
        Entry::Event(event) => {
            table.raw_set("part", event.part)?;
            table.raw_set("message", event.message)?;
            table.raw_set("id", event.request)?;
        }
    }
    Ok(table)
}

fn access(lua: &Lua, table: &Table, record: &Record<'_>) -> mlua::Result<()> {
    match record.peer {
        Peer::Ip(IpAddr::V4(ip)) => table.raw_set("client", ip.to_string())?,
        Peer::Ip(IpAddr::V6(ip)) => table.raw_set("client", ip.to_string())?,
        Peer::Unix => table.raw_set("client", "unix")?,
    }
    table.raw_set("name", record.name)?;
    table.raw_set("user", record.user)?;
    table.raw_set("method", record.method)?;
    table.raw_set("target", record.target)?;
    table.raw_set("path", record.target.split('?').next())?;
    table.raw_set("host", record.host)?;
    table.raw_set("status", record.status)?;
    table.raw_set("bytes", record.bytes as f64)?;
    table.raw_set("duration", record.duration_us as f64 / 1e6)?;
    for (field, bytes) in [("referer", record.referer), ("user_agent", record.user_agent)] {
        if let Some(bytes) = bytes {
            table.raw_set(field, lua.create_string(bytes)?)?;
        }
    }
    table.raw_set("server", record.server)?;
    table.raw_set("id", record.id)?;
    table.raw_set("version", record.version.number())
}

/// Seconds since 1970, with what is behind the point.
pub(super) fn seconds(time: Timestamp) -> f64 {
    time.micros() as f64 / 1e6
}
