//! `medusa.log.journald`.

use medusa_log::{RecordFraming, RemoteOptions, RemoteTarget, TlsOptions};
use medusa_proto::journal::Journal;
use mlua::{Lua, Table, Value};

use super::full;
use super::socket::remote;
use super::value::{SinkValue, format};
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::options::Options;

const FUNCTION: &str = "medusa.log.journald";

/// The socket of the journal.
const SOCKET: &str = "/run/systemd/journal/socket";

pub(crate) const DOCS: Item = main_item(
    FUNCTION,
    "(options: LogJournaldOptions?) -> LogSink",
    "Sends a message per request to the journal of systemd, in its own protocol: a line as `MESSAGE`, and the fields of the \
     record, by which `journalctl` finds them: `journalctl -t medusa HTTP_STATUS=404`. They are `HTTP_CLIENT`, \
     `HTTP_CLIENT_NAME`, `HTTP_USER`, `HTTP_METHOD`, `HTTP_TARGET`, `HTTP_HOST`, `HTTP_STATUS`, `HTTP_BYTES`, \
     `HTTP_DURATION_USEC`, `HTTP_REFERER`, `HTTP_USER_AGENT`, `HTTP_SERVER` and `REQUEST_ID`; events have `MEDUSA_PART`, and \
     what says that records are missing, `MEDUSA_LOST`. `PRIORITY` is that of the status: 5xx `err`, 4xx `warning`, else \
     `info`. Nothing is cut: what is too long for a datagram goes in a sealed file. While there is no journal, records wait.",
);

pub(crate) const OPTIONS: Class = Class {
    name: "LogJournaldOptions",
    doc: "What `medusa.log.journald` takes.",
    fields: &[
        main_item("path", "string?", "The socket of the journal. Default `\"/run/systemd/journal/socket\"`."),
        main_item(
            "identifier",
            "string?",
            "The program's name in each message (`SYSLOG_IDENTIFIER`). Default `\"medusa\"`; 1 to 48 letters, digits and \
             `-_./+@`.",
        ),
        main_item(
            "message",
            "string?",
            "How a record is written in `MESSAGE`, as `format` in `medusa.log.file`. Default `\"combined\"`.",
        ),
        full::WHEN_FULL,
        full::QUEUE,
        full::QUEUE_BYTES,
        full::SPILL_BYTES,
    ],
    methods: &[],
};

pub(super) fn install(lua: &Lua, log: &Table) -> mlua::Result<()> {
    log.set("journald", lua.create_function(journald)?)
}

fn journald(lua: &Lua, options: Value) -> mlua::Result<SinkValue> {
    let context = MainContext::of(lua)?;
    let mut given = Options::new(lua, FUNCTION, options)?;
    let path = given.get::<String>("path", "a string")?.unwrap_or_else(|| SOCKET.to_owned());
    let target = RemoteTarget::parse(&format!("unixgram:{path}"))
        .map_err(|error| fail(lua, format!("{FUNCTION}: `path`: {error}")))?
        .map_path(|path| context.path(path));
    let identifier = given.get::<String>("identifier", "a string")?.map(|name| name.parse()).transpose();
    let identifier =
        identifier.map_err(|error| fail(lua, format!("{FUNCTION}: {error}")))?.unwrap_or_default();
    let message = format(lua, &mut given, FUNCTION, "message")?.unwrap_or_default();
    let queue = full::queue_options(lua, &mut given, FUNCTION, &target.to_string())?;
    given.finish()?;
    let framing = RecordFraming::Journal(Journal { identifier, message });
    let options = RemoteOptions { framing, tls: TlsOptions::default(), max_size: None, queue };
    remote(lua, FUNCTION, target, options)
}
