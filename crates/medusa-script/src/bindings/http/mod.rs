//! `medusa.http`: servers and their mounts.

mod limits;
pub(crate) mod listen;
mod mount;
mod security;
mod tls;

use std::sync::Arc;

use http::HeaderValue;
use medusa_http::ServerDefinition;
use medusa_log::Sink;
use medusa_proto::forwarded::TrustedProxies;
use medusa_proto::shown::ShortNumber;
use medusa_site::{self as site, PartId, ServerSpec};
use mlua::{Lua, MultiValue, Table, UserData, UserDataFields, UserDataMethods, Value};

use super::log::SinkValue;
use super::site::{look_at, remove};
use crate::call_site::{at_place, fail, origin};
use crate::docs::{Class, Item, main_item};
use crate::options::{Options, no_more, texts};
use crate::print::{as_number, show, whole};
use crate::transaction::Transaction;

use listen::ListenDefaults;
use mount::MountValue;
pub(super) use mount::{mount_id, mounted};

pub(crate) use limits::CLASS as LIMITS;
pub(crate) use listen::CLASS as LISTEN;
pub(crate) use mount::{CLASS as MOUNT, OPTIONS as MOUNT_OPTIONS};
pub(crate) use tls::{CERTIFICATE, CLASS as TLS};

pub(crate) const DOCS: Item = main_item(
    "medusa.http.server",
    "(options: HttpServerOptions) -> HttpServer",
    "Adds an HTTP server to the site. It listens from the moment the change is published.",
);

pub(crate) const OPTIONS: Class = Class {
    name: "HttpServerOptions",
    doc: "What `medusa.http.server` takes.",
    fields: &[
        main_item(
            "listen",
            "string | { string | ListenOptions }",
            "Where to listen, required: `\"127.0.0.1:8080\"`, `\"[::1]:8080\"`, `\":8080\"` (every address), \
                  `\"unix:/run/web.sock\"`, or a list of these and of tables like `{ address = \":443\", tls = ... }`. \
                  Port 0 takes a free port.",
        ),
        main_item(
            "tls",
            "TlsOptions | \"self-signed\" | nil",
            "Certificates for every address that has none of its own. `\"self-signed\"` makes one in memory, for \
                  local work. HTTP/2 and HTTP/1.1 are agreed on with the client; TLS 1.2 and 1.3. Default: not encrypted.",
        ),
        main_item(
            "proxy_protocol",
            "boolean?",
            "Whether every connection begins with a header of the PROXY protocol (version 1 or 2), as balancers send \
                  it to tell whose connection it is. Turn it on only where nobody else can connect. Default false.",
        ),
        main_item(
            "trusted_proxies",
            "{ string }?",
            "Proxies in front whose word about their clients is taken (`X-Forwarded-For`, `X-Forwarded-Proto`, \
                  `Forwarded`, `X-Request-Id`): addresses, networks like `\"10.0.0.0/8\"`, `\"private\"`, `\"unix\"`. Then \
                  only they may send headers of the PROXY protocol, too. Default: none, for anybody can write these fields.",
        ),
        main_item(
            "hsts",
            "boolean | number | HstsOptions | nil",
            "Tells browsers to come encrypted only (Strict-Transport-Security, RFC 6797), in every encrypted response. \
                  `true` is a year; a number is seconds. Default: no, for it cannot be taken back.",
        ),
        security::DOC,
        main_item(
            "name",
            "string?",
            "What logs and status call it. Default: `http`, then `http-2` and so on.",
        ),
        main_item("log", "LogSink?", "Where its access records go. Default: nowhere."),
        main_item(
            "limits",
            "LimitOptions?",
            "What bounds its connections and requests: sizes, counts and times.",
        ),
    ],
    methods: &[],
};

