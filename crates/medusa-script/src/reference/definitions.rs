//! The type definitions for editors, in Luau's own notation.

use std::fmt::Write as _;

use super::pages::PAGES;
use crate::docs::{Class, Item};

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
    text.push_str("\n-- What a handler returns.\nexport type Answer = string | Response | InnerAnswer\n");
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
pub(super) fn arguments_and_result(signature: &str) -> (&str, &str) {
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
