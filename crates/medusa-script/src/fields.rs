//! Names and values, as scripts give and get them: a table.

use http::HeaderValue;
use mlua::{Lua, Table, Value};

use crate::counted::shown_bytes;
use crate::print::MAX_SHOWN;

/// The error where `table` has a field under two names, `name` and another, which differ in case only: one of them
/// would go first, and nobody could tell which.
pub(crate) fn same_field(table: &Table, name: &[u8]) -> mlua::Result<String> {
    let mut names = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (Value::String(other), _) = pair? else { continue };
        if other.as_bytes().eq_ignore_ascii_case(name) {
            names.push(format!("\"{}\"", shown_bytes(&other.as_bytes(), MAX_SHOWN)));
        }
    }
    names.sort_unstable();
    names.truncate(2);
    Ok(format!("{} are the same field; values of one field are a list", names.join(" and ")))
}

/// The value of a field of HTTP, if it can be one.
pub(crate) fn header_value(value: &Value) -> Option<HeaderValue> {
    match value {
        Value::String(text) => HeaderValue::from_bytes(&text.as_bytes()).ok(),
        Value::Integer(number) => Some(HeaderValue::from(*number)),
        Value::Number(number) => HeaderValue::from_str(&number.to_string()).ok(),
        _ => None,
    }
}

/// The most values of one field.
const MAX_VALUES: usize = 400;

/// The same of one that may have several, as a list.
pub(crate) fn header_values(value: &Value) -> Option<Vec<HeaderValue>> {
    let Value::Table(list) = value else { return header_value(value).map(|value| vec![value]) };
    let values = list.sequence_values::<Value>().take(MAX_VALUES + 1);
    let values = values.map(|value| header_value(&value.ok()?)).collect::<Option<Vec<_>>>()?;
    (values.len() <= MAX_VALUES).then_some(values)
}

/// A table of names and values in which the first value of a name counts.
pub(crate) fn first_values<T: AsRef<[u8]>>(lua: &Lua, pairs: Vec<(T, T)>) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, pairs.len())?;
    for (name, value) in pairs.iter().rev() {
        table.raw_set(lua.create_string(name)?, lua.create_string(value)?)?;
    }
    Ok(table)
}
