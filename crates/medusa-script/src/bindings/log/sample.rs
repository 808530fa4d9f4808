//! `medusa.log.sample`.

use std::sync::Arc;

use medusa_log::{Rate, SampleSink, Sampling};
use medusa_proto::event::Level;
use mlua::{Lua, Table, Value};

use super::value::{SinkValue, inner, intern};
use crate::call_site::fail;
use crate::docs::{Class, Item, main_item};
use crate::options::{Options, number_argument};

const FUNCTION: &str = "medusa.log.sample";

pub(crate) const DOCS: Item = main_item(
    FUNCTION,
    "(rate: number, log: LogSink, options: LogSampleOptions?) -> LogSink",
    "Passes on a share of the records, each with the probability `rate` (above 0, at most 1), by chance; one that has an \
     id by that: what is kept of a request here is kept by every other sample of this rate or a higher one, on every \
     machine. Events of the server are always passed on. The status says how many were passed over.",
);

pub(crate) const OPTIONS: Class = Class {
    name: "LogSampleOptions",
    doc: "What `medusa.log.sample` takes.",
    fields: &[main_item(
        "always",
        "\"error\" | \"warn\" | nil",
        "Keeps all that matters so much: with `\"error\"` every request answered 5xx, with `\"warn\"` 4xx, too. Default: \
         all are alike, so that what is kept can be counted up.",
    )],
    methods: &[],
};

pub(super) fn install(lua: &Lua, log: &Table) -> mlua::Result<()> {
    log.set("sample", lua.create_function(sample)?)
}

fn sample(lua: &Lua, (rate, sink, options): (Value, Value, Value)) -> mlua::Result<SinkValue> {
    let failed = |error: &dyn std::fmt::Display| fail(lua, format!("{FUNCTION}: {error}"));
    let rate = number_argument(lua, FUNCTION, "the rate", &rate)?;
    let probability = Rate::try_from(rate).map_err(|error| failed(&error))?;
    let inner = inner(lua, FUNCTION, sink)?;
    let mut options = Options::new(lua, FUNCTION, options)?;
    let always = options.get::<String>("always", "a string")?;
    options.finish()?;
    let always = always.map(|level| level.parse::<Level>()).transpose();
    let always = always.map_err(|error| failed(&format!("`always`: {error}")))?;
    // It keeps its inner sink alive, so nothing else can come to be at that address.
    let key = format!("sample\0{rate}\0{always:?}\0{:p}", Arc::as_ptr(&inner));
    intern(lua, key, || Arc::new(SampleSink::new(Sampling::new(probability, always), inner)))
}
