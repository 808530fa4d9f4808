//! `medusa.http`: servers and their mounts.

use std::sync::Arc;

use medusa_http::router::Pattern;
use medusa_http::{Handler, Limits, Mount, ServerParts};
use medusa_net::ListenAddr;
use medusa_site::{MountId, ServerId, ServerSpec};
use mlua::{FromLua, Lua, Table, UserData, UserDataFields, UserDataMethods, Value};

use super::handler::HandlerValue;
use super::log::SinkValue;
use super::options::Options;
use super::{Reach, fail, origin};
use crate::print::show;
use crate::reference::{self, Class, Item};
use crate::transaction::Transaction;

pub(crate) const DOCS: Item = Item {
    path: "medusa.http.server",
    signature: "(options: HttpServerOptions) -> HttpServer",
    reach: reference::Reach::Main,
    doc: "Adds an HTTP server to the site. It listens from the moment the change is published.",
};

pub(crate) const OPTIONS: Class = Class {
    name: "HttpServerOptions",
    doc: "What `medusa.http.server` takes.",
    fields: &[
        Item {
            path: "listen",
            signature: "string | { string }",
            reach: reference::Reach::Main,
            doc: "Where to listen, required: `\"127.0.0.1:8080\"`, `\"[::1]:8080\"`, `\":8080\"` (every address), \
                  `\"unix:/run/web.sock\"`, or a list of these. Port 0 takes a free port.",
        },
        Item {
            path: "name",
            signature: "string?",
            reach: reference::Reach::Main,
            doc: "What logs and status call it. Default: `http`, then `http-2` and so on.",
        },
        Item {
            path: "log",
            signature: "LogSink?",
            reach: reference::Reach::Main,
            doc: "Where its access records go. Default: nowhere.",
        },
        Item {
            path: "limits",
            signature: "{ body: number?, idle: number?, head: number? }?",
            reach: reference::Reach::Main,
            doc: "`body`: the longest request body a handler may read, in bytes (default 1 MiB; more is 413). `idle`: \
                  seconds a connection may idle between requests (default 75). `head`: seconds a request's head may \
                  take (default 30; more is 408).",
        },
    ],
    methods: &[],
};

pub(crate) const SERVER: Class = Class {
    name: "HttpServer",
    doc: "An HTTP server of the site.",
    fields: &[
        Item { path: "name", signature: "string", reach: reference::Reach::Main, doc: "Its name." },
        Item {
            path: "listen",
            signature: "{ string }",
            reach: reference::Reach::Main,
            doc: "The addresses it listens on, as the script wrote them.",
        },
        Item {
            path: "mounts",
            signature: "{ Mount }",
            reach: reference::Reach::Main,
            doc: "Its mounts, in the order they were made.",
        },
    ],
    methods: &[
        Item {
            path: "mount",
            signature: "(pattern: string, handler: Handler | (req: Request) -> Answer) -> Mount",
            reach: reference::Reach::Main,
            doc: "Mounts a handler. The pattern is `[METHODS ][host]/path`: a path that ends in `/` covers everything \
                  below it, any other matches exactly; `{name}` is one segment, `{name...}` the rest, `{$}` the very \
                  end; GET serves HEAD; the most specific pattern wins, whatever the order; two that clash are an error. \
                  A function runs in the main VM, where every global of the script is at hand; a handler from a file \
                  (`medusa.handler.script`) runs on every core.",
        },
        Item {
            path: "remove",
            signature: "() -> ()",
            reach: reference::Reach::Main,
            doc: "Removes the server: its listeners close, its connections end after the request they are at.",
        },
    ],
};

