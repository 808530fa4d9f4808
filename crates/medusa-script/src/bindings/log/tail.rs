//! `medusa.log.tail`, and what can be asked of one.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use medusa_log::{Follower, Tail};
use medusa_proto::format::Format;
use mlua::{Function, Lua, LuaString, Table, UserDataMethods, Value};

use super::value::{SinkValue, intern};
use crate::call_site::fail;
use crate::docs::{Class, Item, main_item};
use crate::log::record;
use crate::options::Options;
use crate::print::{as_whole, show};
use crate::transaction::Transaction;

const FUNCTION: &str = "medusa.log.tail";

pub(crate) const DOCS: Item = main_item(
    FUNCTION,
    "(n: number, options: LogTailOptions?) -> LogSink",
    "Keeps the last `n` records in memory (1 to 65,536, and at most 16 MiB), to be looked at with `:lines()` and \
     `:records()`, and followed with `:follow()`. Records come at most 100 ms after their requests. A reload keeps what it \
     holds as long as its `n` and name are the same; of several that are alike, by the order they are made in.",
);

pub(crate) const OPTIONS: Class = Class {
    name: "LogTailOptions",
    doc: "What `medusa.log.tail` takes.",
    fields: &[main_item(
        "name",
        "string?",
        "Tells it from others: the same name and `n` are the same tail, wherever and whenever it is asked for.",
    )],
    methods: &[],
};

pub(crate) const METHODS: &[Item] = &[
    main_item(
        "lines",
        "(n: number?, format: string?) -> { string }",
        "Of a `medusa.log.tail`: its last `n` records (default: all) as lines, the newest last. `format` is as for \
         `medusa.log.file`; default `\"combined\"`.",
    ),
    main_item(
        "records",
        "(n: number?) -> { LogRecord }",
        "Of a `medusa.log.tail`: its last `n` records (default: all), the newest last.",
    ),
    main_item(
        "follow",
        "(back: number?) -> (() -> (LogRecord, number))",
        "Of a `medusa.log.tail`: goes through the records as they come, `for record, missed in tail:follow() do`, for as \
         long as the loop runs; first through the last `back` (default: none). A loop that is slower than the records come \
         misses some: `missed` says how many before this one, usually 0. It works in what may wait: a statement, or a stream \
         of `medusa.http.events`. A statement's minute does not go by while it waits for the next record.",
    ),
];

/// The number of tails of each kind that this VM has made: those that are alike are told apart by it.
#[derive(Debug, Default)]
struct TailCounts(RefCell<HashMap<usize, u64>>);

pub(super) fn install(lua: &Lua, log: &Table) -> mlua::Result<()> {
    lua.set_app_data(Rc::new(TailCounts::default()));
    log.set("tail", lua.create_function(tail)?)
}

fn tail(lua: &Lua, (entries, options): (Value, Value)) -> mlua::Result<SinkValue> {
    let whole = as_whole(&entries, 1..=Tail::MAX_ENTRIES as u64);
    let entries = whole.map(|n| n as usize).ok_or_else(|| {
        let (most, entries) = (Tail::MAX_ENTRIES, show(&entries));
        fail(lua, format!("{FUNCTION}: n must be a whole number from 1 to {most}, not {entries}"))
    })?;
    let mut options = Options::new(lua, FUNCTION, options)?;
    let name = options.get::<String>("name", "a string")?;
    options.finish()?;
    let which = name.map_or_else(|| next(lua, entries).to_string(), |name| format!("named {name}"));
    intern(lua, format!("tail\0{entries}\0{which}"), || Arc::new(Tail::new(entries)))
}

/// The number of another tail of so many entries that this VM makes.
fn next(lua: &Lua, entries: usize) -> u64 {
    let made = lua.app_data_ref::<Rc<TailCounts>>().map(|made| Rc::clone(&made)).unwrap_or_default();
    let mut made = made.0.borrow_mut();
    let count = made.entry(entries).or_default();
    *count += 1;
    *count
}

pub(super) fn add_methods<M: UserDataMethods<SinkValue>>(methods: &mut M) {
    methods.add_method("lines", |lua, this, (n, format): (Value, Option<String>)| {
        let (tail, n) = (of(lua, this, "lines")?, count(lua, "lines", &n)?.unwrap_or(usize::MAX));
        let format = format.map_or(Ok(Format::default()), |format| format.parse());
        let format = format.map_err(|error| fail(lua, format!("lines: {error}")))?;
        let lines = tail.lines(n, format);
        lines.iter().map(|line| lua.create_string(line)).collect::<mlua::Result<Vec<LuaString>>>()
    });
    methods.add_method("records", |lua, this, n: Value| {
        let (tail, n) = (of(lua, this, "records")?, count(lua, "records", &n)?.unwrap_or(usize::MAX));
        tail.last(n).iter().map(|entry| record(lua, &entry)).collect::<mlua::Result<Vec<Table>>>()
    });
    methods.add_method("follow", |lua, this, back: Value| {
        let (tail, back) = (of(lua, this, "follow")?, count(lua, "follow", &back)?.unwrap_or(0));
        let follower = tail
            .subscribe(back)
            .ok_or_else(|| fail(lua, format!("follow: {} follow this log already", Tail::MAX_FOLLOWERS)))?;
        follow(lua, follower)
    });
}

/// The tail that a sink is.
fn of(lua: &Lua, sink: &SinkValue, method: &str) -> mlua::Result<Arc<Tail>> {
    let sink: Arc<dyn Any + Send + Sync> = Arc::clone(&sink.0) as _;
    sink.downcast().map_err(|_other| {
        fail(lua, format!("{method}: this log keeps no records; one from medusa.log.tail does"))
    })
}

/// The number, if it is said.
fn count(lua: &Lua, method: &str, value: &Value) -> mlua::Result<Option<usize>> {
    if value.is_nil() {
        return Ok(None);
    }
    let whole = as_whole(value, ..=1_000_000_000);
    whole.map(|n| Some(n as usize)).ok_or_else(|| {
        fail(lua, format!("{method}: expected a whole number of records, found {}", show(value)))
    })
}

/// A follower, with what it was given at once and has not passed on.
struct Following {
    follower: Follower,
    /// Tables of records, the next last, with what was missed before each.
    next: Vec<(Table, u64)>,
}

fn follow(lua: &Lua, follower: Follower) -> mlua::Result<Function> {
    let following = Rc::new(RefCell::new(Following { follower, next: Vec::new() }));
    lua.create_async_function(move |lua, (): ()| {
        let following = Rc::clone(&following);
        async move {
            let next = poll_fn(|context| {
                let Following { follower, next } = &mut *following.borrow_mut();
                if next.is_empty() {
                    let Poll::Ready((mut missed, entries)) = follower.poll_next(context) else {
                        return Poll::Pending;
                    };
                    for entry in entries.iter() {
                        next.push((record(&lua, &entry)?, std::mem::take(&mut missed)));
                    }
                    next.reverse();
                }
                Poll::Ready(next.pop().ok_or_else(|| mlua::Error::runtime("the log has ended")))
            });
            Transaction::excuse(next).await
        }
    })
}
