//! Option tables: every key is asked for by its type; what nobody asked for is an error that lists what there is. And
//! arguments: one that nobody asked for is an error, too, where something would be changed.

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::time::Duration;

use medusa_proto::shown::ShortNumber;
use mlua::{FromLua, Function, Lua, LuaString, MultiValue, Table, Value};

use crate::call_site::fail;
use crate::print::{LARGEST, as_number, as_whole, kind, show, whole};

/// Kinds that are asked for by their own name.
const PLAIN: [&str; 4] = ["string", "number", "boolean", "table"];

/// The time for which a session goes on that may, unless the script says another.
const KEEP: Duration = Duration::from_hours(1);

/// The longest such time, in seconds: a day.
const LONGEST_KEEP: f64 = 86_400.0;

/// The most bytes of a list of strings, each with one more: names, addresses, protocols of one object.
const TEXTS: usize = 64 * 1024;

/// The strings of a list, none of which is copied once they are too many.
pub(crate) fn texts(list: &Table) -> mlua::Result<Vec<String>> {
    let (mut room, mut texts) = (TEXTS, Vec::new());
    for text in list.sequence_values::<LuaString>() {
        let text = text?;
        let left = room.checked_sub(text.as_bytes().len() + 1);
        room =
            left.ok_or_else(|| mlua::Error::runtime(format!("the list is longer than {} KiB", TEXTS >> 10)))?;
        texts.push(text.to_str()?.to_owned());
    }
    Ok(texts)
}

/// The values of a list, of which an option takes `most`: a longer one is refused before it is looked at, and one with other
/// keys or a hole, behind which entries would be lost.
pub(crate) fn list(
    lua: &Lua,
    option: impl fmt::Display,
    list: &Table,
    most: usize,
) -> mlua::Result<Vec<Value>> {
    let length = list.raw_len();
    if length > most {
        return Err(fail(
            lua,
            format!("{option}: the list has {length} entries; at most {most} are allowed"),
        ));
    }
    let values = list.sequence_values().collect::<mlua::Result<Vec<Value>>>()?;
    if list.pairs::<Value, Value>().take(most + 1).count() > values.len() {
        return Err(fail(lua, format!("{option}: must be a list, without names and without nil in it")));
    }
    Ok(values)
}

/// The strings of a [`list`], none of which is copied once they have more than `bytes` together, each with one more.
pub(crate) fn strings(
    lua: &Lua,
    option: impl fmt::Display + Copy,
    given: &Table,
    most: usize,
    bytes: usize,
) -> mlua::Result<Vec<String>> {
    let (mut room, mut strings) = (bytes, Vec::new());
    for value in list(lua, option, given, most)? {
        let text = value.as_string().and_then(|text| text.to_str().ok());
        let Some(text) = text else {
            let shown = show(&value);
            return Err(fail(lua, format!("{option}: every entry must be a string, not {shown}")));
        };
        let left = room.checked_sub(text.len() + 1);
        room =
            left.ok_or_else(|| fail(lua, format!("{option}: the list is longer than {} KiB", bytes >> 10)))?;
        strings.push(text.to_owned());
    }
    Ok(strings)
}

/// Refuses arguments behind those that `function` takes: whoever gives them means something else. nil is one, too: it is
/// a name that was mistyped.
pub(crate) fn no_more(lua: &Lua, function: &str, rest: &MultiValue) -> mlua::Result<()> {
    match rest.front() {
        None => Ok(()),
        Some(first) => {
            Err(fail(lua, format!("{function} takes no more arguments, but was given {}", show(first))))
        }
    }
}

/// What `function` was given for `what`, a text.
pub(crate) fn text_argument(lua: &Lua, function: &str, what: &str, value: &Value) -> mlua::Result<String> {
    let text = value.as_string().and_then(|text| text.to_str().ok()).map(|text| text.to_owned());
    text.ok_or_else(|| wrong_argument(lua, function, what, "a string", value))
}

