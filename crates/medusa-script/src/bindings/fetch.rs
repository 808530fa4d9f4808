//! `medusa.fetch`: the HTTP client.
//!
//! One [`Fetcher`](medusa_fetch::Fetcher) serves every VM of an engine. What waits here is the script's own future: its wall-clock budget goes
//! on, and when the script is stopped the fetch is, too.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::Bound;

use bytes::Bytes;
use http::header::SET_COOKIE;
use medusa_fetch::request::MAX_REDIRECTS;
use medusa_fetch::response::Stream;
use medusa_fetch::{Body, Limits, MAX_TIMEOUT, Request, RequestError, Response};
use medusa_proto::with_causes;
use mlua::{AnyUserData, Function, Lua, LuaString, Table, UserData, Value};

use crate::call_site::{fail, origin};
use crate::chunk::{load, seal};
use crate::docs::{Class, Item, item};
use crate::engine_context::EngineContext;
use crate::fields::same_field;
use crate::options::Options;
use crate::print::{kind, show};
use crate::request::headers;
use crate::require::ScriptRoot;

pub(crate) const DOCS: &[Item] = &[item(
    "medusa.fetch",
    "(url: string, options: FetchOptions?) -> FetchResponse",
    "Sends an HTTP request and waits for the answer; everything else goes on meanwhile. A status of 404 or 500 is an \
          answer, not an error; an error is that there was none, or none that could be read whole. Errors name no more of \
          the URL than scheme, host and path. Waiting counts as wall-clock time of the script's budget; a script that is \
          stopped ends its fetches. Connections are kept for later fetches of any script (30 seconds, 8 to an origin); \
          TLS trusts the system's authorities; hosts are found by the site's resolver (see `medusa.dns.use`), else as the \
          system does. Cookies are not kept, and proxies in the environment are not used. 256 \
          fetches run at once in one process, and 1024 wait. Cannot be called inside a metamethod.",
)];

pub(crate) const OPTIONS: Class = Class {
    name: "FetchOptions",
    doc: "What `medusa.fetch` sends, and how far it goes. Any other key is an error.",
    fields: &[
        item("method", "string?", "Default: `GET`."),
        item(
            "headers",
            "{ [string]: string | number | { string } }?",
            "Fields; a list gives a field several times. `Host` and what frames the message are the client's business \
             and are errors, as are line ends in a value. At most 100 fields, and 64 KiB.",
        ),
        item("body", "string?", "The body. Its type is for `headers` to say."),
        item(
            "json",
            "any",
            "A value to send as JSON (see `medusa.json.encode`) instead of `body`, with `Content-Type: application/json` \
             unless `headers` has one.",
        ),
        item("timeout", "number?", "Seconds for the whole fetch, body included. Default 10, at most 300."),
        item(
            "connect_timeout",
            "number?",
            "Seconds for opening a connection: the name, TCP, TLS. Default 3, at most 300.",
        ),
        item(
            "redirects",
            "number?",
            "How many redirects are followed; one more is an error. With 0 the redirect itself is the answer. Default 5, \
             at most 20. One from https to http is an error. One to another origin (scheme, host, port) takes along \
             `Accept`, `Content-Type`, `User-Agent` and the like, but neither `basic` and `bearer` nor any other field \
             of `headers`, such as `Authorization` or `X-Api-Key`.",
        ),
        item(
            "max_bytes",
            "number?",
            "The longest body, after decompression, in bytes; a longer one is an error. Default 8 MiB.",
        ),
        item(
            "ca",
            "string?",
            "A PEM file of certificate authorities to trust beside the system's; relative to the script. A server's own \
             certificate will do if it signed itself and is not an authority's.",
        ),
        item(
            "insecure",
            "boolean?",
            "Takes any certificate for any host. For local work only; the log has a warning. Default: false.",
        ),
        item("basic", "{ user: string, pass: string }?", "Logs in with user name and password."),
        item("bearer", "string?", "Logs in with a token."),
        item(
            "stream",
            "boolean?",
            "Returns as soon as the answer's header is there; the body is read with `response:chunks()`. Default: false.",
        ),
    ],
    methods: &[],
};

