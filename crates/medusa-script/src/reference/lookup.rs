//! The reference as a prompt asks it: an item by its path, a class by its name or by an object of it, and what a type says.

use mlua::{AnyUserData, Table, Value};

use super::definitions::arguments_and_result;
use super::pages::PAGES;
use crate::docs::{Class, Item};

/// The types of the host's objects, as the VM calls them, and their classes.
const OBJECTS: [(&str, &str); 14] = [
    ("EventLogValue", "EventLog"),
    ("EventStream", "EventStream"),
    ("GenerationValue", "Generation"),
    ("HandlerValue", "Handler"),
    ("HttpServer", "HttpServer"),
    ("MonitorClassicValue", "MonitorClassic"),
    ("MonitorSshValue", "MonitorSsh"),
    ("MountValue", "Mount"),
    ("ResolverValue", "DnsResolver"),
    ("SharedDictionary", "SharedDictionary"),
    ("SinkValue", "LogSink"),
    ("SiteValue", "Site"),
    ("TimerValue", "Timer"),
    ("UploadedFile", "UploadedFile"),
];

/// Tables of the host that stand for objects, by what their metatables are sealed with.
const TABLES: [(&str, &str); 3] =
    [("request", "Request"), ("response", "FetchResponse"), ("websocket", "WebSocket")];

/// All functions and values.
pub(crate) fn items() -> impl Iterator<Item = &'static Item> {
    PAGES.iter().flat_map(|page| page.items)
}

/// All classes.
pub(crate) fn classes() -> impl Iterator<Item = &'static Class> {
    PAGES.iter().flat_map(|page| page.classes)
}

/// The function or value of this path.
pub(crate) fn item(path: &str) -> Option<&'static Item> {
    items().find(|item| item.path == path)
}

/// The class of this name.
pub(crate) fn class(name: &str) -> Option<&'static Class> {
    classes().find(|class| class.name == name)
}

/// The class that a value is an object of. No code of a script runs.
pub(crate) fn class_of(value: &Value) -> Option<&'static Class> {
    match value {
        Value::UserData(data) => class_of_userdata(data),
        Value::Table(table) => {
            let sealed = table.metatable()?.raw_get::<Value>("__metatable").ok()?;
            let sealed = sealed.as_string()?.to_string_lossy();
            class(TABLES.iter().find(|(seal, _)| *seal == sealed)?.1)
        }
        _ => None,
    }
}

fn class_of_userdata(data: &AnyUserData) -> Option<&'static Class> {
    let name = data.type_name().ok()?.to_string_lossy();
    class(OBJECTS.iter().find(|(object, _)| *object == name)?.1)
}

/// A field or method of a class, and whether it is a method.
pub(crate) fn member(class: &Class, name: &str) -> Option<(&'static Item, bool)> {
    let of = |items: &'static [Item]| items.iter().find(|item| item.path == name);
    of(class.fields).map(|field| (field, false)).or_else(|| of(class.methods).map(|method| (method, true)))
}

/// The type of what a function of this type returns.
pub(crate) fn result_of(signature: &'static str) -> Option<&'static str> {
    signature.starts_with('(').then(|| arguments_and_result(signature).1)
}

/// The type of what is in a table of this type.
pub(crate) fn element_of(kind: &'static str) -> Option<&'static str> {
    let inside = kind.trim_end_matches('?').strip_prefix('{')?.strip_suffix('}')?;
    Some(inside.split_once("]:").map_or(inside, |(_key, value)| value).trim())
}

/// The class of an object of this type.
pub(crate) fn class_of_type(kind: &str) -> Option<&'static Class> {
    kind.split('|').find_map(|one| class(one.trim().trim_end_matches('?')))
}

/// The class of the table of options that a function of this type takes.
pub(crate) fn options_of(signature: &str) -> Option<&'static Class> {
    let mut words = signature.split(|c: char| !c.is_ascii_alphanumeric());
    words.find_map(|word| class(word).filter(|class| class.is_options()))
}

/// The most tables that are looked at in the place of another.
const MAX_BELOW: usize = 8;

/// The tables in which a name is looked up: this one, and those that its metatable names. Nothing of a script runs.
pub(crate) fn with_those_below(table: &Table) -> Vec<Table> {
    let below = |table: &Table| table.metatable()?.raw_get::<Table>("__index").ok();
    std::iter::successors(Some(table.clone()), below).take(MAX_BELOW).collect()
}

/// The host's function or value at a path, as the tables have it.
pub(crate) fn value_at(table: &Table, path: &str) -> Option<Value> {
    let mut value = Value::Table(table.clone());
    for name in path.split('.') {
        let tables = with_those_below(value.as_table()?).into_iter();
        let mut values = tables.filter_map(|table| table.raw_get::<Value>(name).ok());
        value = values.find(|value| !value.is_nil())?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_lead_from_one_class_to_the_next() {
        let name = |class: Option<&Class>| class.map(|class| class.name);
        let servers = member(class("Site").unwrap(), "servers").unwrap().0;
        assert_eq!(name(element_of(servers.signature).and_then(class_of_type)), Some("HttpServer"));
        let (mount, is_method) = member(class("HttpServer").unwrap(), "mount").unwrap();
        assert!(is_method);
        assert_eq!(name(result_of(mount.signature).and_then(class_of_type)), Some("Mount"));
        assert_eq!(
            name(options_of(item("medusa.http.server").unwrap().signature)),
            Some("HttpServerOptions")
        );
        assert_eq!(result_of("(f: (a: b) -> c) -> { d }"), Some("{ d }"));
        assert_eq!(result_of("string"), None);
        assert_eq!(element_of("{ [string]: number }?"), Some("number"));
        assert_eq!(name(class_of_type("nil | Mount?")), Some("Mount"));
    }

    #[test]
    fn every_object_has_its_class() {
        for (_, name) in OBJECTS.iter().chain(&TABLES) {
            assert!(class(name).is_some(), "{name}");
        }
    }
}
