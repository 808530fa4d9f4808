//! `req`: one request, as a script sees it.
//!
//! The script's table holds only a number, the *handle*; the request itself stays here until it is answered. A handle
//! whose request is over is recognised, so that a `req` kept too long gives an error, not another client's data.
//!
//! What most handlers ask for (method, path, query, parameters) is laid out in a Luau buffer, one for each place in the
//! slab, which `request.luau` reads by itself: a call into the host for each field, with its memory-error guards, took
//! longer than all the rest of a small handler. In little-endian order: the handle (f64); a span (offset and length,
//! u16 each) for method, path, query; the number of parameters (u16), then for each the spans of name and value. A
//! length of `ABSENT` means there is none, `ELSEWHERE` that it did not fit and the host must be asked.

use std::cell::RefCell;
use std::rc::Rc;

use http::{Version, header};
use medusa_http::websocket::{self, Options};
use medusa_http::{Head, Request, RequestBody};
use medusa_proto::access::Peer;
use mlua::{Buffer, Function, IntoLua, Lua, LuaSerdeExt, LuaString, Table, Value};
use percent_encoding::percent_decode;
use slab::Slab;
use smallvec::SmallVec;

use crate::vm::load;

/// Bits of a handle that say where in the slab it is; the rest tells requests at the same place apart. Together they
/// fit the 53 bits that a Luau number holds exactly.
const INDEX_BITS: u32 = 21;

/// The size of a request's buffer: a path and a query of the usual length.
const LAID_OUT: usize = 512;
const ABSENT: u16 = 0xFFFF;
const ELSEWHERE: u16 = 0xFFFE;
/// Where the number of parameters is.
const PARAMS: usize = 20;
/// The most parameters that are laid out.
const MAX_PARAMS: usize = 8;

/// The requests that one VM is answering.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    open: Rc<RefCell<Open>>,
    /// Makes a function of a handle out of a handler of `req`.
    wrapper: Function,
}

#[derive(Debug)]
struct Open {
    requests: Slab<Entry>,
    count: u64,
    buffers: Vec<Buffer>,
    /// The same, as the script's side knows them.
    table: Table,
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
    open: Rc<RefCell<Open>>,
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
        let mut open = self.open.borrow_mut();
        if let Some(buffer) = open.buffers.get(index(self.handle)) {
            buffer.write_bytes(0, &0_f64.to_le_bytes());
        }
        open.requests.try_remove(index(self.handle));
    }
}

fn index(handle: u64) -> usize {
    (handle & ((1 << INDEX_BITS) - 1)) as usize
}

/// Lays out what most handlers ask for.
fn lay_out(handle: u64, head: &Head) -> SmallVec<[u8; LAID_OUT]> {
    let params: SmallVec<[(&str, &[u8]); MAX_PARAMS]> = head.params.iter().take(MAX_PARAMS + 1).collect();
    let fits = params.len() <= MAX_PARAMS;
    let start = PARAMS + 2 + if fits { params.len() * 8 } else { 0 };
    let mut data = SmallVec::from_elem(0, start);
    data[..8].copy_from_slice(&(handle as f64).to_le_bytes());
    put(&mut data, 8, Some(head.method.as_str().as_bytes()));
    put(&mut data, 12, Some(head.path().as_bytes()));
    put(&mut data, 16, head.uri.query().map(str::as_bytes));
    let mut complete = fits;
    for (at, (name, value)) in params.iter().enumerate().take(if fits { MAX_PARAMS } else { 0 }) {
        let at = PARAMS + 2 + at * 8;
        complete &= put(&mut data, at, Some(name.as_bytes())) && put(&mut data, at + 4, Some(value));
    }
    let count = if complete { params.len() as u16 } else { ELSEWHERE };
    data[PARAMS..PARAMS + 2].copy_from_slice(&count.to_le_bytes());
    data
}

