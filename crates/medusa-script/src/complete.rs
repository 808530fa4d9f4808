//! What may stand at a place of a statement: names, what belongs to an object, options, with what the reference says.
//!
//! **Invariants:** it looks, and calls nothing that a script has written: no function, no metamethod. What a call would return
//! is known by the type that the reference gives it, or not at all. Tables are looked through up to [`MAX_SEEN`] names, and
//! no more than [`MAX_CANDIDATES`] are told.

use std::collections::{BTreeMap, HashMap};
use std::ffi::c_void;
use std::fs;
use std::path::{Component, Path};

use medusa_monitor::Completion;
use medusa_monitor::terminal::Candidate;
use medusa_site::HttpServer;
use mlua::{Lua, Table, Value};

use crate::context::MainContext;
use crate::docs::{Class, Item};
use crate::places::Places;
use crate::reference::lookup;
use crate::syntax::{Chain, ChainRoot, ChainStep, Key, Spot, spot};

/// The most that are told: more than that is no help.
const MAX_CANDIDATES: usize = 200;
/// The most names of a table that are looked at.
const MAX_SEEN: usize = 10_000;
/// The longest name that is told, in bytes.
const MAX_NAME: usize = 100;
/// The most of a text that is shown as a value, in bytes.
const MAX_VALUE: usize = 40;

/// What a statement sees.
#[derive(Debug)]
pub(crate) struct CompletionScope<'a> {
    pub(crate) lua: &'a Lua,
    /// The tables in which names are looked up, one after the other.
    pub(crate) tables: Vec<Table>,
    /// The names of the session itself.
    pub(crate) own: Vec<(String, Value)>,
    pub(crate) places: Places<'a>,
}

/// A value that is there, or what is known of one that is not.
enum Known {
    Value(Value),
    Typed(&'static str),
}

/// Candidates by name.
type Found = BTreeMap<String, String>;

impl CompletionScope<'_> {
    /// What may stand at byte `at` of `source`.
    pub(crate) fn complete(&self, source: &str, at: usize) -> Completion {
        let text = source.get(..source.floor_char_boundary(at)).unwrap_or(source);
        let items = self.host_items();
        let mut found = Found::new();
        let mut from = text.len();
        match spot(text) {
            Spot::Nothing => {}
            Spot::Topic { prefix } => {
                from -= prefix.len();
                topics(prefix, &mut found);
            }
            Spot::Text { prefix, function } => {
                from -= prefix.len();
                let known = self.follow(&function);
                if let Some(signature) = known.and_then(|known| signature_of(&known, &items)) {
                    self.texts(signature, prefix, &mut found);
                }
            }
            Spot::Global { prefix } => {
                from -= prefix.len();
                self.globals(prefix, &items, &mut found);
            }
            Spot::Option { prefix, function } => {
                from -= prefix.len();
                let known = self.follow(&function);
                let signature = known.and_then(|known| signature_of(&known, &items));
                if let Some(class) = signature.and_then(lookup::options_of) {
                    add_items(class.fields, prefix, "", &mut found);
                } else {
                    self.globals(prefix, &items, &mut found);
                }
            }
            Spot::Member { prefix, of, at, colon } => {
                let known = self.follow(&of);
                if let Some(class) = known.as_ref().and_then(class_of) {
                    // A dot in the place of a colon is put right.
                    from = at;
                    let (fields, methods) = ((class.fields, "."), (class.methods, ":"));
                    let (first, second) = if colon { (methods, fields) } else { (fields, methods) };
                    add_items(first.0, prefix, first.1, &mut found);
                    if found.is_empty() || prefix.is_empty() {
                        add_items(second.0, prefix, second.1, &mut found);
                    }
                } else {
                    from -= prefix.len();
                    if let Some(known) = known {
                        self.members(&known, prefix, colon, &items, &mut found);
                    }
                }
            }
        }
        let candidates = found.into_iter().take(MAX_CANDIDATES);
        let candidates = candidates.map(|(text, about)| Candidate { text, about }).collect();
        Completion { from, candidates }
    }