pub(crate) const CLASS: Class = Class {
    name: "FetchResponse",
    doc: "The answer that `medusa.fetch` got: a plain table, yours to change.",
    fields: &[
        item("status", "number", "The status code."),
        item(
            "headers",
            "{ [string]: string }",
            "The fields by their lower-case names; repeated ones are joined with commas, `Set-Cookie` is in `cookies`. \
             A compressed body (gzip with all its members, zstd, one over the other) comes decompressed, without \
             `content-encoding` and `content-length`. With a coding that is not known, a body that is a part (206) and \
             the answer to `HEAD` come as they are, with both. A field on several lines is put on one.",
        ),
        item("cookies", "{ string }?", "The values of the `Set-Cookie` fields, if there are any."),
        item("url", "string", "Where the answer came from, after redirects."),
        item("body", "string?", "The body; nil with `stream = true`."),
    ],
    methods: &[
        item("json", "() -> any", "Decodes the body (see `medusa.json.decode`)."),
        item(
            "chunks",
            "() -> (() -> string?)",
            "With `stream = true`: `for chunk in response:chunks() do`. Pieces of at most 64 KiB, as they come; the \
             sender waits while the script does not take them. A body that ends early, gets longer than `max_bytes` \
             or is not read within `timeout` is an error of the loop.",
        ),
    ],
};

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    let meta = lua.create_table()?;
    let (start, next) = (start(lua, meta.clone())?, lua.create_async_function(next_chunk)?);
    let encode = crate::json::encoder(lua, "medusa.fetch: json")?;
    let decode = crate::json::decoder(lua, "response:json()")?;
    let (fetch, chunks, json) =
        load(lua, include_str!("../fetch.luau"), "=fetch", None)?
            .call::<(Function, Function, Function)>((start, next, encode, decode))?;
    let methods = lua.create_table()?;
    methods.set("json", json)?;
    methods.set("chunks", chunks)?;
    meta.set("__index", methods)?;
    seal(&meta, "response")?;
    medusa.set("fetch", fetch)
}

/// A result for `fetch.luau`: a value, or nil and the message.
type FetchResult<T> = (Option<T>, Option<String>);

/// Makes of an error what is raised as a string. Other errors, such as want of memory, stay what they are.
fn told<T>(result: mlua::Result<T>) -> mlua::Result<FetchResult<T>> {
    match result {
        Ok(value) => Ok((Some(value), None)),
        Err(mlua::Error::RuntimeError(message)) => Ok((None, Some(message))),
        Err(error) => Err(error),
    }
}

/// The function that fetches; `meta` is the metatable of responses.
fn start(lua: &Lua, meta: Table) -> mlua::Result<Function> {
    lua.create_async_function(move |lua, (url, options, json): (Value, Value, Option<LuaString>)| {
        let meta = meta.clone();
        async move { told(fetch(&lua, &url, options, json, meta).await) }
    })
}

/// `json` is the option of that name, encoded.
async fn fetch(
    lua: &Lua,
    url: &Value,
    options: Value,
    json: Option<LuaString>,
    meta: Table,
) -> mlua::Result<Table> {
    let request = request(lua, url, options, json)?;
    let engine = EngineContext::of(lua)?;
    let fetcher = engine.client.get().map_err(|error| wrong(lua, error))?;
    let response = fetcher.fetch(request).await.map_err(|error| fail(lua, with_causes(&error)))?;
    let table = response_table(lua, response)?;
    table.set_metatable(Some(meta))?;
    Ok(table)
}

fn wrong(lua: &Lua, message: impl Display) -> mlua::Error {
    fail(lua, format!("medusa.fetch: {message}"))
}

