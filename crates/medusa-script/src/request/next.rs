//! `next(req)`: the function of a wrapper has the handler that it stands before answer.
//!
//! What the function has changed is what its `req` says now in the place of what came. A request that was not changed is passed
//! on as it is, without a copy.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use medusa_http::handlers::headers::name_of;
use medusa_http::{HandlerError, Head, Request};
use medusa_proto::with_causes;
use mlua::{Function, Lua, LuaString, Table, Value};
use parking_lot::Mutex;

use super::body::Reading;
use super::fields::joined;
use super::inner_answer::InnerAnswer;
use super::open::{ActiveRequests, head, with};
use crate::counted::{shown, shown_bytes};
use crate::fields::{header_values, same_field};
use crate::passage::refused;
use crate::print::{MAX_SHOWN, show};
use crate::transaction::Transaction;

/// The most fields of a request that is passed on, and the most bytes of their names and values together: twice of what a client
/// may send.
const MAX_FIELDS: usize = 400;
const MAX_FIELD_BYTES: usize = 64 * 1024;

/// The longest name of a user, in bytes.
const MAX_USER: usize = 256;

/// The handler behind a wrapper's function has failed. Where the function does not catch that, its request fails in the same way.
#[derive(Debug, thiserror::Error)]
#[error("the handler behind failed ({}): {why}", .status.as_u16())]
pub(crate) struct InnerFault {
    status: StatusCode,
    why: String,
    error: Mutex<Option<HandlerError>>,
}

impl InnerFault {
    /// The most that a script is told of it, in bytes.
    const MAX_WHY: usize = 1024;

    fn new(error: HandlerError) -> Self {
        let why = shown(with_causes(&error), Self::MAX_WHY);
        Self { status: error.status(), why, error: Mutex::new(Some(error)) }
    }

    /// The handler's own error, the first time.
    pub(crate) fn take(&self) -> Option<HandlerError> {
        self.error.lock().take()
    }
}

/// The values of a `req`, as far as there are any: what was asked for before, or what the script has put there.
struct Asked {
    method: Value,
    path: Value,
    tail: Value,
    query: Value,
    user: Value,
    headers: Value,
}

/// Makes `next`, as a function of a handle and the values of a `req`.
pub(super) fn next(lua: &Lua, open: &Rc<RefCell<ActiveRequests>>) -> mlua::Result<Function> {
    let open = Rc::clone(open);
    lua.create_async_function(
        move |_, (handle, method, path, tail, query, user, headers): (f64, _, _, _, _, _, _)| {
            let asked = Asked { method, path, tail, query, user, headers };
            // Before anything is waited for: nothing of the VM is held meanwhile.
            let head = begin(&open, handle, asked);
            let open = Rc::clone(&open);
            async move { pass_on(&open, handle, head?).await }
        },
    )
}

/// Makes the function that is told, with a handle, of the user whom a wrapper's function has named: it may answer by itself.
pub(super) fn set_user(lua: &Lua, open: &Rc<RefCell<ActiveRequests>>) -> mlua::Result<Function> {
    let open = Rc::clone(open);
    lua.create_function(move |_, (handle, user): (f64, Value)| name_user(&*head(&open, handle)?, &user))
}

/// The head of what is passed on.
fn begin(open: &RefCell<ActiveRequests>, handle: f64, asked: Asked) -> mlua::Result<Arc<Head>> {
    with(open, handle, |entry| entry.passage.check())?;
    if Transaction::current().is_some_and(|transaction| transaction.has_edits()) {
        return Err(refused(
            "this function has changed the site, which is published with its answer; change it after `next`",
        ));
    }
    asked.head(&head(open, handle)?)
}

/// Has the handler behind answer. Its time is its own, so that it is counted like that of a body which is waited for.
async fn pass_on(
    open: &Rc<RefCell<ActiveRequests>>,
    handle: f64,
    head: Arc<Head>,
) -> mlua::Result<InnerAnswer> {
    let (body, reading) = Reading::pass_on(open, handle)?;
    let way = with(open, handle, |entry| entry.passage.take())?;
    let answered = way.pass_on(Request { head, body }).await;
    drop(reading);
    match answered {
        Some(Ok(answer)) => {
            with(open, handle, |entry| {
                entry.passage.answered(answer);
                Ok(())
            })?;
            Ok(InnerAnswer::new(open, handle))
        }
        Some(Err(error)) => Err(mlua::Error::external(InnerFault::new(error))),
        None => Err(refused("nobody waits for the answer any more")),
    }
}

impl Asked {
    /// The head of what is passed on: that which came, with what the script has changed.
    fn head(self, came: &Arc<Head>) -> mlua::Result<Arc<Head>> {
        let mut head = Arc::clone(came);
        name_user(&head, &self.user)?;
        if let Some(method) = changed("method", &self.method, Some(came.method.as_str()))? {
            let parsed = Method::from_bytes(method.as_bytes()).ok();
            let parsed = parsed.filter(|method| !matches!(*method, Method::CONNECT | Method::TRACE));
            let parsed = parsed
                .ok_or_else(|| refused(format_args!("{} is no method that is passed on", quoted(&method))))?;
            Arc::make_mut(&mut head).method = parsed;
        }
        let path = self.path(came)?;
        let query = changed("query", &self.query, came.uri.query())?;
        if path.is_some() || query.is_some() {
            let path = path.as_deref().unwrap_or(came.path());
            let query = query.as_deref().or(came.uri.query()).filter(|query| !query.is_empty());
            let set = Arc::make_mut(&mut head).set_target(path, query);
            set.map_err(|error| refused(format_args!("{}: {error}", quoted(path))))?;
        }
        match &self.headers {
            Value::Nil => {}
            Value::Table(fields) => {
                if let Some(fields) = changed_fields(fields, &came.headers)? {
                    Arc::make_mut(&mut head).headers = fields;
                }
            }
            other => return Err(refused(format_args!("`headers` must be a table, not {}", show(other)))),
        }
        Ok(head)
    }