pub(crate) const MOUNT: Class = Class {
    name: "Mount",
    doc: "A handler under a pattern.",
    fields: &[
        Item { path: "pattern", signature: "string", reach: reference::Reach::Main, doc: "The pattern." },
        Item {
            path: "origin",
            signature: "string",
            reach: reference::Reach::Main,
            doc: "The place in the script that mounted it, or gave it its present handler.",
        },
    ],
    methods: &[
        Item {
            path: "replace",
            signature: "(handler: Handler | (req: Request) -> Answer) -> ()",
            reach: reference::Reach::Main,
            doc: "Gives it another handler. Requests under way finish with the old one; counters go on.",
        },
        Item {
            path: "remove",
            signature: "() -> ()",
            reach: reference::Reach::Main,
            doc: "Removes it. Requests under way finish.",
        },
    ],
};

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    let http: Table = medusa.get("http")?;
    let server = |lua: Lua, value: Value| {
        let spec = server_spec(&lua, value);
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

/// Puts the place before an error that has none yet.
fn at_place(place: &str, error: mlua::Error) -> mlua::Error {
    match error {
        mlua::Error::ExternalError(error) => mlua::Error::runtime(format!("{place}: {error}")),
        error => error,
    }
}

fn server_spec(lua: &Lua, value: Value) -> mlua::Result<ServerSpec> {
    const FUNCTION: &str = "medusa.http.server";
    let mut options = Options::new(lua, FUNCTION, value)?;
    let listen = options.get::<Value>("listen", "a string or a list of strings")?;
    let spec = ServerSpec {
        name: options.get("name", "a string")?,
        listen: listen.map_or(Ok(Vec::new()), |listen| addresses(lua, &listen))?,
        log: options.get::<SinkValue>("log", "a log, from medusa.log")?.map(|sink| sink.0),
        limits: limits(lua, options.get("limits", "a table")?.unwrap_or(Value::Nil))?,
        origin: origin(lua),
    };
    options.finish()?;
    Ok(spec)
}

fn addresses(lua: &Lua, value: &Value) -> mlua::Result<Vec<ListenAddr>> {
    let reach = Reach::of(lua)?;
    let parse = |text: &str| {
        let addr = text.parse::<ListenAddr>();
        // Like every path of the script, relative to the script.
        addr.map(|addr| match addr {
            ListenAddr::Unix(path) => ListenAddr::Unix(reach.sources.root().join(path)),
            tcp @ ListenAddr::Tcp(_) => tcp,
        })
        .map_err(|error| fail(lua, format!("medusa.http.server: `listen`: {error}")))
    };
    let wrong = |value: &Value| {
        let value = show(value);
        fail(lua, format!("medusa.http.server: `listen` must be a string or a list of strings, not {value}"))
    };
    match value {
        Value::String(text) => Ok(vec![parse(&text.to_string_lossy())?]),
        Value::Table(list) => (list.sequence_values::<Value>())
            .map(|item| match item? {
                Value::String(text) => parse(&text.to_string_lossy()),
                other => Err(wrong(&other)),
            })
            .collect(),
        other => Err(wrong(other)),
    }
}

fn limits(lua: &Lua, value: Value) -> mlua::Result<Limits> {
    let mut options = Options::new(lua, "medusa.http.server limits", value)?;
    let default = Limits::default();
    let limits = Limits {
        body: whole(lua, "body", options.get("body", "a number")?)?.unwrap_or(default.body),
        idle: seconds(lua, "idle", options.get("idle", "a number")?)?.unwrap_or(default.idle),
        head: seconds(lua, "head", options.get("head", "a number")?)?.unwrap_or(default.head),
    };
    options.finish()?;
    Ok(limits)
}

fn whole(lua: &Lua, name: &str, number: Option<f64>) -> mlua::Result<Option<u64>> {
    match number {
        None => Ok(None),
        Some(number) if number >= 0.0 && number.fract() == 0.0 => Ok(Some(number as u64)),
        Some(number) => Err(fail(
            lua,
            format!(
                "medusa.http.server: limits: `{name}` must be a whole number of at least 0, not {number}"
            ),
        )),
    }
}

fn seconds(lua: &Lua, name: &str, number: Option<f64>) -> mlua::Result<Option<u32>> {
    let whole = whole(lua, name, number)?;
    match whole {
        Some(0) => Err(fail(lua, format!("medusa.http.server: limits: `{name}` must be at least 1 second"))),
        whole => Ok(whole.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX))),
    }
}

fn to_pattern(lua: &Lua, value: &Value) -> mlua::Result<Pattern> {
    match value {
        Value::String(text) => text.to_string_lossy().parse().map_err(|error| fail(lua, error)),
        other => {
            let other = show(other);
            Err(fail(
                lua,
                format!("mount: the pattern must be a string like \"/path\" or \"GET /path/\", not {other}"),
            ))
        }
    }
}

/// A handler given to `mount` or `replace`: a handler value, or a function of the script.
fn to_handler(lua: &Lua, value: Value, at: &Arc<str>) -> mlua::Result<Arc<dyn Handler>> {
    match value {
        Value::Function(function) => {
            Ok(Arc::new(Reach::of(lua)?.functions.handler(&function, Arc::clone(at))?))
        }
        value => {
            let shown = show(&value);
            HandlerValue::from_lua(value, lua).map(|handler| handler.0).map_err(|_other| {
                fail(
                    lua,
                    format!("a handler must be a function(req) or come from medusa.handler, not {shown}"),
                )
            })
        }
    }
}

