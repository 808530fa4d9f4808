//! `limits`: what bounds a server. The table of `medusa-http` says which there are; nothing is added here for another.

use medusa_http::{LIMITS, Limits};
use mlua::{Lua, Value};

use crate::docs::{Class, Item, main_item};
use crate::options::Options;

pub(crate) const CLASS: Class = Class {
    name: "LimitOptions",
    doc: "What bounds a server's connections and requests. Whole numbers; 0 is no limit, but for `body` (where it is \
          nothing at all), `head_bytes`, `fields`, `uri` and `streams`, which have to be. Times are acted on within two \
          seconds after they passed.",
    fields: &FIELDS,
    methods: &[],
};

/// A limit is a number, everywhere the same.
const FIELDS: [Item; LIMITS.len()] = {
    let mut fields = [main_item("", "number?", ""); LIMITS.len()];
    let mut at = 0;
    while at < LIMITS.len() {
        fields[at] = main_item(LIMITS[at].name, "number?", LIMITS[at].doc);
        at += 1;
    }
    fields
};

/// The limits given, the others being the defaults.
pub(super) fn option(lua: &Lua, value: Value) -> mlua::Result<Limits> {
    let mut options = Options::new(lua, "medusa.http.server limits", value)?;
    let mut limits = Limits::default();
    for limit in LIMITS {
        if let Some(value) = options.whole(limit.name, limit.least..)? {
            (limit.set)(&mut limits, value);
        }
    }
    options.finish()?;
    Ok(limits)
}