fn request(lua: &Lua, url: &Value, options: Value, json: Option<LuaString>) -> mlua::Result<Request> {
    let refused = |error: RequestError| wrong(lua, error);
    let mut options = Options::new(lua, "medusa.fetch", options)?;
    let method = options.get::<String>("method", "a string")?;
    let Value::String(url) = url else {
        return Err(wrong(lua, format!("the URL must be a string, not {}", show(url))));
    };
    let url = url.to_str().map_err(|_binary| wrong(lua, "the URL is not UTF-8"))?;
    let mut request = Request::new(method.as_deref().unwrap_or("GET"), &url).map_err(refused)?;
    match options.get::<Value>("headers", "fields")? {
        None => {}
        Some(Value::Table(headers)) => set_headers(lua, &mut request, &headers)?,
        Some(other) => return Err(wrong_kind(lua, "headers", "a table", &other)),
    }
    set_body(lua, &mut request, &mut options, json)?;
    if let Some(login) = options.get::<Value>("basic", "a login")? {
        let mut login = Options::new(lua, "medusa.fetch: basic", login)?;
        let user = secret(lua, &mut login, "user")?.unwrap_or_default();
        let pass = secret(lua, &mut login, "pass")?.unwrap_or_default();
        login.finish()?;
        request.basic(user, pass).map_err(refused)?;
    }
    if let Some(token) = secret(lua, &mut options, "bearer")? {
        request.bearer(token).map_err(refused)?;
    }
    request.limits = limits(&mut options)?;
    request.ca = options.get::<String>("ca", "a string")?.map(|path| ScriptRoot::join(lua, path));
    request.insecure = options.get::<bool>("insecure", "a boolean")?.unwrap_or(false);
    request.stream = options.get::<bool>("stream", "a boolean")?.unwrap_or(false);
    options.finish()?;
    Ok(request)
}

/// A string that no error shows, also where it is none.
fn secret(lua: &Lua, options: &mut Options<'_>, key: &'static str) -> mlua::Result<Option<String>> {
    match options.get::<Value>(key, "a secret")? {
        None => Ok(None),
        Some(Value::String(text)) => match text.to_str() {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_binary) => Err(wrong(lua, format!("`{key}` is not UTF-8"))),
        },
        Some(other) => Err(wrong_kind(lua, key, "a string", &other)),
    }
}

fn wrong_kind(lua: &Lua, key: &str, expected: &str, value: &Value) -> mlua::Error {
    wrong(lua, format!("`{key}` must be {expected}, not a {}", kind(value)))
}

fn set_headers(lua: &Lua, request: &mut Request, headers: &Table) -> mlua::Result<()> {
    for pair in headers.pairs::<Value, Value>() {
        let (name, value) = pair?;
        let Some(name) = name.as_string().map(LuaString::to_string_lossy) else {
            return Err(wrong(lua, format!("headers: {} is no field name", show(&name))));
        };
        // There are only those of this table yet.
        if request.has_field(&name) {
            return Err(wrong(lua, format!("headers: {}", same_field(headers, name.as_bytes())?)));
        }
        match value {
            Value::Table(values) => {
                for value in values.sequence_values::<Value>() {
                    set_field(lua, request, &name, &value?)?;
                }
            }
            value => set_field(lua, request, &name, &value)?,
        }
    }
    Ok(())
}

fn set_field(lua: &Lua, request: &mut Request, name: &str, value: &Value) -> mlua::Result<()> {
    let set = match value {
        Value::String(text) => request.field(name, &text.as_bytes()),
        Value::Integer(_) | Value::Number(_) => request.field(name, value.to_string()?.as_bytes()),
        // What it is may be a secret that went astray; what kind it is says enough.
        other => {
            let message = format!(
                "headers: the value of \"{name}\" must be a string, a number or a list of strings, not a {}",
                kind(other)
            );
            return Err(wrong(lua, message));
        }
    };
    set.map_err(|error| wrong(lua, error))
}