/// A server of the site, by its number.
#[derive(Debug, Clone, Copy)]
pub(super) struct HttpServer(pub(super) ServerId);

impl HttpServer {
    fn look<R>(self, lua: &Lua, look: impl FnOnce(&ServerParts) -> R) -> mlua::Result<R> {
        let find = |servers: &[ServerParts]| servers.iter().find(|server| server.id == self.0).map(look);
        let found = with_servers(lua, find)?;
        found.ok_or_else(|| fail(lua, medusa_site::DraftError::NoServer))
    }
}

/// The servers, as the running task sees them.
pub(super) fn with_servers<R>(lua: &Lua, look: impl FnOnce(&[ServerParts]) -> R) -> mlua::Result<R> {
    if let Some(transaction) = Transaction::current() {
        Ok(transaction.with_servers(look))
    } else {
        let site = Reach::of(lua)?.live.site();
        let servers: Vec<_> = site.servers.iter().map(|server| server.parts.clone()).collect();
        Ok(look(&servers))
    }
}

impl UserData for HttpServer {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("name", |lua, this| this.look(lua, |server| server.name.to_string()));
        fields.add_field_method_get("listen", |lua, this| {
            this.look(lua, |server| server.listen.iter().map(ToString::to_string).collect::<Vec<_>>())
        });
        fields.add_field_method_get("mounts", |lua, this| {
            this.look(lua, |server| {
                server.mounts.iter().map(|mount| MountValue(mount.id)).collect::<Vec<_>>()
            })
        });
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_async_method("mount", |lua, this, (pattern, handler): (Value, Value)| {
            let at = origin(&lua);
            let parsed = to_pattern(&lua, &pattern);
            let handler = to_handler(&lua, handler, &at);
            let server = this.0;
            async move {
                let (pattern, handler, place) = (parsed?, handler?, Arc::clone(&at));
                let mount = Transaction::edit(|draft| draft.mount(server, pattern, handler, at)).await;
                mount.map(MountValue).map_err(|error| at_place(&place, error))
            }
        });
        methods.add_async_method("remove", |lua, this, ()| {
            let (at, server) = (origin(&lua), this.0);
            async move {
                let removed = Transaction::edit(|draft| draft.remove_server(server)).await;
                removed.map_err(|error| at_place(&at, error))
            }
        });
        methods.add_meta_method("__tostring", |lua, this, ()| {
            this.look(lua, |server| format!("HttpServer \"{}\", {} mounts", server.name, server.mounts.len()))
        });
    }
}

/// A mount of the site, by its number.
#[derive(Debug, Clone, Copy)]
struct MountValue(MountId);

impl MountValue {
    fn look<R>(self, lua: &Lua, look: impl FnOnce(&Mount) -> R) -> mlua::Result<R> {
        let find = |servers: &[ServerParts]| {
            let mut mounts = servers.iter().flat_map(|server| &server.mounts);
            mounts.find(|mount| mount.id == self.0).map(|mount| look(mount))
        };
        with_servers(lua, find)?.ok_or_else(|| fail(lua, medusa_site::DraftError::NoMount))
    }
}

impl UserData for MountValue {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("pattern", |lua, this| this.look(lua, |mount| mount.pattern.to_string()));
        fields.add_field_method_get("origin", |lua, this| this.look(lua, |mount| mount.origin.to_string()));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_async_method("replace", |lua, this, handler: Value| {
            let at = origin(&lua);
            let handler = to_handler(&lua, handler, &at);
            let mount = this.0;
            async move {
                let (handler, place) = (handler?, Arc::clone(&at));
                let replaced = Transaction::edit(|draft| draft.replace(mount, handler, at)).await;
                replaced.map_err(|error| at_place(&place, error))
            }
        });
        methods.add_async_method("remove", |lua, this, ()| {
            let (at, mount) = (origin(&lua), this.0);
            async move {
                Transaction::edit(|draft| draft.remove(mount)).await.map_err(|error| at_place(&at, error))
            }
        });
        methods.add_meta_method("__tostring", |lua, this, ()| {
            this.look(lua, |mount| format!("Mount \"{}\" ({})", mount.pattern, mount.origin))
        });
    }
}
