//! `probe`: the command of a session that shows the locals of a line of a running script.

use std::ops::Bound;
use std::time::Duration;

use medusa_proto::progress::TaskProgress;
use mlua::{Function, Lua, MultiValue, Value};
use tokio::sync::watch;

use super::command_table::CommandTable;
use super::history::of_session;
use crate::call_site::fail;
use crate::chunk::is_statement;
use crate::context::MainContext;
use crate::counted::some_of;
use crate::docs::{Class, Item, session_item};
use crate::options::{Options, no_more};
use crate::print::{first_values, show, shown_value, values};
use crate::probe::{self, Hit, Line, MOST_PROBES, Probe, ProbedLines};
use crate::transaction::{ProgressSender, Transaction};

const FUNCTION: &str = "probe";

pub(crate) const DOCS: Item = session_item(
    FUNCTION,
    "(place: string, fn: ((locals: { [string]: any }) -> ...any) | ProbeOptions | nil, options: ProbeOptions?) \
     -> string",
    "Shows the locals of a line of a script, `\"handlers/api.luau:12\"`, each time something comes to it, as they \
     are before the line is run: in the main script, in handler files on all workers, in their modules and in saved \
     edits. With a function, that is called in this session with a table of the locals (name and value), and what \
     it prints and returns is shown instead. It ends when the line was come to `max` times (default 10), whether the \
     function has shown anything or not, after `ttl` seconds (default 60), when it is cancelled, and with the session. Nothing waits for it, and nothing can fail by it: what is \
     shown is a copy, of up to 50 locals and 400 values in tables, 3 levels deep; texts are cut after 1 KiB, and \
     what was left out is marked by the key `…`. Of a `req` it has what was read of it, and its method, path, \
     query, host, client, id and params.",
);

pub(crate) const OPTIONS: Class = Class {
    name: "ProbeOptions",
    doc: "When a probe ends.",
    fields: &[
        session_item(
            "max",
            "number?",
            "When the line was come to so many times, whatever was shown of them: 10 unless set, at most 1000.",
        ),
        session_item("ttl", "number?", "After so many seconds: 60 unless set, at most 3600."),
    ],
    methods: &[],
};

/// How many hits are shown, unless another number is given, and the most.
const SHOWN: u64 = 10;
const MOST: u64 = 1000;
/// The seconds that it takes at most, unless another number is given, and the most.
const TIME: Duration = Duration::from_mins(1);
const MOST_SECONDS: f64 = 3600.0;

/// How many hits may be said and not read yet.
const FEW: usize = 8;

pub(super) fn install(commands: &CommandTable<'_>) -> mlua::Result<()> {
    commands.add_async(FUNCTION, probe)
}

async fn probe(
    lua: Lua,
    (place, function, options, rest): (Value, Value, Value, MultiValue),
) -> mlua::Result<String> {
    no_more(&lua, "probe(place, fn, options)", &rest)?;
    let transaction = of_session(&lua, FUNCTION)?;
    let failed = |why: String| fail(&lua, format!("{FUNCTION}: {why}"));
    let line = match &place {
        Value::String(place) => place.to_str().ok().and_then(|place| Line::parse(&place)),
        _ => None,
    };
    let line = line.ok_or_else(|| {
        let given = show(&place);
        failed(format!("the place must be a file and a line, like \"handlers/api.luau:12\", not {given}"))
    })?;
    let (function, options) = match (function, options) {
        (Value::Function(function), options) => (Some(function), options),
        (Value::Nil, options) | (options @ Value::Table(_), Value::Nil) => (None, options),
        (other, _) => {
            return Err(failed(format!("fn must be a function of the locals, not {}", show(&other))));
        }
    };
    let mut options = Options::new(&lua, FUNCTION, options)?;
    let max = options.whole::<u64>("max", 1..=MOST)?.unwrap_or(SHOWN);
    let range = (Bound::Excluded(0.0), Bound::Included(MOST_SECONDS));
    let time = options.seconds("ttl", range)?.unwrap_or(TIME);
    options.finish()?;
    let context = MainContext::of(&lua)?;
    let published = context.live.watch_published();
    let probe = Probe::begin(line.clone(), max, time);
    let probe =
        probe.ok_or_else(|| failed(format!("{MOST_PROBES} probes are on already, which is the most")))?;
    let probe = SetProbe { probe, load: context.live.site().loaded, context };
    let found = probe.set(&lua).await.map_err(failed)?;
    let lines = lines_of(&line, &found).map_err(failed)?;
    let (_, run) = first_values(&lua, None)?;
    let call = function.map(|function| (run, function));
    let looking = Probing { lua, probe, file: line.file, call, events: transaction.events() };
    if let Some(lines) = lines {
        looking.say(lines).await?;
    }
    looking.on(max, published).await
}

