//! `req`: one request, as a script sees it.
//!
//! The script's table holds only a number; the request itself stays here until it is answered. A number whose request
//! is over is recognised, so that a `req` kept too long gives an error, not another client's data.

use std::cell::RefCell;
use std::rc::Rc;

use http::{Version, header};
use medusa_http::{Head, Request, RequestBody};
use medusa_proto::access::Peer;
use mlua::{Function, IntoLua, Lua, LuaSerdeExt, LuaString, Table, Value};
use percent_encoding::percent_decode;
use slab::Slab;

use crate::vm::load;

/// Bits of a handle that say where in the slab it is; the rest tells requests at the same place apart. Together they
/// fit the 53 bits that a Luau number holds exactly.
const INDEX_BITS: u32 = 21;

/// The requests that one VM is answering.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests(Rc<RefCell<Open>>);

#[derive(Debug, Default)]
struct Open {
    requests: Slab<Entry>,
    count: u64,
}

#[derive(Debug)]
struct Entry {
    handle: u64,
    head: Head,
    body: Option<RequestBody>,
}

/// Keeps a request reachable for the script; dropped when it is answered.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    requests: Requests,
    handle: u64,
}

impl OpenRequest {
    /// What the script's wrapper is called with.
    pub(crate) fn handle(&self) -> f64 {
        self.handle as f64
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.requests.0.borrow_mut().requests.try_remove(index(self.handle));
    }
}

fn index(handle: u64) -> usize {
    (handle & ((1 << INDEX_BITS) - 1)) as usize
}

impl Requests {
    pub(crate) fn open(&self, request: Request) -> OpenRequest {
        let mut open = self.0.borrow_mut();
        open.count = (open.count + 1) & ((1 << (53 - INDEX_BITS)) - 1);
        let count = open.count;
        let entry = open.requests.vacant_entry();
        let handle = (count << INDEX_BITS) | entry.key() as u64;
        entry.insert(Entry { handle, head: request.head, body: Some(request.body) });
        OpenRequest { requests: self.clone(), handle }
    }

    fn with<R>(&self, handle: f64, f: impl FnOnce(&mut Entry) -> mlua::Result<R>) -> mlua::Result<R> {
        let handle = handle as u64;
        let mut open = self.0.borrow_mut();
        match open.requests.get_mut(index(handle)).filter(|entry| entry.handle == handle) {
            Some(entry) => f(entry),
            None => Err(mlua::Error::runtime("this request has been answered already")),
        }
    }

    /// Makes the function that turns a handler of `req` into one of a handle.
    pub(crate) fn wrapper(&self, lua: &Lua) -> mlua::Result<Function> {
        let requests = self.clone();
        let get = lua.create_function(move |lua, (handle, key): (f64, LuaString)| {
            requests.with(handle, |entry| field(lua, &entry.head, &key.as_bytes()))
        })?;
        let methods = lua.create_table()?;
        let requests = self.clone();
        let arg = move |lua: &Lua, (req, name): (Table, LuaString)| {
            requests.with(req.raw_get("handle")?, |entry| {
                query_argument(entry.head.uri.query().unwrap_or_default(), &name.as_bytes())
                    .map(|value| lua.create_string(value))
                    .transpose()
            })
        };
        methods.set("arg", lua.create_function(arg)?)?;
        let requests = self.clone();
        methods.set(
            "body",
            lua.create_async_function(move |lua, req: Table| {
                let requests = requests.clone();
                async move { lua.create_string(read_body(&requests, &req).await?) }
            })?,
        )?;
        let requests = self.clone();
        methods.set(
            "json",
            lua.create_async_function(move |lua, req: Table| {
                let requests = requests.clone();
                async move {
                    let body = read_body(&requests, &req).await?;
                    let value: serde_json::Value = serde_json::from_slice(&body)
                        .map_err(|error| mlua::Error::runtime(format!("the body is not JSON: {error}")))?;
                    lua.to_value(&value)
                }
            })?,
        )?;
        load(lua, include_str!("request.luau"), "=request", None)?.call((get, methods))
    }
}

/// The whole body; reading it a second time is an error, for it is gone.
async fn read_body(requests: &Requests, req: &Table) -> mlua::Result<bytes::Bytes> {
    let mut body = requests.with(req.raw_get("handle")?, |entry| {
        entry.body.take().ok_or_else(|| mlua::Error::runtime("the request's body has been read already"))
    })?;
    body.collect().await.map_err(mlua::Error::external)
}

fn field(lua: &Lua, head: &Head, key: &[u8]) -> mlua::Result<Value> {
    let text = |text: &str| lua.create_string(text).map(Value::String);
    match key {
        b"method" => text(head.method.as_str()),
        b"path" => text(head.path()),
        b"tail" => text(head.tail()),
        b"query" => head.uri.query().map_or(Ok(Value::Nil), text),
        b"host" => head.host().map_or(Ok(Value::Nil), text),
        b"peer" => match head.peer {
            Peer::Ip(ip) => text(&ip.to_string()),
            Peer::Unix => text("unix"),
        },
        b"version" => text(if head.version == Version::HTTP_10 { "1.0" } else { "1.1" }),
        b"params" => {
            let params = lua.create_table()?;
            for (name, value) in head.params.iter() {
                params.raw_set(name, lua.create_string(value)?)?;
            }
            params.into_lua(lua)
        }
        b"headers" => headers(lua, head)?.into_lua(lua),
        _ => Ok(Value::Nil),
    }
}

/// The fields by their lower-case names; repeated ones joined as RFC 9110 §5.3 has it (cookies by `; `).
fn headers(lua: &Lua, head: &Head) -> mlua::Result<Table> {
    let fields = lua.create_table_with_capacity(0, head.headers.keys_len())?;
    for name in head.headers.keys() {
        let separator: &[u8] = if name == header::COOKIE { b"; " } else { b", " };
        let mut values = head.headers.get_all(name).iter().map(http::HeaderValue::as_bytes);
        let first = values.next().unwrap_or_default();
        let value = match values.next() {
            None => lua.create_string(first)?,
            Some(second) => {
                let all: Vec<&[u8]> = [first, second].into_iter().chain(values).collect();
                lua.create_string(all.join(separator))?
            }
        };
        fields.raw_set(name.as_str(), value)?;
    }
    Ok(fields)
}

/// The first value of a query parameter, decoded (`+` is a space, as forms have it).
fn query_argument(query: &str, name: &[u8]) -> Option<Vec<u8>> {
    let decode = |text: &str| -> Vec<u8> {
        let spaced: Vec<u8> = text.bytes().map(|b| if b == b'+' { b' ' } else { b }).collect();
        percent_decode(&spaced).collect()
    };
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key) == name).then(|| decode(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_arguments_are_decoded() {
        let find =
            |query, name: &str| query_argument(query, name.as_bytes()).map(|v| String::from_utf8(v).unwrap());
        assert_eq!(find("a=1&b=x+y%21&c", "b").as_deref(), Some("x y!"));
        assert_eq!(find("a=1&b=2&a=3", "a").as_deref(), Some("1"));
        assert_eq!(find("a=1&c", "c").as_deref(), Some(""));
        assert_eq!(find("%61=1", "a").as_deref(), Some("1"));
        assert_eq!(find("", "a"), None);
    }
}
