//! The script API as data: the type definitions for editors and the reference are both made of it.
//!
//! The tables stand beside the bindings they describe (`DOCS`, `CLASS` in each module of [`crate::bindings`]).

use std::fmt::Write as _;

use crate::bindings::{cookie, dns, events, fetch, handler, http, json, log, shared, site, time, timer, url};
use crate::events::CLASS as EVENT_STREAM;
use crate::forms::UPLOADED_FILE;
use crate::request::{CLIENT_CERTIFICATE, TLS_INFO};
use crate::websocket;

/// Where a part of the API can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// In the main script and statements only.
    Main,
    /// In handler files too.
    Everywhere,
}

/// A function, field or option.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item {
    /// `medusa.http.server`; within a class just the name.
    pub(crate) path: &'static str,
    /// Its type: `(name: string) -> Handler`.
    pub(crate) signature: &'static str,
    pub(crate) reach: Reach,
    pub(crate) doc: &'static str,
}

/// A kind of object, or a table of options.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Class {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) fields: &'static [Item],
    pub(crate) methods: &'static [Item],
}

impl Class {
    /// Whether scripts write such a table themselves, rather than get an object.
    fn is_options(&self) -> bool {
        self.name.ends_with("Options") || self.name == "Response"
    }
}

/// One page of the reference.
struct Page {
    file: &'static str,
    title: &'static str,
    intro: &'static str,
    items: &'static [Item],
    classes: &'static [Class],
}

const REQUEST: Class = Class {
    name: "Request",
    doc: "One request, as a handler sees it. Its fields are fetched when first asked for; a handler may add its own. \
          After the request has been answered, only what was asked for before is still there.",
    fields: &[
        item("method", "string", "`GET`, `POST`, ..."),
        item("path", "string", "The path as it came: not decoded, without the query."),
        item("tail", "string", "The part of the path below the mount's pattern, not decoded."),
        item("query", "string?", "The query, without its `?`, not decoded. See `req:arg`."),
        item("host", "string?", "The host asked for, without its port."),
        item(
            "params",
            "{ [string]: string }",
            "What the pattern's `{name}`s matched, decoded. The value of a `{name}` never holds a slash, and no value a `..` \
             segment.",
        ),
        item(
            "headers",
            "{ [string]: string }",
            "The fields by their lower-case names; repeated ones are joined with commas.",
        ),
        item(
            "args",
            "{ [string]: string }",
            "The query's parameters, decoded: the first value of each. A query of more than 1000 is an error, and the client gets \
             400.",
        ),
        item(
            "cookies",
            "{ [string]: string }",
            "The cookies, not decoded; of two with the same name, the one with the longer path.",
        ),
        item("last_event_id", "string?", "What a client that reconnects to a stream of events saw last."),
        item(
            "client",
            "string",
            "The address of who asks, or `unix`: the peer's, or whom a trusted proxy speaks for.",
        ),
        item("peer", "string", "The address of the connection's other end, or `unix`."),
        item(
            "id",
            "string",
            "Tells this request from all others: 26 characters, or what a trusted proxy called it.",
        ),
        item(
            "scheme",
            "string",
            "`https` if the client's connection is encrypted, here or at a trusted proxy; else `http`.",
        ),
        item("secure", "boolean", "Whether the scheme is `https`."),
        item("tls", "TlsInfo?", "What was agreed on, if the connection to this server is encrypted."),
        item("version", "string", "`1.0`, `1.1` or `2`."),
    ],
    methods: &[
        item(
            "arg",
            "(name: string) -> string?",
            "The first value of a query parameter, decoded; nil if it is absent.",
        ),
        item(
            "args_all",
            "(name: string) -> { string }",
            "All values of a query parameter, decoded, in their order.",
        ),
        item(
            "body",
            "() -> string",
            "Reads the whole body. Longer than the server's `limits.body`, it is an error, and the client gets 413. What \
             was read is gone: reading a body a second time, or in a second way, is an error. While a body is waited for, \
             the handler's time limit rests; the client's pace has limits of its own.",
        ),
        item(
            "json",
            "() -> any",
            "Reads the body and decodes it as `medusa.json.decode` does. If it is no JSON, or has more than 50,000 values \
             and names, it is an error, and the client gets 400; if it is compressed (`Content-Encoding`), 415.",
        ),
        item(
            "chunks",
            "() -> (() -> string?)",
            "Goes through the body as it comes: `for chunk in req:chunks() do`. The client is held back while the loop is \
             busy. Each chunk brings a CPU budget of its own.",
        ),
        item(
            "read",
            "(n: number?) -> string?",
            "The next `n` bytes of the body (at most 16 MiB), fewer at its end, nil behind it; without `n` whatever comes \
             next.",
        ),
        item(
            "trailers",
            "() -> { [string]: string }",
            "The fields that came behind the body, once it has been read to its end.",
        ),
        item(
            "form",
            "() -> { [string]: string | UploadedFile }",
            "Reads the body as a form, `application/x-www-form-urlencoded` or `multipart/form-data`: the first value of each \
             name, so that nobody can make a list of what should be a string by sending it twice; all of them are in \
             `form_all`. May be called again. A file that was not chosen is left out. Anything but a form is answered \
             415, a malformed one 400; more than 1000 fields, a field (not a file) of more than 1 MiB, or fields of more \
             than 8 MiB together (names included) 413. Files are limited by `limits.body` only. What has a file name, however it is \
             written (`filename*`, too), is a file. Values are bytes as they were sent, which is UTF-8 from all browsers; \
             what says that it is in ISO-8859-1 becomes UTF-8, what says that it is in another charset, or compressed, is \
             answered 415. The answer and the server's log say why.",
        ),
        item(
            "form_all",
            "(name: string) -> { string | UploadedFile }",
            "All values of a name in the form, in their order: several check boxes, several files.",
        ),
        item(
            "websocket",
            "(run: (ws: WebSocket) -> (), options: WebSocketOptions?) -> Answer",
            "Opens a session with the client, to be returned: `return req:websocket(function(ws) ... end)`. The function \
             runs once the client has its answer, for as long as it likes. A request that does not open a session is \
             answered 426 or 400, one from a page of another site 403, and the function is not called.",
        ),
    ],
};