/// What is to be said of the lines that a probe was set at, where they are not the one that was named.
fn lines_of(line: &Line, found: &ProbedLines) -> Result<Option<String>, String> {
    let Line { file, number } = line;
    if let Some(first) = found.lines.first() {
        if found.lines.iter().eq([number]) {
            return Ok(None);
        }
        let all: Vec<_> = found.lines.iter().map(u32::to_string).collect();
        let lines =
            if all.len() == 1 { format!("line {first}") } else { format!("lines {}", all.join(", ")) };
        return Ok(Some(format!("{file}:{number} has no code: the probe is at {lines}")));
    }
    if found.is_split_loop {
        return Err(format!(
            "{file}:{number} begins a loop over what is written in another line, where none can be: name that line"
        ));
    }
    if found.files > 0 {
        return Err(format!("{file} has no code in line {number} or below it"));
    }
    if is_statement(file.as_bytes()) {
        let why = "what was typed at a prompt has no lines that last: save() it, and name its file in live/";
        return Err(why.to_owned());
    }
    let names: Vec<_> = found.loaded.iter().cloned().collect();
    Err(format!(
        "no file {file:?} is loaded, by its path below the script's directory; there are: {}",
        some_of(&names)
    ))
}

/// A probe, and where it is set. It is taken out when this is dropped.
struct SetProbe {
    probe: Probe,
    /// The generation that has loaded the script then.
    load: u64,
    context: MainContext,
}

impl SetProbe {
    /// Sets it in the main VM that runs, and in all workers.
    async fn set(&self, lua: &Lua) -> Result<ProbedLines, String> {
        let (context, point) = (&self.context, self.probe.point());
        let mut found = probe::set(lua, &context.chunks, context.functions.requests().as_ref(), point)?;
        found.add(context.scripts.set_probe(point, false).await?);
        Ok(found)
    }

    /// Whether what was published since has the file anew, without the probe.
    async fn is_replaced(&self, file: &str) -> bool {
        let MainContext { live, chunks, scripts, .. } = &self.context;
        let is_main = !chunks.of(file).is_empty() && live.site().loaded != self.load;
        let found = scripts.set_probe(self.probe.point(), true).await;
        is_main || found.is_ok_and(|found| found.without > 0)
    }
}

impl Drop for SetProbe {
    fn drop(&mut self) {
        self.context.scripts.remove_probe(self.probe.point());
    }
}

/// A probe that is set, and whom it is shown.
struct Probing {
    lua: Lua,
    probe: SetProbe,
    file: String,
    /// What calls the function, and the function.
    call: Option<(Function, Function)>,
    events: Option<ProgressSender>,
}

impl Probing {
    /// Shows what comes, until it is over. Returns how much that was.
    async fn on(mut self, max: u64, mut published: watch::Receiver<u64>) -> mlua::Result<String> {
        let deadline = tokio::time::Instant::from_std(self.probe.probe.deadline());
        let mut shown = 0;
        let mut is_replaced = false;
        while shown < max {
            let next = async {
                tokio::select! {
                    biased;
                    hit = self.probe.probe.next() => hit.map(Some),
                    published = published.changed(), if !is_replaced => published.ok().map(|()| None),
                    () = tokio::time::sleep_until(deadline) => None,
                }
            };
            match Transaction::excuse(next).await {
                Some(Some(hit)) => {
                    self.show(&hit).await?;
                    shown += 1;
                }
                Some(None) => {
                    is_replaced = self.probe.is_replaced(&self.file).await;
                    if is_replaced {
                        let file = &self.file;
                        let told = format!(
                            "{file} was loaded anew: this probe is in what ran before; begin another"
                        );
                        self.say(told).await?;
                    }
                }
                None => break,
            }
        }
        probe::remove(self.probe.probe.point());
        let times = if shown == 1 { "once" } else { "times" };
        let seen = if shown == 1 { times.to_owned() } else { format!("{shown} {times}") };
        Ok(match self.probe.probe.missed() {
            0 => seen,
            missed => format!("{seen}; {missed} more came too fast to be shown"),
        })
    }

    async fn show(&self, hit: &Hit) -> mlua::Result<()> {
        let Some((run, function)) = &self.call else {
            let locals = shown_value(&Value::Table(hit.locals.to_table(&self.lua, true)?));
            return self.say(format!("{}:{} {locals}", self.file, hit.line)).await;
        };
        let locals = hit.locals.to_table(&self.lua, false)?;
        let returned = run.call_async::<MultiValue>((function, locals)).await?;
        match values(&returned) {
            Some(shown) => self.say(shown).await,
            None => Ok(()),
        }
    }

    /// Waits for who reads, until it is over: meanwhile the queue of hits fills, and not the server's memory.
    async fn say(&self, text: String) -> mlua::Result<()> {
        let Some(events) = &self.events else { return Ok(()) };
        let unread = async {
            // As good as all that was said before is read.
            drop(events.reserve_many(events.max_capacity() - FEW).await);
            events.send(TaskProgress::Output(text)).await
        };
        let deadline = tokio::time::Instant::from_std(self.probe.probe.deadline());
        match Transaction::excuse(tokio::time::timeout_at(deadline, unread)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(mlua::Error::runtime("nobody reads what is probed")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_file_and_a_line() {
        let place = |file: &str, number| Some(Line { file: file.to_owned(), number });
        assert_eq!(Line::parse("handlers/api.luau:12"), place("handlers/api.luau", 12));
        assert_eq!(Line::parse("./a:b.luau:1"), place("a:b.luau", 1));
        for wrong in ["", "a.luau", "a.luau:", ":3", "a.luau:0", "a.luau:-1", "a.luau:x", "a.luau:4294967296"]
        {
            assert_eq!(Line::parse(wrong), None, "{wrong}");
        }
    }
}
