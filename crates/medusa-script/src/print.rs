//! A statement's value, for a person: tables are shown with their contents, strings quoted inside them, everything bounded.

use std::ops::RangeBounds;

use medusa_proto::shown::{Escaped, ShortNumber};
use mlua::{Function, Lua, MultiValue, Table, Value};

use crate::chunk::load;
use crate::counted::{Counted, shown_bytes};
use crate::places::place;

/// A number, however the VM holds it.
pub(crate) fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

/// The largest whole number that scripts can count to.
pub(crate) const LARGEST: u64 = 1 << 53;

/// A whole number from 0 to [`LARGEST`]: beyond that it would be another.
pub(crate) fn whole(number: f64) -> Option<u64> {
    (number.fract() == 0.0 && (0.0..=LARGEST as f64).contains(&number)).then_some(number as u64)
}

/// A value that is a whole number within `range`.
pub(crate) fn as_whole(value: &Value, range: impl RangeBounds<u64>) -> Option<u64> {
    as_number(value).and_then(whole).filter(|number| range.contains(number))
}

/// The kind of a value, in the script's words.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "number",
        value => value.type_name(),
    }
}

/// The length of a string that an error message shows, in bytes.
pub(crate) const MAX_SHOWN: usize = 200;

/// A value, short, for an error message.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{}\"", shown_bytes(&text.as_bytes(), MAX_SHOWN)),
        Value::Number(number) => ShortNumber(*number).to_string(),
        Value::Boolean(_) | Value::Integer(_) => value.to_string().unwrap_or_default(),
        Value::Nil => "nil".to_owned(),
        other => format!("a {}", kind(other)),
    }
}

const MAX_DEPTH: usize = 4;
const MAX_ITEMS: usize = 100;

/// The items that are put in order. Of a table with more, those come that come first in it.
const MAX_SORTED: usize = 1000;

/// More than were counted.
const MANY: usize = usize::MAX;

/// The width of a line of items, and of one that is short.
const WIDTH: usize = 76;
const MAX_SHORT: usize = 20;

/// The longest name of what a table is.
const MAX_KIND: usize = 40;

/// The longest text that is shown for a statement, in bytes.
const MAX_TEXT: usize = 64 * 1024;

/// The number of values that one line or one statement shows. There may be a million, and each that the host takes it
/// has to hold.
const MAX_VALUES: usize = 100;

/// Two functions of the VM, which see to it that no more than [`MAX_VALUES`] reach the host: one calls `host`, the other
/// a function given to it. What comes first is whether there were more.
pub(crate) fn first_values(lua: &Lua, host: Option<Function>) -> mlua::Result<(Function, Function)> {
    load(lua, include_str!("print.luau"), "=print", None)?.call((host, MAX_VALUES))
}

/// The values a statement is worth, the first of them whether there are more; nothing for none.
pub(crate) fn values(values: &MultiValue) -> Option<String> {
    let mut values = values.iter();
    let more = values.next().is_some_and(|more| more.as_boolean() == Some(true));
    let mut text = Counted::new(MAX_TEXT);
    for (at, value) in values.clone().enumerate() {
        if at > 0 {
            text.push_str("\t");
        }
        match value {
            Value::String(value) => drop(text.push(&value.as_bytes())),
            value => text.push_str(&nested(value, 0, text.room())),
        }
    }
    if more {
        text.push_str("\t…");
    }
    (values.len() > 0).then(|| text.finish())
}

/// A value by itself, as it stands within a table.
pub(crate) fn shown_value(value: &Value) -> String {
    nested(value, 0, MAX_TEXT)
}

/// The same, with no more than so many bytes of texts.
pub(crate) fn shown_within(value: &Value, room: usize) -> String {
    nested(value, 0, room)
}

/// A value within a table; of a longer text, so many bytes.
fn nested(value: &Value, depth: usize, room: usize) -> String {
    match value {
        Value::String(text) => format!("{:?}", shown_bytes(&text.as_bytes(), room)),
        // As it is, whatever its metatable says: no code of the script runs here, outside of any budget.
        Value::Table(table) => show_table(table, depth, room),
        Value::Function(function) => match place(function) {
            Some((file, line)) => format!("function {file}:{line}"),
            None => "function".to_owned(),
        },
        Value::Number(number) => ShortNumber(*number).to_string(),
        value => value.to_string().unwrap_or_else(|error| format!("<{error}>")),
    }
}

fn show_table(table: &Table, depth: usize, mut room: usize) -> String {
    let kind = sealed_as(table).map(|kind| kind + " ").unwrap_or_default();
    if depth >= MAX_DEPTH {
        return format!("{kind}{{…}}");
    }
    let length = table.raw_len();
    let (pairs, more) = first_pairs(table, length);
    let mut items: Vec<String> = Vec::new();
    for (key, value) in pairs {
        if room == 0 {
            items.push("…".to_owned());
            break;
        }
        let mut item = match &key {
            key if index(key, length).is_some() => String::new(),
            Value::String(name) if is_name(&shown_bytes(&name.as_bytes(), MAX_SHOWN)) => {
                format!("{} = ", shown_bytes(&name.as_bytes(), MAX_SHOWN))
            }
            key => format!("[{}] = ", nested(key, depth + 1, room)),
        };
        room = room.saturating_sub(item.len());
        let value = nested(&value, depth + 1, room);
        room = room.saturating_sub(value.len() + 1);
        item.push_str(&value);
        items.push(item);
    }
    match more {
        0 => {}
        MANY => items.push("…".to_owned()),
        more => items.push(format!("… {more} more")),
    }
    kind + &bracketed(&items, depth)
}