    /// The path, if it was changed, or its tail.
    fn path(&self, came: &Head) -> mlua::Result<Option<String>> {
        let path = changed("path", &self.path, Some(came.path()))?;
        let Some(tail) = changed("tail", &self.tail, Some(came.tail()))? else { return Ok(path) };
        if path.is_some() {
            return Err(refused("`path` and `tail` are changed, and one is part of the other; change one"));
        }
        match came.path().strip_suffix(came.tail()) {
            Some(mounted) if mounted.ends_with('/') => Ok(Some(format!("{mounted}{tail}"))),
            _ => Err(refused(
                "`tail` is what is below a mount, and this one has nothing below it; change `path`",
            )),
        }
    }
}

/// Sets who asks.
fn name_user(head: &Head, user: &Value) -> mlua::Result<()> {
    let known = head.user.get().map(|user| &**user);
    let Some(user) = changed("user", user, known)? else { return Ok(()) };
    if user.is_empty() || user.len() > MAX_USER {
        return Err(refused(format_args!("`user` has from 1 to {MAX_USER} bytes, and {} here", user.len())));
    }
    let set = head.user.set(user.into());
    set.map_err(|_known| refused("`user` is known already, and cannot become another"))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", shown_bytes(text.as_bytes(), MAX_SHOWN))
}

fn named(name: &HeaderName) -> String {
    format!("`{}`", shown_bytes(name.as_str().as_bytes(), MAX_SHOWN))
}

/// The text that a script has put in the place of `before`; none where that is still there.
fn changed(name: &str, value: &Value, before: Option<&str>) -> mlua::Result<Option<String>> {
    match value {
        Value::Nil => Ok(None),
        Value::String(text) => {
            let bytes = text.as_bytes();
            let text = std::str::from_utf8(&bytes)
                .map_err(|_invalid| refused(format_args!("`{name}` is not UTF-8")))?;
            Ok((before != Some(text)).then(|| text.to_owned()))
        }
        other => Err(refused(format_args!("`{name}` must be a string, not {}", show(other)))),
    }
}

/// Whether a field of a request is the server's own to write, or the connection's.
fn is_fixed(name: &HeaderName) -> bool {
    [header::HOST, header::EXPECT].contains(name) || name_of(name.as_str().as_bytes()).is_err()
}

/// The fields of a request, if the script has changed them.
fn changed_fields(fields: &Table, before: &HeaderMap) -> mlua::Result<Option<HeaderMap>> {
    if are_as_before(fields, before)? {
        return Ok(None);
    }
    let (mut after, mut bytes) = (HeaderMap::new(), 0);
    for pair in fields.pairs::<Value, Value>() {
        let (name, value) = pair?;
        let Value::String(name) = name else {
            return Err(refused(format_args!("{} is no field name", show(&name))));
        };
        let name = name.as_bytes();
        let Ok(parsed) = HeaderName::from_bytes(&name) else {
            return Err(refused(format_args!("\"{}\" is no field name", shown_bytes(&name, MAX_SHOWN))));
        };
        if after.contains_key(&parsed) {
            return Err(refused(same_field(fields, &name)?));
        }
        let values: Vec<HeaderValue> = match &value {
            Value::String(value) if is_joined(before, &parsed, value) => {
                before.get_all(&parsed).iter().cloned().collect()
            }
            _ if is_fixed(&parsed) => {
                return Err(refused(format_args!("the field {} cannot be changed", named(&parsed))));
            }
            value => header_values(value).ok_or_else(|| {
                refused(format_args!(
                    "the value of the field {} must be a string without line breaks, or a list of such",
                    named(&parsed)
                ))
            })?,
        };
        for value in values {
            bytes += parsed.as_str().len() + value.len();
            if after.len() == MAX_FIELDS || bytes > MAX_FIELD_BYTES {
                return Err(refused(format_args!(
                    "there are more than {MAX_FIELDS} fields, or more than {} KiB of them",
                    MAX_FIELD_BYTES >> 10
                )));
            }
            after.try_append(&parsed, value).map_err(refused)?;
        }
    }
    // What frames a request stays with it, whatever table was put in the place of its fields.
    for name in before.keys().filter(|name| is_fixed(name)) {
        if !after.contains_key(name) {
            for value in before.get_all(name) {
                after.try_append(name, value.clone()).map_err(refused)?;
            }
        }
    }
    Ok(Some(after))
}

/// Whether a script sees this value of a field, of which there may be several.
fn is_joined(fields: &HeaderMap, name: &HeaderName, value: &LuaString) -> bool {
    fields.contains_key(name) && *joined(fields, name) == *value.as_bytes()
}

/// Whether a script has left the fields as they came.
fn are_as_before(fields: &Table, before: &HeaderMap) -> mlua::Result<bool> {
    let mut count = 0;
    for pair in fields.pairs::<Value, Value>() {
        let (Value::String(name), Value::String(value)) = pair? else { return Ok(false) };
        let is_same =
            HeaderName::from_bytes(&name.as_bytes()).is_ok_and(|name| is_joined(before, &name, &value));
        if !is_same {
            return Ok(false);
        }
        count += 1;
    }
    // The same field under two names would be one more.
    Ok(count == before.keys_len())
}