pub(crate) const SERVER: Class = Class {
    name: "HttpServer",
    doc: "An HTTP server of the site.",
    fields: &[
        main_item("name", "string", "Its name."),
        main_item("listen", "{ string }", "The addresses it listens on, as the script wrote them."),
        main_item("mounts", "{ Mount }", "Its mounts, in the order they were made."),
        main_item("log", "LogSink?", "Where its access records go. Changed with `set_log`."),
    ],
    methods: &[
        main_item(
            "mount",
            "(pattern: string, handler: Handler | (req: Request) -> Answer, options: MountOptions?) -> Mount",
            "Mounts a handler. The pattern is `[METHODS ][host]/path`: a path that ends in `/` covers everything \
                  below it, any other matches exactly; `{name}` is one segment, `{name...}` the rest, `{$}` the very \
                  end; `*.example.com/` is every host below that, `*/` every host that no other pattern names; GET serves HEAD; the most specific pattern wins, whatever the order; two that clash are an error. \
                  A function runs in the main VM, where every global of the script is at hand; a handler from a file \
                  (`medusa.handler.script`) runs on every core.",
        ),
        main_item(
            "find",
            "(pattern: string) -> Mount?",
            "Its mount of this pattern, as `mount` was given it (`GET /hello` is another than `/hello`); `nil` if it has none.",
        ),
        main_item(
            "set_log",
            "(log: LogSink?) -> ()",
            "Gives it another log, or none. Every record is in one of the two: a request that began before the change is in the \
                  old one, which writes what it was given to the end.",
        ),
        main_item(
            "remove",
            "() -> ()",
            "Removes the server: its listeners close, its connections end after the request they are at.",
        ),
    ],
};

pub(crate) const HSTS_OPTIONS: Class = Class {
    name: "HstsOptions",
    doc: "What `hsts` takes (RFC 6797).",
    fields: &[
        main_item("max_age", "number?", "Seconds that browsers remember it. Default 31536000, a year."),
        main_item(
            "subdomains",
            "boolean?",
            "Whether it counts for all names below this one, too. Default false.",
        ),
        main_item(
            "preload",
            "boolean?",
            "Whether browser makers may build the name into their browsers. Default false.",
        ),
    ],
    methods: &[],
};

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    let http: Table = medusa.get("http")?;
    let server = |lua: Lua, (value, rest): (Value, MultiValue)| {
        let alone = no_more(&lua, "medusa.http.server(options)", &rest);
        let spec = alone.and_then(|()| server_spec(&lua, value));
        async move {
            let spec = spec?;
            let at = Arc::clone(&spec.origin);
            Transaction::edit(|draft| draft.add_server(spec))
                .await
                .map(HttpServer)
                .map_err(|error| at_place(&at, error))
        }
    };
    http.set("server", lua.create_async_function(server)?)
}

fn server_spec(lua: &Lua, value: Value) -> mlua::Result<ServerSpec> {
    const FUNCTION: &str = "medusa.http.server";
    let mut options = Options::new(lua, FUNCTION, value)?;
    let tls = tls::option(lua, FUNCTION, options.get("tls", "a table or \"self-signed\"")?)?;
    let proxy_protocol = options.get("proxy_protocol", "a boolean")?.unwrap_or(false);
    let spec = ServerSpec {
        name: options.get("name", "a string")?,
        listen: listen::list(
            lua,
            options.get("listen", "a string or a list")?,
            &ListenDefaults { tls, proxy_protocol },
        )?,
        log: options.get::<SinkValue>("log", "a log, from medusa.log")?.map(|sink| sink.0),
        limits: limits::option(lua, options.get("limits", "a table")?.unwrap_or(Value::Nil))?,
        trusted_proxies: trusted_proxies(lua, options.get("trusted_proxies", "a list of strings")?)?,
        hsts: hsts(lua, options.get("hsts", "true, a number of seconds or a table")?)?,
        security_headers: security::option(
            lua,
            options.get("security_headers", "true or a table of fields")?,
        )?,
        origin: origin(lua),
    };
    options.finish()?;
    Ok(spec)
}

/// A server of the site, by its name.
#[derive(Debug, Clone)]
pub(super) struct HttpServer(pub(super) PartId);

impl HttpServer {
    fn look<R>(&self, lua: &Lua, look: impl FnOnce(&ServerDefinition) -> R) -> mlua::Result<R> {
        look_at::<site::HttpServer, R>(lua, &self.0, |server| look(&server.definition))
    }
}

