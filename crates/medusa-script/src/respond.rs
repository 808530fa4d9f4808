//! What a handler returns, made a response.

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use medusa_http::{Body, Response};
use mlua::{Table, Value};

use crate::events::EventSource;
use crate::print::{as_number, kind, show};
use crate::producer::Source;
use crate::websocket::{Opening, Outcome, Start};

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
    WebSocket(Box<Start>),
}

fn wrong(message: impl Into<String>) -> mlua::Error {
    mlua::Error::runtime(format!("a handler's answer: {}", message.into()))
}

impl Reply {
    pub(crate) fn from_lua(value: Value) -> mlua::Result<Self> {
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
            Some(Outcome::Accepted(start)) => Ok(Self {
                status: StatusCode::SWITCHING_PROTOCOLS,
                headers: HeaderMap::new(),
                body: ReplyBody::WebSocket(start),
            }),
            Some(Outcome::Refused(refusal)) => {
                let Response { status, headers, body, .. } = refusal.response();
                let body = if let Body::Bytes(page) = body { page } else { Bytes::new() };
                Ok(Self { status, headers, body: ReplyBody::Bytes(body) })
            }
            None => Err(wrong("this websocket has been returned before")),
        }
    }

    fn from_table(table: &Table) -> mlua::Result<Self> {
        let mut reply =
            Self { status: StatusCode::OK, headers: HeaderMap::new(), body: ReplyBody::Bytes(Bytes::new()) };
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            match key.as_string().map(|key| key.as_bytes().to_vec()).as_deref() {
                Some(b"status") => reply.status = status(&value)?,
                Some(b"headers") => reply.headers = headers(&value)?,
                Some(b"body") => reply.body = body(value)?,
                _ => {
                    let key = key.to_string().unwrap_or_default();
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

fn status(value: &Value) -> mlua::Result<StatusCode> {
    let number = as_number(value).filter(|number| number.fract() == 0.0 && (200.0..=599.0).contains(number));
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

/// Framing is the server's business: what a script says of it is left out.
const FRAMING: [HeaderName; 3] = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION];

fn headers(value: &Value) -> mlua::Result<HeaderMap> {
    let Value::Table(table) = value else {
        return Err(wrong(format!("headers must be a table, not a {}", kind(value))));
    };
    let mut headers = HeaderMap::new();
    for pair in table.pairs::<String, Value>() {
        let (name, value) = pair?;
        let Ok(parsed) = name.parse::<HeaderName>() else {
            return Err(wrong(format!("\"{name}\" is no field name")));
        };
        if FRAMING.contains(&parsed) {
            continue;
        }
        match value {
            Value::Table(values) => {
                for value in values.sequence_values::<Value>() {
                    headers.append(parsed.clone(), field_value(&name, &value?)?);
                }
            }
            value => {
                headers.append(parsed, field_value(&name, &value)?);
            }
        }
    }
    Ok(headers)
}

fn field_value(name: &str, value: &Value) -> mlua::Result<HeaderValue> {
    let parsed = match value {
        Value::String(text) => HeaderValue::from_bytes(&text.as_bytes()).ok(),
        Value::Integer(number) => Some(HeaderValue::from(*number)),
        Value::Number(number) => HeaderValue::from_str(&number.to_string()).ok(),
        _ => None,
    };
    parsed.ok_or_else(|| {
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
            ("return { headers = { x = 'a\\r\\nb: c' } }", "without line breaks"),
            ("return { body = {} }", "body must be"),
        ] {
            let message = reply(source).unwrap_err().to_string();
            assert!(message.contains(part), "{source}: {message}");
        }
    }
}