/// The same, where it may be left out.
pub(crate) fn text_argument_or_none(
    lua: &Lua,
    function: &str,
    what: &str,
    value: &Value,
) -> mlua::Result<Option<String>> {
    if value.is_nil() { Ok(None) } else { text_argument(lua, function, what, value).map(Some) }
}

/// What `function` was given for `what`, a number.
pub(crate) fn number_argument(lua: &Lua, function: &str, what: &str, value: &Value) -> mlua::Result<f64> {
    as_number(value).ok_or_else(|| wrong_argument(lua, function, what, "a number", value))
}

/// The same, where it may be left out.
pub(crate) fn number_argument_or_none(
    lua: &Lua,
    function: &str,
    what: &str,
    value: &Value,
) -> mlua::Result<Option<f64>> {
    if value.is_nil() { Ok(None) } else { number_argument(lua, function, what, value).map(Some) }
}

/// What `called` was given for `what`, a function.
pub(crate) fn function_argument(lua: &Lua, called: &str, what: &str, value: Value) -> mlua::Result<Function> {
    match value {
        Value::Function(function) => Ok(function),
        other => Err(wrong_argument(lua, called, what, "a function", &other)),
    }
}

fn wrong_argument(lua: &Lua, function: &str, what: &str, expected: &str, given: &Value) -> mlua::Error {
    fail(lua, format_args!("{function}: {what} must be {expected}, not {}", show(given)))
}

/// An option table on its way through a constructor.
pub(crate) struct Options<'a> {
    lua: &'a Lua,
    function: &'static str,
    table: Option<Table>,
    known: Vec<&'static str>,
}

impl<'a> Options<'a> {
    /// The options given to `function`, if any were.
    pub(crate) fn new(lua: &'a Lua, function: &'static str, value: Value) -> mlua::Result<Self> {
        let table = match value {
            Value::Nil => None,
            Value::Table(table) => Some(table),
            other => {
                let other = kind(&other);
                return Err(fail(lua, format!("{function}: the options must be a table, not a {other}")));
            }
        };
        Ok(Self { lua, function, table, known: Vec::new() })
    }

    /// The value of `key`, if it is there; `expected` says what it should be, for the error.
    pub(crate) fn get<T: FromLua>(&mut self, key: &'static str, expected: &str) -> mlua::Result<Option<T>> {
        self.known.push(key);
        let Some(table) = &self.table else { return Ok(None) };
        let value: Value = table.raw_get(key)?;
        if value.is_nil() {
            return Ok(None);
        }
        let shown = value.clone();
        // Luau's conversions are generous (a number is taken for a string); options are not.
        let right =
            expected.strip_prefix("a ").is_none_or(|want| !PLAIN.contains(&want) || want == kind(&value));
        T::from_lua(value, self.lua)
            .ok()
            .filter(|_| right)
            .map(Some)
            .ok_or_else(|| self.wrong(key, format_args!("{expected}, not {}", show(&shown))))
    }

    /// The option `key`, a whole number within `range`.
    pub(crate) fn whole<T: TryFrom<u64>>(
        &mut self,
        key: &'static str,
        range: impl RangeBounds<u64>,
    ) -> mlua::Result<Option<T>> {
        let Some(number) = self.get::<f64>(key, "a number")? else { return Ok(None) };
        let whole =
            whole(number).filter(|whole| range.contains(whole)).and_then(|whole| whole.try_into().ok());
        whole.map(Some).ok_or_else(|| {
            let least = match range.start_bound() {
                Bound::Included(least) => *least,
                Bound::Excluded(below) => below + 1,
                Bound::Unbounded => 0,
            };
            let range = match range.end_bound() {
                Bound::Included(most) => format!(" from {least} to {most}"),
                _ if number > LARGEST as f64 => format!(" from {least} to {LARGEST}"),
                _ if number.fract() != 0.0 && least == 0 => String::new(),
                _ => format!(" of at least {least}"),
            };
            self.wrong(key, format_args!("a whole number{range}, not {}", ShortNumber(number)))
        })
    }

