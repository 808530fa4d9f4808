//! The commands of a session that tell what is under way on which handler, and end what would go on for hours.

use std::time::Duration;

use medusa_http::{EndBy, UseCounts};
use medusa_site::HandlerUse;
use mlua::{Lua, MultiValue, Table, UserData, UserDataFields, UserDataMethods};
use tokio::time::Instant;

use super::history::of_session;
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, Item, session_item};
use crate::options::no_more;
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
         clients connect again. Other streams go on to their end, and so do requests. With a number of seconds (at most 3600), \
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

/// The most that are listed: each is a value of the VM.
const MOST: usize = 1000;
/// The longest that is waited, in seconds, until what is left is cut off.
const LONGEST: f64 = 3600.0;
/// How often it is looked whether anything is left.
const LOOKS_EVERY: Duration = Duration::from_millis(100);

pub(super) fn install(lua: &Lua, commands: &Table) -> mlua::Result<()> {
    commands.set(
        "handlers",
        lua.create_function(|lua, rest: MultiValue| {
            no_more(lua, "handlers()", &rest)?;
            let handlers = MainContext::of(lua)?.live.handlers();
            Ok(handlers.into_iter().take(MOST).map(HandlerVersionValue).collect::<Vec<_>>())
        })?,
    )?;
    commands.set("drain", lua.create_async_function(drain)?)
}

async fn drain(
    lua: Lua,
    (generation, seconds, rest): (u64, Option<f64>, MultiValue),
) -> mlua::Result<String> {
    no_more(&lua, "drain(generation, seconds)", &rest)?;
    let seconds = seconds.map(|seconds| {
        let is_time = (0.0..=LONGEST).contains(&seconds);
        is_time.then(|| Duration::from_secs_f64(seconds)).ok_or_else(|| {
            fail(&lua, format!("drain: seconds must be a number from 0 to {LONGEST}, not {seconds}"))
        })
    });
    let seconds = seconds.transpose()?;
    let live = MainContext::of(&lua)?.live;
    if of_session(&lua, "drain")?.replays() {
        return Ok(String::new());
    }
    let end = async |ending| {
        let ended = live.end_long_lived(generation, ending).await;
        ended.map_err(|why| fail(&lua, format!("drain: {why}")))
    };
    if seconds == Some(Duration::ZERO) {
        return Ok(format!("cut off: {}", long_lived(end(EndBy::Force).await?)));
    }
    let told = long_lived(end(EndBy::Word).await?);
    let Some(seconds) = seconds else { return Ok(format!("told to end: {told}")) };
    let left = || {
        let counts = live.under_way().get(&generation).copied().unwrap_or_default();
        counts.streams + counts.websockets > 0
    };
    let deadline = Instant::now() + seconds;
    Transaction::excuse(async {
        while left() && Instant::now() < deadline {
            tokio::time::sleep_until(deadline.min(Instant::now() + LOOKS_EVERY)).await;
        }
    })
    .await;
    Ok(format!("told to end: {told}; cut off: {}", long_lived(end(EndBy::Force).await?)))
}

/// What goes on for long, in words.
fn long_lived(counts: UseCounts) -> String {
    let several = |count: u64, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    format!("{}, {}", several(counts.websockets, "WebSocket"), several(counts.streams, "stream"))
}

/// What is under way, to be added to a line; nothing for nothing.
pub(super) fn shown(counts: UseCounts) -> String {
    if !counts.any() {
        return String::new();
    }
    let UseCounts { requests, streams, websockets } = counts;
    format!("  [under way: {requests} requests, {streams} streams, {websockets} WebSockets]")
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
        methods.add_meta_method("__tostring", |_, this, ()| {
            let HandlerUse { mount, generation, state, counts, .. } = &this.0;
            let (pattern, handler, origin) = (&mount.pattern, &mount.handler, &mount.origin);
            let (state, under_way) = (state.name(), shown(*counts));
            Ok(format!("{pattern}  {handler}  ({origin}, generation {generation}, {state}){under_way}"))
        });
    }
}