const RESPONSE: Class = Class {
    name: "Response",
    doc: "What a handler may return instead of a string. Any other key is an error.",
    fields: &[
        item("status", "number?", "The status code, 200 to 599. Default 200."),
        item(
            "headers",
            "{ [string]: string | number | { string } }?",
            "Fields; a list gives a field several times. `Content-Length`, `Transfer-Encoding` and `Connection` are the \
             server's business and are left out. `Content-Type` is `text/plain; charset=utf-8` unless given. At most 256 \
             fields, and 64 KiB: more is an error.",
        ),
        item(
            "body",
            "string | ((write: (chunk: string) -> boolean) -> ()) | nil",
            "The body, or a *producer*: it is called when the response starts and writes chunks; `write` waits while \
             the client is not taking them, and returns false once the response is over.",
        ),
    ],
    methods: &[],
};

/// An [`Item`] that handler files have, too.
pub(crate) const fn item(path: &'static str, signature: &'static str, doc: &'static str) -> Item {
    Item { path, signature, reach: Reach::Everywhere, doc }
}

/// A part that only the main script has.
pub(crate) const fn main_item(path: &'static str, signature: &'static str, doc: &'static str) -> Item {
    Item { path, signature, reach: Reach::Main, doc }
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

const PAGES: &[Page] = &[
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
            REQUEST,
            TLS_INFO,
            CLIENT_CERTIFICATE,
            UPLOADED_FILE,
            RESPONSE,
            cookie::OPTIONS,
            events::OPTIONS,
            EVENT_STREAM,
            websocket::CLASS,
            websocket::OPTIONS,
        ],
    },
    Page {
        file: "handler.md",
        title: "Handlers",
        intro: "The handlers that come with the server. A function of the script is a handler, too.",
        items: handler::DOCS,
        classes: &[handler::CLASS, handler::FILES_OPTIONS, handler::HTTPS_OPTIONS, handler::REDIRECT_OPTIONS],
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
        items: site::DOCS,
        classes: &[site::CLASS],
    },
    Page { file: "globals.md", title: "Globals", intro: "The rest.", items: GLOBALS, classes: &[] },
];

