//! `medusa.dns`: names, by a resolver that the script chooses.
//!
//! - `options`: what a resolver is made with;
//! - `resolver`: a resolver, as a value of the script;
//! - `records`: what it answers, as tables;
//! - `names`: a resolver, as a log asks it.
//!
//! **Invariant:** the same arguments give the same resolver, while it lives: a reload does not empty its cache.

mod names;
mod options;
mod records;
mod resolver;

use std::sync::Arc;

use medusa_dns::{DnsError, Resolver, ServerAddr};
use medusa_proto::with_causes;
use mlua::{FromLua, Lua, MultiValue, Table, Value};

use crate::call_site::{fail, origin};
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::options::{list, no_more};
use crate::print::show;
use crate::transaction::Transaction;

pub(crate) use names::LogNames;
pub(crate) use resolver::ResolverValue;

pub(crate) const DOCS: &[Item] = &[
    main_item(
        "medusa.dns.system",
        "(options: DnsSystemOptions?) -> DnsResolver",
        "Looks names up as the system is set up to: by the servers, the search list and the options of `/etc/resolv.conf`, \
         and by `/etc/hosts` before that. Both files are read again when they change. The same options give the same \
         resolver, also after a reload: it keeps what it knows.",
    ),
    main_item(
        "medusa.dns.server",
        "(address: string | { string }, options: DnsServerOptions?) -> DnsResolver",
        "Looks names up by these name servers: addresses, each with a port if it is not the usual one of the protocol \
         (`\"10.0.0.2\"`, `\"10.0.0.2:5353\"`, `\"[2001:db8::1]:853\"`). The second is asked when the first does not answer, and \
         so on. The same arguments give the same resolver, also after a reload.",
    ),
    main_item(
        "medusa.dns.use",
        "(resolver: DnsResolver?) -> ()",
        "Makes this the site's resolver: `medusa.fetch` looks hosts up by it, in handler files, too. With nil, and when it is \
         not called, the system does that. A part of the site: published with the rest of the script, or not at all, and \
         gone when a reloaded script does not call it. Connections that are open already go on.",
    ),
];

pub(crate) const CLASSES: &[Class] =
    &[options::SYSTEM, options::SERVER, options::CACHE, resolver::CLASS, records::ANSWER, resolver::CACHED];

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    resolver::install(lua)?;
    let dns = lua.create_table()?;
    dns.set("system", lua.create_function(system)?)?;
    dns.set("server", lua.create_function(server)?)?;
    dns.set("use", lua.create_async_function(use_resolver)?)?;
    medusa.set("dns", dns)
}

fn system(lua: &Lua, given: Value) -> mlua::Result<ResolverValue> {
    const FUNCTION: &str = "medusa.dns.system";
    let options = options::system(lua, FUNCTION, given)?;
    let key = format!("system\0{options:?}");
    resolver(lua, FUNCTION, key, || Resolver::system(options))
}

fn server(lua: &Lua, (addresses, given): (Value, Value)) -> mlua::Result<ResolverValue> {
    const FUNCTION: &str = "medusa.dns.server";
    let addresses = self::addresses::<ServerAddr>(lua, FUNCTION, addresses, "the address of a name server")?;
    let options = options::server(lua, FUNCTION, given)?;
    // Certificates are read once, so a file that was changed makes another resolver.
    let ca = options.ca.as_ref().and_then(|ca| std::fs::metadata(ca).ok());
    let ca = ca.map(|ca| (ca.len(), ca.modified().ok()));
    let key = format!("server\0{addresses:?}\0{options:?}\0{ca:?}");
    resolver(lua, FUNCTION, key, || Resolver::server(addresses, options))
}

/// The resolver of that key; one that could not be prepared is refused here, where the script's line can be named.
fn resolver(
    lua: &Lua,
    function: &str,
    key: String,
    make: impl FnOnce() -> Result<Arc<Resolver>, DnsError>,
) -> mlua::Result<ResolverValue> {
    let make = || -> Result<_, DnsError> {
        let made = make()?;
        made.check()?;
        Ok(made)
    };
    let made = MainContext::of(lua)?.interner(lua).resolver(key, make);
    made.map(ResolverValue).map_err(|error| fail(lua, format!("{function}: {}", with_causes(&error))))
}

/// The most addresses in a list: servers that are asked, or pins of one name.
const MAX_ADDRESSES: usize = 64;

/// A string that says one address, or a list of some; `what` they are is for errors.
fn addresses<T: std::str::FromStr<Err: std::fmt::Display>>(
    lua: &Lua,
    function: &str,
    given: Value,
    what: &str,
) -> mlua::Result<Vec<T>> {
    let values = match given {
        Value::Table(given) => list(lua, format!("{function}: {what}"), &given, MAX_ADDRESSES)?,
        one => vec![one],
    };
    let parse = |value: Value| {
        let Value::String(text) = &value else {
            return Err(fail(lua, format!("{function}: {what} must be a string, not {}", show(&value))));
        };
        let parsed = text.to_string_lossy().parse();
        parsed.map_err(|error| fail(lua, format!("{function}: {error}")))
    };
    values.into_iter().map(parse).collect()
}

async fn use_resolver(lua: Lua, (given, rest): (Value, MultiValue)) -> mlua::Result<()> {
    let at = origin(&lua);
    no_more(&lua, "medusa.dns.use(resolver)", &rest)?;
    let resolver = match given {
        Value::Nil => None,
        given => {
            let shown = show(&given);
            let resolver = ResolverValue::from_lua(given, &lua);
            let wrong = |_other| {
                fail(&lua, format!("medusa.dns.use: expected a resolver, from medusa.dns, found {shown}"))
            };
            Some(resolver.map_err(wrong)?.0)
        }
    };
    Transaction::edit(|draft| draft.use_resolver(resolver, at)).await
}
