//! A resolver, as a value of the script.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use medusa_dns::{CacheEntry, DnsError, LookupError, RecordType, Resolver};
use medusa_proto::shown::ShortNumber;
use medusa_proto::with_causes;
use mlua::{FromLua, Function, Lua, Table, UserData, UserDataFields, UserDataMethods, Value};

use super::{addresses, records};
use crate::call_site::{fail, origin};
use crate::chunk::load;
use crate::docs::{Class, main_item};
use crate::print::show;

pub(super) const CLASS: Class = Class {
    name: "DnsResolver",
    doc: "Looks names up, and remembers the answers for as long as they hold. What is pinned and what is in a file of hosts \
          comes before what a server says. When no server answers, an answer that no longer holds is given (see `stale`); a \
          failure is remembered for some seconds.",
    fields: &[],
    methods: &[
        main_item(
            "lookup",
            "(name: string, type: string?) -> (DnsAnswer?, string?)",
            "Looks a name up and waits for the answer; everything else goes on meanwhile. Without a type: the addresses of \
             a host, IPv6 and IPv4, as `medusa.fetch` would find them, with the search list of the system's resolver. With \
             one: the records of that type (`A`, `AAAA`, `CAA`, `CNAME`, `HTTPS`, `MX`, `NAPTR`, `NS`, `PTR`, `SOA`, `SRV`, `SVCB`, \
             `TLSA`, `TXT`) of that very name. If there is no such name, or it has no such record, the answer is nil and \
             a text that says so. That no server answers is an error. Cannot be called inside a metamethod.",
        ),
        main_item(
            "ptr",
            "(address: string) -> (string?, string?)",
            "The name of an IPv4 or IPv6 address. Whoever owns the address can make it any name; it is checked only to be \
             one of a host. Nil and a text if there is none; that no server answers is an error.",
        ),
        main_item(
            "cache",
            "(name: string?) -> { DnsCacheEntry }",
            "What is remembered of a name, or of all: the 1,000 answers most in use.",
        ),
        main_item(
            "flush",
            "(name: string?) -> number",
            "Forgets what servers have said of a name, or of all. Returns how many answers that were.",
        ),
        main_item(
            "pin",
            "(name: string, address: string | { string }, ttl: number?) -> ()",
            "Gives a name these addresses, whatever servers say: for `ttl` seconds, or until it is unpinned. It is not part \
             of the site: it holds at once, and also after a reload, for as long as the resolver is in use.",
        ),
        main_item("unpin", "(name: string) -> boolean", "Ends that. Returns whether the name was pinned."),
        main_item(
            "status",
            "() -> string",
            "The resolver as a tree, with its counters and those of its servers.",
        ),
    ],
};

pub(super) const CACHED: Class = Class {
    name: "DnsCacheEntry",
    doc: "An answer that a resolver remembers: a plain table.",
    fields: &[
        main_item("name", "string", "What was asked for."),
        main_item("type", "string?", "Of which type; nil if there is no such name, of any type."),
        main_item("answer", "string", "What the answer was, for people."),
        main_item("ttl", "number", "For how many more seconds it holds."),
        main_item("hits", "number", "How often it was used."),
        main_item(
            "state",
            "string",
            "`fresh`, `stale` (it no longer holds), `negative` (there is no such name or record), or `failure`.",
        ),
    ],
    methods: &[],
};

/// The number of answers that `cache` tells of.
const SHOWN: usize = 1_000;

/// The functions of `dns.luau`, in the registry.
const LOOKUP: &str = "medusa.dns lookup";
const PTR: &str = "medusa.dns ptr";

pub(super) fn install(lua: &Lua) -> mlua::Result<()> {
    let (lookup, ptr) = (lua.create_async_function(lookup)?, lua.create_async_function(ptr)?);
    let (lookup, ptr) = load(lua, include_str!("../../dns.luau"), "=dns", None)?
        .call::<(Function, Function)>((lookup, ptr))?;
    lua.set_named_registry_value(LOOKUP, lookup)?;
    lua.set_named_registry_value(PTR, ptr)
}

/// A resolver, as a value of the script.
#[derive(Debug, Clone)]
pub(crate) struct ResolverValue(pub(crate) Arc<Resolver>);

impl FromLua for ResolverValue {
    fn from_lua(value: Value, _: &Lua) -> mlua::Result<Self> {
        match value {
            Value::UserData(data) => data.borrow::<Self>().map(|resolver| resolver.clone()),
            _ => Err(mlua::Error::runtime("not a resolver")),
        }
    }
}

