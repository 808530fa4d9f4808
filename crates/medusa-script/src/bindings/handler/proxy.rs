//! `medusa.handler.proxy`: other servers answer.

use std::sync::Arc;
use std::time::Duration;

use medusa_http::Handler;
use medusa_proxy::{
    Balance, HealthCheck, HostField, HttpVersion, MOST_UPSTREAMS, Proxy, ProxyOptions, TlsOptions,
    UpstreamUrl,
};
use mlua::{Lua, Table, Value};

use super::value::HandlerValue;
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::engine_context::EngineContext;
use crate::options::{Options, strings};
use crate::print::show;
use crate::require::ScriptRoot;

const FUNCTION: &str = "medusa.handler.proxy";
const HEALTH: &str = "medusa.handler.proxy: health";

/// The most bytes of all upstreams together.
const UPSTREAM_BYTES: usize = 64 * 1024;

/// The longest time of any kind, in seconds: a day.
const LONGEST: f64 = 86_400.0;

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(upstreams: string | { string }, options: ProxyOptions?) -> Handler",
    "Has another server answer, or one of several: `\"http://127.0.0.1:9000\"`, `\"https://app.example\"`, `\"unix:/run/app.sock\"`, or \
     `\"h2c://127.0.0.1:9000\"` for HTTP/2 without TLS. \
     Path and query are passed on as they come (`medusa.handler.rewrite` changes them), bodies both ways as fast as the other side \
     takes them, WebSockets and other upgrades once the upstream has agreed. Upstreams are asked by HTTP/1.1 or HTTP/2 (`http`), over connections \
     that are kept. They are told of the client by `Forwarded`, `X-Forwarded-For`, `-Proto`, `-Host`, and `-User` if it has logged in, and \
     `X-Request-Id`: what a client says of that itself is dropped, as are fields that belong to a connection, behind a body, too. One that \
     cannot be reached, breaks off or answers what is no proper HTTP is answered 502, one that takes too long 504; the log says why. \
     What may be carried out twice (GET, HEAD, PUT, DELETE; with a body of at most 64 KiB) is sent once more if its connection ends \
     before the first byte of an answer, and anything that no upstream has looked at; nothing else ever is.",
);

pub(super) const OPTIONS: Class = Class {
    name: "ProxyOptions",
    doc: "What `medusa.handler.proxy` takes.",
    fields: &[
        main_item(
            "balance",
            "string?",
            "Which of several upstreams: `\"round_robin\"` (the default), `\"least_connections\"`, or always the same for one client \
             (`\"address\"`: IPv4, or IPv6 /64) or one path (`\"path\"`), as long as that is up.",
        ),
        main_item(
            "host",
            "string?",
            "The `Host` that upstreams see: `\"client\"` (the default), the one that was asked for; `\"upstream\"`, that of the upstream's \
             URL; or any other.",
        ),
        main_item(
            "http",
            "string?",
            "The version of HTTP that upstreams are asked by: `\"1.1\"`; `\"2\"`, without TLS by prior knowledge; or `\"auto\"` (the default), \
             which is HTTP/2 for `h2c:` and where an `https:` upstream offers it (ALPN), else HTTP/1.1. Upgrades that an upstream does \
             not take over HTTP/2 (a WebSocket by extended CONNECT) are asked for by HTTP/1.1.",
        ),
        main_item(
            "connect_timeout",
            "number?",
            "The seconds that connecting may take, the name and TLS included. Default 3. Then another upstream is tried.",
        ),
        main_item(
            "timeout",
            "number?",
            "The seconds until an answer must begin, counted anew whenever the client has sent some of a body. Default 30; the \
             server's `limits.handler` holds besides.",
        ),
        main_item(
            "idle_timeout",
            "number?",
            "The seconds for which an upstream may be silent within an answer; events (`text/event-stream`) and WebSockets may for \
             as long as they like. Default 60; 0 for no limit.",
        ),
        main_item(
            "keep_alive",
            "number?",
            "The seconds for which an idle connection is kept, where the upstream does not say by `Keep-Alive` how long it does. \
             Default 4, as many close theirs after 5.",
        ),
        main_item(
            "idle_connections",
            "number?",
            "Idle connections that each worker keeps to each upstream, at most 1024. Default 32; 0 for none.",
        ),
        main_item(
            "ping",
            "number?",
            "With HTTP/2, the seconds of silence on a connection with requests under way after which the upstream is asked for a sign of \
             life (PING); without one within as long again, 10 at most, the connection is given up. Default 30: servers of gRPC \
             take more for a flood. 0 for never.",
        ),
        main_item(
            "fall",
            "number?",
            "Failures in a row (no connection, no proper answer, none in time) after which one of several upstreams is taken for down \
             and asked no more. Default 3.",
        ),
        main_item(
            "retry_after",
            "number?",
            "The seconds after which one request finds out whether an upstream that is down is up again, where `health` does not. Default \
             10. If all are down, all are asked.",
        ),
        main_item(
            "health",
            "ProxyHealth?",
            "Has upstreams asked besides whether they are well. Default: they are not.",
        ),
        main_item(
            "ca",
            "string?",
            "For `https`: a PEM file of certificate authorities to trust beside the system's; relative to the script.",
        ),
        main_item(
            "insecure",
            "boolean?",
            "For `https`: takes anyone's certificate. For local work only. Default false.",
        ),
        main_item(
            "server_name",
            "string?",
            "For `https`: the name that the certificate must be for, in place of the URL's host.",
        ),
        main_item(
            "on_reload",
            "string?",
            "What becomes of WebSockets and event streams when the handler is no longer part of the site: `\"end\"` (the default) or \
             `\"keep\"`.",
        ),
        main_item(
            "keep",
            "number?",
            "With `on_reload = \"keep\"`, for how many seconds they go on. Default 3600, at most 86400.",
        ),
    ],
    methods: &[],
};

