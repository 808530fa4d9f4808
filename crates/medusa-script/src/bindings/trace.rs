//! `trace`: the command of a session that shows the next requests, with every handler they pass.

use std::time::Duration;

use http::Method;
use medusa_http::router::Pattern;
use medusa_http::{Trace, TraceFilter, TracedRequest};
use medusa_proto::entry::Entry;
use medusa_proto::forwarded::TrustedProxies;
use medusa_proto::progress::TaskProgress;
use mlua::{Function, Lua, MultiValue, Table, Value};
use tokio::time::Instant;

use super::history::of_session;
use crate::call_site::fail;
use crate::docs::{Class, Item, session_item};
use crate::log::record;
use crate::options::{Options, no_more};
use crate::print::{as_number, as_whole, show};
use crate::transaction::{ProgressSender, Transaction};

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

/// The requests that are shown, unless another number is given, and the most.
const SHOWN: u64 = 10;
const MOST: u64 = 1000;
/// The seconds that it takes at most, unless another number is given, and the most.
const SECONDS: f64 = 60.0;
const MOST_SECONDS: f64 = 3600.0;

pub(super) fn install(lua: &Lua, commands: &Table) -> mlua::Result<()> {
    commands.set(FUNCTION, lua.create_async_function(trace)?)
}

async fn trace(lua: Lua, (of, n, seconds, rest): (Value, Value, Value, MultiValue)) -> mlua::Result<String> {
    no_more(&lua, "trace(of, n, seconds)", &rest)?;
    let transaction = of_session(&lua, FUNCTION)?;
    if transaction.replays() {
        return Ok(String::new());
    }
    let wrong = |what: &str, value: &Value| fail(&lua, format!("{FUNCTION}: {what}, not {}", show(value)));
    let n = match &n {
        Value::Nil => SHOWN,
        n => as_whole(n, 1..=MOST)
            .ok_or_else(|| wrong(&format!("n must be a whole number from 1 to {MOST}"), n))?,
    };
    let time = match &seconds {
        Value::Nil => SECONDS,
        seconds => {
            as_number(seconds).filter(|seconds| *seconds > 0.0 && *seconds <= MOST_SECONDS).ok_or_else(
                || wrong(&format!("seconds must be a number above 0, at most {MOST_SECONDS}"), seconds),
            )?
        }
    };
    let (filter, function) = match of {
        Value::Function(function) => (TraceFilter::default(), Some(function)),
        of => (filter(&lua, of)?, None),
    };
    let looking = Trace::begin(filter, function.is_none().then_some(n));
    let trace = looking.map_err(|error| fail(&lua, format!("{FUNCTION}: {error}")))?;
    let deadline = Instant::now() + Duration::from_secs_f64(time);
    let looking = Looking { lua, trace, function, events: transaction.events() };
    looking.on(n, deadline).await
}

fn filter(lua: &Lua, of: Value) -> mlua::Result<TraceFilter> {
    let mut options = Options::new(lua, FUNCTION, of)?;
    let mut filter = TraceFilter::default();
    if let Some(path) = options.get::<String>("path", "a string")? {
        let pattern: Pattern = path.parse().map_err(|error| {
            options.wrong("path", format_args!("a pattern, as mounts have them, not \"{path}\": {error}"))
        })?;
        filter.set_path(pattern);
    }
    if let Some(method) = options.get::<String>("method", "a string")? {
        let parsed = Method::from_bytes(method.to_ascii_uppercase().as_bytes());
        let parsed =
            parsed.map_err(|_none| options.wrong("method", format_args!("a method, not \"{method}\"")))?;
        filter.method = Some(parsed);
    }
    if let Some(status) = options.get::<Value>("status", "a number or a string")? {
        let range = statuses(&status);
        filter.status = Some(range.ok_or_else(|| {
            options.wrong(
                "status",
                format_args!("from 100 to 599, or a class like \"5xx\", not {}", show(&status)),
            )
        })?);
    }
    if let Some(ip) = options.get::<String>("ip", "a string")? {
        let clients = TrustedProxies::parse([&ip]).map_err(|_why| {
            let must_be = format_args!("an address, a network like \"10.0.0.0/8\" or \"unix\", not \"{ip}\"");
            options.wrong("ip", must_be)
        })?;
        filter.client = Some(clients);
    }
    filter.server = options.get::<String>("server", "a string")?;
    options.finish()?;
    Ok(filter)
}

/// The first and last status of `500` or `"5xx"`.
fn statuses(status: &Value) -> Option<(u16, u16)> {
    if let Value::String(class) = status {
        let class = class.to_str().ok()?;
        let hundreds =
            class.strip_suffix("xx")?.parse::<u16>().ok().filter(|class| (1..=5).contains(class))?;
        return Some((hundreds * 100, hundreds * 100 + 99));
    }
    let status = as_whole(status, 100..=599)?.try_into().ok()?;
    Some((status, status))
}

/// A trace, and whom it is shown.
struct Looking {
    lua: Lua,
    trace: Trace,
    function: Option<Function>,
    events: Option<ProgressSender>,
}

impl Looking {
    /// Shows the next `n` requests, until the deadline. Returns how many that were.
    async fn on(mut self, n: u64, deadline: Instant) -> mlua::Result<String> {
        let mut shown = 0;
        while shown < n {
            let next = tokio::time::timeout_at(deadline, self.trace.next());
            let Ok(Some(request)) = Transaction::excuse(next).await else { break };
            if self.wants(&request).await? {
                self.show(&request).await?;
                shown += 1;
            }
        }
        let missed = self.trace.missed();
        let requests = if shown == 1 { "request" } else { "requests" };
        Ok(match missed {
            0 => format!("{shown} {requests}"),
            missed => format!("{shown} {requests}; {missed} more came too fast to be shown"),
        })
    }

    async fn wants(&self, request: &TracedRequest) -> mlua::Result<bool> {
        let Some(function) = &self.function else { return Ok(true) };
        let record = record(&self.lua, &Entry::Access(request.record()))?;
        let wants = function.call_async::<Value>(record).await?;
        Ok(!matches!(wants, Value::Nil | Value::Boolean(false)))
    }

    /// Waits for who reads: meanwhile the queue fills, and not the server's memory.
    async fn show(&self, request: &TracedRequest) -> mlua::Result<()> {
        let Some(events) = &self.events else { return Ok(()) };
        let sent = Transaction::excuse(events.send(TaskProgress::Output(request.to_string()))).await;
        sent.map_err(|_gone| mlua::Error::runtime("nobody reads what is traced"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_or_a_class() {
        let lua = Lua::new();
        let statuses = |source: &str| statuses(&lua.load(source).eval().unwrap());
        assert_eq!(statuses("500"), Some((500, 500)));
        assert_eq!(statuses("'4xx'"), Some((400, 499)));
        for wrong in ["'500'", "'6xx'", "'0xx'", "'xx'", "99", "600", "404.5", "true"] {
            assert_eq!(statuses(wrong), None, "{wrong}");
        }
    }
}
