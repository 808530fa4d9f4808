//! `help` and `source`: what the reference says of something, and where it is from.

use std::fmt::Write as _;
use std::sync::Arc;

use medusa_http::Handler;
use mlua::{Function, Lua, MultiValue, Table, Value};

use super::command_table::CommandTable;
use super::handler::handler_of;
use super::help_docs::COMMANDS;
use super::http::mounted;
use crate::call_site::fail;
use crate::context::MainContext;
use crate::counted::shown_bytes;
use crate::docs::{Class, Item, Scope};
use crate::options::no_more;
use crate::places::{Place, Places};
use crate::print::{MAX_SHOWN, show};
use crate::reference::lookup;

/// The width of paragraphs.
const WIDTH: usize = 76;

pub(super) fn install(commands: &CommandTable<'_>) -> mlua::Result<()> {
    let known = commands.table();
    commands.add("help", move |lua, given| help_on(lua, &known, given))?;
    commands.add("source", source)?;
    for command in COMMANDS {
        let name = command.path;
        commands.add(name, move |lua, _: MultiValue| -> mlua::Result<()> {
            let why =
                "is a command, and a statement of its own: type it alone, with its arguments as they are";
            Err(fail(lua, format!("{name}: this {why}, like `{name}()`")))
        })?;
    }
    Ok(())
}

/// What the reference says of a name; without one, where to begin.
///
/// # Errors
///
/// It says nothing of that.
pub fn help(about: Option<&str>) -> Result<String, String> {
    let Some(topic) = about else { return Ok(overview()) };
    of_topic(topic).ok_or_else(|| {
        let name = shown_bytes(topic.as_bytes(), MAX_SHOWN);
        format!("help: the reference has nothing of the name \"{name}\"; help() tells where to begin")
    })
}

fn help_on(lua: &Lua, commands: &Table, mut given: MultiValue) -> mlua::Result<String> {
    let Some(about) = given.pop_front() else { return Ok(overview()) };
    no_more(lua, "help(about)", &given)?;
    if let Value::String(topic) = &about {
        return help(Some(&topic.to_string_lossy())).map_err(|why| fail(lua, why));
    }
    if let Some(item) = item_of(lua, commands, &about) {
        return Ok(of_item(item));
    }
    if let Some(class) = lookup::class_of(&about) {
        let shown = about.as_userdata().and_then(|_| about.to_string().ok());
        let text = of_class(class);
        return Ok(shown.map_or_else(|| text.clone(), |shown| format!("{shown}\n\n{text}")));
    }
    match &about {
        Value::Function(function) => of_function(lua, function),
        Value::Table(table) => Ok(topic_of_table(lua, table)
            .and_then(|topic| of_topic(&topic))
            .unwrap_or_else(|| "a table of the script's: `print` shows what is in it".to_owned())),
        Value::Nil => Err(fail(lua, "help: this is nil; help() tells where to begin")),
        other => Ok(format!("{} is a {}", show(other), crate::print::kind(other))),
    }
}

/// The entry of a function of the host's.
fn item_of(lua: &Lua, commands: &Table, value: &Value) -> Option<&'static Item> {
    let Value::Function(_) = value else { return None };
    let tables = [lua.globals(), commands.clone()];
    let is_it = |item: &&'static Item| {
        let found = tables.iter().find_map(|table| lookup::value_at(table, item.path));
        found.is_some_and(|found| found.to_pointer() == value.to_pointer())
    };
    lookup::items().find(is_it)
}

/// `medusa.http`, of that table.
fn topic_of_table(lua: &Lua, table: &Table) -> Option<String> {
    let medusa = lookup::value_at(&lua.globals(), "medusa")?.as_table()?.clone();
    if medusa == *table {
        return Some("medusa".to_owned());
    }
    let parts = medusa.pairs::<String, Value>().flatten();
    let mut parts = parts.filter(|(_, part)| part.as_table() == Some(table));
    parts.next().map(|(name, _)| format!("medusa.{name}"))
}

