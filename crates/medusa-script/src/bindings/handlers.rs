//! The commands of a session that tell what is under way on which handler, and end what would go on for hours.

use medusa_site::HandlerUse;
use mlua::{Lua, MultiValue, UserData, UserDataFields, UserDataMethods, Value};

use super::command_table::CommandTable;
use super::history::{generation_of, of_session_alone};
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, Item, session_item};
use crate::options::{no_more, number_argument_or_none};
use crate::transaction::Transaction;

pub(crate) const HANDLERS: Item = session_item(
    "handlers",
    "() -> { HandlerVersion }",
    "The handlers of all mounts, those that were replaced or removed included as long as they are kept or in use, and what is \
         under way on each: those with something under way first, then the last published. At most 1000.",
);

pub(crate) const DRAIN: Item = session_item(
    "drain",
    "(generation: number, seconds: number?) -> string",
    "Has the WebSockets and event streams end that go on with the handlers which that generation has published \
         (`handlers()`, `generations()`): the WebSockets by the close code 1001, as when their handler is replaced, so that \
         clients connect again. So do those that `on_reload = \"keep\"` has go on, with the generation they began in. Other \
         streams go on to their end, and so do requests. With a number of seconds (at most 3600), \
         what is left of WebSockets and of all streams after so long is cut off; 0 does it at once. What begins later is left \
         alone.",
);

pub(crate) const CLASS: Class = Class {
    name: "HandlerVersion",
    doc: "A handler as one mount has it or had it, from `handlers()`.",
    fields: &[
        session_item("mount", "string", "The mount's pattern."),
        session_item("server", "string", "The name of its server."),
        session_item(
            "handler",
            "string",
            "The handler after what stands before it: `handler.compress \u{2192} script api.luau`.",
        ),
        session_item("origin", "string", "The place in the script that gave it to the mount."),
        session_item("generation", "number", "The generation that published it, for `drain`."),
        session_item(
            "state",
            "\"running\" | \"kept\" | \"retired\"",
            "Whether requests can come to it: it is running; in a generation that can be gone back to; in none any more.",
        ),
        session_item("requests", "number", "Requests under way, streams and WebSockets not included."),
        session_item("streams", "number", "Answers that are sent as they come, events among them."),
        session_item("websockets", "number", "WebSockets that are open."),
    ],
    methods: &[],
};

pub(super) fn install(commands: &CommandTable<'_>) -> mlua::Result<()> {
    commands.add("handlers", |lua, rest: MultiValue| {
        no_more(lua, "handlers()", &rest)?;
        let handlers = MainContext::of(lua)?.live.handlers();
        Ok(handlers.into_iter().map(HandlerVersionValue).collect::<Vec<_>>())
    })?;
    commands.add_async("drain", drain)
}

async fn drain(lua: Lua, (generation, seconds, rest): (Value, Value, MultiValue)) -> mlua::Result<String> {
    no_more(&lua, "drain(generation, seconds)", &rest)?;
    let generation = generation_of(&lua, "drain", &generation)?;
    let seconds = number_argument_or_none(&lua, "drain", "the seconds", &seconds)?;
    let live = MainContext::of(&lua)?.live;
    let transaction = of_session_alone(&lua, "drain")?;
    let drained = Transaction::excuse(live.drain(generation, seconds, transaction.author())).await;
    drained.map_err(|why| fail(&lua, format!("drain: {why}")))
}

/// A handler of a mount.
struct HandlerVersionValue(HandlerUse);

impl UserData for HandlerVersionValue {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("mount", |_, this| Ok(this.0.mount.pattern.clone()));
        fields.add_field_method_get("server", |_, this| Ok(this.0.server.to_string()));
        fields.add_field_method_get("handler", |_, this| Ok(this.0.mount.handler.clone()));
        fields.add_field_method_get("origin", |_, this| Ok(this.0.mount.origin.to_string()));
        fields.add_field_method_get("generation", |_, this| Ok(this.0.generation));
        fields.add_field_method_get("state", |_, this| Ok(this.0.state.name()));
        fields.add_field_method_get("requests", |_, this| Ok(this.0.counts.requests as f64));
        fields.add_field_method_get("streams", |_, this| Ok(this.0.counts.streams as f64));
        fields.add_field_method_get("websockets", |_, this| Ok(this.0.counts.websockets as f64));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method("__tostring", |_, this, ()| Ok(this.0.to_string()));
    }
}
