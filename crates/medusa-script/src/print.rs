//! A statement's value, for a person: tables are shown with their contents, strings quoted inside them, everything bounded.

use std::fmt::Write as _;

use mlua::{MultiValue, Table, Value};

/// A number, however the VM holds it.
pub(crate) fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

/// What kind of value it is, in the script's words.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "number",
        value => value.type_name(),
    }
}

/// A value, short, for an error message.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{}\"", text.to_string_lossy()),
        Value::Boolean(_) | Value::Integer(_) | Value::Number(_) => value.to_string().unwrap_or_default(),
        Value::Nil => "nil".to_owned(),
        other => format!("a {}", kind(other)),
    }
}

const MAX_DEPTH: usize = 4;
const MAX_ITEMS: usize = 100;
const MAX_TEXT: usize = 64 * 1024;

/// The values a statement is worth; nothing for none.
pub(crate) fn values(values: &MultiValue) -> Option<String> {
    if values.is_empty() {
        return None;
    }
    let shown: Vec<String> = values
        .iter()
        .map(|value| match value {
            Value::String(text) => text.to_string_lossy(),
            value => {
                let mut text = String::new();
                show_nested(value, 0, &mut text);
                text
            }
        })
        .collect();
    let mut text = shown.join("\t");
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.push_str(" …");
    }
    Some(text)
}

fn show_nested(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::String(text) => drop(write!(out, "{:?}", text.to_string_lossy())),
        // As it is, whatever its metatable says: no code of the script runs here, outside of any budget.
        Value::Table(table) => show_table(table, depth, out),
        value => out.push_str(&value.to_string().unwrap_or_else(|error| format!("<{error}>"))),
    }
}

fn show_table(table: &Table, depth: usize, out: &mut String) {
    if depth >= MAX_DEPTH || out.len() > MAX_TEXT {
        out.push_str("{…}");
        return;
    }
    let length = table.raw_len();
    let mut items: Vec<String> = Vec::new();
    let mut more = false;
    for (key, value) in table.pairs::<Value, Value>().flatten() {
        if items.len() == MAX_ITEMS {
            more = true;
            break;
        }
        let mut item = String::new();
        match &key {
            key if as_number(key)
                .is_some_and(|at| at.fract() == 0.0 && (1.0..=length as f64).contains(&at)) => {}
            Value::String(name) if is_name(&name.to_string_lossy()) => {
                let _ = write!(item, "{} = ", name.to_string_lossy());
            }
            key => {
                item.push('[');
                show_nested(key, depth + 1, &mut item);
                item.push_str("] = ");
            }
        }
        show_nested(&value, depth + 1, &mut item);
        items.push(item);
    }
    if more {
        items.push("…".to_owned());
    }
    let one_line = items.join(", ");
    if items.is_empty() {
        out.push_str("{}");
    } else if one_line.len() <= 80 && !one_line.contains('\n') {
        let _ = write!(out, "{{ {one_line} }}");
    } else {
        let indent = "    ".repeat(depth + 1);
        let items = items.join(&format!(",\n{indent}"));
        let _ = write!(out, "{{\n{indent}{items}\n{}}}", "    ".repeat(depth));
    }
}

/// Whether a table's key can be written as it is: `value.name`.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(source: &str) -> String {
        let lua = mlua::Lua::new();
        values(&lua.load(source).eval().unwrap()).unwrap_or_default()
    }

    #[test]
    fn values_are_shown() {
        assert_eq!(shown("return 1, 'two', true, nil"), "1\ttwo\ttrue\tnil");
        assert_eq!(shown("return { 1, 'two', x = { y = 3 } }"), "{ 1, \"two\", x = { y = 3 } }");
        assert_eq!(shown("return {}"), "{}");
        assert_eq!(shown("return"), "");
    }

    #[test]
    fn a_table_in_itself_ends() {
        assert!(shown("local t = {} t.t = t return t").contains('…'));
        assert!(shown("local t = {} for i = 1, 1e5 do t[i] = i end return t").len() < 2000);
    }
}