fn overview() -> String {
    let mut text = String::from(
        "A statement is Luau. It sees the names of the script, `site` with all live objects, and `medusa`, which makes more of \
         them. What it changes is published at once, when all of it has succeeded. Tab tells what may stand where the cursor is.\n\n",
    );
    text = wrapped(&text, "");
    for (call, what) in [
        ("help(web)", "what an object has"),
        ("help(\"medusa.http.server\")", "what the reference says of a name"),
        ("source(f)", "where a function is from, and its text"),
        ("_", "the last value of this session"),
        ("local x = 1", "a name that only this session has"),
    ] {
        let _ = writeln!(text, "  {call:<27} {what}");
    }
    text.push_str("\nCommands:\n");
    let mut commands: Vec<_> = lookup::items().filter(|item| item.scope == Scope::Session).collect();
    commands.sort_by_key(|item| item.path);
    for item in commands {
        let _ = writeln!(text, "  {:<12} {}", item.path, first_clause(item.doc));
    }
    text.push_str("\nTopics, for help(\"...\"):\n");
    let mut topics: Vec<&str> =
        lookup::items().map(|item| item.path).filter(|path| path.contains('.')).collect();
    topics.sort_unstable();
    text.push_str(&wrapped(&topics.join("  "), "  "));
    text
}

