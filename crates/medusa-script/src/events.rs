//! Server-sent events from a script: a producer that is given events to write instead of bytes.
//!
//! A stream that is silent still sends a comment from time to time: only writing shows that a client has left, and its
//! producer must end then.

use std::time::Duration;

use medusa_proto::event_stream::{ServerSentEvent, write_comment};
use mlua::{Function, LuaString, Table, UserData, UserDataMethods, Value};

use crate::counted::shown;
use crate::docs::{Class, item};
use crate::print::{MAX_SHOWN, as_number, as_whole, kind, show};
use crate::producer::ChunkSink;

pub(crate) const CLASS: Class = Class {
    name: "EventStream",
    doc: "A stream of server-sent events, as the function given to `medusa.http.events` gets it.",
    fields: &[],
    methods: &[
        item(
            "send",
            "(event: string | { event: string?, data: (string | number)?, id: string?, retry: number? }) -> boolean",
            "Sends an event; a string is its data. `data` may have any number of lines; `event` is what the client listens \
             for (default `message`); `id` is what a client that reconnects names as the last it saw; `retry` is after how \
             many milliseconds it should. Line breaks in `event` or `id` are an error. An event may have \
             1 MiB. Waits while the client is not taking what was sent. Other tasks of the same VM (a timer, another handler) \
             may send, too; it goes out at once. False if the stream is over: the client has left, or the function has \
             ended.",
        ),
        item(
            "comment",
            "(text: string) -> boolean",
            "Sends a comment, which clients skip. False if the stream is over.",
        ),
    ],
};

/// A body that is a stream of events.
#[derive(Debug, Clone)]
pub(crate) struct EventSource {
    /// `function(stream)`
    pub(crate) run: Function,
    /// After how long a silence a comment is sent.
    pub(crate) heartbeat: Duration,
    /// The time for which it may go on when its handler is gone.
    pub(crate) keep: Duration,
}

impl UserData for EventSource {}

/// The stream, as the script's function gets it.
#[derive(Debug)]
pub(crate) struct EventStream(pub(crate) ChunkSink);

impl UserData for EventStream {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_async_method("send", async |_, this, event: Value| {
            let mut text = Vec::new();
            write_event(&event, &mut text)?;
            Ok(this.0.write_whole(&text).await)
        });
        methods.add_async_method("comment", async |_, this, comment: LuaString| {
            let mut text = Vec::new();
            let mut room = EventLength::new("stream:comment");
            room.take(comment.as_bytes().len())?;
            write_comment(&comment.as_bytes(), &mut text);
            Ok(this.0.write_whole(&text).await)
        });
    }
}

fn wrong(message: impl std::fmt::Display) -> mlua::Error {
    mlua::Error::runtime(format!("stream:send: {}", shown(message, MAX_SHOWN)))
}

/// The longest event or comment, in bytes. It is written in one piece; what is longer is better fetched than pushed.
const MAX_EVENT: usize = 1024 * 1024;

/// The length that an event may still grow by.
struct EventLength {
    function: &'static str,
    left: usize,
}

impl EventLength {
    fn new(function: &'static str) -> Self {
        Self { function, left: MAX_EVENT }
    }

    fn take(&mut self, length: usize) -> mlua::Result<()> {
        let left = self.left.checked_sub(length).ok_or_else(|| {
            let function = self.function;
            mlua::Error::runtime(format!("{function}: more than {} MiB at once", MAX_EVENT >> 20))
        })?;
        self.left = left;
        Ok(())
    }
}

fn write_event(event: &Value, out: &mut Vec<u8>) -> mlua::Result<()> {
    let table = match event {
        Value::String(data) => {
            let data = data.as_bytes();
            EventLength::new("stream:send").take(data.len())?;
            return ServerSentEvent { data: Some(&data), ..ServerSentEvent::default() }
                .write(out)
                .map_err(wrong);
        }
        Value::Table(table) => table,
        other => return Err(wrong(format!("an event is a string or a table, not a {}", kind(other)))),
    };
    let fields = EventFields::of(table)?;
    let event = ServerSentEvent {
        event: fields.event.as_deref(),
        data: fields.data.as_deref(),
        id: fields.id.as_deref(),
        retry: fields.retry,
    };
    event.write(out).map_err(wrong)
}

/// An event as a script gave it.
#[derive(Default)]
struct EventFields {
    event: Option<Vec<u8>>,
    data: Option<Vec<u8>>,
    id: Option<Vec<u8>>,
    retry: Option<u64>,
}

impl EventFields {
    fn of(table: &Table) -> mlua::Result<Self> {
        let mut fields = Self::default();
        let mut room = EventLength::new("stream:send");
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            room.take(value.as_string().map_or(0, |text| text.as_bytes().len()))?;
            match key.as_string().map(LuaString::as_bytes).as_deref() {
                Some(b"event") => fields.event = Some(text("event", &value)?),
                Some(b"data") => fields.data = Some(text("data", &value)?),
                Some(b"id") => fields.id = Some(text("id", &value)?),
                Some(b"retry") => fields.retry = Some(milliseconds(&value)?),
                _ => {
                    let key = show(&key);
                    return Err(wrong(format!(
                        "there is no {key} in an event; there are event, data, id, retry"
                    )));
                }
            }
        }
        Ok(fields)
    }
}

fn text(field: &str, value: &Value) -> mlua::Result<Vec<u8>> {
    match value {
        Value::String(text) => Ok(text.as_bytes().to_vec()),
        value => as_number(value)
            .map(|number| number.to_string().into_bytes())
            .ok_or_else(|| wrong(format!("`{field}` must be a string, not {}", show(value)))),
    }
}

fn milliseconds(value: &Value) -> mlua::Result<u64> {
    as_whole(value, ..=u64::from(u32::MAX))
        .ok_or_else(|| wrong(format!("`retry` must be a whole number of milliseconds, not {}", show(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(event: &str) -> Result<String, String> {
        let lua = mlua::Lua::new();
        let event = lua.load(format!("return {event}")).eval::<Value>().unwrap();
        let mut out = Vec::new();
        let written = write_event(&event, &mut out).map_err(|error| error.to_string());
        written.map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn events_are_strings_or_tables() {
        assert_eq!(written("'a\\nb'").unwrap(), "data: a\ndata: b\n\n");
        let event = "{ event = 'add', data = 7, id = 3, retry = 1000 }";
        assert_eq!(written(event).unwrap(), "event: add\nid: 3\nretry: 1000\ndata: 7\n\n");
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (event, part) in [
            ("nil", "not a nil"),
            ("{ dta = 'x' }", "there is no \"dta\" in an event"),
            ("{ data = {} }", "`data` must be a string"),
            ("{ data = 'x', id = 'a\\nb' }", "must not have line breaks"),
            ("{ data = 'x', retry = 1.5 }", "`retry` must be a whole number"),
            ("{ event = 'x' }", "without `data`"),
            ("{}", "needs `data`"),
            ("string.rep('\\n', 2^20 + 1)", "more than 1 MiB at once"),
            ("{ data = string.rep('x', 2^20), id = 'x' }", "more than 1 MiB at once"),
            ("{ [string.rep('x', 1e6)] = 'x' }", "there is no \"x"),
        ] {
            let error = written(event).unwrap_err();
            assert!(error.contains(part) && error.len() < 1000, "{event}: {error}");
        }
    }
}
