//! What can be called on a `req`.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use http::StatusCode;
use medusa_http::websocket::{self, Options};
use medusa_proto::query;
use mlua::{AnyUserData, Function, IntoLuaMulti, Lua, LuaSerdeExt, LuaString, Table, Value};

use super::body;
use super::fault::ClientFault;
use super::fields::{headers, raw_query, whole_query};
use super::open::{ActiveRequests, head};
use crate::json::{DecodeError, Decoder, JsonText, MAX_FROM_CLIENT};
use crate::print::{as_whole, show};
use crate::sentinel;

/// The most that `req:read(n)` reads at once: a piece, not the body.
const MAX_READ: usize = 16 * 1024 * 1024;

/// The methods, as functions of a `req`. `request.luau` makes `chunks` of `chunk`, and `json` of two.
pub(super) fn methods(lua: &Lua, open: &Rc<RefCell<ActiveRequests>>) -> mlua::Result<Table> {
    let methods = lua.create_table()?;
    install_query(lua, open, &methods)?;
    install_body(lua, open, &methods)?;
    install_form(lua, open, &methods)?;
    install_websocket(lua, open, &methods)?;
    Ok(methods)
}

/// The handle of a `req`.
fn handle(req: &Table) -> mlua::Result<f64> {
    let handle: Option<f64> = req.raw_get(sentinel::host_key())?;
    handle.ok_or_else(|| mlua::Error::runtime("this is not a request: call its methods with a colon"))
}

fn install_query(lua: &Lua, open: &Rc<RefCell<ActiveRequests>>, methods: &Table) -> mlua::Result<()> {
    let requests = Rc::clone(open);
    let arg = move |lua: &Lua, (req, name): (Table, LuaString)| {
        let head = head(&requests, handle(&req)?)?;
        let (name, mut pairs) = (name.as_bytes(), query::pairs(raw_query(&head)));
        match pairs.find(|(key, _)| **key == *name) {
            Some((_, value)) => lua.create_string(value).map(Some),
            None => whole_query(&pairs).map(|()| None),
        }
    };
    methods.set("arg", lua.create_function(arg)?)?;
    let requests = Rc::clone(open);
    let args_all = move |lua: &Lua, (req, name): (Table, LuaString)| {
        let head = head(&requests, handle(&req)?)?;
        let name = name.as_bytes();
        let mut pairs = query::pairs(raw_query(&head));
        let named = pairs.by_ref().filter(|(key, _)| **key == *name);
        let values: mlua::Result<Vec<LuaString>> = named.map(|(_, value)| lua.create_string(value)).collect();
        whole_query(&pairs)?;
        lua.create_sequence_from(values?)
    };
    methods.set("args_all", lua.create_function(args_all)?)
}

fn install_body(lua: &Lua, open: &Rc<RefCell<ActiveRequests>>, methods: &Table) -> mlua::Result<()> {
    let whole = waiting(lua, open, async |lua, open, handle, _| {
        lua.create_string(body::whole(&open, handle).await?).map(Value::String)
    })?;
    methods.set("body", whole)?;
    let arrays = lua.array_metatable();
    let begin_json = waiting(lua, open, async move |lua, open, handle, _| {
        body::not_coded(&head(&open, handle)?.headers)?;
        let body = body::whole(&open, handle).await?;
        decode_on(&lua, Decoder::new(&arrays, JsonText::Client(body), MAX_FROM_CLIENT))
    })?;
    methods.set("begin_json", begin_json)?;
    let json_on = |lua: &Lua, work: AnyUserData| decode_on(lua, work.take()?);
    methods.set("json_on", lua.create_function(json_on)?)?;
    let read = waiting(lua, open, async |lua, open, handle, wanted| {
        piece(&lua, body::read(&open, handle, wanted_length(&wanted)?).await?)
    })?;
    methods.set("read", read)?;
    let chunk =
        waiting(lua, open, async |lua, open, handle, _| piece(&lua, body::read(&open, handle, None).await?))?;
    methods.set("chunk", chunk)?;
    let requests = Rc::clone(open);
    let trailers = move |lua: &Lua, req: Table| {
        let trailers = body::trailers(&requests, handle(&req)?)?.unwrap_or_default();
        headers(lua, &trailers)
    };
    methods.set("trailers", lua.create_function(trailers)?)
}

fn install_form(lua: &Lua, open: &Rc<RefCell<ActiveRequests>>, methods: &Table) -> mlua::Result<()> {
    let form = waiting(lua, open, async |lua, open, handle, _| {
        let form = body::form(&open, handle).await?;
        form.first_values(&lua).await.map(Value::Table)
    })?;
    methods.set("form", form)?;
    let form_all = waiting(lua, open, async |lua, open, handle, name| {
        let Value::String(name) = &name else {
            let message = format!("req:form_all(name): the name must be a string, not {}", show(&name));
            return Err(mlua::Error::runtime(message));
        };
        let form = body::form(&open, handle).await?;
        form.values_of(&lua, &name.as_bytes()).await.map(Value::Table)
    })?;
    methods.set("form_all", form_all)
}

fn install_websocket(lua: &Lua, open: &Rc<RefCell<ActiveRequests>>, methods: &Table) -> mlua::Result<()> {
    let requests = Rc::clone(open);
    let accept = move |req: &Table, options: &Options| {
        Ok(websocket::accept(&*head(&requests, handle(req)?)?, options))
    };
    methods.set("websocket", crate::websocket::method(lua, accept)?)
}

/// Reads on in a body that is JSON: the value, or what is still to do.
fn decode_on(lua: &Lua, mut decoder: Decoder) -> mlua::Result<(Option<Value>, Option<AnyUserData>)> {
    match decoder.step(lua) {
        Ok(Some(value)) => Ok((Some(value), None)),
        Ok(None) => Ok((None, Some(lua.create_userdata(decoder)?))),
        Err(DecodeError::Json(error)) => {
            let message = format!("the body cannot be read as JSON: {error}");
            Err(ClientFault::new(StatusCode::BAD_REQUEST, message).raise())
        }
        Err(DecodeError::Vm(error)) => Err(error),
    }
}

/// A method that may wait for the client.
fn waiting<R: IntoLuaMulti>(
    lua: &Lua,
    open: &Rc<RefCell<ActiveRequests>>,
    run: impl AsyncFn(Lua, Rc<RefCell<ActiveRequests>>, f64, Value) -> mlua::Result<R> + Clone + 'static,
) -> mlua::Result<Function> {
    let open = Rc::clone(open);
    lua.create_async_function(move |lua, (req, argument): (Table, Value)| {
        let (open, run) = (Rc::clone(&open), run.clone());
        async move { run(lua, open, handle(&req)?, argument).await }
    })
}

fn piece(lua: &Lua, piece: Option<Bytes>) -> mlua::Result<Value> {
    piece.map_or(Ok(Value::Nil), |piece| lua.create_string(piece).map(Value::String))
}

fn wanted_length(value: &Value) -> mlua::Result<Option<usize>> {
    if value.is_nil() {
        return Ok(None);
    }
    let whole = as_whole(value, 1..=MAX_READ as u64);
    whole.map(|n| Some(n as usize)).ok_or_else(|| {
        let value = show(value);
        mlua::Error::runtime(format!(
            "req:read(n): n must be a whole number from 1 to {MAX_READ}, not {value}"
        ))
    })
}