/// A text up to the first mark that ends a clause: one that is followed by a space.
fn first_clause(text: &str) -> &str {
    let ends = |(at, _): &(usize, &str)| {
        text.get(at + 1..).is_none_or(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    let end = text.match_indices(['.', ':', ';']).find(ends);
    end.map_or(text, |(at, _)| &text[..at])
}

/// What the reference says of a name: of a function or command, a class, something of a class, or all that begins so.
fn of_topic(topic: &str) -> Option<String> {
    let topic = topic.trim().trim_end_matches("()");
    if let Some(item) = lookup::item(topic) {
        return Some(of_item(item));
    }
    if let Some(class) = lookup::class(topic) {
        return Some(of_class(class));
    }
    if let Some((class, name)) = topic.split_once([':', '.'])
        && let Some((item, is_method)) = lookup::class(class).and_then(|class| lookup::member(class, name))
    {
        let sign = if is_method { ":" } else { "." };
        return Some(format!("{class}{sign}{}\n\n{}", declared(item), wrapped(item.doc, "")));
    }
    let below = format!("{topic}.");
    let mut text = String::new();
    for item in lookup::items().filter(|item| item.path.starts_with(&below)) {
        let _ = write!(text, "{}\n{}\n", declared(item), wrapped(item.doc, "    "));
    }
    (!text.is_empty()).then(|| text.trim_end().to_owned())
}

fn of_item(item: &Item) -> String {
    let scope = match item.scope {
        Scope::Everywhere => "",
        Scope::Main => "\nOnly in the main script and at the prompt.",
        Scope::Session => "\nOnly at the prompt: in statements of a session.",
    };
    let mut text = format!("{}\n\n{}{scope}", declared(item), wrapped(item.doc, ""));
    if let Some(options) = lookup::options_of(item.signature) {
        let _ = write!(text, "\n\n{}", of_class(options));
    }
    text.trim_end().to_owned()
}

fn of_class(class: &Class) -> String {
    let mut text = format!("{}: {}", class.name, wrapped(class.doc, ""));
    for (sign, items) in [(".", class.fields), (":", class.methods)] {
        for item in items {
            let sign = if class.is_options() { "" } else { sign };
            let _ = write!(text, "\n  {sign}{}\n{}", declared(item), wrapped(item.doc, "      "));
        }
    }
    text.trim_end().to_owned()
}

/// `name(arguments) -> result`, or `name: type`.
fn declared(item: &Item) -> String {
    let between = if item.signature.starts_with('(') { "" } else { ": " };
    format!("{}{between}{}", item.path, item.signature)
}

/// Words in lines of [`WIDTH`] or less, each behind an indent.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = String::new();
    let mut width = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if width == 0 || width + 1 + length > WIDTH {
            lines.push_str(if width == 0 { indent } else { "\n" });
            if width > 0 {
                lines.push_str(indent);
            }
            width = indent.len();
        } else {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += length;
    }
    lines.push('\n');
    lines
}

fn of_function(lua: &Lua, function: &Function) -> mlua::Result<String> {
    let context = MainContext::of(lua)?;
    let places = Places { sources: &context.sources };
    let about = places.about(function);
    let comment = places.of(function).and_then(|place| place.comment());
    Ok(comment.map_or_else(|| about.clone(), |comment| format!("{about}\n\n{comment}")))
}

fn source(lua: &Lua, (of, rest): (Value, MultiValue)) -> mlua::Result<String> {
    no_more(lua, "source(of)", &rest)?;
    let context = MainContext::of(lua)?;
    let places = Places { sources: &context.sources };
    if let Value::Function(function) = &of {
        let place = places.of(function);
        let place = place
            .ok_or_else(|| fail(lua, "source: this function is the server's own: help(f) tells of it"))?;
        return Ok(shown(&place));
    }
    let handler = handler_of(lua, &of).or_else(|| mounted(lua, &of));
    let handler = handler.ok_or_else(|| {
        fail(lua, format!("source: give a function, a handler or a mount, not {}", show(&of)))
    })?;
    let handler = handler?;
    let mut texts = Vec::new();
    add_sources(&context, &places, &handler, &mut texts);
    Ok(texts.join("\n\n"))
}

/// Adds the text of a handler, and of those that it stands before.
fn add_sources(
    context: &MainContext,
    places: &Places<'_>,
    handler: &Arc<dyn Handler>,
    texts: &mut Vec<String>,
) {
    let status = handler.status();
    let function = context.functions.function_of(handler);
    let place = function.and_then(|function| places.of(&function));
    let file = context.scripts.among([handler]).into_iter().find(|_| handler.inner().is_empty());
    let text = file.and_then(|file| file.sources.known(&file.path));
    texts.push(match (place, text) {
        (Some(place), _) => shown(&place),
        (None, Some(text)) => format!("{}\n{}", status.name, text.trim_end()),
        (None, None) => format!("{} {}: the server's own", status.kind, status.name),
    });
    for inner in handler.inner() {
        add_sources(context, places, inner, texts);
    }
}

fn shown(place: &Place) -> String {
    let mut text = format!("{}:{}", place.file, place.line);
    let Some(lines) = place.lines() else { return text + ": its text is not known" };
    let width = lines.last().map_or(1, |(last, _)| last.to_string().len());
    for (number, line) in lines {
        let _ = write!(text, "\n{number:>width$} | {}", line.replace('\t', "    "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_wrapped() {
        let text = wrapped(&"word ".repeat(40), "  ");
        assert!(text.lines().all(|line| line.len() <= WIDTH && line.starts_with("  word")), "{text}");
        assert_eq!(wrapped("", "  "), "\n");
        assert_eq!(wrapped(&"x".repeat(100), ""), "x".repeat(100) + "\n");
    }

    #[test]
    fn all_of_the_reference_can_be_asked_for() {
        for item in lookup::items() {
            let text = of_topic(item.path).unwrap();
            assert!(text.starts_with(item.path), "{text}");
        }
        for class in lookup::classes() {
            assert!(of_topic(class.name).unwrap().starts_with(class.name));
        }
        assert!(of_topic("HttpServer:mount").unwrap().starts_with("HttpServer:mount(pattern: string"));
        assert!(of_topic("medusa.http").unwrap().contains("medusa.http.server(options"));
        assert!(of_topic("reload()").unwrap().starts_with("reload(seconds"));
        assert_eq!(of_topic("nonsense"), None);
    }
}
