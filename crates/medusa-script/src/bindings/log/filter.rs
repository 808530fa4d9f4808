//! `medusa.log.filter`.

use std::fmt::Display;
use std::sync::Arc;

use medusa_log::{Conditions, FilterSink, Statuses};
use medusa_proto::glob::Glob;
use mlua::{Lua, Table, Value};

use super::value::{SinkValue, inner, intern};
use crate::call_site::{fail, origin};
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::log::FunctionFilter;
use crate::options::Options;
use crate::print::{as_number, show};

const FUNCTION: &str = "medusa.log.filter";

pub(crate) const DOCS: Item = main_item(
    FUNCTION,
    "(what: LogFilterOptions | (record: LogRecord) -> boolean?, log: LogSink) -> LogSink",
    "Passes on the records that meet all of these conditions: cheap, and on the request's own core. Or those a function \
     says yes to, which runs in the main VM like that of `medusa.log.luau`, and may not change the site: a record about \
     which it fails or for which it has no time passes, and the status counts those as undecided. A function that is \
     stopped for its CPU time 10 times in a row is not asked any more until a reload: all records pass, the server's log \
     and the status (`switched_off`) say so. The rest is passed over, and counted.",
);

pub(crate) const OPTIONS: Class = Class {
    name: "LogFilterOptions",
    doc: "What `medusa.log.filter` can ask for. Of several, all must be met; an event of the server meets none that is \
          about requests.",
    fields: &[
        main_item("kind", "\"access\" | \"event\" | nil", "Requests only, or events only."),
        main_item(
            "level",
            "\"error\" | \"warn\" | \"info\" | \"debug\" | \"trace\" | nil",
            "What matters at least as much. A request answered 5xx is an error, 4xx a warning, any other `info`.",
        ),
        main_item(
            "status",
            "number | string | { number | string } | { min: number, max: number } | nil",
            "Requests answered so: `404`, `\"5xx\"`, `\"400-417\"`, several as `\"4xx|5xx\"` or in a list, or \
             `{ min = 400, max = 599 }`.",
        ),
        main_item(
            "method",
            "string | { string } | nil",
            "Requests with this method: `\"GET\"`, `\"PUT|DELETE\"` or a list.",
        ),
        main_item(
            "path",
            "string | { string } | nil",
            "Requests for these paths, decoded and without the query: `\"/api/*\"` is right below `/api/`, `\"/api/**\"` is \
             all below it, `\"*.css\"` is wherever it is.",
        ),
        main_item(
            "server",
            "string | { string } | nil",
            "Requests to the server of this name, or of one of these names.",
        ),
    ],
    methods: &[],
};

pub(super) fn install(lua: &Lua, log: &Table) -> mlua::Result<()> {
    log.set("filter", lua.create_function(filter)?)
}

fn filter(lua: &Lua, (what, sink): (Value, Value)) -> mlua::Result<SinkValue> {
    let context = MainContext::of(lua)?;
    let inner = inner(lua, FUNCTION, sink)?;
    let conditions = match what {
        Value::Function(function) => {
            let filter = FunctionFilter::new(&context.logs, function, origin(lua), inner)?;
            return Ok(SinkValue(Arc::new(filter)));
        }
        Value::Table(_) => conditions(lua, what)?,
        other => {
            let other = show(&other);
            return Err(fail(
                lua,
                format!("{FUNCTION}: expected conditions or a function(record), found {other}"),
            ));
        }
    };
    // It keeps its inner sink alive, so nothing else can come to be at that address.
    let key = format!("filter\0{conditions:?}\0{:p}", Arc::as_ptr(&inner));
    intern(lua, key, || Arc::new(FilterSink::new(conditions, inner)))
}

fn conditions(lua: &Lua, what: Value) -> mlua::Result<Conditions> {
    let mut options = Options::new(lua, FUNCTION, what)?;
    let conditions = Conditions {
        kind: named(lua, &mut options, "kind")?,
        level: named(lua, &mut options, "level")?,
        status: match options.get("status", "a status, or several")? {
            Some(value) => Some(statuses(lua, value)?),
            None => None,
        },
        method: texts(lua, &mut options, "method", Some('|'))?,
        path: match texts(lua, &mut options, "path", None)? {
            Some(paths) => Some(paths.iter().map(|path| glob(lua, path)).collect::<mlua::Result<_>>()?),
            None => None,
        },
        server: texts(lua, &mut options, "server", None)?,
    };
    options.finish()?;
    if conditions == Conditions::default() {
        return Err(fail(lua, format!("{FUNCTION}: there is no condition, such as status = \"5xx\"")));
    }
    Ok(conditions)
}