/// Adds a text behind what is there and its span at `at`; false if it does not fit.
fn put(data: &mut SmallVec<[u8; LAID_OUT]>, at: usize, text: Option<&[u8]>) -> bool {
    let offset = data.len() as u16;
    let length = match text {
        None => ABSENT,
        Some(text) if data.len() + text.len() <= LAID_OUT => {
            data.extend_from_slice(text);
            text.len() as u16
        }
        Some(_) => ELSEWHERE,
    };
    data[at..at + 2].copy_from_slice(&offset.to_le_bytes());
    data[at + 2..at + 4].copy_from_slice(&length.to_le_bytes());
    length != ELSEWHERE
}

impl Requests {
    /// Takes in a request, to be answered by a function of `lua`.
    pub(crate) fn open(&self, lua: &Lua, request: Request) -> mlua::Result<OpenRequest> {
        let mut open = self.open.borrow_mut();
        open.count = (open.count + 1) & ((1 << (53 - INDEX_BITS)) - 1);
        let (count, place) = (open.count, open.requests.vacant_key());
        if open.buffers.len() <= place {
            let buffer = lua.create_buffer_with_capacity(LAID_OUT)?;
            open.table.raw_set(place + 1, &buffer)?;
            open.buffers.push(buffer);
        }
        let handle = (count << INDEX_BITS) | place as u64;
        open.buffers[place].write_bytes(0, &lay_out(handle, &request.head));
        open.requests.insert(Entry { handle, head: request.head, body: Some(request.body) });
        Ok(OpenRequest { open: Rc::clone(&self.open), handle })
    }

    /// Turns a handler of `req` into a function of a handle.
    pub(crate) fn wrap(&self, handler: &Function) -> mlua::Result<Function> {
        self.wrapper.call(handler)
    }

    /// The requests of a VM; there is one such object for each.
    pub(crate) fn new(lua: &Lua) -> mlua::Result<Self> {
        let table = lua.create_table()?;
        let open = Open { requests: Slab::new(), count: 0, buffers: Vec::new(), table: table.clone() };
        let open = Rc::new(RefCell::new(open));
        let get = {
            let open = Rc::clone(&open);
            lua.create_function(move |lua, (handle, key): (f64, LuaString)| {
                with(&open, handle, |entry| field(lua, &entry.head, &key.as_bytes()))
            })?
        };
        let methods = methods(lua, &open)?;
        let wrapper =
            load(lua, include_str!("request.luau"), "=request", None)?.call((get, methods, table))?;
        Ok(Self { open, wrapper })
    }
}

fn with<R>(
    open: &RefCell<Open>,
    handle: f64,
    f: impl FnOnce(&mut Entry) -> mlua::Result<R>,
) -> mlua::Result<R> {
    let handle = handle as u64;
    let mut open = open.borrow_mut();
    match open.requests.get_mut(index(handle)).filter(|entry| entry.handle == handle) {
        Some(entry) => f(entry),
        None => Err(mlua::Error::runtime("this request has been answered already")),
    }
}

/// What can be called on a `req`.
fn methods(lua: &Lua, open: &Rc<RefCell<Open>>) -> mlua::Result<Table> {
    let methods = lua.create_table()?;
    let requests = Rc::clone(open);
    let arg = move |lua: &Lua, (req, name): (Table, LuaString)| {
        with(&requests, req.raw_get("handle")?, |entry| {
            query_argument(entry.head.uri.query().unwrap_or_default(), &name.as_bytes())
                .map(|value| lua.create_string(value))
                .transpose()
        })
    };
    methods.set("arg", lua.create_function(arg)?)?;
    let requests = Rc::clone(open);
    let body = move |lua: Lua, req: Table| {
        let requests = Rc::clone(&requests);
        async move { lua.create_string(read_body(&requests, &req).await?) }
    };
    methods.set("body", lua.create_async_function(body)?)?;
    let requests = Rc::clone(open);
    let json = move |lua: Lua, req: Table| {
        let requests = Rc::clone(&requests);
        async move {
            let body = read_body(&requests, &req).await?;
            let value: serde_json::Value = serde_json::from_slice(&body)
                .map_err(|error| mlua::Error::runtime(format!("the body is not JSON: {error}")))?;
            lua.to_value(&value)
        }
    };
    methods.set("json", lua.create_async_function(json)?)?;
    let requests = Rc::clone(open);
    let accept = move |req: &Table, options: &Options| {
        with(&requests, req.raw_get("handle")?, |entry| Ok(websocket::accept(&entry.head, options)))
    };
    methods.set("websocket", crate::websocket::method(lua, accept)?)?;
    Ok(methods)
}