pub(super) const HEALTH_OPTIONS: Class = Class {
    name: "ProxyHealth",
    doc: "How `medusa.handler.proxy` has its upstreams asked whether they are well: by GET, on connections of their own. A status from 200 to 399 \
          is well.",
    fields: &[
        main_item("path", "string", "The path, with a query if need be: `\"/health\"`."),
        main_item("interval", "number?", "The seconds between two questions. Default 5."),
        main_item("timeout", "number?", "The seconds that an answer may take. Default 2."),
        main_item("rise", "number?", "Answers in a row after which one that was down is up. Default 2."),
    ],
    methods: &[],
};

/// `medusa.handler.proxy(upstreams, options)`
pub(super) fn proxy(lua: &Lua, (upstreams, given): (Value, Value)) -> mlua::Result<HandlerValue> {
    let upstreams = urls(lua, &upstreams)?;
    let options = options(lua, given)?;
    let key = upstreams.iter().map(ToString::to_string).collect::<Vec<_>>().join("\0");
    let key = format!("proxy\0{key}\0{options:?}");
    let make = || {
        let fetcher = if Proxy::needs_fetcher(&upstreams, &options) {
            Some(EngineContext::of(lua)?.client.get().map_err(mlua::Error::external)?.clone())
        } else {
            None
        };
        let proxy = Proxy::new(&upstreams, options, fetcher);
        proxy.map(|proxy| Arc::new(proxy) as Arc<dyn Handler>).map_err(mlua::Error::external)
    };
    let made = MainContext::of(lua)?.interner(lua).handler(key, make);
    made.map(HandlerValue::Made).map_err(|error| fail(lua, format!("{FUNCTION}: {error}")))
}

fn urls(lua: &Lua, given: &Value) -> mlua::Result<Vec<UpstreamUrl>> {
    let texts = match given {
        Value::String(text) => vec![text.to_string_lossy()],
        Value::Table(list) => {
            strings(lua, format!("{FUNCTION}: the upstreams").as_str(), list, MOST_UPSTREAMS, UPSTREAM_BYTES)?
        }
        other => {
            let shown = show(other);
            return Err(fail(
                lua,
                format!("{FUNCTION}: the upstreams must be a string or a list of strings, not {shown}"),
            ));
        }
    };
    if texts.is_empty() {
        return Err(fail(lua, format!("{FUNCTION}: the list of upstreams is empty; name at least one")));
    }
    let mut urls = Vec::<UpstreamUrl>::with_capacity(texts.len());
    for text in texts {
        let url: UpstreamUrl = text.parse().map_err(|error| fail(lua, format!("{FUNCTION}: {error}")))?;
        if urls.contains(&url) {
            return Err(fail(lua, format!("{FUNCTION}: {url} is in the list twice")));
        }
        urls.push(url);
    }
    Ok(urls)
}

