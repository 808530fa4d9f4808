//! The commands of a session that tell what of scripts is running, and end it.

use medusa_monitor::runs::NoRunId;
use medusa_monitor::{RunId, RunInfo, RunList};
use mlua::{Lua, MultiValue, UserData, UserDataFields, UserDataMethods, Value};

use super::command_table::CommandTable;
use super::history::{of_session, of_session_alone, of_session_for_all};
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, Item, session_item};
use crate::options::no_more;
use crate::print::{as_whole, show};
use crate::runs;

pub(crate) const PS: Item = session_item(
    "ps",
    "() -> ({ ScriptRun }, number)",
    "What of scripts is running, on all threads: statements, timers, requests, WebSockets, streams, hooks of logs, files that \
     are loaded. Those that have used the most CPU time first, at most 100, and how many more there are. What ends within its \
     first slice (1 ms) is never seen, nor is the statement that asks.",
);

pub(crate) const KILL: Item = session_item(
    "kill",
    "(id: string | number) -> ()",
    "Ends one thing that is running (`kill(\"r17\")`, see `ps()`): the function or statement fails, wherever it is, and cannot \
     catch that. A request is answered 503, a WebSocket closed by 1011, a stream cut off, and one that its client does not read \
     ends when that reads on or leaves; a timer goes on with its next run. With a number it ends a session, and what it runs \
     (`kill(3)`, see `sessions()`).",
);

pub(crate) const CLASS: Class = Class {
    name: "ScriptRun",
    doc: "Something that runs, from `ps()`.",
    fields: &[
        session_item("id", "string", "Its number, for `kill`: `\"r17\"`."),
        session_item(
            "kind",
            "string",
            "`statement`, `load` (of a script or a handler file), `timer`, `request`, `websocket`, `stream`, `event stream`, \
             `log function` or `log filter`.",
        ),
        session_item(
            "what",
            "string?",
            "The first line of a statement, the method and path of a request, the file that is loaded.",
        ),
        session_item("place", "string?", "The place in the script where the function or handler is from."),
        session_item("who", "string?", "Who has asked for it: a person, the address of a client."),
        session_item("session", "number?", "The number of the session that runs it."),
        session_item(
            "at",
            "string?",
            "The line at which it was made to give way, if it could go on; `nil` if it waits for something.",
        ),
        session_item("seconds", "number", "For how long it has run."),
        session_item(
            "cpu",
            "number",
            "The seconds of CPU time it has used since it first gave way; where it gives way by itself, those for which it held its \
             thread.",
        ),
    ],
    methods: &[],
};

pub(super) fn install(commands: &CommandTable<'_>) -> mlua::Result<()> {
    commands.add_async("ps", ps)?;
    commands.add_async("kill", kill)
}

async fn ps(lua: Lua, rest: MultiValue) -> mlua::Result<(Vec<ScriptRunValue>, usize)> {
    no_more(&lua, "ps()", &rest)?;
    of_session(&lua, "ps")?;
    let live = MainContext::of(&lua)?.live;
    let RunList { runs, more } = runs::list(live.workers()).await;
    Ok((runs.into_iter().map(ScriptRunValue).collect(), more))
}

async fn kill(lua: Lua, (id, rest): (Value, MultiValue)) -> mlua::Result<()> {
    no_more(&lua, "kill(id)", &rest)?;
    let session = as_whole(&id, ..);
    let transaction =
        if session.is_some() { of_session_for_all(&lua, "kill") } else { of_session_alone(&lua, "kill") }?;
    let live = MainContext::of(&lua)?.live;
    let author = transaction.author();
    if let Some(session) = session {
        let none = || fail(&lua, format!("kill: there is no session {session}: `sessions()` lists them"));
        return if live.sessions().kill(session, author) { Ok(()) } else { Err(none()) };
    }
    let Value::String(id) = &id else {
        let what = "kill: the id must be that of a run, like \"r17\", or the number of a session";
        return Err(fail(&lua, format!("{what}, not {}", show(&id))));
    };
    let id: Result<RunId, NoRunId> = id.to_string_lossy().parse();
    let id = id.map_err(|error| fail(&lua, format!("kill: {error}")))?;
    let there_is_one = runs::end(&live, id, author.clone()).await;
    let there_is_one = there_is_one.map_err(|why| fail(&lua, format!("kill: {why}")))?;
    if there_is_one { Ok(()) } else { Err(fail(&lua, format!("kill: {}", id.is_gone()))) }
}

/// Something that runs.
struct ScriptRunValue(RunInfo);

impl UserData for ScriptRunValue {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        let seconds = |ms: u64| ms as f64 / 1000.0;
        fields.add_field_method_get("id", |_, this| Ok(this.0.id.to_string()));
        fields.add_field_method_get("kind", |_, this| Ok(this.0.kind.clone()));
        fields.add_field_method_get("what", |_, this| Ok(this.0.what.clone()));
        fields.add_field_method_get("place", |_, this| Ok(this.0.place.clone()));
        fields.add_field_method_get("who", |_, this| Ok(this.0.who.clone()));
        fields.add_field_method_get("session", |_, this| Ok(this.0.session.map(|number| number as f64)));
        fields.add_field_method_get("at", |_, this| Ok(this.0.at.clone()));
        fields.add_field_method_get("seconds", move |_, this| Ok(seconds(this.0.wall_ms)));
        fields.add_field_method_get("cpu", move |_, this| Ok(seconds(this.0.cpu_ms)));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method("__tostring", |_, this, ()| Ok(this.0.to_string()));
    }
}
