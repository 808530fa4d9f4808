//! `limits`: what bounds a server.

use medusa_http::Limits;
use mlua::{Lua, Value};

use crate::call_site::fail;
use crate::docs::{Class, Item, main_item};
use crate::options::Options;

const FUNCTION: &str = "medusa.http.server limits";

/// A limit is a number, everywhere the same.
const fn item(path: &'static str, doc: &'static str) -> Item {
    main_item(path, "number?", doc)
}

pub(crate) const CLASS: Class = Class {
    name: "LimitOptions",
    doc: "What bounds a server's connections and requests. Whole numbers; 0 is no limit, but for `body` (where it is \
          nothing at all), `head_bytes`, `fields`, `uri` and `streams`, which have to be. Times are acted on within two \
          seconds after they passed.",
    fields: &[
        item(
            "body",
            "The longest request body, in bytes, where its mount says nothing else. Default 1 MiB. More is answered 413.",
        ),
        item(
            "body_idle",
            "Seconds a client may pause within its request body. Default 30; more is answered 408.",
        ),
        item(
            "body_rate",
            "The least rate of a request body, in bytes per second on the average, after its first 10 seconds. Default 240; slower is answered 408.",
        ),
        item("first_byte", "Seconds a new connection may be silent. Default 30; then it is closed."),
        item("head", "Seconds a request's head may take. Default 30; more is answered 408."),
        item("head_read", "Seconds a request's head may pause. Default 10; more is answered 408."),
        item(
            "handler",
            "Seconds a handler may take until it answers, counted anew whenever the client has sent some of a body. Default 60; more is answered 503.",
        ),
        item(
            "write",
            "Seconds a client may take nothing of what is sent, or less than 16 KiB. Default 60; then it is closed, or with HTTP/2 the one request is.",
        ),
        item("idle", "Seconds a connection may idle between requests. Default 75; then it is closed."),
        item(
            "handshake",
            "Seconds a TLS handshake may take, or the header of the PROXY protocol. Default 10; then the connection is closed.",
        ),
        item(
            "connection",
            "Seconds a connection may live; then it ends after the request it is at. Default 3600.",
        ),
        item(
            "head_bytes",
            "The longest fields of a request together, in bytes. Default 64 KiB, at least 1024; more is answered 431.",
        ),
        item("fields", "The most fields of a request. Default 100; more is answered 431."),
        item("uri", "The longest target of a request, in bytes. Default 8 KiB; more is answered 414."),
        item("requests", "Requests on one connection; then it ends. Default 100000."),
        item("streams", "Requests at a time on one HTTP/2 connection. Default 128."),
        item("connections", "Connections at a time. Default 50000; more are answered 503."),
        item(
            "connections_per_address",
            "Connections at a time from one address (for IPv6, one /64; eight times as many from one /48), this machine's own and trusted proxies excepted. Default 1024, and never more than an eighth of the process's file descriptors at all servers together (from one /48, a quarter); more are answered 503.",
        ),
        item(
            "requests_per_address",
            "Requests under way at a time from one address, counted as its connections are. Default 1024; more are answered 503.",
        ),
        item(
            "request_bytes",
            "Bytes of requests in memory at a time, of all servers of the process together: heads, bodies that are read into memory, what comes before it is read, and what a request takes that others are under way beside on its connection (16 KiB). Default 128 MiB. All strangers have seven eighths of it, one address a quarter as much as is left free of that (22 MiB, if nobody else has any), an IPv6 /48 half as much, each beside one piece; more is answered 503.",
        ),
        item(
            "answer_bytes",
            "Bytes of answers in memory that clients have not taken, counted in the same way. Default 128 MiB; more is answered 503, and a stream waits.",
        ),
    ],
    methods: &[],
};

/// The limits given, the others being the defaults.
pub(super) fn option(lua: &Lua, value: Value) -> mlua::Result<Limits> {
    let mut options = Options::new(lua, FUNCTION, value)?;
    let default = Limits::default();
    let body = whole(lua, FUNCTION, "body", options.get("body", "a number")?)?;
    let request_bytes = whole(lua, FUNCTION, "request_bytes", options.get("request_bytes", "a number")?)?;
    let answer_bytes = whole(lua, FUNCTION, "answer_bytes", options.get("answer_bytes", "a number")?)?;
    let mut count = |name: &'static str, least: u32| -> mlua::Result<Option<u32>> {
        let given = whole(lua, FUNCTION, name, options.get(name, "a number")?)?;
        let given = given.map(|given| u32::try_from(given).unwrap_or(u32::MAX));
        match given {
            Some(given) if given < least => {
                Err(fail(lua, format!("{FUNCTION}: `{name}` must be at least {least}, not {given}")))
            }
            given => Ok(given),
        }
    };
    let limits = Limits {
        body: body.unwrap_or(default.body),
        body_idle: count("body_idle", 0)?.unwrap_or(default.body_idle),
        body_rate: count("body_rate", 0)?.unwrap_or(default.body_rate),
        first_byte: count("first_byte", 0)?.unwrap_or(default.first_byte),
        head: count("head", 0)?.unwrap_or(default.head),
        head_read: count("head_read", 0)?.unwrap_or(default.head_read),
        handler: count("handler", 0)?.unwrap_or(default.handler),
        write: count("write", 0)?.unwrap_or(default.write),
        idle: count("idle", 0)?.unwrap_or(default.idle),
        handshake: count("handshake", 0)?.unwrap_or(default.handshake),
        connection: count("connection", 0)?.unwrap_or(default.connection),
        head_bytes: count("head_bytes", 1024)?.unwrap_or(default.head_bytes),
        fields: count("fields", 1)?.unwrap_or(default.fields),
        uri: count("uri", 1)?.unwrap_or(default.uri),
        requests: count("requests", 0)?.unwrap_or(default.requests),
        streams: count("streams", 1)?.unwrap_or(default.streams),
        connections: count("connections", 0)?.unwrap_or(default.connections),
        connections_per_address: count("connections_per_address", 0)?
            .unwrap_or(default.connections_per_address),
        requests_per_address: count("requests_per_address", 0)?.unwrap_or(default.requests_per_address),
        request_bytes: request_bytes.unwrap_or(default.request_bytes),
        answer_bytes: answer_bytes.unwrap_or(default.answer_bytes),
    };
    options.finish()?;
    Ok(limits)
}

/// A whole number of at least 0.
pub(super) fn whole(lua: &Lua, function: &str, name: &str, number: Option<f64>) -> mlua::Result<Option<u64>> {
    match number {
        None => Ok(None),
        Some(number) if number >= 0.0 && number.fract() == 0.0 => Ok(Some(number as u64)),
        Some(number) => {
            let message = format!("{function}: `{name}` must be a whole number of at least 0, not {number}");
            Err(fail(lua, message))
        }
    }
}
