//! `medusa.log.resolving`.

use std::sync::Arc;
use std::time::Duration;

use medusa_log::{ResolvingOptions, ResolvingSink};
use mlua::{FromLua, Lua, Table, Value};

use super::value::{SinkValue, inner, intern};
use crate::bindings::dns::{LogNames, ResolverValue};
use crate::call_site::fail;
use crate::docs::{Class, Item, main_item};
use crate::options::Options;
use crate::print::show;

const FUNCTION: &str = "medusa.log.resolving";

/// The longest deadline: what waits holds memory, and is lost when the server is killed.
const MAX_DEADLINE: Duration = Duration::from_secs(10);

pub(crate) const DOCS: Item = main_item(
    FUNCTION,
    "(resolver: DnsResolver, log: LogSink, options: LogResolvingOptions?) -> LogSink",
    "Gives records the host names of their clients, and passes them on to another log. A record whose name is not known yet \
     waits for it, up to a deadline, and those behind it wait with it: their order stays. Without an answer it goes on with \
     the address. A name that is no host's, or looks like an address, is not taken. When the resolver cannot keep up, or \
     32 MiB of records wait, further ones go on with their addresses at once.",
);

pub(crate) const OPTIONS: Class = Class {
    name: "LogResolvingOptions",
    doc: "What `medusa.log.resolving` takes.",
    fields: &[
        main_item(
            "deadline",
            "number?",
            "Seconds that a record waits for its name, at most 10. With 0, only names known already are written. Default \
             0.5.",
        ),
        main_item(
            "verify",
            "boolean?",
            "Whether a name is taken only if it has the address it was found for. Without this, anyone can be called \
             anything in your log. Default false.",
        ),
    ],
    methods: &[],
};

pub(super) fn install(lua: &Lua, log: &Table) -> mlua::Result<()> {
    log.set("resolving", lua.create_function(resolving)?)
}

fn resolving(lua: &Lua, (resolver, sink, options): (Value, Value, Value)) -> mlua::Result<SinkValue> {
    let resolver = of_kind::<ResolverValue>(lua, resolver, "a resolver, from medusa.dns")?.0;
    let sink = inner(lua, FUNCTION, sink)?;
    let mut given = Options::new(lua, FUNCTION, options)?;
    let mut options = ResolvingOptions::default();
    if let Some(deadline) = given.seconds("deadline", 0.0..=MAX_DEADLINE.as_secs_f64())? {
        options.deadline = deadline;
    }
    let verify = given.get("verify", "a boolean")?.unwrap_or(false);
    given.finish()?;
    // Both are the same objects while they live, so their addresses name them.
    let (resolver_at, sink_at) = (Arc::as_ptr(&resolver), Arc::as_ptr(&sink));
    let key = format!("resolving\0{resolver_at:p}\0{sink_at:p}\0{options:?}\0{verify}");
    intern(lua, key, || {
        let names = Arc::new(LogNames::new(resolver, verify));
        Arc::new(ResolvingSink::new(names, sink, options))
    })
}

fn of_kind<T: FromLua>(lua: &Lua, value: Value, expected: &str) -> mlua::Result<T> {
    let shown = show(&value);
    T::from_lua(value, lua)
        .map_err(|_other| fail(lua, format!("{FUNCTION}: expected {expected}, found {shown}")))
}
