//! `req`: one request, as a script sees it.
//!
//! The script's table holds only a number, the *handle*; the request itself stays here until it is answered. A handle
//! whose request is over is recognised, so that a `req` kept too long gives an error, not another client's data.
//!
//! - `open`: the requests that are being answered;
//! - `layout` and `request.luau`: what most handlers ask for (method, path, query, parameters) lies in a Luau buffer, one
//!   for each place in the slab. A call into the host for each field, with its memory-error guards, took longer than all
//!   the rest of a small handler.
//! - `fields`, `tls`, `methods`: what the host is asked for.
//! - `body`: reading the body, in one way, once; `chunks`: the CPU time that its pieces bring;
//! - `next`, `inner_answer`: what a wrapper's function passes on, and what comes back.

mod body;
pub(crate) mod chunks;
mod docs;
mod fault;
mod fields;
mod inner_answer;
mod layout;
mod methods;
mod next;
mod open;
mod tls;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use medusa_http::{Head, Request};
use mlua::{Function, Lua, LuaString, Value};
use slab::Slab;

use self::body::Body;
pub(crate) use self::docs::{CLASS, INNER_ANSWER};
pub(crate) use self::fault::ClientFault;
pub(crate) use self::fields::headers;
use self::inner_answer::InnerAnswer;
use self::layout::{LAID_OUT, lay_out};
pub(crate) use self::next::InnerFault;
pub(crate) use self::open::OpenRequest;
use self::open::{ActiveRequest, ActiveRequests, INDEX_BITS, head, index};
pub(crate) use self::tls::{CLASS as TLS_INFO, CLIENT as CLIENT_CERTIFICATE};
use crate::chunk::load;
use crate::luau::reserve_references;
use crate::passage::{Passage, WayOn};
use crate::sentinel;

/// The number of requests that a VM may be at, with all whose answer is a stream or a session under way: some KiB of
/// the VM's memory for each, which at this number is the most it may hold.
pub(crate) const MAX_OPEN: usize = 16 * 1024;

/// The number of references to values of the VM that the host holds for a request, at the most but for its
/// coroutine's arguments and what lies around JSON that is being read.
const REFERENCES: usize = 8;

/// The number of requests for which there is room for references from the beginning; for twice as many, and so on, once there are as many.
const FIRST: usize = 512;

/// The number of requests that are named where a person is told what is held, and how long a method or a path may be
/// there, in bytes.
const SHOWN: usize = 5;
const LONGEST_SHOWN: usize = 100;

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_SHOWN)]
}

/// The requests that one VM is answering.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    open: Rc<RefCell<ActiveRequests>>,
    /// Makes a function of a handle out of a handler of `req`.
    wrapper: Function,
}

impl Requests {
    /// Takes in a request, to be answered by a function of `lua`; with a way to the handler behind that, if there is one.
    pub(crate) fn open(&self, lua: &Lua, request: Request, way: Option<WayOn>) -> mlua::Result<OpenRequest> {
        self.make_place(lua)?;
        let mut open = self.open.borrow_mut();
        open.count = (open.count + 1) & ((1 << (53 - INDEX_BITS)) - 1);
        let (count, place) = (open.count, open.requests.vacant_key());
        let handle = (count << INDEX_BITS) | place as u64;
        open.buffers[place].write_bytes(0, &lay_out(handle, &request.head));
        open.requests.insert(ActiveRequest {
            handle,
            head: request.head,
            body: Body::Untouched(request.body),
            waited: Duration::ZERO,
            passage: Passage::new(way),
        });
        Ok(OpenRequest { open: Rc::clone(&self.open), handle })
    }

    /// The answer of the handler behind, where that is what a function returns for a request: its status and fields.
    pub(crate) fn inner_answer(
        &self,
        request: &OpenRequest,
        returned: &Value,
    ) -> mlua::Result<Option<(StatusCode, HeaderMap)>> {
        let answer = returned.as_userdata().and_then(|data| data.borrow::<InnerAnswer>().ok());
        let Some(answer) = answer else { return Ok(None) };
        if !answer.is_of(&self.open, request.handle()) {
            return Err(mlua::Error::runtime("a handler's answer: this is the answer to another request"));
        }
        request.take_answer().map(Some)
    }