    /// What may be the first argument of a function, where that is a text: patterns of mounts, and what is below the script's
    /// folder.
    fn texts(&self, signature: &str, prefix: &str, found: &mut Found) {
        if signature.starts_with("(pattern: string) ->") {
            let Ok(context) = MainContext::of(self.lua) else { return };
            for mount in context
                .live
                .site()
                .parts
                .all::<HttpServer>()
                .flat_map(|server| server.definition.mounts.values())
            {
                let pattern = mount.pattern.to_string();
                if pattern.starts_with(prefix) && found.len() <= MAX_CANDIDATES {
                    found.insert(pattern, mount.origin.to_string());
                }
            }
        } else if signature.starts_with("(file: string)") {
            add_paths(self.places.sources.root(), prefix, Some(".luau"), found);
        } else if signature.starts_with("(root: string,") {
            add_paths(self.places.sources.root(), prefix, None, found);
        }
    }

    fn globals(&self, prefix: &str, items: &HostItems, found: &mut Found) {
        for (name, value) in self.own.iter().filter(|(name, _)| name.starts_with(prefix)) {
            found.insert(name.clone(), self.about(value, items));
        }
        for table in &self.tables {
            self.add_names(table, prefix, false, items, found);
        }
    }

    /// The value of a chain, as far as it is known.
    fn follow(&self, chain: &Chain<'_>) -> Option<Known> {
        let mut known = Known::Value(match chain.root {
            ChainRoot::Name(name) => self.global(name)?,
            ChainRoot::String => Value::String(self.lua.create_string("").ok()?),
        });
        let items = self.host_items();
        for step in &chain.steps {
            known = match step {
                ChainStep::Call => Known::Typed(lookup::result_of(signature_of(&known, &items)?)?),
                ChainStep::Member(name) | ChainStep::Index(Key::Name(name)) => self.member(&known, name)?,
                ChainStep::Index(key) => Self::element(&known, *key)?,
            };
        }
        Some(known)
    }

    fn global(&self, name: &str) -> Option<Value> {
        let own = self.own.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
        own.or_else(|| {
            let values = self.tables.iter().filter_map(|table| table.raw_get::<Value>(name).ok());
            values.into_iter().find(|value| !value.is_nil())
        })
    }

    fn member(&self, known: &Known, name: &str) -> Option<Known> {
        if let Some(class) = class_of(known) {
            return lookup::member(class, name).map(|(item, _)| Known::Typed(item.signature));
        }
        let mut tables = self.tables_of(known)?.into_iter();
        let value =
            tables.find_map(|table| table.raw_get::<Value>(name).ok().filter(|value| !value.is_nil()));
        value.map(Known::Value)
    }

    fn element(known: &Known, key: Key<'_>) -> Option<Known> {
        match (known, key) {
            (Known::Typed(kind), _) => lookup::element_of(kind).map(Known::Typed),
            (Known::Value(Value::Table(table)), Key::Number(number)) => {
                let value = table.raw_get::<Value>(number).ok()?;
                (!value.is_nil()).then_some(Known::Value(value))
            }
            _ => None,
        }
    }

    /// The tables in which the names of a value are looked up: its own, and those that its metatable names.
    fn tables_of(&self, known: &Known) -> Option<Vec<Table>> {
        let first = match known {
            Known::Value(Value::Table(table)) => table.clone(),
            Known::Value(Value::String(_)) => {
                lookup::value_at(&self.lua.globals(), "string")?.as_table()?.clone()
            }
            _ => return None,
        };
        Some(lookup::with_those_below(&first))
    }

    fn members(&self, known: &Known, prefix: &str, colon: bool, items: &HostItems, found: &mut Found) {
        for table in self.tables_of(known).into_iter().flatten() {
            self.add_names(&table, prefix, colon, items, found);
        }
    }