/// The reference: file names and their texts, as Markdown.
pub fn pages() -> Vec<(String, String)> {
    let mut index = String::from("# Script reference\n\nEverything a script can use, by part.\n\n");
    let mut pages = Vec::new();
    for page in PAGES {
        let _ = writeln!(index, "- [{}]({}): {}", page.title, page.file, page.intro);
        pages.push((page.file.to_owned(), render(page)));
    }
    index.push_str("\nThe same as type definitions for editors: [`medusa.d.luau`](../medusa.d.luau).\n");
    pages.insert(0, ("README.md".to_owned(), index));
    pages
}

fn render(page: &Page) -> String {
    let mut text = format!("# {}\n\n{}\n", page.title, page.intro);
    for item in page.items {
        let _ = write!(text, "\n## `{}`\n\n```luau\n{}\n```\n\n{}\n", item.path, declaration(item), item.doc);
        if item.reach == Reach::Main {
            text.push_str("\nOnly in the main script and at the prompt.\n");
        }
    }
    for class in page.classes {
        let _ = write!(text, "\n## {}\n\n{}\n", class.name, class.doc);
        for field in class.fields {
            let _ = write!(text, "\n- **`{}`**: `{}`. {}", field.path, field.signature, field.doc);
        }
        for method in class.methods {
            let _ = write!(text, "\n- **`:{}`**`{}`. {}", method.path, method.signature, method.doc);
        }
        if !class.fields.is_empty() || !class.methods.is_empty() {
            text.push('\n');
        }
    }
    text
}

fn declaration(item: &Item) -> String {
    if item.signature.starts_with('(') {
        format!("{}{}", item.path, item.signature.replace(" -> ", ": ").replacen("): ", ") -> ", 1))
    } else {
        format!("{}: {}", item.path, item.signature)
    }
}

/// The type definitions, for editors: the text of `medusa.d.luau`.
pub fn types() -> String {
    let mut text =
        String::from("-- Type definitions of the script API, for luau-lsp. Made by `medusa types`.\n");
    for class in PAGES.iter().flat_map(|page| page.classes) {
        text.push('\n');
        comment(&mut text, "", class.doc);
        if class.is_options() {
            options_type(&mut text, class);
        } else {
            object_type(&mut text, class);
        }
    }
    text.push_str("\n-- What a handler returns.\nexport type Answer = string | Response\n");
    namespace(&mut text);
    text
}

fn options_type(text: &mut String, class: &Class) {
    let _ = writeln!(text, "export type {} = {{", class.name);
    for field in class.fields {
        comment(text, "\t", field.doc);
        let _ = writeln!(text, "\t{}: {},", field.path, field.signature);
    }
    text.push_str("}\n");
}

fn object_type(text: &mut String, class: &Class) {
    let _ = writeln!(text, "declare class {}", class.name);
    for field in class.fields {
        comment(text, "\t", field.doc);
        let _ = writeln!(text, "\t{}: {}", field.path, field.signature);
    }
    for method in class.methods {
        comment(text, "\t", method.doc);
        let (arguments, result) = arguments_and_result(method.signature);
        let arguments = arguments.replacen('(', "(self, ", 1).replace("(self, )", "(self)");
        let _ = writeln!(text, "\tfunction {}{}: {}", method.path, arguments, result);
    }
    text.push_str("end\n");
}

/// The two sides of a function type's own arrow; its arguments and its result may be functions, too.
fn arguments_and_result(signature: &str) -> (&str, &str) {
    let mut depth = 0_usize;
    for (at, character) in signature.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            let (arguments, rest) = signature.split_at(at + character.len_utf8());
            return (arguments, rest.strip_prefix(" -> ").unwrap_or("()"));
        }
    }
    (signature, "()")
}