/// The whole body; reading it a second time is an error, for it is gone.
async fn read_body(open: &RefCell<Open>, req: &Table) -> mlua::Result<bytes::Bytes> {
    let mut body = with(open, req.raw_get("handle")?, |entry| {
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

    fn head(uri: &str, params: &[(&str, &[u8])]) -> Head {
        Head {
            method: http::Method::GET,
            uri: uri.parse().unwrap(),
            version: Version::HTTP_11,
            headers: http::HeaderMap::new(),
            params: params.iter().copied().collect(),
            tail: 0,
            peer: Peer::Unix,
        }
    }

    /// What fits is read from the buffer, what does not from the host; the script cannot tell.
    #[test]
    fn a_request_is_the_same_however_long_it_is() {
        let lua = Lua::new();
        let requests = Requests::new(&lua).unwrap();
        let show = "function(req) local p = {} for k, v in req.params do table.insert(p, k .. '=' .. v) end
            table.sort(p) return `{req.method} {req.path} {req.query} {table.concat(p, ',')}` end";
        let show: Function =
            requests.wrap(&lua.load(format!("return {show}")).eval::<Function>().unwrap()).unwrap();
        let long = "x".repeat(600);
        let many: Vec<(String, Vec<u8>)> = (0..20).map(|n| (format!("p{n:02}"), vec![b'a' + n])).collect();
        let many: Vec<(&str, &[u8])> =
            many.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let long_path = format!("/{long}?q={long}");
        for (uri, params) in [
            ("/a?b=c", &[("one", &b"1"[..]), ("two", b"")][..]),
            ("/a", &[]),
            (&long_path, &[("one", long.as_bytes())]),
            ("/a?b", &many),
        ] {
            let head = head(uri, params);
            let mut texts: Vec<String> = params
                .iter()
                .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value)))
                .collect();
            texts.sort();
            let query = head.uri.query().unwrap_or("nil");
            let expected = format!("GET {} {query} {}", head.path(), texts.join(","));
            let body = RequestBody::from_bytes(bytes::Bytes::new());
            let open = requests.open(&lua, Request { head: head.clone(), body }).unwrap();
            assert_eq!(show.call::<String>(open.handle()).unwrap(), expected);
        }
    }

    #[test]
    fn a_request_that_is_over_is_an_error_not_another_request() {
        let lua = Lua::new();
        let requests = Requests::new(&lua).unwrap();
        let keep: Function = requests
            .wrap(
                &lua.load("return function(req) kept = kept or req return kept.path .. kept.host end")
                    .eval::<Function>()
                    .unwrap(),
            )
            .unwrap();
        let request =
            |uri| Request { head: head(uri, &[]), body: RequestBody::from_bytes(bytes::Bytes::new()) };
        let first = requests.open(&lua, request("http://h/first")).unwrap();
        assert_eq!(keep.call::<String>(first.handle()).unwrap(), "/firsth");
        drop(first);
        lua.load("kept = { handle = kept.handle } kept = setmetatable(kept, nil)").exec().unwrap();
        let again: Function = requests
            .wrap(
                &lua.load("return function(req) req.handle = kept.handle return req.path end")
                    .eval::<Function>()
                    .unwrap(),
            )
            .unwrap();
        let second = requests.open(&lua, request("/second")).unwrap();
        let error = again.call::<String>(second.handle()).unwrap_err().to_string();
        assert!(error.contains("answered already"), "{error}");
    }

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
