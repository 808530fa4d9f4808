//! `trace`: the command of a session that shows the next requests, with every handler they pass.

use medusa_http::{Trace, TraceEnd, TraceFilter, TracedRequest};
use medusa_proto::entry::Entry;
use mlua::{Lua, MultiValue, Value};

use super::command_table::CommandTable;
use super::history::of_session;
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, Item, session_item};
use crate::log::record;
use crate::options::{Options, no_more, number_argument_or_none};
use crate::print::{as_number, show};
use crate::traced::show_traced;

const FUNCTION: &str = "trace";

pub(crate) const DOCS: Item = session_item(
    FUNCTION,
    "(of: TraceOptions | ((record: LogRecord) -> boolean) | nil, n: number?, seconds: number?) -> string",
    "Shows the next `n` requests that match (default 10, at most 1000), each in a line when it is over: its mount, every handler \
     it passed with the time that took itself, its status, bytes and time, and what went wrong, with the script's place. A \
     WebSocket and a stream of events are shown as they begin. It ends after `n`, after `seconds` (default 60, at most 3600), \
     when it is cancelled, and with the session. No request waits for it: those that come faster than they are shown are \
     counted. A function is asked of each request, in this session, when it is over.",
);

pub(crate) const OPTIONS: Class = Class {
    name: "TraceOptions",
    doc: "Which requests `trace` shows: those of which all of these are true.",
    fields: &[
        session_item(
            "path",
            "string?",
            "A mount of this pattern would get it: `\"/api/\"` for all below it, `\"/users/{id}\"`, `\"example.com/\"`.",
        ),
        session_item("method", "string?", "Its method."),
        session_item(
            "status",
            "number | string | nil",
            "The status of its answer: 500, or a class of them, `\"5xx\"`.",
        ),
        session_item(
            "ip",
            "string?",
            "The address of its client, or a network: `\"192.0.2.1\"`, `\"10.0.0.0/8\"`, `\"unix\"`.",
        ),
        session_item("server", "string?", "The name of the server."),
    ],
    methods: &[],
};

pub(super) fn install(commands: &CommandTable<'_>) -> mlua::Result<()> {
    commands.add_async(FUNCTION, trace)
}

async fn trace(lua: Lua, (of, n, seconds, rest): (Value, Value, Value, MultiValue)) -> mlua::Result<String> {
    no_more(&lua, "trace(of, n, seconds)", &rest)?;
    let transaction = of_session(&lua, FUNCTION)?;
    let number = |what, value: &Value| number_argument_or_none(&lua, FUNCTION, what, value);
    let end = TraceEnd::new(number("n", &n)?, number("seconds", &seconds)?);
    let end = end.map_err(|must| fail(&lua, format!("{FUNCTION}: {must}")))?;
    let (filter, function) = match of {
        Value::Function(function) => (TraceFilter::default(), Some(function)),
        of => (filter(&lua, of)?, None),
    };
    let most = function.is_none().then_some(end.requests);
    let trace = Trace::begin(filter, most, transaction.author().login.clone());
    let trace = trace.map_err(|error| fail(&lua, format!("{FUNCTION}: {error}")))?;
    let wants = async |request: &TracedRequest| {
        let Some(function) = &function else { return Ok(true) };
        let record = record(&lua, &Entry::Access(request.record()))?;
        let wants = function.call_async::<Value>(record).await?;
        Ok(!matches!(wants, Value::Nil | Value::Boolean(false)))
    };
    show_traced(trace, end, transaction.events(), wants).await
}

fn filter(lua: &Lua, of: Value) -> mlua::Result<TraceFilter> {
    let live = MainContext::of(lua)?.live;
    let mut options = Options::new(lua, FUNCTION, of)?;
    let mut filter = TraceFilter::default();
    for option in TraceFilter::OPTIONS {
        let value = match options.get::<Value>(option, "a string")? {
            None => continue,
            Some(Value::String(text)) => text.to_string_lossy(),
            Some(number) if option == "status" && as_number(&number).is_some() => show(&number),
            Some(other) => return Err(options.wrong(option, format_args!("a string, not {}", show(&other)))),
        };
        let set = live.filter_trace(&mut filter, option, &value);
        set.map_err(|must_be| options.wrong(option, must_be))?;
    }
    options.finish()?;
    Ok(filter)
}