/// `declare medusa: { ... }`, with a table per part.
fn namespace(text: &mut String) {
    let items: Vec<&Item> = PAGES.iter().flat_map(|page| page.items).collect();
    let medusa: Vec<(&str, &Item)> =
        items.iter().filter_map(|item| Some((item.path.strip_prefix("medusa.")?, *item))).collect();
    text.push_str("\ndeclare medusa: {\n");
    let mut parts: Vec<&str> = Vec::new();
    for (path, item) in &medusa {
        match path.split_once('.') {
            None => member(text, "\t", path, item),
            Some((part, _)) if parts.contains(&part) => {}
            Some((part, _)) => {
                parts.push(part);
                let _ = writeln!(text, "\t{part}: {{");
                for (path, item) in &medusa {
                    if let Some((of, name)) = path.split_once('.')
                        && of == part
                    {
                        member(text, "\t\t", name, item);
                    }
                }
                text.push_str("\t},\n");
            }
        }
    }
    text.push_str("}\n");
    for item in items.iter().filter(|item| !item.path.starts_with("medusa.")) {
        text.push('\n');
        comment(text, "", item.doc);
        // `print` and `require` are known to every editor; theirs are declared as functions.
        if item.signature.strip_prefix('(').is_none() {
            let _ = writeln!(text, "declare {}: {}", item.path, item.signature);
        } else {
            let (arguments, result) = item.signature.rsplit_once(" -> ").unwrap_or((item.signature, "()"));
            let arguments = arguments.replace("(...any)", "(...: any)");
            let _ = writeln!(text, "declare function {}{arguments}: {result}", item.path);
        }
    }
}

fn member(text: &mut String, indent: &str, name: &str, item: &Item) {
    comment(text, indent, item.doc);
    let _ = writeln!(text, "{indent}{name}: {},", item.signature);
}

