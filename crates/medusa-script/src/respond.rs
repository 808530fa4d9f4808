//! What a handler returns, made a response.

use std::fmt;

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use medusa_auth::htpasswd::check_name;
use medusa_http::{Body, Purpose, Response};
use mlua::{LuaString, Table, Value};

use crate::counted::shown_bytes;
use crate::docs::{Class, item};
use crate::events::EventSource;
use crate::fields::{header_value, same_field};
use crate::print::{MAX_SHOWN, as_whole, kind, show};
use crate::producer::Source;
use crate::websocket::{HandshakeOutcome, Opening, PendingSession};

pub(crate) const CLASS: Class = Class {
    name: "Response",
    doc: "What a handler may return instead of a string. Any other key is an error.",
    fields: &[
        item("status", "number?", "The status code, 200 to 599. Default 200."),
        item(
            "headers",
            "{ [string]: string | number | { string } }?",
            "Fields; a list gives a field several times. `Content-Length`, `Transfer-Encoding` and `Connection` are the \
             server's business and are left out. `Content-Type` is `text/plain; charset=utf-8` unless given. At most 256 \
             fields, and 64 KiB: more is an error.",
        ),
        item(
            "body",
            "string | ((write: (chunk: string) -> boolean) -> ()) | nil",
            "The body, or a *producer*: it is called when the response starts and writes chunks; `write` waits while \
             the client is not taking them, and returns false once the response is over.",
        ),
    ],
    methods: &[],
};

/// A response, as a script gave it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: ReplyBody,
}

#[derive(Debug)]
pub(crate) enum ReplyBody {
    Bytes(Bytes),
    /// Called when the response starts, pulled by the client's speed.
    Producer(Source),
    /// `req:websocket(function(ws) ... end)`: what goes on after the 101.
    WebSocket(Box<PendingSession>),
    /// That of the handler behind, which has never come here.
    Passed,
}

fn wrong(message: impl Into<String>) -> mlua::Error {
    mlua::Error::runtime(format!("a handler's answer: {}", message.into()))
}

fn no_name(why: impl fmt::Display) -> mlua::Error {
    mlua::Error::runtime(format!(
        "the function of medusa.auth: {why}; return the name of the user, true for the one that was given, or nil for nobody"
    ))
}

impl Reply {
    /// What a function that was asked for something has returned.
    pub(crate) fn to(purpose: Purpose, value: Value) -> mlua::Result<Self> {
        match (purpose, value) {
            (Purpose::Page(_) | Purpose::Key | Purpose::Login, Value::Nil)
            | (Purpose::Login, Value::Boolean(false)) => Ok(Self::nothing()),
            (Purpose::Login, Value::String(name)) => Self::name(&name),
            (Purpose::Login, other) => Err(no_name(format_args!("a {} was returned", kind(&other)))),
            (Purpose::Key, Value::String(text)) => Ok(Self::text(Bytes::copy_from_slice(&text.as_bytes()))),
            (Purpose::Key, other) => Err(mlua::Error::runtime(format!(
                "the `key` of medusa.handler.limit: a {} was returned; return a string, or nil for the client's address",
                kind(&other)
            ))),
            (Purpose::Answer | Purpose::Page(_), value) => Self::from_lua(value),
        }
    }

    /// The name of the user who asks.
    fn name(name: &LuaString) -> mlua::Result<Self> {
        let text = name.to_str().map_err(|_invalid| no_name("a name that is not UTF-8 was returned"))?;
        check_name(&text).map_err(|why| {
            no_name(format_args!("{} was returned, but {why}", show(&Value::String(name.clone()))))
        })?;
        Ok(Self::text(Bytes::copy_from_slice(text.as_bytes())))
    }

    fn nothing() -> Self {
        Self { status: StatusCode::OK, headers: HeaderMap::new(), body: ReplyBody::Bytes(Bytes::new()) }
    }

    fn from_lua(value: Value) -> mlua::Result<Self> {
        match value {
            Value::String(text) => Ok(Self::text(Bytes::copy_from_slice(&text.as_bytes()))),
            Value::Table(table) => Self::from_table(&table),
            Value::UserData(data) if data.is::<Opening>() => Self::from_opening(&*data.borrow::<Opening>()?),
            Value::Nil => {
                Err(wrong("nothing was returned; return a string or { status =, headers =, body = }"))
            }
            other => Err(wrong(format!(
                "a {} was returned; return a string or {{ status =, headers =, body = }}",
                kind(&other)
            ))),
        }
    }

