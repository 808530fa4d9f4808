//! `medusa.log.file`.

use std::sync::Arc;
use std::time::Duration;

use medusa_log::{FileSink, Fsync, OptionError, Options as FileOptions, Rotation, Target};
use mlua::{Lua, Table, Value};

use super::full;
use super::value::{SinkValue, format, intern};
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::options::{Options, list, text_argument};
use crate::print::{as_number, as_whole, show};

const FUNCTION: &str = "medusa.log.file";

pub(crate) const DOCS: Item = main_item(
    "medusa.log.file",
    "(path: string, options: LogFileOptions?) -> LogSink",
    "Appends a line per request to a file (`\"-\"`: standard output, `\"stderr\"`: standard error). A request never \
          waits for it: records go through a bounded queue to a thread of the sink's own; what does not fit is counted, \
          and the loss is written into the file when it works again. The directory is made if need be. A file that others \
          have renamed or deleted is made anew within a second, or at once by `medusa reopen` and SIGUSR1.",
);

/// The option `format`, of whatever sink.
pub(super) const FORMAT: &str = "How a record is written: `\"combined\"` (the default) and `\"common\"`, Apache's log \
     formats; `\"json\"`, with ECS field names; `\"logfmt\"`; or a template in Apache's letters, such as \
     `'%h %l %u %t \"%r\" %>s %b %D'`. Letters: `%h` client (its name, if one was found), `%a` its address, `%u` user, `%l` \
     always `-`, `%t` and `%{strftime}t` time, `%r` request line, `%m` method, `%U` path, `%q` query, `%H` protocol, `%s` \
     status, `%b` and `%B` bytes, `%D` `%{ms}T` `%T` duration in µs, ms, s, `%v` server, `%V` host asked for, `%L` request \
     id, `%{Referer}i`, `%{User-Agent}i`, `%{Host}i`, `%%`. A value never holds the character that stands behind it in the \
     template, nor a control character: those are written as `\\xHH`. Events of the server's own start with `# ` in the text \
     formats.";

pub(crate) const OPTIONS: Class = Class {
    name: "LogFileOptions",
    doc: "What `medusa.log.file` takes.",
    fields: &[
        main_item("format", "string?", FORMAT),
        main_item(
            "rotate",
            "(string | number | { string | number })?",
            "When the file is renamed, and a new one begun: `\"hourly\"`, `\"daily\"`, `\"weekly\"` (on Mondays) or `\"monthly\"`, \
             at the end of the hour, day, week, month of local time; or before it would grow beyond a size, `\"100MB\"`, \
             `\"64KiB\"` or a number of bytes, at least 1000; or both: `{ \"daily\", \"100MB\" }`. Default: never. \
             `access.log` becomes `access.log.2026-11-23` by the day (for a week its Monday) of its lines, \
             `access.log.2026-11-23-14` by the hour, `access.log.2026-11` by the month, and the next of the same time \
             `access.log.2026-11-23.1`; no file is overwritten. A line belongs to the time at which it is written, up to \
             100 ms after its request, and no line is divided. A file left from an earlier time is rotated before the \
             first line. An empty file stays.",
        ),
        main_item(
            "keep",
            "number?",
            "With `rotate`: how many of the rotated files are kept; older ones are deleted. Default: all. No file is \
             deleted that is not named as above.",
        ),
        main_item(
            "compress",
            "\"zstd\"?",
            "With `rotate`: rotated files are compressed in the background, to `.zst` (`zstdcat` reads them). What a stop of \
             the server interrupts is done after the next start. Default: not compressed.",
        ),
        main_item(
            "fsync",
            "(boolean | string | number)?",
            "When lines must have reached the disk, so that no crash of the machine can lose them: `true` after each \
             batch, or at the latest after a time, `\"1s\"`, `\"200ms\"` or a number of seconds, from 10 ms to an hour. \
             Default: `false`, when the system finds the time. A crash of the server alone loses nothing written.",
        ),
        main_item(
            "mode",
            "string?",
            "The permissions of a file that is made, in octal: `\"0640\"`, whatever the umask is. Everybody must not write. \
             Default: `\"0640\"` less the umask; after a rotation, as the file before.",
        ),
        full::WHEN_FULL,
        full::QUEUE,
        full::QUEUE_BYTES,
        full::SPILL_BYTES,
    ],
    methods: &[],
};