/// A doc comment, wrapped.
fn comment(text: &mut String, indent: &str, doc: &str) {
    let mut line = String::new();
    for word in doc.split_whitespace() {
        if !line.is_empty() && line.len() + 1 + word.len() > 100 {
            let _ = writeln!(text, "{indent}--- {line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        let _ = writeln!(text, "{indent}--- {line}");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::rc::Rc;
    use std::sync::Arc;

    use medusa_site::Live;
    use mlua::{Table, Value};

    use super::*;
    use crate::bindings;
    use crate::commons::Commons;
    use crate::main_vm::{Entry, MainVm};
    use crate::require::Sources;
    use crate::transaction::Transaction;
    use crate::vm::Vm;
    use crate::worker::Scripts;

    /// What cannot be had without a request is tested with requests.
    const OF_REQUESTS: [&str; 5] = ["Request", "WebSocket", "UploadedFile", "EventStream", "FetchResponse"];

    /// Every function and value below `table`, by path.
    fn paths(table: &Table, prefix: &str, found: &mut BTreeSet<String>) {
        for pair in table.pairs::<String, Value>() {
            let (name, value) = pair.unwrap();
            let path = format!("{prefix}.{name}");
            match value {
                Value::Table(part) => paths(&part, &path, found),
                _ => drop(found.insert(path)),
            }
        }
    }

    fn documented(here: impl Fn(&Item) -> bool) -> BTreeSet<String> {
        let items = PAGES.iter().flat_map(|page| page.items).filter(|item| here(item));
        items.map(|item| item.path.to_owned()).filter(|path| path.starts_with("medusa.")).collect()
    }

    #[test]
    fn what_handler_files_have_is_what_is_documented() {
        let commons = Commons::new(&Live::rehearsal(), None);
        let vm = Vm::new(|lua, globals| bindings::install_in_worker(lua, globals, &commons)).unwrap();
        let mut found = BTreeSet::new();
        paths(&vm.lua().globals().get::<Table>("medusa").unwrap(), "medusa", &mut found);
        assert_eq!(found, documented(|item| item.reach == Reach::Everywhere));
    }

    #[test]
    fn what_the_main_script_has_is_what_is_documented() {
        let runtime = crate::engine::runtime().unwrap();
        runtime.block_on(async {
            let live = Live::rehearsal();
            let scripts = Arc::new(Scripts::new(None, Commons::new(&live, None)));
            let sources = Arc::new(Sources::new(std::env::temp_dir().canonicalize().unwrap()));
            let (vm, _calls) = MainVm::start(&live, &scripts, &sources, None).unwrap();
            let mut found = BTreeSet::new();
            paths(&vm.names().get::<Table>("medusa").unwrap(), "medusa", &mut found);
            assert_eq!(found, documented(|_| true));

            // One object of each class, asked for everything that is documented of it.
            let mut source = String::from(
                "local server = medusa.http.server { listen = '127.0.0.1:0' }
                local objects = { HttpServer = server, Mount = server:mount('/', function() end), Site = site,
                    SharedDictionary = medusa.shared('x'), DnsResolver = medusa.dns.server('192.0.2.1'), Timer = medusa.every(1, function() end),
                    LogSink = medusa.log.tail(1), EventLog = medusa.log.events(medusa.log.tail(1)) }
                server:set_log(medusa.log.tail(1))\n",
            );
            for class in PAGES.iter().flat_map(|page| page.classes) {
                if OF_REQUESTS.contains(&class.name) {
                    continue;
                }
                for field in class.fields {
                    if class.methods.is_empty() {
                        continue;
                    }
                    let _ =
                        writeln!(source, "assert(objects.{0}.{1} ~= nil, '{0}.{1}')", class.name, field.path);
                }
                for method in class.methods {
                    let _ = writeln!(
                        source,
                        "assert(type(objects.{0}.{1}) == 'function', '{0}:{1}')",
                        class.name, method.path
                    );
                }
            }
            let transaction: Rc<Transaction> = Transaction::fresh(live, "test", None).await;
            let entry = Entry { name: "test.luau", source: &source };
            vm.run_script(&transaction, &entry).await.unwrap();
        });
    }

    /// What a script of a handler file reaches of Luau's own, by path.
    fn functions(table: &Table, prefix: &str, found: &mut BTreeSet<String>) {
        for pair in table.pairs::<String, Value>() {
            let (name, value) = pair.unwrap();
            match value {
                Value::Table(library) if prefix.is_empty() && name != "medusa" && name != "_G" => {
                    functions(&library, &format!("{name}."), found);
                }
                Value::Function(_) => drop(found.insert(format!("{prefix}{name}"))),
                _ => {}
            }
        }
    }

    /// Each function of the VM, and each that is documented, has a row in `docs/natives.md`, which says how long it may
    /// hold its thread; and there is no row of what there is not.
    #[test]
    fn every_native_function_is_in_the_table() {
        let commons = Commons::new(&Live::rehearsal(), None);
        let mut found = BTreeSet::new();
        let made = Vm::new(|lua, globals| {
            functions(globals, "", &mut found);
            bindings::install_in_worker(lua, globals, &commons)
        });
        drop(made.unwrap());
        found.remove("require");
        let items = PAGES.iter().flat_map(|page| page.items).filter(|item| item.signature.starts_with('('));
        found.extend(items.map(|item| item.path.to_owned()));
        for class in PAGES.iter().flat_map(|page| page.classes).filter(|class| !class.is_options()) {
            found.extend(class.methods.iter().map(|method| format!("{}:{}", class.name, method.path)));
        }
        let rows =
            include_str!("../../../docs/natives.md").lines().filter_map(|line| line.strip_prefix("| `"));
        let cells = rows.filter_map(|row| row.split(" | ").next());
        let told: BTreeSet<String> =
            cells.flat_map(|cell| cell.split('`').step_by(2)).map(str::to_owned).collect();
        let missing: Vec<_> = found.difference(&told).collect();
        assert!(missing.is_empty(), "not in docs/natives.md: {missing:?}");
        let stale: Vec<_> = told.difference(&found).filter(|name| !name.is_empty()).collect();
        assert!(stale.is_empty(), "docs/natives.md tells of what there is not: {stale:?}");
    }

    #[test]
    fn the_type_definitions_hold_every_name() {
        let types = types();
        for class in PAGES.iter().flat_map(|page| page.classes) {
            assert!(types.contains(&format!(" {}", class.name)), "{}", class.name);
            for item in class.fields.iter().chain(class.methods) {
                assert!(types.contains(item.path), "{}.{}", class.name, item.path);
            }
        }
        let mount = "\tfunction mount(self, pattern: string, handler: Handler | (req: Request) -> Answer, options: MountOptions?): Mount\n";
        assert!(types.contains(mount), "{types}");
        assert!(types.contains("\tfunction chunks(self): (() -> string?)\n"), "{types}");
    }
}