    fn text(body: Bytes) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, medusa_http::TEXT);
        Self { status: StatusCode::OK, headers, body: ReplyBody::Bytes(body) }
    }

    fn from_opening(opening: &Opening) -> mlua::Result<Self> {
        match opening.take() {
            Some(HandshakeOutcome::Accepted(start)) => Ok(Self {
                status: StatusCode::SWITCHING_PROTOCOLS,
                headers: HeaderMap::new(),
                body: ReplyBody::WebSocket(start),
            }),
            Some(HandshakeOutcome::Refused(refusal)) => {
                let Response { status, headers, body, .. } = refusal.response();
                let body = if let Body::Bytes(page) = body { page } else { Bytes::new() };
                Ok(Self { status, headers, body: ReplyBody::Bytes(body) })
            }
            None => Err(wrong("this websocket has been returned before")),
        }
    }

    fn from_table(table: &Table) -> mlua::Result<Self> {
        let mut reply = Self::nothing();
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            match key.as_string().map(LuaString::as_bytes).as_deref() {
                Some(b"status") => reply.status = status(&value)?,
                Some(b"headers") => reply.headers = headers(&value)?,
                Some(b"body") => reply.body = body(value)?,
                _ => {
                    let key = shown_key(&key);
                    return Err(wrong(format!("unknown key `{key}`; there are status, headers and body")));
                }
            }
        }
        let has_body = !matches!(&reply.body, ReplyBody::Bytes(bytes) if bytes.is_empty());
        if has_body {
            reply.headers.entry(header::CONTENT_TYPE).or_insert(medusa_http::TEXT);
        }
        Ok(reply)
    }
}

/// A key as it stands in a message.
fn shown_key(key: &Value) -> String {
    match key {
        Value::String(text) => shown_bytes(&text.as_bytes(), MAX_SHOWN),
        other => show(other),
    }
}

fn status(value: &Value) -> mlua::Result<StatusCode> {
    let number = as_whole(value, 200..=599);
    number
        .and_then(|number| StatusCode::from_u16(number as u16).ok())
        .ok_or_else(|| wrong(format!("status must be a whole number from 200 to 599, not {}", show(value))))
}

fn body(value: Value) -> mlua::Result<ReplyBody> {
    match value {
        Value::Nil => Ok(ReplyBody::Bytes(Bytes::new())),
        Value::String(text) => Ok(ReplyBody::Bytes(Bytes::copy_from_slice(&text.as_bytes()))),
        Value::Function(producer) => Ok(ReplyBody::Producer(Source::Function(producer))),
        Value::UserData(data) if data.is::<EventSource>() => {
            Ok(ReplyBody::Producer(Source::Events(data.borrow::<EventSource>()?.clone())))
        }
        other => Err(wrong(format!("body must be a string or a function(write), not a {}", kind(&other)))),
    }
}

/// The most fields of an answer, and the most bytes of their names and values together: what browsers and proxies in
/// between still take. A client's own may be 200 and 32 KiB.
const MAX_FIELDS: usize = 256;
const MAX_FIELD_BYTES: usize = 64 * 1024;

/// Framing is the server's business: what a script says of it is left out.
const FRAMING: [HeaderName; 3] = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION];

fn headers(value: &Value) -> mlua::Result<HeaderMap> {
    let Value::Table(table) = value else {
        return Err(wrong(format!("headers must be a table, not a {}", kind(value))));
    };
    let mut fields = AnswerFields::default();
    for pair in table.pairs::<Value, Value>() {
        let (name, value) = pair?;
        let Value::String(name) = &name else {
            return Err(wrong(format!("{} is no field name", show(&name))));
        };
        if HeaderName::from_bytes(&name.as_bytes()).is_ok_and(|parsed| fields.headers.contains_key(parsed)) {
            return Err(wrong(same_field(table, &name.as_bytes())?));
        }
        match value {
            Value::Table(values) => {
                for value in values.sequence_values::<Value>() {
                    fields.add(&name.as_bytes(), &value?)?;
                }
            }
            value => fields.add(&name.as_bytes(), &value)?,
        }
    }
    Ok(fields.headers)
}

