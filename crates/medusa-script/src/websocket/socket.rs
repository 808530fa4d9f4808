//! `ws`: what a session's function talks to.
//!
//! Invariant: nothing here is held while it waits. A coroutine that waits may be dropped, or kept for ever without being
//! resumed; others must be able to use the same `ws`.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use medusa_http::websocket::{Close, Message, MessageKind, WebSocket};
use medusa_proto::shown::ShortNumber;
use mlua::{AnyUserData, Function, IntoLuaMulti, Lua, LuaString, MultiValue, Table, UserData};

use crate::call_site::fail;
use crate::preempt::Meter;
use crate::print::whole;
use crate::sentinel;

/// The content of a `ws`.
#[derive(Debug, Clone)]
pub(super) struct Socket {
    socket: Rc<WebSocket>,
    /// Of the session's function.
    meter: Rc<Meter>,
}

impl UserData for Socket {}

impl Socket {
    pub(super) fn new(socket: Rc<WebSocket>, meter: Rc<Meter>) -> Self {
        Self { socket, meter }
    }

    fn of(ws: &Table) -> mlua::Result<Self> {
        let socket = ws.raw_get::<AnyUserData>(sentinel::host_key());
        let socket = socket.and_then(|data| data.borrow::<Self>().map(|socket| socket.clone()));
        socket
            .map_err(|_other| mlua::Error::runtime("this is not a websocket: call its methods with a colon"))
    }

    /// The next message and its kind, or nil and how the session ended.
    async fn receive(&self, lua: &Lua) -> mlua::Result<MultiValue> {
        match self.socket.recv().await {
            Ok(message) => {
                self.meter.restart();
                let kind = match message.kind() {
                    MessageKind::Text => "text",
                    MessageKind::Binary => "binary",
                };
                (lua.create_string(message.data())?, kind).into_lua_multi(lua)
            }
            Err(close) => (mlua::Nil, close.code(), close.reason()).into_lua_multi(lua),
        }
    }

    async fn send(&self, message: Message) -> mlua::Result<()> {
        let waited = self.socket.send(message).await.map_err(mlua::Error::external)?;
        if waited {
            self.meter.restart();
        }
        Ok(())
    }
}

/// The functions that can be called on a `ws`, and the one that a loop over it calls.
pub(super) fn methods(lua: &Lua) -> mlua::Result<(Table, Function)> {
    let methods = lua.create_table()?;
    methods.set("recv", lua.create_async_function(recv)?)?;
    methods.set("send", lua.create_async_function(send)?)?;
    methods.set("send_binary", lua.create_async_function(send_binary)?)?;
    methods.set(
        "try_send",
        lua.create_function(|lua, (ws, data)| try_send(&ws, text(lua, "try_send", &data)?))?,
    )?;
    methods.set("try_send_binary", lua.create_function(|_, (ws, data)| try_send(&ws, binary(&data)))?)?;
    methods.set("ping", lua.create_function(|_, ws: Table| Ok(Socket::of(&ws)?.socket.ping().is_ok()))?)?;
    methods.set("close", lua.create_function(close)?)?;
    methods.set("is_open", lua.create_function(|_, ws: Table| Ok(!Socket::of(&ws)?.socket.is_closed()))?)?;
    let next = async |lua: Lua, ws: Table| Socket::of(&ws)?.receive(&lua).await;
    Ok((methods, lua.create_async_function(next)?))
}

async fn recv(lua: Lua, (ws, seconds): (Table, Option<f64>)) -> mlua::Result<MultiValue> {
    let socket = Socket::of(&ws)?;
    let Some(seconds) = seconds else { return socket.receive(&lua).await };
    let limit = Duration::try_from_secs_f64(seconds).map_err(|_error| {
        fail(&lua, format!("ws:recv: the time to wait must be so many seconds, not {}", ShortNumber(seconds)))
    })?;
    tokio::time::timeout(limit, socket.receive(&lua)).await.unwrap_or_else(|_elapsed| Ok(MultiValue::new()))
}

async fn send(lua: Lua, (ws, data): (Table, LuaString)) -> mlua::Result<()> {
    let message = text(&lua, "send", &data)?;
    Socket::of(&ws)?.send(message).await
}

async fn send_binary(_: Lua, (ws, data): (Table, LuaString)) -> mlua::Result<()> {
    Socket::of(&ws)?.send(binary(&data)).await
}

fn try_send(ws: &Table, message: Message) -> mlua::Result<bool> {
    Ok(Socket::of(ws)?.socket.try_send(message).is_ok())
}

fn text(lua: &Lua, method: &str, data: &LuaString) -> mlua::Result<Message> {
    match data.to_str() {
        Ok(text) => Ok(Message::text(&*text)),
        Err(_not_utf8) => Err(fail(
            lua,
            format!("ws:{method}: the text is not UTF-8; bytes are sent by ws:{method}_binary"),
        )),
    }
}

fn binary(data: &LuaString) -> Message {
    Message::binary(Bytes::copy_from_slice(&data.as_bytes()))
}

fn close(lua: &Lua, (ws, code, reason): (Table, Option<f64>, Option<String>)) -> mlua::Result<()> {
    let code = code.unwrap_or(Close::NORMAL.into());
    let whole = whole(code).and_then(|code| u16::try_from(code).ok());
    let code =
        whole.ok_or_else(|| fail(lua, format!("ws:close: {} is not a close code", ShortNumber(code))))?;
    let close = Close::new(code, reason.unwrap_or_default());
    let close = close.map_err(|error| fail(lua, format!("ws:close: {error}")))?;
    Socket::of(&ws)?.socket.close(&close);
    Ok(())
}