    /// Adds the names in a table; `functions` alone, if that is wanted.
    fn add_names(&self, table: &Table, prefix: &str, functions: bool, items: &HostItems, found: &mut Found) {
        for (key, value) in table.pairs::<Value, Value>().take(MAX_SEEN).flatten() {
            let Value::String(key) = key else { continue };
            let key = key.as_bytes();
            let Some(name) = std::str::from_utf8(&key).ok().filter(|name| name.starts_with(prefix)) else {
                continue;
            };
            if is_name(name) && (!functions || value.is_function()) && !found.contains_key(name) {
                found.insert(name.to_owned(), self.about(&value, items));
            }
            if found.len() > MAX_CANDIDATES {
                // The last by name: those that are told are the first of those that were seen.
                found.pop_last();
            }
        }
    }

    fn about(&self, value: &Value, items: &HostItems) -> String {
        match value {
            Value::Function(function) => match items.get(&value.to_pointer()) {
                Some(item) => item.signature.to_owned(),
                None => self.places.about(function),
            },
            Value::String(text) => format!("{:?}", crate::counted::shown_bytes(&text.as_bytes(), MAX_VALUE)),
            Value::Boolean(_) | Value::Integer(_) | Value::Number(_) => value.to_string().unwrap_or_default(),
            value => match lookup::class_of(value) {
                Some(class) => class.name.to_owned(),
                None => crate::print::kind(value).to_owned(),
            },
        }
    }

    /// The host's functions and objects that the reference knows, by what they are.
    fn host_items(&self) -> HostItems {
        let mut known = HostItems::new();
        for item in lookup::items() {
            for table in &self.tables {
                if let Some(value) = lookup::value_at(table, item.path).filter(Value::is_function) {
                    known.insert(value.to_pointer(), item);
                }
            }
        }
        known
    }
}

type HostItems = HashMap<*const c_void, &'static Item>;

fn class_of(known: &Known) -> Option<&'static Class> {
    match known {
        Known::Value(value) => lookup::class_of(value),
        Known::Typed(kind) => lookup::class_of_type(kind),
    }
}

fn signature_of(known: &Known, items: &HostItems) -> Option<&'static str> {
    match known {
        Known::Value(value) => items.get(&value.to_pointer()).map(|item| item.signature),
        Known::Typed(kind) => Some(kind),
    }
}

fn add_items(items: &'static [Item], prefix: &str, sign: &str, found: &mut Found) {
    for item in items.iter().filter(|item| item.path.starts_with(prefix)) {
        found.insert(format!("{sign}{}", item.path), item.signature.to_owned());
    }
}

/// What `help` can be asked about.
fn topics(prefix: &str, found: &mut Found) {
    for item in lookup::items().filter(|item| item.path.starts_with(prefix)) {
        found.insert(item.path.to_owned(), item.signature.to_owned());
    }
    for class in lookup::classes().filter(|class| class.name.starts_with(prefix)) {
        found.insert(class.name.to_owned(), class.doc.lines().next().unwrap_or_default().to_owned());
    }
}

/// The folders that may stand there, and the files that end so.
fn add_paths(root: &Path, prefix: &str, ending: Option<&str>, found: &mut Found) {
    let (folder, name) = prefix.rsplit_once('/').unwrap_or(("", prefix));
    let mut parts = Path::new(folder).components();
    if prefix.starts_with('/') || !parts.all(|part| matches!(part, Component::Normal(_))) {
        return;
    }
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return };
    for entry in entries.take(MAX_SEEN).flatten() {
        let Ok(file) = entry.file_name().into_string() else { continue };
        let is_plain = file.len() <= MAX_NAME && !file.starts_with('.') && !file.contains(['"', '\'', '\\']);
        if !is_plain || !file.starts_with(name) || found.len() > MAX_CANDIDATES {
            continue;
        }
        let path = if folder.is_empty() { file } else { format!("{folder}/{file}") };
        if entry.path().is_dir() {
            found.insert(path + "/", "folder".to_owned());
        } else if ending.is_some_and(|ending| path.ends_with(ending)) {
            found.insert(path, "file".to_owned());
        }
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
