//! What a resolver answers, as tables.

use std::net::IpAddr;

use medusa_dns::{Addresses, Answer, Data};
use mlua::{IntoLua, Lua, Table, Value};

use crate::docs::{Class, main_item};

pub(super) const ANSWER: Class = Class {
    name: "DnsAnswer",
    doc: "What `resolver:lookup` found: a list with two fields. All of it is what whoever owns the name has written there.",
    fields: &[
        main_item(
            "[number]",
            "any",
            "The records, from 1. Addresses, names (`CNAME`, `NS`, `PTR`) and text (`TXT`) are strings. `MX` is `{ preference, \
             exchange }`, `SRV` is `{ priority, weight, port, target }`, `SOA` is `{ mname, rname, serial, refresh, retry, \
             expire, minimum }`, `CAA` is `{ critical, tag, value }`; others are strings as in a zone's file.",
        ),
        main_item("ttl", "number", "For how many seconds it holds."),
        main_item(
            "source",
            "string",
            "Who says so: `server`, `cache`, `stale` (it no longer holds, but no server answers), `hosts`, `pinned`, or \
             `literal` (what was asked for is an address).",
        ),
    ],
    methods: &[],
};

/// The addresses of a host.
pub(super) fn addresses(lua: &Lua, found: &Addresses) -> mlua::Result<Table> {
    let list = lua.create_sequence_from(found.addresses.iter().map(IpAddr::to_string))?;
    list.raw_set("ttl", found.ttl.as_secs_f64())?;
    list.raw_set("source", found.source.name())?;
    Ok(list)
}

/// Records.
pub(super) fn answer(lua: &Lua, found: &Answer) -> mlua::Result<Table> {
    let list = lua.create_table()?;
    for data in &*found.records {
        list.raw_push(record(lua, data)?)?;
    }
    list.raw_set("ttl", found.ttl.as_secs_f64())?;
    list.raw_set("source", found.source.name())?;
    Ok(list)
}

fn record(lua: &Lua, data: &Data) -> mlua::Result<Value> {
    let table = lua.create_table()?;
    match data {
        Data::Mx { preference, exchange } => {
            table.raw_set("preference", *preference)?;
            table.raw_set("exchange", &**exchange)?;
        }
        Data::Srv { priority, weight, port, target } => {
            table.raw_set("priority", *priority)?;
            table.raw_set("weight", *weight)?;
            table.raw_set("port", *port)?;
            table.raw_set("target", &**target)?;
        }
        Data::Soa { mname, rname, serial, refresh, retry, expire, minimum } => {
            table.raw_set("mname", &**mname)?;
            table.raw_set("rname", &**rname)?;
            table.raw_set("serial", *serial)?;
            table.raw_set("refresh", *refresh)?;
            table.raw_set("retry", *retry)?;
            table.raw_set("expire", *expire)?;
            table.raw_set("minimum", *minimum)?;
        }
        Data::Caa { critical, tag, value } => {
            table.raw_set("critical", *critical)?;
            table.raw_set("tag", &**tag)?;
            table.raw_set("value", lua.create_string(value)?)?;
        }
        // Its pieces are an artefact of the wire: they belong together (RFC 7208 §3.3).
        Data::Txt(pieces) => return lua.create_string(pieces.concat()).map(Value::String),
        other => return other.to_string().into_lua(lua),
    }
    Ok(Value::Table(table))
}