/// Items in braces: in one line if they fit there, short ones side by side, else one below the other.
fn bracketed(items: &[String], depth: usize) -> String {
    let one_line = items.join(", ");
    if items.is_empty() {
        return "{}".to_owned();
    }
    if one_line.len() <= WIDTH && !one_line.contains('\n') {
        return format!("{{ {one_line} }}");
    }
    let indent = "    ".repeat(depth + 1);
    let short = items.iter().all(|item| item.len() <= MAX_SHORT && !item.contains('\n'));
    let mut text = format!("{{\n{indent}");
    let mut width = 0;
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            let fits = short && width + 2 + item.len() <= WIDTH - indent.len();
            text.push_str(if fits { ", " } else { ",\n" });
            if !fits {
                text.push_str(&indent);
                width = 0;
            }
        }
        text.push_str(item);
        width += 2 + item.len();
    }
    text + "\n" + &"    ".repeat(depth) + "}"
}

/// The first [`MAX_ITEMS`] of a table: what is in its list first, then by name. With how many more there are, or [`MANY`].
fn first_pairs(table: &Table, length: usize) -> (Vec<(Value, Value)>, usize) {
    let pairs = table.pairs::<Value, Value>().flatten();
    // The host's own have light userdata as their keys.
    let mut pairs = pairs.filter(|(key, _)| !matches!(key, Value::LightUserData(_)));
    let mut first: Vec<_> = pairs.by_ref().take(MAX_SORTED).collect();
    let more = if pairs.next().is_some() { MANY } else { first.len().saturating_sub(MAX_ITEMS) };
    first.sort_by_cached_key(|(key, _)| match (index(key, length), key) {
        (Some(at), _) => (0, at, String::new()),
        (None, Value::String(name)) => (1, 0, shown_bytes(&name.as_bytes(), MAX_SHOWN)),
        _ => (2, 0, String::new()),
    });
    first.truncate(MAX_ITEMS);
    (first, more)
}

/// The place of a key in the list that a table is.
fn index(key: &Value, length: usize) -> Option<u64> {
    as_whole(key, 1..=length as u64)
}

/// What an object of the host's is, that is a table: `request`.
fn sealed_as(table: &Table) -> Option<String> {
    let sealed = table.metatable()?.raw_get::<mlua::LuaString>("__metatable").ok()?;
    Some(Escaped::line(&shown_bytes(&sealed.as_bytes(), MAX_KIND)).to_string())
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
        let (_, run) = first_values(&lua, None).unwrap();
        let source: Function = lua.load(source).into_function().unwrap();
        values(&run.call::<MultiValue>(source).unwrap()).unwrap_or_default()
    }

    #[test]
    fn values_are_shown() {
        assert_eq!(shown("return 1, 'two', true, nil"), "1\ttwo\ttrue\tnil");
        assert_eq!(shown("return { 1, 'two', x = { y = 3 } }"), "{ 1, \"two\", x = { y = 3 } }");
        assert_eq!(shown("return {}"), "{}");
        assert_eq!(shown("return 1e300, { 2^53, 0.1 }"), "1e300\t{ 9007199254740992, 0.1 }");
        assert_eq!(shown("return { b = 2, 'x', a = 1, [true] = 0 }"), "{ \"x\", a = 1, b = 2, [true] = 0 }");
        assert_eq!(shown("return print, { print }"), "function\t{ function }");
        assert_eq!(shown("return setmetatable({ a = 1 }, { __metatable = 'request' })"), "request { a = 1 }");
        let numbers = shown("local t = {} for i = 1, 150 do t[i] = i end return t");
        assert!(
            numbers.starts_with("{\n    1, 2, 3, 4,") && numbers.ends_with("100, … 50 more\n}"),
            "{numbers}"
        );
        assert!(numbers.lines().count() < 10 && numbers.lines().all(|line| line.len() <= 80), "{numbers}");
        let long = shown("local s = string.rep('x', 60) return { s, { s, s } }");
        assert_eq!(long.lines().count(), 7, "{long}");
        assert_eq!(shown("return"), "");
    }

    #[test]
    fn a_table_in_itself_ends() {
        assert!(shown("local t = {} t.t = t return t").contains('…'));
        assert!(shown("local t = {} for i = 1, 1e5 do t[i] = i end return t").len() < 2000);
    }

    #[test]
    fn however_much_there_is_it_ends() {
        let million = "local s = string.rep('x', 1000000) ";
        for (source, most) in [
            ("return table.create(100, table.create(100, s))", MAX_TEXT * 2),
            ("local t = s for i = 1, 30 do t = { t, t } end return t", MAX_TEXT * 2),
            ("return { [s] = { [s] = s } }", MAX_TEXT * 4),
            ("return s, s, s", MAX_TEXT + 3),
            ("return string.rep('\\1', 1000000), { string.rep('\\1', 1000000) }", MAX_TEXT + 3),
            ("return table.unpack(table.create(100000, s))", MAX_TEXT + 3),
            ("local t = {} for i = 1, 1e5 do t[i] = t end return t", MAX_TEXT * 2),
        ] {
            let text = shown(&format!("{million}{source}"));
            assert!(text.len() <= most && text.contains('…'), "{source}: {}", text.len());
        }
        assert!(shown("return table.unpack(table.create(101, 1))").ends_with("1\t…"));
        assert!(shown("return table.unpack(table.create(100, 1))").ends_with("1\t1"));
    }
}
