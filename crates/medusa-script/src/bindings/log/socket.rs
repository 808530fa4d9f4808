//! `medusa.log.socket`, and what it shares with `medusa.log.syslog`.

use std::ops::RangeInclusive;
use std::sync::Arc;

use medusa_log::{
    LineEnd, RecordFraming, RemoteOptions, RemoteSink, RemoteTarget, Scheme, TlsOptions, UnixKind,
};
use mlua::{Lua, Table, Value};

use super::full;
use super::tls::{self, TLS};
use super::value::{SinkValue, format, intern};
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::options::{Options, text_argument};

const FUNCTION: &str = "medusa.log.socket";

pub(crate) const DOCS: Item = main_item(
    FUNCTION,
    "(target: string, options: LogSocketOptions?) -> LogSink",
    "Sends a line per request to a socket: `tcp://host:port`, `tls://host:port`, `unix:/path` (streams), \
          `udp://host:port`, `unixgram:/path` (one line per datagram). A name that has no address is an error at once; a \
          target that does not answer is none: records wait for it. A stream that breaks is connected again, at once, then \
          after 0.1 s up to 10 s, and what may not have arrived is sent again: a receiver may see up to 8 MiB twice. By UDP, \
          nobody knows what arrives.",
);

pub(crate) const OPTIONS: Class = Class {
    name: "LogSocketOptions",
    doc: "What `medusa.log.socket` takes.",
    fields: &[
        FORMAT,
        FRAMING,
        TLS,
        MAX_SIZE,
        full::WHEN_FULL,
        full::QUEUE,
        full::QUEUE_BYTES,
        full::SPILL_BYTES,
    ],
    methods: &[],
};

const FORMAT: Item = main_item(
    "format",
    "string?",
    "How a record is written, as in `medusa.log.file`. Default `\"combined\"`.",
);

const FRAMING: Item = main_item(
    "framing",
    "\"newline\" | \"nul\" | nil",
    "What ends a line on a stream: a line feed (the default) or a zero byte.",
);

pub(super) const MAX_SIZE: Item = main_item(
    "max_size",
    "number?",
    "The most bytes of a datagram, 480 to 65507; what is longer is cut. Default: for UDP what the network carries in \
          one piece, but not more than 2048, which is what every receiver should take; for `unixgram:` what the kernel takes.",
);

pub(super) fn install(lua: &Lua, log: &Table) -> mlua::Result<()> {
    log.set("socket", lua.create_function(socket)?)
}

fn socket(lua: &Lua, (target, options): (Value, Value)) -> mlua::Result<SinkValue> {
    let target = text_argument(lua, FUNCTION, "the target", &target)?;
    let context = MainContext::of(lua)?;
    let mut given = Options::new(lua, FUNCTION, options)?;
    let target = RemoteTarget::parse(&target)
        .map_err(|error| fail(lua, format!("{FUNCTION}: {error}")))?
        .map_path(|path| context.path(path));
    if target.is_relp() {
        return Err(fail(
            lua,
            format!("{FUNCTION}: {target} takes syslog messages: use medusa.log.syslog(\"{target}\")"),
        ));
    }
    let format = format(lua, &mut given, FUNCTION, "format")?.unwrap_or_default();
    let end = framing::<LineEnd>(lua, &mut given, FUNCTION, &target)?.unwrap_or_default();
    let common = NetworkOptions::read(lua, &context, &mut given, FUNCTION, &target)?;
    given.finish()?;
    let options = common.with(RecordFraming::Lines(format, end));
    remote(lua, FUNCTION, target, options)
}

/// Reads `framing`, which only streams have.
pub(super) fn framing<T: std::str::FromStr<Err: std::fmt::Display>>(
    lua: &Lua,
    given: &mut Options<'_>,
    function: &str,
    target: &RemoteTarget,
) -> mlua::Result<Option<T>> {
    let Some(name) = given.get::<String>("framing", "a string")? else { return Ok(None) };
    if target.is_relp() {
        return Err(fail(lua, format!("{function}: RELP has a framing of its own: leave `framing` out")));
    }
    if is_datagrams(target) {
        return Err(fail(lua, format!("{function}: `framing` is for streams; {target} takes datagrams")));
    }
    name.parse().map(Some).map_err(|error| fail(lua, format!("{function}: {error}")))
}

const fn is_datagrams(target: &RemoteTarget) -> bool {
    matches!(target, RemoteTarget::Net(Scheme::Udp, _) | RemoteTarget::Unix(_, UnixKind::Datagram))
}

/// The options that all network sinks have.
pub(super) struct NetworkOptions {
    tls: TlsOptions,
    max_size: Option<usize>,
    queue: medusa_log::QueueOptions,
}

impl NetworkOptions {
    pub(super) fn read(
        lua: &Lua,
        context: &MainContext,
        given: &mut Options<'_>,
        function: &'static str,
        target: &RemoteTarget,
    ) -> mlua::Result<Self> {
        let tls = tls::tls(lua, context, given, function)?;
        if tls.is_some() && !target.is_tls() {
            return Err(fail(
                lua,
                format!("{function}: `tls` is for tls:// and relp+tls:// targets, and this is {target}"),
            ));
        }
        Ok(Self {
            tls: tls.unwrap_or_default(),
            max_size: max_size(lua, given, function, target)?,
            queue: full::queue_options(lua, given, function, &target.to_string())?,
        })
    }

    pub(super) fn with(self, framing: RecordFraming) -> RemoteOptions {
        RemoteOptions { framing, tls: self.tls, max_size: self.max_size, queue: self.queue }
    }
}

fn max_size(
    lua: &Lua,
    given: &mut Options<'_>,
    function: &str,
    target: &RemoteTarget,
) -> mlua::Result<Option<usize>> {
    const SIZES: RangeInclusive<u64> = RemoteOptions::LEAST_SIZE as u64..=RemoteOptions::GREATEST_SIZE as u64;
    let size = given.whole("max_size", SIZES)?;
    if size.is_some() && !target.may_take_datagrams() {
        return Err(fail(lua, format!("{function}: `max_size` is for datagrams; {target} is a stream")));
    }
    Ok(size)
}

/// The sink of these arguments: the one there is, or a new one.
pub(super) fn remote(
    lua: &Lua,
    function: &str,
    target: RemoteTarget,
    options: RemoteOptions,
) -> mlua::Result<SinkValue> {
    let key = format!("{function}\0{target:?}\0{options:?}");
    intern(lua, key, || Arc::new(RemoteSink::new(target, options)))
}
