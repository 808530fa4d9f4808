//! The commands of a session that go back and forth in the history of the site, and those that hold a change together.

use std::sync::Arc;

use medusa_http::UseCounts;
use medusa_monitor::{GenerationInfo, Refusal};
use medusa_proto::author::Approval;
use medusa_proto::with_causes;
use medusa_site::{Generation, Guard, GuardTerms, TrialTerms, explain, reason_of, trial_of};
use mlua::{Lua, MultiValue, UserData, UserDataFields, UserDataMethods, Value};

use super::command_table::CommandTable;
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, Item, session_item};
use crate::options::{Options, no_more, text_argument, text_argument_or_none};
use crate::print::{as_number, as_whole, show};
use crate::transaction::Transaction;

pub(crate) const DOCS: &[Item] = &[
    session_item(
        "begin",
        "() -> ()",
        "Begins a change of several statements: what they edit is published together by `commit()`, or not at all. It holds \
         up nobody; if somebody else has changed the site by then, `commit()` says so and changes nothing.",
    ),
    session_item(
        "commit",
        "(seconds: number | string | nil, guards: GuardOptions | string | nil, reason: string?) -> string",
        "Publishes what this statement has changed, or all since `begin()`; a reason may be all that is given. With a number of seconds (at most a day) the change \
         is on trial: the site goes back to what it was, by itself, unless somebody confirms it within that time, or at once \
         when one of `guards` trips. Once more while it is on trial, it gives it so many seconds from now on. The reason, which \
         may also stand in the place of `guards`, is kept in the history.",
    ),
    session_item(
        "abort",
        "() -> ()",
        "Gives up what was begun by `begin()`: all edits of the site. What its statements have assigned stays.",
    ),
    session_item(
        "confirm",
        "(generation: number?) -> string",
        "Confirms the change that is on trial; with a number, only if it is that generation. Any session may.",
    ),
    session_item(
        "cancel",
        "(generation: number?) -> string",
        "Takes the change that is on trial back at once.",
    ),
    session_item(
        "generations",
        "() -> { Generation }",
        "The generations that are remembered, the last one first: at most 1000. Of more, the oldest of whoever has most goes: of a login, or \
         of the script.",
    ),
    session_item(
        "diff",
        "(from: number, to: number?) -> string",
        "What is different in generation `to` (by default the running one), compared with generation `from`: `+` for what is \
         new, `-` for what is gone, `~` for what was changed. Both must be kept whole.",
    ),
    session_item(
        "explain",
        "(method: string, url: string) -> string",
        "How a request would be routed, without serving it: for each server the mounts that match, the one that answers first, \
         each with its wrappers and handler, its line in the script and the generation that has published it so. A URL without a host, \
         `/hello`, is asked of all hosts.",
    ),
    session_item(
        "save",
        "(reason: string) -> string",
        "Writes what statements have changed since the script was loaded, or since the last `save`, to the file \
         `live/NNNN-reason.luau` beside the script. From then on it runs after the script whenever that is loaded, statement by \
         statement, in the order of the numbers. The script and the statements are run once for that, apart from what runs, to see \
         that the next load does not fail by them. There, commands that only look do nothing, and return nothing.",
    ),
    session_item(
        "drift",
        "() -> string",
        "How what runs differs from what is written: files changed on disk (`~`), gone (`-`) or not run yet (`+`), and what is not \
         saved (`*`): statements, and generations that something else has made. What is within tables is not compared: a statement \
         that only sets a field, `limits.max = 5`, is not noticed, and not saved.",
    ),
    session_item(
        "rollback",
        "(generation: number, reason: string?) -> ()",
        "Has the site become what it was in that generation, at the end of the statement, as a new generation: its mounts, listeners, logs and timers, and \
         the main VM it had. Requests under way end as they began. `diff(current, generation)` shows what it would change. \
         The last 16 generations can be gone back to so, of at most three scripts besides the running one. An older one is made \
         again of its files and statements, unless something else had a part in it: a timer, a request, a statement that failed \
         after its `commit`.",
    ),
];

