//! The reference: one Markdown page for each part.

use std::fmt::Write as _;

use super::pages::{PAGES, Page};
use crate::docs::{Item, Scope};

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
        text.push_str(match item.scope {
            Scope::Everywhere => "",
            Scope::Main => "\nOnly in the main script and at the prompt.\n",
            Scope::Session => "\nOnly at the prompt: in statements of a session.\n",
        });
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
