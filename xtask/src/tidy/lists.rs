//! Lists that must name the same things: what a script can make is documented, shown by the status and tried.
//!
//! The pages of the reference are compared with the program itself by a test of medusa-script; so they are the list that all
//! others are compared with here.

use std::path::Path;

use super::{Files, Problem};

/// A page of the reference, and what must name each function on it.
struct Listed {
    page: &'static str,
    /// Before the names: `medusa.handler.files`.
    prefix: &'static str,
    /// How the guides name it, with the name in place of `*`.
    guide: &'static [&'static str],
    /// Those that have no kind of their own in the status: what they make is known by another name.
    without_status: &'static [&'static str],
}

const LISTED: [Listed; 2] = [
    Listed {
        page: "docs/reference/handler.md",
        prefix: "medusa.handler.",
        guide: &["handler.*"],
        without_status: &["script"],
    },
    Listed {
        page: "docs/reference/log.md",
        prefix: "medusa.log.",
        guide: &["log.*", "`*`"],
        without_status: &[],
    },
];

/// The page that has the limits, and the heading of their list.
const LIMITS: (&str, &str) = ("docs/reference/http.md", "## LimitOptions");

/// Finds what is missing. `files` are the documents and the Rust files.
pub(super) fn check(files: &Files) -> Vec<Problem> {
    let below = |folder: &'static str| files.iter().filter(move |(path, _)| path.starts_with(folder));
    let tests = || below("crates/medusa/tests/it").chain(below("examples/embed/tests"));
    let guides = || {
        below("docs")
            .filter(|(path, _)| path.parent() == Some(Path::new("docs")) && !path.ends_with("natives.md"))
    };
    let sources =
        || below("crates").filter(|(path, _)| path.components().any(|part| part.as_os_str() == "src"));
    let mut problems = Vec::new();
    for Listed { page, prefix, guide, without_status } in LISTED {
        for (line, name) in functions(files, page, prefix) {
            let mut missing = |what: String| {
                problems.push(Problem {
                    file: page.into(),
                    line,
                    rule: "listed",
                    text: format!("`{prefix}{name}` {what}"),
                });
            };
            let is_told = |text: &str| guide.iter().any(|form| has_word(text, &form.replace('*', &name)));
            if !guides().any(|(_, text)| is_told(text)) {
                missing("stands in no guide; say in docs/*.md what it is for".to_owned());
            }
            let short = format!("{}{name}", prefix.trim_start_matches("medusa."));
            if !tests().any(|(_, text)| has_word(text, &short)) {
                missing("is in no end-to-end test; add one in crates/medusa/tests/it".to_owned());
            }
            let kind = format!("\"{short}\"");
            if !without_status.contains(&name.as_str()) && !sources().any(|(_, text)| text.contains(&kind)) {
                missing(format!("has no status; what it makes is {kind} there"));
            }
        }
    }
    for (line, name) in limits(files) {
        let test = format!("fn {name}_");
        if !tests().any(|(_, text)| text.contains(&test)) {
            let text = format!(
                "the limit `{name}` is not tried; add a test `{name}_...` in crates/medusa/tests/it/limits"
            );
            problems.push(Problem { file: LIMITS.0.into(), line, rule: "listed", text });
        }
    }
    problems
}

fn lines<'a>(files: &'a Files, page: &str) -> impl Iterator<Item = (usize, &'a str)> {
    let text = files.get(Path::new(page)).map_or("", String::as_str);
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// The functions that a page has, with their lines.
fn functions<'a>(files: &'a Files, page: &str, prefix: &str) -> Vec<(usize, String)> {
    let name = |(line, text): (usize, &'a str)| {
        let name = text.strip_prefix("## `")?.strip_prefix(prefix)?.strip_suffix('`')?;
        Some((line, name.to_owned()))
    };
    lines(files, page).filter_map(name).collect()
}

/// The limits, with their lines.
fn limits(files: &Files) -> Vec<(usize, String)> {
    let (page, heading) = LIMITS;
    let list = lines(files, page).skip_while(|(_, text)| *text != heading).skip(1);
    let list = list.take_while(|(_, text)| !text.starts_with("## "));
    list.filter_map(|(line, text)| Some((line, text.strip_prefix("- **`")?.split('`').next()?.to_owned())))
        .collect()
}

/// Whether `word` is in the text, and no longer word of which it is the beginning.
fn has_word(text: &str, word: &str) -> bool {
    let ends = |(at, _): (usize, &str)| {
        let next = text[at + word.len()..].chars().next();
        !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
    };
    text.match_indices(word).any(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The problems where the pages have one handler, one log and one limit.
    fn missing(others: &[(&str, &str)]) -> Vec<String> {
        let pages = [
            ("docs/reference/handler.md", "## `medusa.handler.a`\n"),
            ("docs/reference/log.md", "## `medusa.log.b`\n"),
            ("docs/reference/http.md", "## LimitOptions\n- **`c`**: number\n## Other\n- **`d`**: number\n"),
        ];
        let files: Files =
            pages.iter().chain(others).map(|(path, text)| ((*path).into(), (*text).to_owned())).collect();
        check(&files).iter().map(|problem| format!("{}: {}", problem.line, problem.text)).collect()
    }

    #[test]
    fn what_is_nowhere_is_told_with_what_to_do() {
        let all = missing(&[]);
        assert_eq!(all.len(), 7, "{all:?}");
        assert!(all[0].starts_with("1: `medusa.handler.a` stands in no guide"), "{all:?}");
        assert!(all[6].starts_with("2: the limit `c` is not tried"), "{all:?}");
    }

    #[test]
    fn what_is_everywhere_is_fine_and_a_longer_name_is_another() {
        let source = ("crates/x/src/y.rs", "\"handler.a\" \"log.b\"");
        let test = ("crates/medusa/tests/it/x.rs", "medusa.handler.a() medusa.log.b() fn c_is_tried() {}");
        assert_eq!(missing(&[source, test, ("docs/x.md", "`handler.a` and `b`")]), [""; 0]);
        assert_eq!(missing(&[source, test, ("docs/x.md", "`handler.ab` and `b`")]).len(), 1);
    }
}