fn wrong(lua: &Lua, key: &str, why: impl Display) -> mlua::Error {
    fail(lua, format!("{FUNCTION}: `{key}`: {why}"))
}

/// The option `key`, which is one of a few names.
fn named<T: std::str::FromStr<Err: Display>>(
    lua: &Lua,
    options: &mut Options<'_>,
    key: &'static str,
) -> mlua::Result<Option<T>> {
    let name = options.get::<String>(key, "a string")?;
    name.map(|name| name.parse()).transpose().map_err(|error| wrong(lua, key, error))
}

fn glob(lua: &Lua, text: &str) -> mlua::Result<Glob> {
    Glob::parse(text).map_err(|error| wrong(lua, "path", format!("{text:?}: {error}")))
}

/// The most texts of one condition: each is looked at with each record.
const MOST_TEXTS: usize = 100;

/// The longest of them, in bytes.
const LONGEST_TEXT: usize = 1024;

/// The option `key`: a text, which may be several with `between`, or a list of texts.
fn texts(
    lua: &Lua,
    options: &mut Options<'_>,
    key: &'static str,
    between: Option<char>,
) -> mlua::Result<Option<Vec<String>>> {
    let Some(value) = options.get::<Value>(key, "a string or a list of strings")? else { return Ok(None) };
    let text = |value: &Value| match value {
        Value::String(text) if text.as_bytes().len() > LONGEST_TEXT => {
            Err(wrong(lua, key, format!("a text has at most {LONGEST_TEXT} bytes")))
        }
        Value::String(text) => text.to_str().map(|text| text.to_owned()),
        other => Err(wrong(lua, key, format!("expected a string, found {}", show(other)))),
    };
    let texts = match &value {
        Value::Table(list) => {
            let first = list.sequence_values::<Value>().take(MOST_TEXTS + 1);
            first.map(|value| text(&value?)).collect::<mlua::Result<Vec<_>>>()?
        }
        value => match (text(value)?, between) {
            (text, Some(between)) => text.split(between).map(|text| text.trim().to_owned()).collect(),
            (text, None) => vec![text],
        },
    };
    if texts.len() > MOST_TEXTS {
        return Err(wrong(lua, key, format!("there are more than {MOST_TEXTS} texts")));
    }
    if texts.is_empty() {
        return Err(wrong(lua, key, "the list is empty"));
    }
    Ok(Some(texts))
}

fn statuses(lua: &Lua, value: Value) -> mlua::Result<Vec<Statuses>> {
    let Value::Table(table) = value else { return some_statuses(lua, &value) };
    if table.raw_len() > 0 {
        let each = table.sequence_values::<Value>().take(MOST_TEXTS).map(|value| some_statuses(lua, &value?));
        let all = each.collect::<mlua::Result<Vec<_>>>()?.concat();
        let few = table.raw_len() <= MOST_TEXTS && all.len() <= MOST_TEXTS;
        return if few {
            Ok(all)
        } else {
            Err(wrong(lua, "status", format!("there are more than {MOST_TEXTS}")))
        };
    }
    let mut range = Options::new(lua, "medusa.log.filter status", Value::Table(table))?;
    let first = range.get("min", "a whole number")?.unwrap_or(100);
    let last = range.get("max", "a whole number")?.unwrap_or(599);
    range.finish()?;
    Ok(vec![Statuses::between(first, last).map_err(|error| wrong(lua, "status", error))?])
}

/// A number, or a text of one or more.
fn some_statuses(lua: &Lua, value: &Value) -> mlua::Result<Vec<Statuses>> {
    let text = match value {
        Value::String(text) if text.as_bytes().len() > LONGEST_TEXT => {
            return Err(wrong(lua, "status", format!("a text has at most {LONGEST_TEXT} bytes")));
        }
        Value::String(text) => text.to_str()?.to_owned(),
        value => match as_number(value) {
            Some(number) => number.to_string(),
            None => return Err(wrong(lua, "status", format!("{} is no status", show(value)))),
        },
    };
    text.split('|').map(|one| one.parse().map_err(|error| wrong(lua, "status", error))).collect()
}