pub(crate) const GUARDS: Class = Class {
    name: "GuardOptions",
    doc: "What a change on trial is taken back for before its time is over: something about the mounts that it adds or changes, \
          taken together, compared with what it was before. It is looked at every second, from 20 requests on.",
    fields: &[
        session_item(
            "errors",
            "number?",
            "The part of the requests that may be answered with a 5xx beyond the part that was since the server began: 0.01 for \
             one of a hundred.",
        ),
        session_item(
            "p99",
            "number?",
            "How many times as long as before requests may take, but for the slowest of a hundred: 2 for twice. For that, \
             `commit` first looks on for 2 seconds, or 1000 requests; if there were fewer than 20, it says that it does not \
             guard that. Streams and WebSockets do not count.",
        ),
        session_item(
            "change",
            "string?",
            "No guard: what is committed has to be exactly what `preview()` names so, on trial or not. If it is not, nothing is \
             published, and it goes on as it was.",
        ),
    ],
    methods: &[],
};

pub(crate) const CLASS: Class = Class {
    name: "Generation",
    doc: "What is remembered of a published site, from `generations()`.",
    fields: &[
        session_item("number", "number", "Its number."),
        session_item("author", "string", "Who published it."),
        session_item("at", "number", "When, in seconds since 1970 (UTC)."),
        session_item("reason", "string?", "The reason its author gave."),
        session_item("changes", "{ string }", "What it changed: `+ /hello`. At most 64 are told apart."),
        session_item("loaded", "number", "The generation that had loaded the script it is of."),
        session_item("whole", "boolean", "Whether one can go back to it at once."),
        session_item("requests", "number", "Requests under way on the handlers that it has published."),
        session_item("streams", "number", "Streams that go on there."),
        session_item("websockets", "number", "WebSockets that go on there."),
    ],
    methods: &[],
};

pub(super) fn install(lua: &Lua, commands: &CommandTable<'_>) -> mlua::Result<()> {
    let begin = |lua: &Lua, rest: MultiValue| {
        no_more(lua, "begin()", &rest)?;
        let session = of_session(lua, "begin")?;
        session.check_way().map_err(|why| fail(lua, format!("begin: {why}")))?;
        session.begin_block().map_err(|why| fail(lua, format!("begin: {why}")))
    };
    commands.add_replayed("begin", lua.create_function(begin)?)?;
    let abort = |lua: &Lua, rest: MultiValue| {
        no_more(lua, "abort()", &rest)?;
        let session = of_session(lua, "abort")?;
        if session.abort_block() {
            Ok(())
        } else {
            Err(fail(lua, "abort: nothing was begun: `begin()` does that"))
        }
    };
    commands.add_replayed("abort", lua.create_function(abort)?)?;
    commands.add_replayed("commit", lua.create_async_function(commit)?)?;
    commands.add_replayed("confirm", lua.create_function(confirm)?)?;
    commands.add_replayed("cancel", lua.create_async_function(cancel)?)?;
    commands.add("generations", |lua, rest: MultiValue| {
        no_more(lua, "generations()", &rest)?;
        let live = MainContext::of(lua)?.live;
        let (under_way, pending) = (live.under_way(), live.pending().map(|pending| pending.generation));
        let with_counts = |generation: Generation| {
            let counts = under_way.get(&generation.number).copied().unwrap_or_default();
            GenerationValue(generation.info(pending == Some(generation.number)), generation.loaded, counts)
        };
        Ok(live.generations().into_iter().map(with_counts).collect::<Vec<_>>())
    })?;
    commands.add("diff", |lua, (from, to, rest): (Value, Value, MultiValue)| {
        no_more(lua, "diff(from, to)", &rest)?;
        let from = generation_of(lua, "diff", &from)?;
        let to = generation_or_none(lua, "diff", &to)?;
        let live = MainContext::of(lua)?.live;
        let to = to.unwrap_or_else(|| live.site().generation);
        let differences = live.diff(from, to).map_err(|why| fail(lua, format!("diff: {why}")))?;
        Ok(differences.to_string())
    })?;
    commands.add("explain", |lua, (method, url, rest): (Value, Value, MultiValue)| {
        no_more(lua, "explain(method, url)", &rest)?;
        let method = text_argument(lua, "explain", "the method", &method)?;
        let url = text_argument(lua, "explain", "the URL", &url)?;
        let explained = explain(&MainContext::of(lua)?.live, &method, &url);
        explained.map_err(|error| fail(lua, format!("explain: {}", with_causes(&error))))
    })?;
    commands.add("rollback", rollback)?;
    commands.add_async("save", save)?;
    commands.add_async("drift", async |lua: Lua, rest: MultiValue| {
        no_more(&lua, "drift()", &rest)?;
        let drift = MainContext::of(&lua)?.engine()?.drift().await;
        drift.map_err(|why| fail(&lua, format!("drift: {}", why.render())))
    })
}