    /// The option `key`, a number of bytes or a text like `"64MiB"`.
    pub(crate) fn size(&mut self, key: &'static str, least: u64) -> mlua::Result<Option<u64>> {
        let Some(value) = self.get::<Value>(key, "a size")? else { return Ok(None) };
        let bytes = match &value {
            Value::String(text) => medusa_log::size(&text.to_string_lossy()),
            other => as_whole(other, ..),
        };
        bytes.filter(|&bytes| bytes >= least).map(Some).ok_or_else(|| {
            let shown = show(&value);
            self.wrong(key, format_args!("a size such as \"64MiB\", at least {least} bytes, not {shown}"))
        })
    }

    /// The option `key`, a number of seconds within `range`.
    pub(crate) fn seconds(
        &mut self,
        key: &'static str,
        range: impl RangeBounds<f64>,
    ) -> mlua::Result<Option<Duration>> {
        let Some(number) = self.get::<f64>(key, "a number")? else { return Ok(None) };
        let time = Duration::try_from_secs_f64(number).ok().filter(|_| range.contains(&number));
        time.map(Some).ok_or_else(|| {
            let range = match (range.start_bound(), range.end_bound()) {
                (Bound::Included(least), Bound::Included(most)) => format!(" from {least} to {most}"),
                (Bound::Excluded(least), Bound::Included(most)) => format!(" above {least}, at most {most}"),
                (Bound::Included(least), _) if *least > 0.0 => format!(", {least} or more"),
                _ => ", 0 or more".to_owned(),
            };
            self.wrong(key, format_args!("a number of seconds{range}, not {}", ShortNumber(number)))
        })
    }

    /// The option `key`, a list of `most` strings at most.
    pub(crate) fn strings(&mut self, key: &'static str, most: usize) -> mlua::Result<Option<Vec<String>>> {
        let Some(given) = self.get::<Table>(key, "a list of strings")? else { return Ok(None) };
        let option = format!("{}: `{key}`", self.function);
        strings(self.lua, option.as_str(), &given, most, TEXTS).map(Some)
    }

    /// The options `on_reload` and `keep`: the time for which a session may go on when its handler is no longer part of the site.
    pub(crate) fn keep(&mut self) -> mlua::Result<Duration> {
        let keeps = match self.get::<String>("on_reload", "a string")?.as_deref() {
            None | Some("end") => false,
            Some("keep") => true,
            Some(other) => {
                return Err(self.wrong("on_reload", format_args!("\"end\" or \"keep\", not {other:?}")));
            }
        };
        let keep = self.seconds("keep", 1.0..=LONGEST_KEEP)?;
        match (keeps, keep) {
            (true, keep) => Ok(keep.unwrap_or(KEEP)),
            (false, None) => Ok(Duration::ZERO),
            (false, Some(_)) => {
                let why =
                    format!("{}: `keep` says for how long where `on_reload` is \"keep\"", self.function);
                Err(fail(self.lua, why))
            }
        }
    }

    /// The error of an option that must be something else.
    pub(crate) fn wrong(&self, key: &str, must_be: impl fmt::Display) -> mlua::Error {
        fail(self.lua, format_args!("{}: `{key}` must be {must_be}", self.function))
    }

    /// Refuses keys that nobody asked for.
    pub(crate) fn finish(self) -> mlua::Result<()> {
        let Some(table) = &self.table else { return Ok(()) };
        for pair in table.pairs::<Value, Value>() {
            let (key, _) = pair?;
            let known = |key: &LuaString| self.known.iter().any(|name| *key == *name);
            if !key.as_string().is_some_and(known) {
                let key = show(&key);
                let known = self.known.join(", ");
                return Err(fail(
                    self.lua,
                    format!("{}: there is no option {key}; there are: {known}", self.function),
                ));
            }
        }
        Ok(())
    }
}
