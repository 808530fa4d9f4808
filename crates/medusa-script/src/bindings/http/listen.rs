//! `listen`: the addresses of a server, and what is spoken there before HTTP.

use std::sync::Arc;

use medusa_http::Listen;
use medusa_net::ListenAddr;
use medusa_net::tls::Tls;
use mlua::{Lua, Value};

use super::tls;
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, main_item};
use crate::options::{self, Options};
use crate::print::show;

const FUNCTION: &str = "medusa.http.server";

pub(crate) const CLASS: Class = Class {
    name: "ListenOptions",
    doc: "One address of a server, where it is more than a string.",
    fields: &[
        main_item("address", "string", "The address, required; written as in `listen`."),
        main_item(
            "tls",
            "TlsOptions | \"self-signed\" | false | nil",
            "Certificates for this address; `false` where the others are encrypted and this one is not. Default: as \
                  the server's `tls`.",
        ),
        main_item("proxy_protocol", "boolean?", "As for the server, but for this address alone."),
    ],
    methods: &[],
};

/// Settings of addresses that say nothing else.
pub(super) struct ListenDefaults {
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) proxy_protocol: bool,
}

/// The most addresses of one server: as many as the site may have.
const MAX_ADDRESSES: usize = 256;

/// The value of `listen`.
pub(super) fn list(lua: &Lua, value: Option<Value>, common: &ListenDefaults) -> mlua::Result<Vec<Listen>> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::Table(items)) if items.raw_len() > 0 => {
            let items = options::list(lua, format!("{FUNCTION}: `listen`"), &items, MAX_ADDRESSES)?;
            items.into_iter().map(|item| entry(lua, item, common)).collect()
        }
        Some(value) => Ok(vec![entry(lua, value, common)?]),
    }
}

fn entry(lua: &Lua, value: Value, common: &ListenDefaults) -> mlua::Result<Listen> {
    match value {
        Value::String(text) => Ok(Listen {
            addr: address(lua, FUNCTION, &text.to_string_lossy())?,
            tls: common.tls.clone(),
            proxy_protocol: common.proxy_protocol,
        }),
        table @ Value::Table(_) => {
            const ENTRY: &str = "medusa.http.server listen";
            let mut options = Options::new(lua, ENTRY, table)?;
            let text: Option<String> = options.get("address", "a string")?;
            let text = text.ok_or_else(|| fail(lua, format!("{ENTRY}: an entry has no `address`")))?;
            let tls = match options.get::<Value>("tls", "a table, \"self-signed\" or false")? {
                None => common.tls.clone(),
                Some(value) => tls::option(lua, ENTRY, Some(value))?,
            };
            let proxy_protocol = options.get("proxy_protocol", "a boolean")?.unwrap_or(common.proxy_protocol);
            options.finish()?;
            Ok(Listen { addr: address(lua, FUNCTION, &text)?, tls, proxy_protocol })
        }
        other => {
            let other = show(&other);
            Err(fail(
                lua,
                format!("{FUNCTION}: `listen` must be a string or a list of strings and tables, not {other}"),
            ))
        }
    }
}

/// Unix sockets are relative to the script, like every path of it.
pub(crate) fn address(lua: &Lua, function: &str, text: &str) -> mlua::Result<ListenAddr> {
    let context = MainContext::of(lua)?;
    let addr = text.parse::<ListenAddr>();
    let addr = addr.map_err(|error| fail(lua, format!("{function}: `listen`: {error}")))?;
    Ok(match addr {
        ListenAddr::Unix(path) => ListenAddr::Unix(context.sources.root().join(path)),
        tcp @ ListenAddr::Tcp(_) => tcp,
    })
}