fn confirm(lua: &Lua, (number, rest): (Value, MultiValue)) -> mlua::Result<String> {
    no_more(lua, "confirm(generation)", &rest)?;
    let number = generation_or_none(lua, "confirm", &number)?;
    let session = of_session(lua, "confirm")?;
    if session.confirm_replayed() {
        return Ok(String::new());
    }
    let author = session.author().clone();
    let confirmed = MainContext::of(lua)?.engine()?.confirm(number, &author);
    let confirmed = confirmed.map_err(|why| fail(lua, format!("confirm: {}", why.render())))?;
    Ok(format!("generation {confirmed} is confirmed"))
}

async fn save(lua: Lua, (reason, rest): (Value, MultiValue)) -> mlua::Result<String> {
    no_more(&lua, "save(reason)", &rest)?;
    let failed = |why: String| fail(&lua, format!("save: {why}"));
    let reason = text_argument_or_none(&lua, "save", "the reason", &reason)?;
    let reason = reason.ok_or_else(|| failed("give the reason, as in save(\"more room\")".to_owned()))?;
    let reason = reason_of(reason).map_err(failed)?;
    let transaction = of_session_for_all(&lua, "save")?;
    if transaction.has_edits() || transaction.published().is_some() {
        return Err(failed(
            "what this statement has changed comes first: save by a statement of its own".to_owned(),
        ));
    }
    let saving = MainContext::of(&lua)?.engine()?.save(reason, transaction.author().clone());
    Transaction::excuse(saving).await.map_err(|why| failed(why.render()))
}

/// The number of a generation.
pub(super) fn generation_of(lua: &Lua, command: &str, value: &Value) -> mlua::Result<u64> {
    as_whole(value, 0..).ok_or_else(|| {
        let given = show(value);
        fail(
            lua,
            format!(
                "{command}: the generation must be a whole number, as generations() lists them, not {given}"
            ),
        )
    })
}

fn generation_or_none(lua: &Lua, command: &str, value: &Value) -> mlua::Result<Option<u64>> {
    if value.is_nil() { Ok(None) } else { generation_of(lua, command, value).map(Some) }
}

/// The statement that calls a command.
pub(super) fn of_session(lua: &Lua, command: &str) -> mlua::Result<std::rc::Rc<Transaction>> {
    let current = Transaction::current().filter(|current| current.author().is_operator());
    current.ok_or_else(|| fail(lua, format!("{command}: this is for statements of a session")))
}