    /// Their number.
    pub(crate) fn count(&self) -> usize {
        self.open.borrow().requests.len()
    }

    /// Some of them: methods and paths.
    pub(crate) fn shown(&self) -> String {
        let open = self.open.borrow();
        let shown = open.requests.iter().take(SHOWN).map(|(_, entry)| {
            let (method, path) = (&entry.head.method, entry.head.path());
            format!("{} {}", cut(method.as_str()), cut(path))
        });
        let mut shown: Vec<String> = shown.collect();
        if let Some(more) = open.requests.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            shown.push(format!("{more} more"));
        }
        shown.join(", ")
    }

    /// The head of the request with that handle, if it is there. Does not call the VM.
    pub(crate) fn head(&self, handle: f64) -> Option<Arc<Head>> {
        let open = self.open.try_borrow().ok()?;
        let entry = open.requests.get(index(handle as u64))?;
        (entry.handle == handle as u64).then(|| Arc::clone(&entry.head))
    }

    /// Sees to it that the next request has a buffer.
    fn make_place(&self, lua: &Lua) -> mlua::Result<()> {
        let (made, table) = {
            let open = self.open.borrow();
            if open.requests.vacant_key() < open.buffers.len() {
                return Ok(());
            }
            (open.buffers.len(), open.table.clone())
        };
        // Here, where the host has its reserve of memory.
        if made >= FIRST && made.is_power_of_two() {
            reserve_references(lua, made * 2 * REFERENCES)?;
        }
        let buffer = lua.create_buffer_with_capacity(LAID_OUT)?;
        table.raw_set(made + 1, &buffer)?;
        self.open.borrow_mut().buffers.push(buffer);
        Ok(())
    }

    /// Turns a handler of `req` into a function of a handle.
    pub(crate) fn wrap(&self, handler: &Function) -> mlua::Result<Function> {
        self.wrapper.call(handler)
    }

    /// The requests of a VM; there is one such object for each.
    pub(crate) fn new(lua: &Lua) -> mlua::Result<Self> {
        reserve_references(lua, FIRST * REFERENCES)?;
        let table = lua.create_table()?;
        let open =
            ActiveRequests { requests: Slab::new(), count: 0, buffers: Vec::new(), table: table.clone() };
        let open = Rc::new(RefCell::new(open));
        let get = {
            let open = Rc::clone(&open);
            lua.create_function(move |lua, (handle, key): (f64, LuaString)| {
                fields::field(lua, &*head(&open, handle)?, &key.as_bytes())
            })?
        };
        let methods = methods::methods(lua, &open)?;
        let (next, set_user) = (next::next(lua, &open)?, next::set_user(lua, &open)?);
        let wrapper = load(lua, include_str!("request.luau"), "=request", None)?.call((
            get,
            methods,
            next,
            set_user,
            table,
            sentinel::host_key(),
        ))?;
        Ok(Self { open, wrapper })
    }
}

#[cfg(test)]
mod tests {
    use medusa_http::RequestBody;

    use super::*;

    fn head(uri: &str, params: &[(&str, &[u8])]) -> Head {
        let mut head = Head::new(http::Method::GET, uri.parse().unwrap());
        head.params = params.iter().copied().collect();
        head
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
            let open = requests.open(&lua, Request { head: head.clone().into(), body }, None).unwrap();
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
            |uri| Request { head: head(uri, &[]).into(), body: RequestBody::from_bytes(bytes::Bytes::new()) };
        let first = requests.open(&lua, request("http://h/first"), None).unwrap();
        assert_eq!(keep.call::<String>(first.handle()).unwrap(), "/firsth");
        drop(first);
        lua.load(
            "for key, value in kept do if type(key) == 'userdata' then hidden, handle = key, value end end",
        )
        .exec()
        .unwrap();
        let again: Function = requests
            .wrap(
                &lua.load("return function(req) req[hidden] = handle return req.path end")
                    .eval::<Function>()
                    .unwrap(),
            )
            .unwrap();
        let second = requests.open(&lua, request("/second"), None).unwrap();
        let error = again.call::<String>(second.handle()).unwrap_err().to_string();
        assert!(error.contains("answered already"), "{error}");
    }
}
