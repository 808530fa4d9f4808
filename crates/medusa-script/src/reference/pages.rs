//! What is on which page of the reference.

use crate::bindings::{
    auth, cookie, dns, events, fetch, handler, handlers, help_docs, history, http, json, log, monitor, probe,
    runs, shared, site, time, timer, top, trace, upgrade, url, versions,
};
use crate::docs::{Class, Item, item};
use crate::{forms, request, respond, websocket};

/// One page of the reference.
pub(super) struct Page {
    pub(super) file: &'static str,
    pub(super) title: &'static str,
    pub(super) intro: &'static str,
    pub(super) items: &'static [Item],
    pub(super) classes: &'static [Class],
}

const GLOBALS: &[Item] = &[
    item("medusa.version", "string", "The server's version."),
    item(
        "print",
        "(...any) -> ()",
        "Prints to whoever runs the statement, else as a line of the server's log.",
    ),
    item(
        "require",
        "(name: string) -> any",
        "Loads a module once and returns what it returns. `lib/x` is below the script's directory, `./x` beside the \
         requiring file; `.luau` is added. Nothing outside the script's directory can be loaded. Modules are loaded anew \
         at every reload.",
    ),
];

pub(super) const PAGES: &[Page] = &[
    Page {
        file: "http.md",
        title: "HTTP",
        intro: "Servers, mounts, requests and answers.",
        items: &[http::DOCS, cookie::DOCS, events::DOCS],
        classes: &[
            http::OPTIONS,
            http::LISTEN,
            http::TLS,
            http::CERTIFICATE,
            http::HSTS_OPTIONS,
            http::LIMITS,
            http::SERVER,
            http::MOUNT,
            http::MOUNT_OPTIONS,
            request::CLASS,
            request::INNER_ANSWER,
            request::TLS_INFO,
            request::CLIENT_CERTIFICATE,
            forms::UPLOADED_FILE,
            respond::CLASS,
            cookie::OPTIONS,
            events::OPTIONS,
            crate::events::CLASS,
            websocket::CLASS,
            websocket::OPTIONS,
        ],
    },
    Page {
        file: "handler.md",
        title: "Handlers",
        intro: "The handlers that come with the server. A function of the script is a handler, too.",
        items: handler::DOCS,
        classes: &[
            handler::CLASS,
            handler::AUTH_OPTIONS,
            handler::LOGIN_OPTIONS,
            handler::FILES_OPTIONS,
            handler::PUT_OPTIONS,
            handler::DAV_OPTIONS,
            handler::PUBLISH_OPTIONS,
            handler::HEADERS_OPTIONS,
            handler::RATE_OPTIONS,
            handler::CONCURRENCY_OPTIONS,
            handler::CORS_OPTIONS,
            handler::CSRF_OPTIONS,
            handler::ERRORS_OPTIONS,
            handler::REWRITE_OPTIONS,
            handler::PROXY_OPTIONS,
            handler::PROXY_HEALTH,
            handler::HTTPS_OPTIONS,
            handler::REDIRECT_OPTIONS,
        ],
    },
    Page {
        file: "auth.md",
        title: "Users",
        intro: "Users and their passwords, for `medusa.handler.auth`.",
        items: auth::DOCS,
        classes: &[auth::CLASS, auth::HTDIGEST_OPTIONS, auth::ASKED_OPTIONS, auth::CERTIFICATE_OPTIONS],
    },
    Page {
        file: "versions.md",
        title: "Versions",
        intro: "What is kept of files that `medusa.handler.put` has replaced or removed.",
        items: versions::DOCS,
        classes: &[versions::CLASS],
    },
    Page {
        file: "log.md",
        title: "Logs",
        intro: "Where access records go.",
        items: log::DOCS,
        classes: log::CLASSES,
    },
    Page {
        file: "dns.md",
        title: "Names",
        intro: "Resolvers: the addresses of names, and the names of addresses.",
        items: dns::DOCS,
        classes: dns::CLASSES,
    },
    Page {
        file: "monitor.md",
        title: "The monitor",
        intro: "Ways to sessions with the running server.",
        items: monitor::DOCS,
        classes: &[
            monitor::OPTIONS,
            monitor::CLASS,
            monitor::CLASSIC_OPTIONS,
            monitor::CLASSIC,
            monitor::SESSION,
        ],
    },
    Page {
        file: "shared.md",
        title: "Shared dictionaries",
        intro: "What scripts on different workers share.",
        items: shared::DOCS,
        classes: &[shared::CLASS],
    },
    Page {
        file: "url.md",
        title: "URLs",
        intro: "What stands in them, encoded and decoded.",
        items: url::DOCS,
        classes: &[],
    },
    Page {
        file: "fetch.md",
        title: "Fetching",
        intro: "The HTTP client.",
        items: fetch::DOCS,
        classes: &[fetch::OPTIONS, fetch::CLASS],
    },
    Page { file: "json.md", title: "JSON", intro: "Encode and decode.", items: json::DOCS, classes: &[] },
    Page {
        file: "time.md",
        title: "Time",
        intro: "Clocks, waiting, and timers.",
        items: time::DOCS,
        classes: &[],
    },
    Page {
        file: "timer.md",
        title: "Timers",
        intro: "Calling a function again and again.",
        items: timer::DOCS,
        classes: &[timer::CLASS],
    },
    Page {
        file: "site.md",
        title: "The site and the globals",
        intro: "What is there without asking.",
        items: &[site::DOCS, upgrade::DOCS],
        classes: &[site::CLASS],
    },
    Page {
        file: "session.md",
        title: "Sessions",
        intro: "What statements have beside the names of the main script, unless that has a name of its own for it. (The commands of \
                the monitor are theirs wherever they are typed alone.)",
        items: history::DOCS,
        classes: &[history::CLASS, history::GUARDS],
    },
    Page {
        file: "under_way.md",
        title: "What is under way",
        intro: "What statements have beside that to see and to end what is under way.",
        items: &[
            handlers::HANDLERS,
            handlers::DRAIN,
            runs::PS,
            runs::KILL,
            timer::TIMERS,
            top::DOCS,
            trace::DOCS,
            probe::DOCS,
        ],
        classes: &[handlers::CLASS, runs::CLASS, timer::STATUS, trace::OPTIONS, probe::OPTIONS],
    },
    Page {
        file: "commands.md",
        title: "Commands",
        intro: "Statements of their own, which roles have that may run no code.",
        items: help_docs::COMMANDS,
        classes: &[],
    },
    Page {
        file: "prompt.md",
        title: "The prompt",
        intro: "What tells of all the rest.",
        items: help_docs::DOCS,
        classes: &[],
    },
    Page { file: "globals.md", title: "Globals", intro: "The rest.", items: GLOBALS, classes: &[] },
];
