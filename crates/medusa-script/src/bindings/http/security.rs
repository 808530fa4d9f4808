//! `security_headers` of `medusa.http.server`: the fields that tell browsers what pages may do.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use mlua::{Lua, Table, Value};

use crate::call_site::fail;
use crate::docs::{Item, main_item};
use crate::print::show;

const OPTION: &str = "medusa.http.server: `security_headers`";

/// The fields that `true` stands for: a page may load and run what comes from its own site, be framed by it alone,
/// and gets no device.
const USUAL: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'self'; \
         form-action 'self'; frame-ancestors 'self'",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "SAMEORIGIN"),
];

pub(super) const DOC: Item = main_item(
    "security_headers",
    "boolean | { [string]: string | boolean } | nil",
    "Puts the usual fields that tell browsers what a page may do into every response that does not have them yet: \
          `Content-Security-Policy` (scripts and all else from the site itself, inline styles allowed), \
          `X-Frame-Options` (framed by the site itself only), `Referrer-Policy`, `Permissions-Policy` (no camera, \
          microphone, place, payment, USB), `Cross-Origin-Opener-Policy`, `Cross-Origin-Resource-Policy` and \
          `X-Content-Type-Options`. A table is the same with some of them different, left out or more: \
          `{ [\"content-security-policy\"] = \"default-src 'self' https://cdn.example\", [\"x-frame-options\"] = false }`. \
          Default: none, for a page that loads from elsewhere, or has scripts inline, stops working; files and listings \
          are sent with `X-Content-Type-Options: nosniff` in any case. For `Strict-Transport-Security` see `hsts`.",
);

/// Fields by their names.
type Fields = Vec<(HeaderName, HeaderValue)>;

/// The value of the option.
pub(super) fn option(lua: &Lua, value: Option<Value>) -> mlua::Result<Arc<[(HeaderName, HeaderValue)]>> {
    let mut fields = usual();
    match value {
        None | Some(Value::Boolean(false)) => fields.clear(),
        Some(Value::Boolean(true)) => {}
        Some(Value::Table(table)) => change(lua, &mut fields, &table)?,
        Some(other) => {
            let message = format!("{OPTION} must be true or a table of fields, not {}", show(&other));
            return Err(fail(lua, message));
        }
    }
    Ok(fields.into())
}

fn usual() -> Fields {
    USUAL.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).into()
}

fn change(lua: &Lua, fields: &mut Fields, table: &Table) -> mlua::Result<()> {
    for (given, pair) in table.pairs::<Value, Value>().enumerate() {
        let (key, value) = pair?;
        if given == MOST_GIVEN {
            return Err(fail(lua, format!("{OPTION}: there are more than {MOST_GIVEN} fields in the table")));
        }
        let text = key.as_string().map_or_else(|| show(&key), mlua::LuaString::to_string_lossy);
        let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
            return Err(fail(lua, format!("{OPTION}: {text:?} is not the name of a field")));
        };
        if OURS.contains(&name.as_str()) {
            return Err(fail(
                lua,
                format!("{OPTION}: `{name}` is the server's to write, or has an option of its own"),
            ));
        }
        let usual = fields.iter().position(|(known, _)| *known == name);
        match &value {
            Value::Boolean(false) => fields.retain(|(known, _)| *known != name),
            Value::Boolean(true) if usual.is_some() => {}
            Value::String(value) => {
                let value = HeaderValue::from_bytes(&value.as_bytes()).map_err(|_invalid| {
                    fail(
                        lua,
                        format!("{OPTION}: the value of `{name}` cannot be sent; give one line of text"),
                    )
                })?;
                match usual {
                    Some(at) => fields[at].1 = value,
                    None => fields.push((name, value)),
                }
            }
            other => {
                let other = show(other);
                let message =
                    format!("{OPTION}: `{name}` must be a string, or false to leave it out, not {other}");
                return Err(fail(lua, message));
            }
        }
    }
    if fields.len() > MOST {
        return Err(fail(lua, format!("{OPTION}: there are {} fields, more than {MOST}", fields.len())));
    }
    // In one order, whatever the table's: a reload comes out with the same server.
    fields.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
    Ok(())
}

/// The most fields. They are in every response.
const MOST: usize = 32;

/// The most that a table may say: so many fields, and which of the usual ones are left out, in whatever case.
const MOST_GIVEN: usize = 2 * MOST;

/// Fields that frame the response, or are said elsewhere.
const OURS: [&str; 8] = [
    "connection",
    "content-length",
    "content-type",
    "date",
    "server",
    "strict-transport-security",
    "trailer",
    "transfer-encoding",
];