fn options(lua: &Lua, given: Value) -> mlua::Result<ProxyOptions> {
    let mut given = Options::new(lua, FUNCTION, given)?;
    let defaults = ProxyOptions::default();
    let balance = match given.get::<String>("balance", "a string")?.as_deref() {
        None | Some("round_robin") => Balance::RoundRobin,
        Some("least_connections") => Balance::LeastConnections,
        Some("address") => Balance::Address,
        Some("path") => Balance::Path,
        Some(other) => {
            let one_of = "\"round_robin\", \"least_connections\", \"address\" or \"path\"";
            return Err(given.wrong("balance", format_args!("{one_of}, not {other:?}")));
        }
    };
    let host = match given.get::<String>("host", "a string")? {
        None => HostField::Client,
        Some(host) => match host.as_str() {
            "client" => HostField::Client,
            "upstream" => HostField::Upstream,
            _ if host.parse::<http::uri::Authority>().is_ok() && !host.contains('@') => {
                HostField::Fixed(host)
            }
            _ => {
                return Err(
                    given.wrong("host", format_args!("\"client\", \"upstream\" or a host, not {host:?}"))
                );
            }
        },
    };
    let http = match given.get::<String>("http", "a string")?.as_deref() {
        None | Some("auto") => HttpVersion::Auto,
        Some("1.1") => HttpVersion::Http1,
        Some("2") => HttpVersion::Http2,
        Some(other) => {
            return Err(given.wrong("http", format_args!("\"1.1\", \"2\" or \"auto\", not {other:?}")));
        }
    };
    let connect_timeout = given.seconds("connect_timeout", 0.001..=LONGEST)?;
    let timeout = given.seconds("timeout", 0.001..=LONGEST)?;
    let idle_timeout = given.seconds("idle_timeout", 0.0..=LONGEST)?;
    let keep_alive = given.seconds("keep_alive", 0.0..=LONGEST)?;
    let idle_connections = given.whole("idle_connections", 0..=1024)?;
    let ping = given.seconds("ping", 0.0..=LONGEST)?;
    if ping.is_some_and(|ping| !ping.is_zero() && ping < Duration::from_millis(100)) {
        return Err(given.wrong("ping", "0, or a number of seconds from 0.1"));
    }
    let fall = given.whole("fall", 1..=1000)?;
    let retry_after = given.seconds("retry_after", 0.1..=LONGEST)?;
    let health =
        given.get::<Table>("health", "a table")?.map(|health| health_check(lua, health)).transpose()?;
    let ca = given.get::<String>("ca", "a string")?.map(|path| ScriptRoot::join(lua, path));
    let insecure = given.get("insecure", "a boolean")?.unwrap_or(false);
    let name = given.get("server_name", "a string")?;
    let keep = given.keep()?;
    given.finish()?;
    Ok(ProxyOptions {
        balance,
        host,
        http,
        connect_timeout: connect_timeout.unwrap_or(defaults.connect_timeout),
        timeout: timeout.unwrap_or(defaults.timeout),
        idle_timeout: idle_timeout.unwrap_or(defaults.idle_timeout),
        keep_alive: keep_alive.unwrap_or(defaults.keep_alive),
        idle_connections: idle_connections.unwrap_or(defaults.idle_connections),
        ping: ping.unwrap_or(defaults.ping),
        fall: fall.unwrap_or(defaults.fall),
        retry_after: retry_after.unwrap_or(defaults.retry_after),
        health,
        tls: TlsOptions { ca, insecure, name },
        keep,
    })
}

fn health_check(lua: &Lua, health: Table) -> mlua::Result<HealthCheck> {
    let mut given = Options::new(lua, HEALTH, Value::Table(health))?;
    let path = given.get::<String>("path", "a string")?;
    let interval = given.seconds("interval", 0.1..=LONGEST)?.unwrap_or(Duration::from_secs(5));
    let timeout = given.seconds("timeout", 0.001..=LONGEST)?.unwrap_or(Duration::from_secs(2));
    let rise = given.whole("rise", 1..=1000)?.unwrap_or(2);
    let path = path.filter(|path| {
        path.starts_with('/') && path.len() <= 4096 && path.bytes().all(|byte| byte.is_ascii_graphic())
    });
    let Some(path) = path else {
        return Err(given.wrong("path", "what to ask for, like \"/health\""));
    };
    given.finish()?;
    Ok(HealthCheck { path, interval, timeout, rise })
}