impl UserData for ResolverValue {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("lookup", |lua, _| lua.named_registry_value::<Function>(LOOKUP));
        fields.add_field_method_get("ptr", |lua, _| lua.named_registry_value::<Function>(PTR));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("cache", |lua, this, name: Option<String>| {
            let entries = match name {
                None => this.0.cache(SHOWN),
                Some(name) => this.0.cache_of(&name),
            };
            entries.iter().map(|entry| cache_entry(lua, entry)).collect::<mlua::Result<Vec<_>>>()
        });
        methods.add_method("flush", |_, this, name: Option<String>| Ok(this.0.flush(name.as_deref())));
        methods.add_method("pin", |lua, this, (name, given, ttl): (String, Value, Option<f64>)| {
            const FUNCTION: &str = "resolver:pin";
            let ips = addresses::<Ip>(lua, FUNCTION, given, "an address")?;
            let ips: Vec<IpAddr> = ips.into_iter().map(|ip| ip.0).collect();
            let pinned = this.0.pin(&name, &ips, ttl.map(|ttl| seconds(lua, ttl)).transpose()?);
            pinned.map_err(|error| fail(lua, format!("{FUNCTION}: {}", with_causes(&error))))
        });
        methods.add_method("unpin", |_, this, name: String| Ok(this.0.unpin(&name)));
        methods.add_method("status", |_, this, ()| Ok(this.0.status().to_string()));
        methods.add_meta_method("__tostring", |_, this, ()| {
            let status = this.0.status();
            Ok(format!("DnsResolver {} {}", status.kind, status.name))
        });
    }
}

/// An address, with an error that says what it should have been.
struct Ip(IpAddr);

impl std::str::FromStr for Ip {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = text.parse().map(Self);
        address
            .map_err(|_other| format!("{text:?} is not an address: give one like 192.0.2.1 or 2001:db8::1"))
    }
}

fn seconds(lua: &Lua, number: f64) -> mlua::Result<Duration> {
    Duration::try_from_secs_f64(number).map_err(|_error| {
        fail(
            lua,
            format!(
                "resolver:pin: the ttl must be a number of seconds, 0 or more, not {}",
                ShortNumber(number)
            ),
        )
    })
}

fn cache_entry(lua: &Lua, entry: &CacheEntry) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("name", entry.name.as_str())?;
    table.raw_set("type", entry.kind.map(RecordType::name))?;
    table.raw_set("answer", entry.answer.as_str())?;
    table.raw_set("ttl", entry.ttl.as_secs_f64())?;
    table.raw_set("hits", entry.hits)?;
    table.raw_set("state", entry.state.name())?;
    Ok(table)
}

/// A result for `dns.luau`: why there is no answer; or the answer; or nil, and what there is not.
type LookupResult<T> = (Option<String>, Option<T>, Option<String>);

fn failed<T>(at: &str, message: impl std::fmt::Display) -> LookupResult<T> {
    (Some(format!("{at}: {message}")), None, None)
}

fn to_result<T>(at: &str, found: Result<T, LookupError>) -> LookupResult<T> {
    match found {
        Ok(found) => (None, Some(found), None),
        Err(error) if error.is_negative() => (None, None, Some(error.to_string())),
        Err(error) => failed(at, error),
    }
}

async fn lookup(
    lua: Lua,
    (resolver, name, kind): (Value, Value, Value),
) -> mlua::Result<LookupResult<Table>> {
    const FUNCTION: &str = "resolver:lookup";
    let at = origin(&lua);
    let (resolver, name) = match (begin(&lua, FUNCTION, resolver), text(FUNCTION, "the name", &name)) {
        (Err(why), _) | (_, Err(why)) => return Ok(failed(&at, why)),
        (Ok(resolver), Ok(name)) => (resolver, name),
    };
    let found = match kind {
        Value::Nil => resolver.addresses(&name).await.map(|found| records::addresses(&lua, &found)),
        kind => {
            let kind = text(FUNCTION, "the type", &kind)
                .and_then(|kind| kind.parse::<RecordType>().map_err(|error| format!("{FUNCTION}: {error}")));
            match kind {
                Ok(kind) => resolver.lookup(&name, kind).await.map(|found| records::answer(&lua, &found)),
                Err(why) => return Ok(failed(&at, why)),
            }
        }
    };
    Ok(to_result(&at, found.map_or_else(|error| Ok(Err(error)), |table| table.map(Ok))?))
}

async fn ptr(lua: Lua, (resolver, address): (Value, Value)) -> mlua::Result<LookupResult<String>> {
    const FUNCTION: &str = "resolver:ptr";
    let at = origin(&lua);
    let address = text(FUNCTION, "the address", &address)
        .and_then(|text| text.parse::<Ip>().map_err(|why| format!("{FUNCTION}: {why}")));
    let (resolver, address) = match (begin(&lua, FUNCTION, resolver), address) {
        (Err(why), _) | (_, Err(why)) => return Ok(failed(&at, why)),
        (Ok(resolver), Ok(address)) => (resolver, address.0),
    };
    let found = resolver.ptr(address).await;
    Ok(match found.as_ref().map(|answer| answer.name().and_then(medusa_log::hostname)) {
        Ok(Some(name)) => (None, Some(name.to_owned()), None),
        Ok(None) => (None, None, Some(format!("{address} has a name that is no host's"))),
        Err(error) => to_result(&at, Err(error.clone())),
    })
}

/// The resolver, ready to be asked.
fn begin(lua: &Lua, function: &str, resolver: Value) -> Result<Arc<Resolver>, String> {
    let shown = show(&resolver);
    let resolver = ResolverValue::from_lua(resolver, lua)
        .map_err(|_other| format!("{function}: call it as a method of a resolver, not of {shown}"))?;
    resolver.0.prepare().map_err(|error: DnsError| format!("{function}: {}", with_causes(&error)))?;
    Ok(resolver.0)
}

fn text(function: &str, what: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.to_string_lossy()),
        other => Err(format!("{function}: {what} must be a string, not {}", show(other))),
    }
}
