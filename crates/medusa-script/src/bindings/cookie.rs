//! `medusa.http.cookie`: the value of a `Set-Cookie` field.

use medusa_proto::cookie::{SameSite, SetCookie};
use medusa_proto::shown::ShortNumber;
use mlua::{Lua, LuaString, Table, Value};

use super::time::moment;
use crate::call_site::fail;
use crate::counted::shown;
use crate::docs::{Class, Item, item};
use crate::options::Options;
use crate::print::{MAX_SHOWN, show, whole};

const FUNCTION: &str = "medusa.http.cookie";

pub(crate) const DOCS: Item = item(
    FUNCTION,
    "(name: string, value: string, options: CookieOptions?) -> string",
    "The value of a `Set-Cookie` field: `headers = { [\"set-cookie\"] = medusa.http.cookie(\"theme\", \"dark\") }`; \
     several cookies are a list of them. The value is sent as it is and must not hold spaces, quotes, commas, semicolons, \
     backslashes, or anything but ASCII (`medusa.url.encode` helps); what a browser would drop or misread is an error. \
     What came with a request is in `req.cookies`.",
);

pub(crate) const OPTIONS: Class = Class {
    name: "CookieOptions",
    doc: "What `medusa.http.cookie` takes. A name that begins with `__Secure-` needs `secure`; one that begins with \
          `__Host-` needs `secure`, the path `/` and no domain: browsers then vouch for where it comes from.",
    fields: &[
        item("path", "string?", "Below which path it is sent. Default `\"/\"`."),
        item("domain", "string?", "The domain whose subdomains get it too. Default: only this host."),
        item(
            "max_age",
            "number?",
            "How many seconds it lives; 0 removes it. Default: until the browser's session ends.",
        ),
        item(
            "expires",
            "number?",
            "Until when it lives, as `medusa.time.now` counts. `max_age` is preferred by browsers.",
        ),
        item(
            "secure",
            "boolean?",
            "Only sent over TLS. Default false, so that a site works before it has a certificate; set it as soon as there \
             is one.",
        ),
        item(
            "http_only",
            "boolean?",
            "Out of reach of scripts in the page. Default true: a script smuggled into a page cannot take a session away.",
        ),
        item(
            "same_site",
            "string?",
            "`\"strict\"`: never sent with requests that other sites cause; `\"lax\"`: only when a link is followed; \
             `\"none\"`: always, which needs `secure`. Default `\"lax\"`: what stops most forged requests and keeps \
             links working.",
        ),
        item(
            "partitioned",
            "boolean?",
            "Kept apart for each site that embeds this one; needs `secure`. Default false.",
        ),
    ],
    methods: &[],
};

pub(super) fn install(lua: &Lua, http: &Table) -> mlua::Result<()> {
    http.set("cookie", lua.create_function(cookie)?)
}

/// The longest name and value together, in bytes ([RFC 6265 §6.1](https://www.rfc-editor.org/rfc/rfc6265#section-6.1)).
const MAX_PAIR: usize = 4096;

fn cookie(lua: &Lua, (name, value, options): (LuaString, LuaString, Value)) -> mlua::Result<String> {
    let length = name.as_bytes().len() + value.as_bytes().len();
    if length > MAX_PAIR {
        let message = format!("{FUNCTION}: name and value are {length} bytes long; browsers keep {MAX_PAIR}");
        return Err(fail(lua, message));
    }
    let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
    let mut options = Options::new(lua, FUNCTION, options)?;
    let path = options.get::<String>("path", "a string")?;
    let domain = options.get::<String>("domain", "a string")?;
    let expires = options.get::<f64>("expires", "a number")?;
    let expires =
        expires.map(|seconds| moment(lua, Some(seconds)).map(httpdate::fmt_http_date)).transpose()?;
    let cookie = SetCookie {
        path: path.as_deref().unwrap_or("/"),
        domain: domain.as_deref(),
        max_age: options
            .get("max_age", "a number")?
            .map(|seconds| whole_seconds(lua, seconds))
            .transpose()?,
        expires: expires.as_deref(),
        secure: options.get("secure", "a boolean")?.unwrap_or(false),
        http_only: options.get("http_only", "a boolean")?.unwrap_or(true),
        same_site: options
            .get("same_site", "a string")?
            .map_or(Ok(SameSite::Lax), |site| same_site(lua, site))?,
        partitioned: options.get("partitioned", "a boolean")?.unwrap_or(false),
        ..SetCookie::new(&name, &value)
    };
    options.finish()?;
    cookie.field().map_err(|error| {
        let name = shown(&name, MAX_SHOWN);
        fail(lua, format!("{FUNCTION}: the cookie {name:?} cannot be set: {error}"))
    })
}

fn whole_seconds(lua: &Lua, seconds: f64) -> mlua::Result<i64> {
    if let Some(whole) = whole(seconds.abs()).and_then(|whole| i64::try_from(whole).ok()) {
        return Ok(if seconds < 0.0 { -whole } else { whole });
    }
    Err(fail(
        lua,
        format!("{FUNCTION}: `max_age` must be a whole number of seconds, not {}", ShortNumber(seconds)),
    ))
}

fn same_site(lua: &Lua, value: Value) -> mlua::Result<SameSite> {
    match value.as_string().map(|text| text.as_bytes().to_ascii_lowercase()).as_deref() {
        Some(b"strict") => Ok(SameSite::Strict),
        Some(b"lax") => Ok(SameSite::Lax),
        Some(b"none") => Ok(SameSite::None),
        _ => {
            let value = show(&value);
            Err(fail(
                lua,
                format!("{FUNCTION}: `same_site` must be \"strict\", \"lax\" or \"none\", not {value}"),
            ))
        }
    }
}
