//! `medusa.handler.allow` and `medusa.handler.deny`: clients by their addresses.

use std::sync::Arc;

use medusa_http::handlers::allow::{AddressFilter, Listed};
use medusa_proto::networks::Networks;
use mlua::{Lua, Value};

use super::value::HandlerValue;
use super::wrap::Wrapper;
use crate::call_site::fail;
use crate::docs::{Item, main_item};
use crate::options::strings;
use crate::print::kind;

const ALLOW: &str = "medusa.handler.allow";
const DENY: &str = "medusa.handler.deny";

/// The most entries of a list, and the most bytes of it: some have a country's networks.
const MOST: usize = 16_384;
const MOST_BYTES: usize = 1024 * 1024;

pub(super) const ALLOW_DOC: Item = main_item(
    ALLOW,
    "(networks: { string }, handler: Handler | (req: Request) -> Answer) -> Handler",
    "Wraps a handler: only clients of a list get to it, all others are answered 403, also where they ask for a \
     WebSocket. An entry is an address (`\"::1\"`), a network (`\"10.0.0.0/8\"`), `\"private\"` (this machine and \
     private networks) or `\"unix\"` (whoever comes by a unix socket, which has no addresses); there may be \
     16,384. The client is the one that the access log has: behind a proxy, whom that speaks for, if it is one of \
     `trusted_proxies` or `proxy_protocol` is on. An IPv4 address in IPv6 form is the IPv4 address.",
);

pub(super) const DENY_DOC: Item = main_item(
    DENY,
    "(networks: { string }, handler: Handler | (req: Request) -> Answer) -> Handler",
    "Wraps a handler: clients of a list are answered 403, all others get to it. See `medusa.handler.allow`.",
);

/// `medusa.handler.allow(networks, handler)`
pub(super) fn allow(lua: &Lua, (networks, inner): (Value, Value)) -> mlua::Result<HandlerValue> {
    filter(lua, ALLOW, Listed::Allowed, &networks, &inner)
}

/// `medusa.handler.deny(networks, handler)`
pub(super) fn deny(lua: &Lua, (networks, inner): (Value, Value)) -> mlua::Result<HandlerValue> {
    filter(lua, DENY, Listed::Denied, &networks, &inner)
}

fn filter(
    lua: &Lua,
    function: &'static str,
    listed: Listed,
    networks: &Value,
    inner: &Value,
) -> mlua::Result<HandlerValue> {
    let Value::Table(given) = networks else {
        let given = kind(networks);
        return Err(fail(lua, format!("{function}: the networks must be a list of strings, not a {given}")));
    };
    let entries = strings(lua, function, given, MOST, MOST_BYTES)?;
    let networks = Networks::parse(entries).map_err(|error| fail(lua, format!("{function}: {error}")))?;
    if networks.is_empty() {
        return Err(fail(lua, format!("{function}: the list is empty")));
    }
    let (kind, networks) = (function.trim_start_matches("medusa."), Arc::new(networks));
    Wrapper::new(kind, &format!("{networks:?}"), move |inner| {
        AddressFilter::new(inner, listed, Arc::clone(&networks))
    })
    .around(lua, inner)
}