/// The fields of an answer, counted.
#[derive(Default)]
struct AnswerFields {
    headers: HeaderMap,
    count: usize,
    bytes: usize,
}

impl AnswerFields {
    fn add(&mut self, name: &[u8], value: &Value) -> mlua::Result<()> {
        self.count += 1;
        self.bytes += name.len() + value.as_string().map_or(0, |text| text.as_bytes().len());
        if self.count > MAX_FIELDS {
            return Err(wrong(format!("there are more than {MAX_FIELDS} fields")));
        }
        if self.bytes > MAX_FIELD_BYTES {
            return Err(wrong(format!("the fields are longer than {} KiB together", MAX_FIELD_BYTES >> 10)));
        }
        let Ok(parsed) = HeaderName::from_bytes(name) else {
            return Err(wrong(format!("\"{}\" is no field name", shown_bytes(name, MAX_SHOWN))));
        };
        if FRAMING.contains(&parsed) {
            return Ok(());
        }
        let value = field_value(parsed.as_str(), value)?;
        // It is full long after there are too many.
        self.headers.try_append(parsed, value).map(drop).map_err(|full| wrong(full.to_string()))
    }
}

fn field_value(name: &str, value: &Value) -> mlua::Result<HeaderValue> {
    header_value(value).ok_or_else(|| {
        wrong(format!("the value of the field \"{name}\" must be a string without line breaks"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(source: &str) -> mlua::Result<Reply> {
        let lua = mlua::Lua::new();
        Reply::from_lua(lua.load(source).eval()?)
    }

    #[test]
    fn a_string_is_plain_text() {
        let reply = reply("return 'hi'").unwrap();
        assert_eq!(reply.headers[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        assert!(matches!(reply.body, ReplyBody::Bytes(body) if body == "hi"));
    }

    #[test]
    fn a_table_says_more() {
        let reply = reply(
            "return { status = 201, headers = { Location = '/x', ['set-cookie'] = { 'a=1', 'b=2' }, ['content-length'] = 99 } }",
        )
        .unwrap();
        assert_eq!(reply.status, 201);
        assert_eq!(reply.headers[header::LOCATION], "/x");
        assert_eq!(reply.headers.get_all(header::SET_COOKIE).iter().count(), 2);
        assert!(!reply.headers.contains_key(header::CONTENT_LENGTH));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (source, part) in [
            ("return nil", "nothing was returned"),
            ("return 5", "a number was returned"),
            ("return { stats = 200 }", "unknown key `stats`"),
            ("return { status = 99 }", "status must be"),
            ("return { status = '200' }", "status must be"),
            ("return { headers = { ['x y'] = 'v' } }", "no field name"),
            ("return { headers = { 'x: y' } }", "1 is no field name"),
            (
                "return { headers = { ['X-a'] = {'1', '2'}, ['x-A'] = '3' } }",
                "\"X-a\" and \"x-A\" are the same field",
            ),
            (
                "return { headers = { ['Content-Type'] = 'text/html', ['content-type'] = 'text/plain' } }",
                "\"Content-Type\" and \"content-type\" are the same field",
            ),
            ("return { headers = { ['set-cookie'] = table.create(40000, 'a=b') } }", "more than 256 fields"),
            (
                "local h = {} for i = 1, 40000 do h['x' .. i] = 'v' end return { headers = h }",
                "more than 256 fields",
            ),
            (
                "return { headers = { ['content-length'] = table.create(40000, '1') } }",
                "more than 256 fields",
            ),
            ("return { headers = { x = string.rep('v', 70000) } }", "longer than 64 KiB"),
            ("return { headers = { x = table.create(200, string.rep('v', 1000)) } }", "longer than 64 KiB"),
            ("return { headers = { [string.rep('x y', 10000)] = 'v' } }", "…\" is no field name"),
            ("return { [string.rep('x', 1000000)] = 1 }", "x…`; there are"),
            ("return { headers = { x = 'a\\r\\nb: c' } }", "without line breaks"),
            ("return { body = {} }", "body must be"),
        ] {
            let message = reply(source).unwrap_err().to_string();
            assert!(message.contains(part) && message.len() < 1000, "{source}: {message}");
        }
    }
}