pub(super) fn install(lua: &Lua, log: &Table) -> mlua::Result<()> {
    log.set("file", lua.create_function(file)?)
}

fn file(lua: &Lua, (path, options): (Value, Value)) -> mlua::Result<SinkValue> {
    let path = text_argument(lua, FUNCTION, "the path", &path)?;
    let context = MainContext::of(lua)?;
    let mut given = Options::new(lua, FUNCTION, options)?;
    let mut options = FileOptions::default();
    if let Some(format) = format(lua, &mut given, FUNCTION, "format")? {
        options.format = format;
    }
    options.queue = full::queue_options(lua, &mut given, FUNCTION, &context.path(&path).to_string_lossy())?;
    options.rotation = rotation(lua, &mut given)?;
    if let Some(value) = given.get::<Value>("fsync", "true, false or a time")? {
        options.fsync = fsync(&value).map_err(|error| wrong(lua, "fsync", &error))?;
    }
    if let Some(mode) = given.get::<String>("mode", "a string")? {
        options.mode = Some(mode.parse().map_err(|error| wrong(lua, "mode", &error))?);
    }
    given.finish()?;
    let target = match path.as_str() {
        "" => return Err(fail(lua, format!("{FUNCTION}: the path is empty; \"-\" is standard output"))),
        "-" => Target::Stdout,
        "stderr" => Target::Stderr,
        path => Target::Path(context.path(path)),
    };
    let key = format!("file\0{target:?}\0{options:?}");
    intern(lua, key, || Arc::new(FileSink::new(target, options)))
}

/// `rotate`, and what only makes sense with it.
fn rotation(lua: &Lua, given: &mut Options<'_>) -> mlua::Result<Option<Rotation>> {
    let rotate = given.get::<Value>("rotate", "a period, a size or a list of both")?;
    let keep = given.whole("keep", 1..)?;
    let compress = given.get::<String>("compress", "a string")?;
    let Some(rotate) = rotate else {
        return match (keep, compress) {
            (None, None) => Ok(None),
            (Some(_), _) => Err(fail(lua, format!("{FUNCTION}: `keep` needs `rotate`"))),
            (None, Some(_)) => Err(fail(lua, format!("{FUNCTION}: `compress` needs `rotate`"))),
        };
    };
    let mut rotation = Rotation::default();
    let added = occasions(lua, &rotate)?.iter().try_for_each(|occasion| add(&mut rotation, occasion));
    added.map_err(|error| wrong(lua, "rotate", &error))?;
    rotation.keep = keep;
    rotation.compress = match compress.as_deref() {
        None => false,
        Some("zstd") => true,
        Some(other) => {
            return Err(fail(lua, format!("{FUNCTION}: `compress`: \"zstd\" is expected, not {other:?}")));
        }
    };
    Ok(Some(rotation))
}

/// The most occasions in a list: there is a time and a size.
const MAX_OCCASIONS: usize = 8;

/// One occasion to rotate, or a list of them.
fn occasions(lua: &Lua, rotate: &Value) -> mlua::Result<Vec<Value>> {
    let list = match rotate {
        Value::Table(occasions) => list(lua, format!("{FUNCTION}: `rotate`"), occasions, MAX_OCCASIONS)?,
        one => vec![one.clone()],
    };
    // A table with nothing to count says no occasion, whatever else it says.
    if list.is_empty() { Ok(vec![Value::String(lua.create_string("")?)]) } else { Ok(list) }
}

fn add(rotation: &mut Rotation, occasion: &Value) -> Result<(), OptionError> {
    match (occasion, as_whole(occasion, ..)) {
        (Value::String(text), _) => rotation.add(&text.to_string_lossy()),
        (_, Some(bytes)) => rotation.add_size(bytes),
        _ => rotation.add(&show(occasion)),
    }
}

fn fsync(value: &Value) -> Result<Fsync, OptionError> {
    match (value, as_number(value)) {
        (Value::Boolean(true), _) => Ok(Fsync::Always),
        (Value::Boolean(false), _) => Ok(Fsync::Never),
        (Value::String(text), _) => text.to_string_lossy().parse(),
        (_, Some(seconds)) => Fsync::every(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)),
        _ => show(value).parse(),
    }
}

fn wrong(lua: &Lua, option: &str, error: &OptionError) -> mlua::Error {
    fail(lua, format!("{FUNCTION}: `{option}`: {error}"))
}