/// The same for a command that concerns the whole server, which nobody has who may change only a part of it.
pub(super) fn of_session_for_all(lua: &Lua, command: &'static str) -> mlua::Result<std::rc::Rc<Transaction>> {
    let transaction = of_session(lua, command)?;
    match transaction.author().scope.clone() {
        Some(scope) => Err(fail(lua, Refusal::Scope { what: command, scope })),
        None => approvable(lua, command, transaction),
    }
}

/// The same for a command that does what nobody could approve, to what is theirs of the server.
pub(super) fn of_session_alone(lua: &Lua, command: &'static str) -> mlua::Result<std::rc::Rc<Transaction>> {
    approvable(lua, command, of_session(lua, command)?)
}

/// It, where nobody has to approve what its author does.
fn approvable(
    lua: &Lua,
    command: &'static str,
    transaction: std::rc::Rc<Transaction>,
) -> mlua::Result<std::rc::Rc<Transaction>> {
    match transaction.author().approval {
        Approval::Needed => Err(fail(lua, Refusal::Unapproved { what: command })),
        Approval::Free | Approval::By(_) => Ok(transaction),
    }
}

async fn commit(
    lua: Lua,
    (seconds, guards, reason, rest): (Value, Value, Value, MultiValue),
) -> mlua::Result<String> {
    no_more(&lua, "commit(seconds, guards, reason)", &rest)?;
    let reason = text_argument_or_none(&lua, "commit", "the reason", &reason)?;
    let failed = |why: String| fail(&lua, format!("commit: {why}"));
    let (seconds, guards) = match seconds {
        Value::String(reason) if guards.is_nil() => (None, Value::String(reason)),
        Value::Nil => (None, guards),
        seconds => {
            let Some(seconds) = as_number(&seconds) else {
                let given = show(&seconds);
                return Err(failed(format!(
                    "the time of the trial must be a number of seconds, not {given}"
                )));
            };
            (Some(seconds), guards)
        }
    };
    let trial = seconds.map(trial_of).transpose().map_err(failed)?;
    let ((guards, asked), reason) = match guards {
        Value::String(text) if reason.is_none() => ((None, None), Some(text.to_string_lossy())),
        guards => (guard_terms(&lua, guards)?, reason),
    };
    if guards.is_some() && trial.is_none() {
        return Err(failed("guards are for a change on trial: `commit(60, { errors = 0.01 })`".to_owned()));
    }
    let reason = reason.map(reason_of).transpose().map_err(failed)?;
    let live = MainContext::of(&lua)?.live;
    let transaction = of_session(&lua, "commit")?;
    transaction.check_way().map_err(|why| failed(why.to_string()))?;
    if transaction.commit_replayed(trial.is_some()) {
        return Ok(String::new());
    }
    if let (false, Some(time), Some(_)) = (transaction.has_edits(), trial, live.pending()) {
        let pending = live.extend_trial(time, transaction.author()).map_err(|why| failed(why.to_string()))?;
        let left = pending.left().as_secs_f64().ceil();
        return Ok(format!(
            "generation {} goes back to {} in {left} s unless confirm()",
            pending.generation, pending.back_to
        ));
    }
    transaction.check_approval(asked.as_deref()).map_err(|why| failed(why.to_string()))?;
    transaction.check_published().map_err(|why| failed(why.to_string()))?;
    let mut terms = trial.map(TrialTerms::from);
    if let (Some(terms), Some(guards)) = (&mut terms, guards)
        && let Some((old, new)) = transaction
            .edit_change(|change| (change.draft.base().parts.clone(), change.draft.parts().clone()))
    {
        let looking = Guard::look(guards, &old, &new);
        terms.guard = Some(Arc::new(Transaction::excuse(looking).await));
    }
    if trial.is_some() && transaction.has_edits() {
        let engine = MainContext::of(&lua)?.engine()?;
        let unkept = engine.note_trial(transaction.author().clone()).await;
        let unkept = unkept.map_err(|error| failed(error.render()))?;
        terms = terms.map(|terms| TrialTerms { unkept, ..terms });
    }
    let published = transaction.commit_now(terms, reason).await;
    if trial.is_some() && published.is_err() {
        MainContext::of(&lua)?.engine()?.forget_trial();
    }
    let published = published.map_err(|error| failed(with_causes(&error)))?;
    let generation = published.ok_or_else(|| failed("nothing was changed".to_owned()))?;
    Ok(live.report(&generation))
}

