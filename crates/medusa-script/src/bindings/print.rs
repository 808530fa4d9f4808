//! `print`.

use mlua::{Function, Lua, LuaString, MultiValue, Table, Value};

use crate::call_site::origin;
use crate::counted::Counted;
use crate::print::{first_values, shown_within};
use crate::transaction::Transaction;

/// The longest line that is printed; the rest of a longer one is cut off.
const MAX_LINE: usize = 16 * 1024;

/// `print`: to whoever runs the statement, else to the server's log.
pub(super) fn print_function(lua: &Lua, globals: &Table) -> mlua::Result<Function> {
    let tostring: Function = globals.get("tostring")?;
    let host = lua.create_function(move |lua, values: MultiValue| print(lua, &tostring, &values))?;
    first_values(lua, Some(host)).map(|(print, _)| print)
}

/// Prints values. The first of them is whether there are more than these.
fn print(lua: &Lua, tostring: &Function, values: &MultiValue) -> mlua::Result<()> {
    let mut line = Counted::new(MAX_LINE);
    let transaction = Transaction::current();
    let to_session = transaction.as_ref().is_some_and(|transaction| transaction.events().is_some());
    let mut values = values.iter();
    let more = values.next().is_some_and(|more| more.as_boolean() == Some(true));
    for (at, value) in values.enumerate() {
        if at > 0 {
            line.push_str("\t");
        }
        match value {
            Value::String(text) => drop(line.push(&text.as_bytes())),
            // At a prompt, as a value of a statement is shown; in the log, a line is a line.
            Value::Table(table) if to_session && shows_itself(table).is_none() => {
                line.push_str(&shown_within(value, line.room()));
            }
            // Its metatable may have something to say, of any length.
            Value::Table(_) | Value::UserData(_) => {
                line.push(&tostring.call::<LuaString>(value)?.as_bytes());
            }
            value => line.push_str(&value.to_string()?),
        }
    }
    if more {
        line.push_str("\t…");
    }
    let line = line.finish();
    let taken = transaction.is_some_and(|transaction| transaction.print(&line));
    if !taken {
        tracing::info!(target: "script", origin = %origin(lua), "{line}");
    }
    Ok(())
}

/// What a table has to say of itself.
fn shows_itself(table: &Table) -> Option<Value> {
    let value = table.metatable()?.raw_get::<Value>("__tostring").ok()?;
    (!value.is_nil()).then_some(value)
}
