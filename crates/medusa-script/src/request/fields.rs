//! The fields of a `req`, each made when a script first asks for it.

use std::borrow::Cow;

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode, Version, header};
use medusa_auth::basic::{self, Credentials};
use medusa_http::{Head, Purpose};
use medusa_proto::{cookie, query};
use mlua::{IntoLua, Lua, Table, Value};

use super::fault::ClientFault;
use super::tls;
use crate::fields::first_values;

/// The value of the field `key`; nil for what there is not.
pub(super) fn field(lua: &Lua, head: &Head, key: &[u8]) -> mlua::Result<Value> {
    let text = |text: &str| lua.create_string(text).map(Value::String);
    match key {
        b"method" => text(head.method.as_str()),
        b"path" => text(head.path()),
        b"tail" => text(head.tail()),
        b"query" => head.uri.query().map_or(Ok(Value::Nil), text),
        b"host" => head.host().map_or(Ok(Value::Nil), text),
        b"peer" => text(&head.peer.to_string()),
        b"client" => text(&head.client.to_string()),
        b"id" => text(&head.id.to_string()),
        b"user" => head.user.get().map_or(Ok(Value::Nil), |user| text(user)),
        b"status" => Ok(match head.purpose {
            Purpose::Page(status) => Value::Integer(status.as_u16().into()),
            Purpose::Answer | Purpose::Key | Purpose::Login => Value::Nil,
        }),
        b"scheme" => text(head.scheme()),
        b"secure" => Ok(Value::Boolean(head.secure)),
        b"tls" => head.tls.as_deref().map_or(Ok(Value::Nil), |info| tls::table(lua, info)?.into_lua(lua)),
        b"version" => text(match head.version {
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            _ => "1.1",
        }),
        b"params" => {
            let params = lua.create_table()?;
            for (name, value) in head.params.iter() {
                params.raw_set(name, lua.create_string(value)?)?;
            }
            params.into_lua(lua)
        }
        b"headers" => headers(lua, &head.headers)?.into_lua(lua),
        b"args" => {
            let mut pairs = query::pairs(raw_query(head));
            let all = pairs.by_ref().collect();
            whole_query(&pairs)?;
            first_values(lua, all)?.into_lua(lua)
        }
        b"cookies" => cookies(lua, &head.headers)?.into_lua(lua),
        LOGIN_NAME | LOGIN_SECRET if head.purpose == Purpose::Login => login(lua, head, key == LOGIN_NAME),
        b"last_event_id" => match head.headers.get("last-event-id") {
            None => Ok(Value::Nil),
            Some(id) => lua.create_string(id.as_bytes()).map(Value::String),
        },
        _ => Ok(Value::Nil),
    }
}

/// What `request.luau` asks for to call a function that knows users.
const LOGIN_NAME: &[u8] = b"login_name";
const LOGIN_SECRET: &[u8] = b"login_secret";

/// The name in the credentials of a request, or what is to show that it is the user's: a password, or a token, beside which there is no
/// name.
fn login(lua: &Lua, head: &Head, name: bool) -> mlua::Result<Value> {
    let field = head.headers.get(header::AUTHORIZATION).map_or(&[][..], HeaderValue::as_bytes);
    if let Some(token) = basic::bearer(field) {
        return if name { Ok(Value::Nil) } else { lua.create_string(token).map(Value::String) };
    }
    let Ok(Credentials { user, password }) = basic::parse(field) else { return Ok(Value::Nil) };
    lua.create_string(if name { user.as_bytes() } else { password.bytes() }).map(Value::String)
}

/// Refuses a query of which not all is read: what is behind the last of `pairs` would be lost.
pub(super) fn whole_query(pairs: &query::Pairs<'_>) -> mlua::Result<()> {
    if !pairs.is_cut_off() {
        return Ok(());
    }
    let message = format!("the query has more than {} values", query::MAX_PAIRS);
    Err(ClientFault::new(StatusCode::BAD_REQUEST, message).raise())
}

/// The query as bytes; empty where there is none.
pub(super) fn raw_query(head: &Head) -> &[u8] {
    head.uri.query().unwrap_or_default().as_bytes()
}

/// The fields by their lower-case names; repeated ones joined as RFC 9110 §5.3 has it (cookies by `; `).
pub(crate) fn headers(lua: &Lua, headers: &HeaderMap) -> mlua::Result<Table> {
    let fields = lua.create_table_with_capacity(0, headers.keys_len())?;
    for name in headers.keys() {
        fields.raw_set(name.as_str(), lua.create_string(joined(headers, name))?)?;
    }
    Ok(fields)
}

/// The values of a field as one; empty where there is none.
pub(super) fn joined<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Cow<'h, [u8]> {
    let separator: &[u8] = if name == header::COOKIE { b"; " } else { b", " };
    let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let first = values.next().unwrap_or_default();
    match values.next() {
        None => first.into(),
        Some(second) => {
            let all: Vec<&[u8]> = [first, second].into_iter().chain(values).collect();
            all.join(separator).into()
        }
    }
}

/// HTTP/2 clients may send a field for each cookie ([RFC 9113 §8.2.3](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.3)).
fn cookies(lua: &Lua, headers: &HeaderMap) -> mlua::Result<Table> {
    let fields = headers.get_all(header::COOKIE).iter();
    first_values(lua, fields.flat_map(|field| cookie::pairs(field.as_bytes())).collect())
}
