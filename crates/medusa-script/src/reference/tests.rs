//! What is documented is what a live VM has.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;

use medusa_proto::author::{Author, Via};
use medusa_site::Live;
use mlua::{Table, Value};

use super::pages::PAGES;
use super::types;
use crate::bindings::{
    everywhere, handlers, help_docs, history, main_script, probe, runs, timer, top, trace,
};
use crate::docs::{Item, Scope};
use crate::engine_context::EngineContext;
use crate::handler_files::Scripts;
use crate::main_vm::{EntryScript, MainVm};
use crate::require::Sources;
use crate::rust_handlers::RustHandlers;
use crate::transaction::Transaction;
use crate::vm::Vm;

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
    let engine = EngineContext::new(&Live::rehearsal(), None, RustHandlers::default());
    let vm = Vm::new(|lua, globals| everywhere::install_in_worker(lua, globals, &engine)).unwrap();
    let mut found = BTreeSet::new();
    paths(&vm.lua().globals().get::<Table>("medusa").unwrap(), "medusa", &mut found);
    assert_eq!(found, documented(|item| item.scope == Scope::Everywhere));
}

#[test]
fn what_the_main_script_has_is_what_is_documented() {
    let runtime = crate::engine::runtime().unwrap();
    runtime.block_on(async {
        let live = Live::rehearsal();
        let scripts = Arc::new(Scripts::new(None, EngineContext::new(&live, None, RustHandlers::default())));
        let sources = Arc::new(Sources::new(std::env::temp_dir().canonicalize().unwrap()));
        let (vm, _calls) = MainVm::start(&live, &scripts, &sources, None, None).unwrap();
        let mut found = BTreeSet::new();
        paths(&main_script::commands(vm.lua()).unwrap(), "session", &mut found);
        let others = [handlers::HANDLERS, handlers::DRAIN, runs::PS, runs::KILL, timer::TIMERS, top::DOCS, trace::DOCS, probe::DOCS];
        let commands = history::DOCS.iter().chain(&others).chain(help_docs::DOCS).chain(help_docs::COMMANDS);
        let commands = commands.map(|item| format!("session.{}", item.path));
        assert_eq!(std::mem::take(&mut found), commands.collect());
        paths(&vm.names().get::<Table>("medusa").unwrap(), "medusa", &mut found);
        assert_eq!(found, documented(|_| true));

        // One object of each class, asked for everything that is documented of it.
        let mut source = String::from(
            "local server = medusa.http.server { listen = '127.0.0.1:0' }
            local objects = { HttpServer = server, Mount = server:mount('/', function() end), Site = site,
                SharedDictionary = medusa.shared('x'), DnsResolver = medusa.dns.server('192.0.2.1'), Timer = medusa.every(1, function() end),
                LogSink = medusa.log.tail(1), EventLog = medusa.log.events(medusa.log.tail(1)),
                MonitorClassic = medusa.monitor.classic { listen = 'unix:old.sock', password_file = 'secret' },
                MonitorSsh = medusa.monitor.ssh { listen = '127.0.0.1:0', keys = 'keys', host_key = 'key' } }
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
        let transaction: Rc<Transaction> = Transaction::fresh(live, Author::new(Via::Start, "test"), None).await;
        let entry = EntryScript { name: "test.luau", source: &source };
        vm.run_script(&transaction, &entry).await.unwrap();
    });
}

/// The functions of Luau's own that a script of a handler file reaches, by path.
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
    let engine = EngineContext::new(&Live::rehearsal(), None, RustHandlers::default());
    let mut found = BTreeSet::new();
    let made = Vm::new(|lua, globals| {
        functions(globals, "", &mut found);
        everywhere::install_in_worker(lua, globals, &engine)
    });
    drop(made.unwrap());
    found.remove("require");
    let items = PAGES.iter().flat_map(|page| page.items).filter(|item| item.signature.starts_with('('));
    found.extend(items.map(|item| item.path.to_owned()));
    for class in PAGES.iter().flat_map(|page| page.classes).filter(|class| !class.is_options()) {
        found.extend(class.methods.iter().map(|method| format!("{}:{}", class.name, method.path)));
    }
    let rows =
        include_str!("../../../../docs/natives.md").lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    let named: BTreeSet<String> =
        cells.flat_map(|cell| cell.split('`').step_by(2)).map(str::to_owned).collect();
    let missing: Vec<_> = found.difference(&named).collect();
    assert!(missing.is_empty(), "not in docs/natives.md: {missing:?}");
    let stale: Vec<_> = named.difference(&found).filter(|name| !name.is_empty()).collect();
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