impl UserData for HttpServer {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("name", |lua, this| this.look(lua, |server| server.name.to_string()));
        fields.add_field_method_get("listen", |lua, this| {
            this.look(lua, |server| {
                server.listen.iter().map(|listen| listen.addr.to_string()).collect::<Vec<_>>()
            })
        });
        fields.add_field_method_get("mounts", |lua, this| {
            look_at(lua, &this.0, |server: &site::HttpServer| {
                server.mount_ids().map(MountValue).collect::<Vec<_>>()
            })
        });
        fields.add_field_method_get("log", |lua, this| {
            this.look(lua, |server| server.log.clone().map(SinkValue))
        });
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_async_method("set_log", |lua, this, (log, rest): (Value, MultiValue)| {
            let (at, server) = (origin(&lua), this.0.clone());
            let log = no_more(&lua, "server:set_log(log)", &rest).and_then(|()| set_log(&lua, log));
            async move {
                let log = log?;
                let place = Arc::clone(&at);
                let set = Transaction::edit(|draft| draft.set_log(&server, log, place)).await;
                set.map_err(|error| at_place(&at, error))
            }
        });
        methods.add_async_method("mount", |lua, this, given: mount::MountArguments| {
            let at = origin(&lua);
            let spec = mount::spec(&lua, given, &at);
            let server = this.0.clone();
            async move {
                let spec = spec?;
                let mount = Transaction::edit(|draft| draft.mount(&server, spec)).await;
                mount.map(MountValue).map_err(|error| at_place(&at, error))
            }
        });
        methods.add_method("find", |lua, this, (pattern, rest): (Value, MultiValue)| {
            no_more(lua, "server:find(pattern)", &rest)?;
            let pattern = mount::to_pattern(lua, "find", &pattern)?;
            look_at(lua, &this.0, |server: &site::HttpServer| server.mount_id(&pattern).map(MountValue))
        });
        methods.add_async_method("remove", |lua, this, rest: MultiValue| {
            remove(&lua, &this.0, REMOVE_SERVER, &rest)
        });
        methods.add_meta_method("__tostring", |lua, this, ()| {
            this.look(lua, |server| format!("HttpServer \"{}\", {} mounts", server.name, server.mounts.len()))
        });
    }
}

/// The error for arguments to a server's `remove`.
const REMOVE_SERVER: &str =
    "to take a mount away call `remove` of what `mount` returned, or `find`; server:remove()";

/// Reads the argument of `set_log`.
fn set_log(lua: &Lua, log: Value) -> mlua::Result<Option<Arc<dyn Sink>>> {
    if log.is_nil() {
        return Ok(None);
    }
    super::log::inner(lua, "set_log", log).map(Some)
}

/// The value of `trusted_proxies`.
fn trusted_proxies(lua: &Lua, list: Option<Table>) -> mlua::Result<Arc<TrustedProxies>> {
    let Some(list) = list else { return Ok(Arc::default()) };
    let wrong =
        |error: &dyn std::fmt::Display| fail(lua, format!("medusa.http.server: `trusted_proxies`: {error}"));
    let entries = texts(&list).map_err(|error| match error {
        mlua::Error::RuntimeError(why) => wrong(&why),
        _other => wrong(&"every entry must be a string"),
    })?;
    TrustedProxies::parse(entries).map(Arc::new).map_err(|error| wrong(&error))
}

const YEAR: f64 = 31_536_000.0;

/// The value of the field that `hsts` asks for.
fn hsts(lua: &Lua, value: Option<Value>) -> mlua::Result<Option<HeaderValue>> {
    const FUNCTION: &str = "medusa.http.server hsts";
    let (age, subdomains, preload) = match value {
        None | Some(Value::Boolean(false)) => return Ok(None),
        Some(Value::Boolean(true)) => (YEAR, false, false),
        Some(Value::Table(table)) => {
            let mut options = Options::new(lua, FUNCTION, Value::Table(table))?;
            let age = options.get("max_age", "a number")?.unwrap_or(YEAR);
            let subdomains = options.get("subdomains", "a boolean")?.unwrap_or(false);
            let preload = options.get("preload", "a boolean")?.unwrap_or(false);
            options.finish()?;
            (age, subdomains, preload)
        }
        Some(value) => {
            let Some(age) = as_number(&value) else {
                let value = show(&value);
                let message =
                    format!("{FUNCTION}: must be true, a number of seconds or a table, not {value}");
                return Err(fail(lua, message));
            };
            (age, false, false)
        }
    };
    let Some(age) = whole(age) else {
        let age = ShortNumber(age);
        return Err(fail(lua, format!("{FUNCTION}: `max_age` must be a whole number of seconds, not {age}")));
    };
    let subdomains = if subdomains { "; includeSubDomains" } else { "" };
    let preload = if preload { "; preload" } else { "" };
    HeaderValue::from_str(&format!("max-age={age}{subdomains}{preload}"))
        .map(Some)
        .map_err(mlua::Error::external)
}
