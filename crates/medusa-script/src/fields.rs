//! Fields of messages, as scripts give them: a table of names and values.

use mlua::{Table, Value};

use crate::counted::shown_bytes;
use crate::print::MAX_SHOWN;

/// What is said where `table` has a field under two names, `name` and another, which differ in case only: one of them
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
