//! `medusa.json`: encode and decode.
//!
//! **Invariant:** all that is decoded goes through [`parse`], which is bounded: it is done in one go that no watchdog
//! interrupts, and every two bytes of a client's text can be a table.

use std::cell::Cell;
use std::fmt;

use mlua::serde::DeserializeOptions;
use mlua::{IntoLua, Lua, LuaSerdeExt, LuaString, Table, Value};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::fail;
use crate::reference::{Item, Reach};

pub(crate) const DOCS: &[Item] = &[
    Item {
        path: "medusa.json.encode",
        signature: "(value: any) -> string",
        reach: Reach::Everywhere,
        doc: "Encodes a value as JSON. A table with the keys 1..n is an array, any other an object; an empty table is an \
              empty object. `medusa.json.null` is null. Functions, userdata and tables that contain themselves are errors.",
    },
    Item {
        path: "medusa.json.decode",
        signature: "(text: string) -> any",
        reach: Reach::Everywhere,
        doc: "Decodes JSON. null becomes `medusa.json.null`, so that an array keeps its length. Errors name line and column. More than 50,000 \
              values and names, or more than 127 levels, are an error.",
    },
    Item {
        path: "medusa.json.null",
        signature: "any",
        reach: Reach::Everywhere,
        doc: "What stands for JSON's null; a value that is equal only to itself.",
    },
];

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    let json = lua.create_table()?;
    json.set("null", Value::NULL)?;
    let encoder = |lua: &Lua, value: Value| lua.create_string(encode(lua, "medusa.json.encode", value)?);
    json.set("encode", lua.create_function(encoder)?)?;
    let decoder = |lua: &Lua, text: LuaString| decode(lua, "medusa.json.decode", &text.as_bytes());
    json.set("decode", lua.create_function(decoder)?)?;
    medusa.set("json", json)
}

/// A value as JSON. Errors begin with `who` asked.
pub(super) fn encode(lua: &Lua, who: &str, value: Value) -> mlua::Result<String> {
    let options = DeserializeOptions::new().sort_keys(true).deny_recursive_tables(true);
    let encoded: serde_json::Value =
        lua.from_value_with(value, options).map_err(|error| fail(lua, format!("{who}: {error}")))?;
    Ok(encoded.to_string())
}

/// JSON as a value. Errors begin with `who` asked.
pub(super) fn decode(lua: &Lua, who: &str, text: &[u8]) -> mlua::Result<Value> {
    parse(lua, text).map_err(|error| match error {
        ParseError::Json(error) => fail(lua, format!("{who}: {error}")),
        ParseError::Vm(error) => error,
    })
}

/// The most values and names of objects that one text may hold: some 30 ms of work and 7 MB of the VM when each is a
/// table. An API's largest answers have a few thousand.
const MAX_VALUES: usize = 50_000;

/// Why a text could not be decoded.
#[derive(Debug)]
pub(crate) enum ParseError {
    /// It is not JSON, or too much of it.
    Json(serde_json::Error),
    /// The VM has no memory for it.
    Vm(mlua::Error),
}

/// JSON as a value, made in the VM as it is read. `serde_json` bounds the depth (at 127 levels).
pub(crate) fn parse(lua: &Lua, text: &[u8]) -> Result<Value, ParseError> {
    let (left, failed) = (Cell::new(MAX_VALUES), Cell::new(None));
    let decoder = Decoder { lua, arrays: &lua.array_metatable(), left: &left, failed: &failed };
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = decoder.deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    value.map_err(|error| failed.take().map_or(ParseError::Json(error), ParseError::Vm))
}

/// Makes one value.
#[derive(Clone, Copy)]
struct Decoder<'a> {
    lua: &'a Lua,
    /// What marks arrays, so that an empty one is encoded as one again.
    arrays: &'a Table,
    left: &'a Cell<usize>,
    /// The VM's own error, which serde cannot carry.
    failed: &'a Cell<Option<mlua::Error>>,
}

impl Decoder<'_> {
    fn made<T, E: serde::de::Error>(self, made: mlua::Result<T>) -> Result<T, E> {
        made.map_err(|error| {
            let told = E::custom(&error);
            self.failed.set(Some(error));
            told
        })
    }
}

impl<'de> DeserializeSeed<'de> for Decoder<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        let left = self.left.get().checked_sub(1);
        let left = left.ok_or_else(|| {
            D::Error::custom(format_args!("there are more than {MAX_VALUES} values and names"))
        })?;
        self.left.set(left);
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Decoder<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::NULL)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Boolean(flag))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Value, E> {
        self.made(number.into_lua(self.lua))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
        self.made(number.into_lua(self.lua))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        self.made(number.into_lua(self.lua))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.made(self.lua.create_string(text).map(Value::String))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let table = self.made(self.lua.create_table())?;
        while let Some(item) = items.next_element_seed(self)? {
            self.made(table.raw_push(item))?;
        }
        self.made(table.set_metatable(Some(self.arrays.clone())))?;
        Ok(Value::Table(table))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let table = self.made(self.lua.create_table())?;
        while let Some(name) = members.next_key_seed(self)? {
            let value = members.next_value_seed(self)?;
            self.made(table.raw_set(name, value))?;
        }
        Ok(Value::Table(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lua: &Lua, text: &str) -> String {
        match parse(lua, text.as_bytes()) {
            Ok(value) => encode(lua, "test", value).unwrap(),
            Err(ParseError::Json(error)) => error.to_string(),
            Err(ParseError::Vm(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn what_is_decoded_is_encoded_as_it_was() {
        let lua = Lua::new();
        for text in [
            r#"{"a":[1,2.5,-3,"\u00e9\n",null,true,[],[[]]],"b":{"c":{}},"":false}"#,
            "[]",
            "{}",
            "null",
            "9007199254740991",
        ] {
            let text: serde_json::Value = serde_json::from_str(text).unwrap();
            let again: serde_json::Value = serde_json::from_str(&told(&lua, &text.to_string())).unwrap();
            assert_eq!(again, text);
        }
        assert_eq!(told(&lua, r#"{"a":1,"a":2}"#), r#"{"a":2}"#, "the last one counts");
        for wrong in ["", "[1,]", "{} x", "{1:2}", "\"\u{1}\"", "[1"] {
            assert!(told(&lua, wrong).contains(" at line 1 column "), "{wrong:?}");
        }
    }

    #[test]
    fn how_many_values_and_how_deep_is_bounded() {
        let lua = Lua::new();
        let list = |item: &str, count: usize| format!("[{}]", vec![item; count].join(","));
        for item in ["1", "{}", "[]"] {
            assert!(told(&lua, &list(item, MAX_VALUES - 1)).starts_with('['), "{item}");
            let refused = told(&lua, &list(item, MAX_VALUES));
            assert!(refused.starts_with("there are more than 50000 values"), "{refused}");
        }
        let objects = told(&lua, &list(r#"{"a":1}"#, MAX_VALUES / 3 + 1));
        assert!(objects.contains("more than"), "names count: {objects}");
        let deep = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(told(&lua, &deep(127)).starts_with('['));
        assert!(told(&lua, &deep(128)).contains("recursion limit"));
    }

    #[test]
    fn want_of_memory_is_the_vms_error() {
        let lua = Lua::new();
        lua.set_memory_limit(lua.used_memory() + 100_000).unwrap();
        let text = format!("[{}1]", "{},".repeat(MAX_VALUES / 2));
        assert!(matches!(parse(&lua, text.as_bytes()), Err(ParseError::Vm(mlua::Error::MemoryError(_)))));
    }
}