fn set_body(
    lua: &Lua,
    request: &mut Request,
    options: &mut Options<'_>,
    json: Option<LuaString>,
) -> mlua::Result<()> {
    let body = options.get::<LuaString>("body", "a string")?;
    options.get::<Value>("json", "a value")?;
    match (body, json) {
        (Some(_), Some(_)) => Err(wrong(lua, "give either `body` or `json`")),
        (Some(body), None) => {
            request.body(body.as_bytes().to_vec());
            Ok(())
        }
        (None, Some(json)) => {
            request.body(json.as_bytes().to_vec());
            if request.has_field("content-type") {
                return Ok(());
            }
            request.field("content-type", b"application/json").map_err(|error| wrong(lua, error))
        }
        (None, None) => Ok(()),
    }
}

fn limits(options: &mut Options<'_>) -> mlua::Result<Limits> {
    /// In seconds.
    const TIMEOUTS: (Bound<f64>, Bound<f64>) =
        (Bound::Excluded(0.0), Bound::Included(MAX_TIMEOUT.as_secs() as f64));
    let default = Limits::default();
    Ok(Limits {
        timeout: options.seconds("timeout", TIMEOUTS)?.unwrap_or(default.timeout),
        connect_timeout: options.seconds("connect_timeout", TIMEOUTS)?.unwrap_or(default.connect_timeout),
        redirects: options.whole("redirects", 0..=MAX_REDIRECTS as u64)?.unwrap_or(default.redirects),
        max_bytes: options.whole("max_bytes", 1..)?.unwrap_or(default.max_bytes),
    })
}

fn response_table(lua: &Lua, response: Response) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("status", response.status.as_u16())?;
    let headers = headers(lua, &response.headers)?;
    // They cannot be joined, and have a field of their own.
    headers.raw_remove(SET_COOKIE.as_str())?;
    table.raw_set("headers", headers)?;
    let cookies = response.headers.get_all(SET_COOKIE).iter();
    let cookies = cookies.map(|value| lua.create_string(value)).collect::<mlua::Result<Vec<_>>>()?;
    if !cookies.is_empty() {
        table.raw_set("cookies", cookies)?;
    }
    table.raw_set("url", response.url)?;
    match response.body {
        Body::Whole(body) => table.raw_set("body", lua.create_string(body.bytes())?)?,
        Body::Stream(stream) => {
            table.raw_set("stream", lua.create_userdata(Pending(RefCell::new(Some(stream))))?)?;
        }
    }
    Ok(table)
}

/// A body that is on its way; empty while somebody waits for its next piece.
struct Pending(RefCell<Option<Stream>>);

impl UserData for Pending {}

async fn next_chunk(lua: Lua, response: Table) -> mlua::Result<FetchResult<LuaString>> {
    match next(&lua, &response).await {
        Ok(None) => Ok((None, None)),
        Ok(Some(chunk)) => Ok((Some(lua.create_string(chunk)?), None)),
        Err(message) => Ok((None, Some(message))),
    }
}

async fn next(lua: &Lua, response: &Table) -> Result<Option<Bytes>, String> {
    let placed = |message: &dyn Display| format!("{}: {message}", origin(lua));
    let Ok(Some(stream)) = response.raw_get::<Option<AnyUserData>>("stream") else {
        return Err(placed(&"response:chunks(): the body is in response.body; fetch with `stream = true`"));
    };
    let pending = stream.borrow::<Pending>().map_err(|error| placed(&error))?;
    // Taken out, so that a script that is stopped here takes the exchange with it.
    let Some(mut stream) = pending.0.take() else {
        return Err(placed(&"response:chunks(): somebody else is reading this body"));
    };
    let chunk = stream.next().await;
    pending.0.replace(Some(stream));
    chunk.map_err(|error| placed(&with_causes(&error)))
}
