//! `medusa.shared`: dictionaries that every VM sees.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use medusa_proto::shown::ShortNumber;
use mlua::{IntoLua, Lua, LuaString, Table, UserData, UserDataMethods, Value};

use crate::call_site::fail;
use crate::docs::{Class, Item, item};
use crate::print::show;
use crate::shared::{Dictionaries, Dictionary, LARGEST, SHARDS, SharedError, SharedValue};
use crate::task::give_way;

pub(crate) const DOCS: &[Item] = &[item(
    "medusa.shared",
    "(name: string) -> SharedDictionary",
    "The dictionary of that name, made when first asked for. Every VM sees the same: this is what handler files on \
          different workers share. It lives as long as the process, across reloads, and holds up to 64 MiB, all of \
          them together 256 MiB, one entry 2 MiB; when it is full, `set`, `incr` and `cas` are errors. There may be 1024, \
          with names of up to 256 bytes.",
)];

pub(crate) const CLASS: Class = Class {
    name: "SharedDictionary",
    doc: "A dictionary that every VM sees, from `medusa.shared`. Keys are strings; values are strings, numbers and \
          booleans (encode a table with `medusa.json`). Every operation on a key is atomic.",
    fields: &[],
    methods: &[
        item("get", "(key: string) -> (string | number | boolean)?", "The value, or nil."),
        item(
            "set",
            "(key: string, value: (string | number | boolean)?, ttl: number?) -> ()",
            "Sets a value, or removes it (nil). With `ttl` it is gone after so many seconds.",
        ),
        item(
            "incr",
            "(key: string, by: number?, ttl: number?) -> number",
            "Adds `by` (default 1) to a number, which starts at 0, and returns the sum. `ttl` is for a new entry; \
                  an old one keeps its own. Counting beyond 2^53 - 1 is an error: adding one might change nothing there.",
        ),
        item(
            "cas",
            "(key: string, old: (string | number | boolean)?, new: (string | number | boolean)?, ttl: number?) -> boolean",
            "Compare and set: sets (or, with nil, removes) only if the value is `old` (nil: only if there is none). \
                  Returns whether it did.",
        ),
        item(
            "keys",
            "(prefix: string?, max: number?) -> { string }",
            "Up to `max` (default 1000) keys that start with `prefix`, in no order.",
        ),
    ],
};

pub(super) fn install(lua: &Lua, medusa: &Table, dictionaries: &Arc<Dictionaries>) -> mlua::Result<()> {
    let dictionaries = Arc::clone(dictionaries);
    let open = move |lua: &Lua, name: LuaString| {
        let dictionary = dictionaries
            .open(&name.as_bytes())
            .map_err(|error| fail(lua, format!("medusa.shared: {error}")))?;
        Ok(SharedDictionary(dictionary))
    };
    medusa.set("shared", lua.create_function(open)?)
}

struct SharedDictionary(Arc<Dictionary>);

fn to_shared(lua: &Lua, value: &Value) -> mlua::Result<Option<SharedValue>> {
    Ok(Some(match value {
        Value::Nil => return Ok(None),
        Value::Boolean(flag) => SharedValue::Bool(*flag),
        Value::Integer(number) if (*number as f64) as i128 != i128::from(*number) => {
            let message =
                format!("a shared dictionary holds numbers, and {number} is none: keep it as a string");
            return Err(fail(lua, message));
        }
        Value::Integer(number) => SharedValue::Number(*number as f64),
        Value::Number(number) => SharedValue::Number(*number),
        Value::String(text) => {
            let text = text.as_bytes();
            if text.len() > LARGEST {
                return Err(fail(lua, SharedError::TooLarge { size: text.len() }));
            }
            SharedValue::Text(Bytes::copy_from_slice(&text))
        }
        other => {
            let other = show(other);
            return Err(fail(
                lua,
                format!(
                    "a shared dictionary holds strings, numbers and booleans, not {other}; encode it with medusa.json.encode"
                ),
            ));
        }
    }))
}

fn from_shared(lua: &Lua, value: Option<SharedValue>) -> mlua::Result<Value> {
    match value {
        None => Ok(Value::Nil),
        Some(SharedValue::Bool(flag)) => flag.into_lua(lua),
        Some(SharedValue::Number(number)) => number.into_lua(lua),
        Some(SharedValue::Text(text)) => lua.create_string(text).map(Value::String),
    }
}

fn ttl(lua: &Lua, seconds: Option<f64>) -> mlua::Result<Option<Duration>> {
    let to_duration = |seconds| {
        Duration::try_from_secs_f64(seconds).map_err(|_error| {
            fail(lua, format!("a time to live must be a number of seconds, not {}", ShortNumber(seconds)))
        })
    };
    seconds.map(to_duration).transpose()
}

type Args<T> = (LuaString, T, Option<f64>);

impl UserData for SharedDictionary {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("get", |lua, this, key: LuaString| from_shared(lua, this.0.get(&key.as_bytes())));
        methods.add_method("set", |lua, this, (key, value, seconds): Args<Value>| {
            let set = this.0.set(&key.as_bytes(), to_shared(lua, &value)?, ttl(lua, seconds)?);
            set.map_err(|error| fail(lua, error))
        });
        methods.add_method("incr", |lua, this, (key, by, seconds): Args<Option<f64>>| {
            let sum = this.0.incr(&key.as_bytes(), by.unwrap_or(1.0), ttl(lua, seconds)?);
            sum.map_err(|error| fail(lua, error))
        });
        methods.add_method(
            "cas",
            |lua, this, (key, old, new, seconds): (LuaString, Value, Value, Option<f64>)| {
                let (old, new) = (to_shared(lua, &old)?, to_shared(lua, &new)?);
                let set = this.0.cas(&key.as_bytes(), old.as_ref(), new, ttl(lua, seconds)?);
                set.map_err(|error| fail(lua, error))
            },
        );
        methods.add_async_method(
            "keys",
            async |lua: Lua, this, (prefix, max): (Option<LuaString>, Option<usize>)| {
                let prefix = prefix.as_ref().map(LuaString::as_bytes);
                let prefix = prefix.as_deref().unwrap_or_default();
                let (keys, mut left) = (lua.create_table()?, max.unwrap_or(1000));
                for shard in 0..SHARDS {
                    give_way().await?;
                    for (at, key) in this.0.keys(shard, prefix, left).into_iter().enumerate() {
                        keys.raw_push(lua.create_string(key)?)?;
                        left -= 1;
                        if at % 256 == 255 {
                            give_way().await?;
                        }
                    }
                }
                Ok(keys)
            },
        );
    }
}
