//! `medusa.url`: what stands in URLs, encoded and decoded.

use medusa_proto::query;
use mlua::{Lua, LuaString, Table, Value};

use super::fail;
use crate::print::{as_number, show};
use crate::reference::{Item, item};

pub(crate) const DOCS: &[Item] = &[
    item(
        "medusa.url.encode",
        "(text: string) -> string",
        "Percent-encodes everything but letters, digits and `-._~` (RFC 3986 §2.3): the result can stand anywhere in a \
         URL, and in a cookie.",
    ),
    item(
        "medusa.url.decode",
        "(text: string) -> string",
        "Decodes what is percent-encoded; a `%` without two hexadecimal digits stands for itself, and so does `+`.",
    ),
    item(
        "medusa.url.query",
        "(values: { [string]: string | number | boolean | { string } }) -> string",
        "Makes a query, or the body of a form, of names and values: `medusa.url.query { q = \"a b\", page = 2 }` is \
         `page=2&q=a%20b`. A list gives a name several times. Names are in alphabetical order.",
    ),
    item(
        "medusa.url.parse_query",
        "(text: string) -> { [string]: string }",
        "The first value of each name in a query, decoded as `req.args` is.",
    ),
];

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    let url = lua.create_table()?;
    url.set("encode", lua.create_function(|_, text: LuaString| Ok(query::encode(&text.as_bytes())))?)?;
    let decode = |lua: &Lua, text: LuaString| lua.create_string(query::decode(&text.as_bytes()));
    url.set("decode", lua.create_function(decode)?)?;
    url.set("query", lua.create_function(make_query)?)?;
    let parse =
        |lua: &Lua, text: LuaString| first_values(lua, query::pairs(&text.as_bytes()).collect::<Vec<_>>());
    url.set("parse_query", lua.create_function(parse)?)?;
    medusa.set("url", url)
}

/// A table of names and values in which the first value of a name counts.
pub(crate) fn first_values<T: AsRef<[u8]>>(lua: &Lua, pairs: Vec<(T, T)>) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, pairs.len())?;
    for (name, value) in pairs.iter().rev() {
        table.raw_set(lua.create_string(name)?, lua.create_string(value)?)?;
    }
    Ok(table)
}

fn make_query(lua: &Lua, values: Table) -> mlua::Result<String> {
    let mut pairs = Vec::new();
    for pair in values.pairs::<LuaString, Value>() {
        let (name, value) = pair?;
        let name = query::encode(&name.as_bytes());
        match value {
            Value::Table(list) => {
                for value in list.sequence_values::<Value>() {
                    pairs.push((name.clone(), text(lua, &name, &value?)?));
                }
            }
            value => pairs.push((name.clone(), text(lua, &name, &value)?)),
        }
    }
    // Stable: the values of one name stay in their order.
    pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(pairs.join("&"))
}

fn text(lua: &Lua, name: &str, value: &Value) -> mlua::Result<String> {
    match value {
        Value::String(text) => Ok(query::encode(&text.as_bytes())),
        Value::Boolean(flag) => Ok(flag.to_string()),
        value => as_number(value).map(|number| query::encode(number.to_string().as_bytes())).ok_or_else(|| {
            let value = show(value);
            fail(lua, format!("medusa.url.query: the value of {name} must be a string, number or boolean, not {value}"))
        }),
    }
}
