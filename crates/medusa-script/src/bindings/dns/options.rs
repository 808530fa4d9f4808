//! What a resolver is made with.

use medusa_dns::{CacheOptions, Protocol, ServerOptions, SystemOptions};
use mlua::{Lua, Value};

use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, main_item};
use crate::options::Options;

pub(super) const SYSTEM: Class = Class {
    name: "DnsSystemOptions",
    doc: "What `medusa.dns.system` takes.",
    fields: &[
        main_item("resolv_conf", "string?", "Another file than `/etc/resolv.conf`; relative to the script."),
        main_item("hosts", "string?", "Another file than `/etc/hosts`; relative to the script."),
        main_item("cache", "DnsCacheOptions?", "What is remembered, and for how long."),
    ],
    methods: &[],
};

pub(super) const SERVER: Class = Class {
    name: "DnsServerOptions",
    doc: "What `medusa.dns.server` takes.",
    fields: &[
        main_item(
            "protocol",
            "\"udp\" | \"tcp\" | \"tls\" | \"https\" | nil",
            "How to speak with the servers. Default `\"udp\"`, with TCP for answers that do not fit in a datagram.",
        ),
        main_item(
            "tls_name",
            "string?",
            "The name that must be in the servers' certificate, with `tls` and `https`. Default: their address.",
        ),
        main_item(
            "ca",
            "string?",
            "A PEM file of the certificate authorities to trust, with `tls` and `https`; relative to the script. Default: \
             the system's.",
        ),
        main_item("path", "string?", "Where on an `https` server its answers are. Default `\"/dns-query\"`."),
        main_item(
            "timeout",
            "number?",
            "Seconds that a server may take for one answer: 0.01 to 60. Default 2.",
        ),
        main_item(
            "attempts",
            "number?",
            "How often each server is asked before giving up: 1 to 10. Default 2.",
        ),
        main_item(
            "rotate",
            "boolean?",
            "Whether the servers take turns, instead of the first one for as long as it answers. Default false.",
        ),
        main_item(
            "hosts",
            "string?",
            "A file of names that the servers are not asked for, such as `/etc/hosts`; relative to the script. Default: none.",
        ),
        main_item("cache", "DnsCacheOptions?", "What is remembered, and for how long."),
    ],
    methods: &[],
};

pub(super) const CACHE: Class = Class {
    name: "DnsCacheOptions",
    doc: "What a resolver remembers, and for how long. Times are in seconds.",
    fields: &[
        main_item(
            "entries",
            "number?",
            "How many answers. Default 65,536. When there is no room, those not asked for lately go.",
        ),
        main_item("bytes", "number?", "How much memory they may take together. Default 64 MiB."),
        main_item(
            "min_ttl",
            "number?",
            "Answers hold at least this long, whatever the server says. Default 0.",
        ),
        main_item("max_ttl", "number?", "Answers hold at most this long. Default 86,400: a day."),
        main_item(
            "negative_max",
            "number?",
            "That there is no such name holds at most this long. Default 10,800: three hours.",
        ),
        main_item(
            "failure_ttl",
            "number?",
            "After a failure, how long a name is not asked for again: 1 to 300. Default 5.",
        ),
        main_item(
            "stale",
            "number?",
            "For how long an answer is given beyond its time while no server answers. Default 86,400; 0: never.",
        ),
        main_item(
            "prefetch",
            "boolean?",
            "Whether what is in use is asked for again before its time is over. Default true.",
        ),
    ],
    methods: &[],
};

pub(super) fn system(lua: &Lua, function: &'static str, given: Value) -> mlua::Result<SystemOptions> {
    let context = MainContext::of(lua)?;
    let mut given = Options::new(lua, function, given)?;
    let default = SystemOptions::default();
    let path = |given: Option<String>| given.map(|path| context.path(&path));
    let options = SystemOptions {
        resolv_conf: path(given.get("resolv_conf", "a string")?).unwrap_or(default.resolv_conf),
        hosts: path(given.get("hosts", "a string")?).unwrap_or(default.hosts),
        cache: cache(lua, function, given.get("cache", "a table")?)?,
    };
    given.finish()?;
    Ok(options)
}

pub(super) fn server(lua: &Lua, function: &'static str, given: Value) -> mlua::Result<ServerOptions> {
    let context = MainContext::of(lua)?;
    let mut given = Options::new(lua, function, given)?;
    let default = ServerOptions::default();
    let path = |given: Option<String>| given.map(|path| context.path(&path));
    let protocol = given.get::<String>("protocol", "a string")?.map(|protocol| protocol.parse::<Protocol>());
    let protocol = protocol.transpose().map_err(|error| fail(lua, format!("{function}: {error}")))?;
    let options = ServerOptions {
        protocol: protocol.unwrap_or(default.protocol),
        tls_name: given.get("tls_name", "a string")?,
        ca: path(given.get("ca", "a string")?),
        path: given.get("path", "a string")?.unwrap_or(default.path),
        timeout: given.seconds("timeout", 0.0..)?.unwrap_or(default.timeout),
        attempts: given.whole("attempts", 0..)?.unwrap_or(default.attempts),
        rotate: given.get("rotate", "a boolean")?.unwrap_or(default.rotate),
        hosts: path(given.get("hosts", "a string")?),
        cache: cache(lua, function, given.get("cache", "a table")?)?,
    };
    given.finish()?;
    Ok(options)
}

fn cache(lua: &Lua, function: &'static str, given: Option<Value>) -> mlua::Result<CacheOptions> {
    let mut given = Options::new(lua, function, given.unwrap_or(Value::Nil))?;
    let default = CacheOptions::default();
    let options = CacheOptions {
        entries: given.whole("entries", 0..)?.unwrap_or(default.entries),
        bytes: given.whole("bytes", 0..)?.unwrap_or(default.bytes),
        min_ttl: given.seconds("min_ttl", 0.0..)?.unwrap_or(default.min_ttl),
        max_ttl: given.seconds("max_ttl", 0.0..)?.unwrap_or(default.max_ttl),
        negative_max: given.seconds("negative_max", 0.0..)?.unwrap_or(default.negative_max),
        failure_ttl: given.seconds("failure_ttl", 0.0..)?.unwrap_or(default.failure_ttl),
        stale: given.seconds("stale", 0.0..)?.unwrap_or(default.stale),
        prefetch: given.get("prefetch", "a boolean")?.unwrap_or(default.prefetch),
    };
    given.finish()?;
    Ok(options)
}
