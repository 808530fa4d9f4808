//! What the reference says of `help` and `source`, which look into it, and of the commands.

use crate::docs::{Item, session_item};

pub(crate) const DOCS: &[Item] = &[
    session_item(
        "help",
        "(about: any?) -> string",
        "What this reference says of an object, a function, or a topic by its name: `help(web)`, `help(medusa.fetch)`, \
         `help(\"medusa.http\")`, `help(\"HttpServer:mount\")`, `help(\"reload\")`. Of a function of the script: its parameters, \
         its place and the comment above it. Without anything: where to begin.",
    ),
    session_item(
        "source",
        "(of: any) -> string",
        "Where a function, a handler or a mount is from, and its text as it was loaded, be that of a file or of a statement.",
    ),
];

/// Commands that are no function: they are known by their text alone, so that roles have them that may run no code.
pub(crate) const COMMANDS: &[Item] = &[
    session_item(
        "status",
        "() -> string",
        "The server as a tree, with its counters: what `medusa status` prints. A statement of its own; in others, `site:status()`.",
    ),
    session_item(
        "sessions",
        "() -> string",
        "The open sessions, and what they run. A statement of its own; in others, `medusa.monitor.sessions()`.",
    ),
    session_item(
        "reload",
        "(seconds: number?) -> string",
        "Runs the script anew, and publishes what it makes; with a number of seconds on trial, as `commit` does. A statement of its own.",
    ),
    session_item(
        "preview",
        "(change: string?) -> string",
        "What the session has begun by `begin()`, as `commit()` would publish it: its statements, what they change, and what names \
         exactly that. Another statement makes another change of it. With such a name, or its first 12 digits, what another session \
         has begun. A statement of its own.",
    ),
    session_item(
        "approve",
        "(change: string) -> string",
        "Lets somebody else, who may not without, publish what `preview()` names so: once, exactly that, within 10 minutes, and on the \
         generation it was begun on. A statement of its own.",
    ),
    session_item("reopen", "() -> ()", "Has log files opened anew. A statement of its own."),
    session_item("ping", "() -> ()", "Does nothing: somebody is there. A statement of its own."),
    session_item(
        "stop",
        "() -> ()",
        "Stops the server, when what is under way has finished. A statement of its own.",
    ),
];
