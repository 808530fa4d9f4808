//! `medusa.log.syslog`.

use std::path::PathBuf;

use medusa_log::{RecordFraming, RemoteTarget, Scheme, UnixKind};
use medusa_proto::syslog::{SdId, Style, SyslogFraming, SyslogHeader};
use mlua::{Lua, Table, Value};

use super::full;
use super::socket::{MAX_SIZE, NetworkOptions, framing, remote};
use super::tls::TLS;
use super::value::{SinkValue, format};
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::options::{Options, text_argument_or_none};

const FUNCTION: &str = "medusa.log.syslog";

pub(crate) const DOCS: Item = main_item(
    FUNCTION,
    "(target: string?, options: LogSyslogOptions?) -> LogSink",
    "Sends a message per request to syslog. Without a target, or with nil, to that of this machine: `/dev/log`, be it \
          made for datagrams or for streams; on a system without one, records wait until there is. Or to `unix:/path`, \
          `unixgram:/path`, `udp://host` (port 514 unless it is given), `tcp://host` (514), `tls://host` (6514), \
          `relp://host:port`, `relp+tls://host:port` (RELP has no port of its own). The severity is that of the status: 5xx \
          `err`, 4xx `warning`, else `info`. Connections are as in `medusa.log.socket`; plain TCP \
          syslog acknowledges nothing, so a receiver that is restarted may see up to 8 MiB twice, and by UDP nobody knows \
          what arrives. A receiver of RELP acknowledges each message: what it has is not sent again, and what it has not is; \
          only of one that is killed between writing a message and saying so, or stands still while Medusa is stopped and \
          started, at most 1024 may come twice. Messages of more than 128 KiB are cut for it, and those that it refuses count \
          as `refused` and lost.",
);

pub(crate) const OPTIONS: Class = Class {
    name: "LogSyslogOptions",
    doc: "What `medusa.log.syslog` takes.",
    fields: &[
        main_item(
            "facility",
            "string?",
            "What part of the system the messages come from: `kern`, `user`, `mail`, `daemon` (the default), `auth`, \
                  `syslog`, ... `local0` to `local7`.",
        ),
        main_item(
            "app_name",
            "string?",
            "The program's name in each message. Default `\"medusa\"`; 1 to 48 letters, digits and `-_./+@`.",
        ),
        main_item(
            "hostname",
            "string?",
            "The machine's name in each message. Default: its host name, and none in the rfc3164 of a local target, \
                  whose readers expect none.",
        ),
        main_item(
            "format",
            "\"rfc5424\" | \"rfc3164\" | nil",
            "The protocol. Default: rfc5424 over a network; rfc3164 for a unix socket, since not every `/dev/log` \
                  understands more.",
        ),
        main_item(
            "message",
            "string?",
            "How a record is written in a message, as `format` in `medusa.log.file`. Default `\"combined\"`.",
        ),
        main_item(
            "structured",
            "boolean | string | nil",
            "With `true`, a message of rfc5424 has the fields of the record as structured data as well, named \
                  `medusa@32473`, or as you say: `\"name@<your private enterprise number>\"`. Default `false`.",
        ),
        main_item(
            "framing",
            "\"octet\" | \"lf\" | nil",
            "What tells a message from the next on a stream: its length before it (the default over a network, and the \
                  only one that TLS allows), or a line feed behind it (the default on a unix socket).",
        ),
        TLS,
        MAX_SIZE,
        full::WHEN_FULL,
        full::QUEUE,
        full::QUEUE_BYTES,
        full::SPILL_BYTES,
    ],
    methods: &[],
};

pub(super) fn install(lua: &Lua, log: &Table) -> mlua::Result<()> {
    log.set("syslog", lua.create_function(syslog)?)
}

fn syslog(lua: &Lua, (target, options): (Value, Value)) -> mlua::Result<SinkValue> {
    let target = text_argument_or_none(lua, FUNCTION, "the target", &target)?;
    let context = MainContext::of(lua)?;
    let mut given = Options::new(lua, FUNCTION, options)?;
    let target = match target {
        None => RemoteTarget::Unix(PathBuf::from(RemoteTarget::DEV_LOG), UnixKind::Either),
        Some(text) => RemoteTarget::parse_syslog(&text)
            .map_err(|error| fail(lua, format!("{FUNCTION}: {error}")))?
            .map_path(|path| context.path(path)),
    };
    let header = header(lua, &mut given, &target)?;
    let message = format(lua, &mut given, FUNCTION, "message")?.unwrap_or_default();
    let framing = framing::<SyslogFraming>(lua, &mut given, FUNCTION, &target)?;
    if framing == Some(SyslogFraming::Lf) && target.scheme() == Some(Scheme::Tls) {
        return Err(fail(
            lua,
            format!("{FUNCTION}: syslog over TLS has framing = \"octet\" only (RFC 5425)"),
        ));
    }
    let framing = framing.unwrap_or(if target.is_local() { SyslogFraming::Lf } else { SyslogFraming::Octet });
    let common = NetworkOptions::read(lua, &context, &mut given, FUNCTION, &target)?;
    given.finish()?;
    let options = common.with(RecordFraming::Syslog(Box::new(header), message, framing));
    remote(lua, FUNCTION, target, options)
}

fn header(lua: &Lua, given: &mut Options<'_>, target: &RemoteTarget) -> mlua::Result<SyslogHeader> {
    let usual = if target.is_local() { Style::Rfc3164 } else { Style::Rfc5424 };
    let style = parsed(lua, given, "format")?.unwrap_or(usual);
    let structured = structured(lua, given)?;
    if structured.is_some() && style == Style::Rfc3164 {
        return Err(fail(
            lua,
            format!("{FUNCTION}: `structured` needs format = \"rfc5424\": rfc3164 has no such data"),
        ));
    }
    let hostname = match given.get::<String>("hostname", "a string")? {
        Some(name) => name,
        None if target.is_local() && style == Style::Rfc3164 => String::new(),
        None => this_host(),
    };
    Ok(SyslogHeader {
        style,
        facility: parsed(lua, given, "facility")?.unwrap_or_default(),
        app_name: parsed(lua, given, "app_name")?.unwrap_or_default(),
        hostname,
        procid: std::process::id().to_string(),
        structured,
    })
}

fn structured(lua: &Lua, given: &mut Options<'_>) -> mlua::Result<Option<SdId>> {
    match given.get::<Value>("structured", "true, false or a name")? {
        None | Some(Value::Boolean(false)) => Ok(None),
        Some(Value::Boolean(true)) => Ok(Some(SdId::default())),
        Some(Value::String(name)) => {
            let name = name.to_string_lossy();
            name.parse().map(Some).map_err(|error| fail(lua, format!("{FUNCTION}: {error}")))
        }
        Some(_) => Err(fail(lua, format!("{FUNCTION}: `structured` must be true, false or a name"))),
    }
}

/// The option `key`, which is one of a set of names.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    lua: &Lua,
    given: &mut Options<'_>,
    key: &'static str,
) -> mlua::Result<Option<T>> {
    let Some(text) = given.get::<String>(key, "a string")? else { return Ok(None) };
    text.parse().map(Some).map_err(|error| fail(lua, format!("{FUNCTION}: {error}")))
}

/// The name of this machine; nothing if it does not say.
fn this_host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| String::new(), |name| name.trim().to_owned())
}