/// Guards, if there are any, and the change that it has to be, if one is named.
fn guard_terms(lua: &Lua, guards: Value) -> mlua::Result<(Option<GuardTerms>, Option<String>)> {
    if guards.is_nil() {
        return Ok((None, None));
    }
    let mut options = Options::new(lua, "commit", guards)?;
    let terms =
        GuardTerms { errors: options.get("errors", "a number")?, p99: options.get("p99", "a number")? };
    let change = options.get("change", "a string")?;
    options.finish()?;
    terms.check().map_err(|why| fail(lua, format!("commit: {why}")))?;
    Ok(((terms != GuardTerms::default()).then_some(terms), change))
}

async fn cancel(lua: Lua, (number, rest): (Value, MultiValue)) -> mlua::Result<String> {
    no_more(&lua, "cancel(generation)", &rest)?;
    let number = generation_or_none(&lua, "cancel", &number)?;
    let context = MainContext::of(&lua)?;
    let session = of_session(&lua, "cancel")?;
    if session.cancel_replayed() {
        return Ok(String::new());
    }
    session.check_published().map_err(|why| fail(&lua, format!("cancel: {why}")))?;
    let on_trial = context.live.pending().map(|pending| pending.generation);
    let reverted = context.engine()?.cancel(number, session.author().clone()).await;
    let reverted = reverted.map_err(|error| fail(&lua, format!("cancel: {}", error.render())))?;
    session.note_cancelled(on_trial, reverted.clone());
    Ok(reverted.map(|generation| context.live.report(&generation)).unwrap_or_default())
}

fn rollback(lua: &Lua, (number, reason, rest): (Value, Value, MultiValue)) -> mlua::Result<()> {
    no_more(lua, "rollback(generation, reason)", &rest)?;
    let number = generation_of(lua, "rollback", &number)?;
    let reason = text_argument_or_none(lua, "rollback", "the reason", &reason)?;
    let reason = reason.map(reason_of).transpose().map_err(|why| fail(lua, format!("rollback: {why}")))?;
    let transaction = of_session_alone(lua, "rollback")?;
    transaction.check_way().map_err(|why| fail(lua, format!("rollback: {why}")))?;
    if transaction.has_edits() {
        let why =
            "rollback: this statement has changed the site already, and going back is a change of its own";
        return Err(fail(lua, why));
    }
    transaction.go_back_at_end(number, reason);
    Ok(())
}

/// A generation that is remembered, the one that has loaded its script, and what is under way on the handlers that it has published.
struct GenerationValue(GenerationInfo, u64, UseCounts);

impl UserData for GenerationValue {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("number", |_, this| Ok(this.0.number));
        fields.add_field_method_get("author", |_, this| Ok(this.0.author.clone()));
        fields.add_field_method_get("at", |_, this| Ok(this.0.at));
        fields.add_field_method_get("reason", |_, this| Ok(this.0.reason.clone()));
        fields.add_field_method_get("changes", |_, this| Ok(this.0.changes.clone()));
        fields.add_field_method_get("loaded", |_, this| Ok(this.1));
        fields.add_field_method_get("whole", |_, this| Ok(this.0.whole));
        fields.add_field_method_get("requests", |_, this| Ok(this.2.requests as f64));
        fields.add_field_method_get("streams", |_, this| Ok(this.2.streams as f64));
        fields.add_field_method_get("websockets", |_, this| Ok(this.2.websockets as f64));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method("__tostring", |_, this, ()| Ok(format!("{}{}", this.0, this.2)));
    }
}
