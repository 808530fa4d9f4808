//! The rules inside a source file.

use std::path::Path;

use proc_macro2::TokenTree;

use super::Problem;
use super::tokens::{Attribute, inside, trees, word};

/// The longest a source file may be, in lines. A file beyond it holds more than one thing.
const MOST_LINES: usize = 800;

/// Checks one file, whose path is given from the root of the repository.
pub(super) fn check(file: &Path, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut report = |line, rule, text: String| {
        problems.push(Problem { file: file.to_owned(), line, rule, text });
    };
    header(text, &mut report);
    length(text, &mut report);
    for (index, line) in text.lines().enumerate() {
        spaces(index + 1, line, &mut report);
    }
    attributes(&trees(text), &mut report);
    problems
}

/// Takes a broken rule: line, rule, what to do.
type Complaint<'a> = dyn FnMut(usize, &'static str, String) + 'a;

fn header(text: &str, report: &mut Complaint<'_>) {
    let first = text.lines().next().unwrap_or_default();
    let has_header = first.strip_prefix("//!").is_some_and(|rest| !rest.trim().is_empty());
    if !has_header {
        report(
            1,
            "header",
            "the file does not begin with a `//!` header; say there what the module is and what invariant lives in it"
                .to_owned(),
        );
    }
}

fn length(text: &str, report: &mut Complaint<'_>) {
    let lines = text.lines().count();
    if lines > MOST_LINES {
        report(
            MOST_LINES + 1,
            "length",
            format!("{lines} lines, and {MOST_LINES} are allowed; split the file by what its parts do"),
        );
    }
}

fn spaces(number: usize, line: &str, report: &mut Complaint<'_>) {
    if line.contains('\t') {
        report(number, "space", "a tab; indent with spaces, and write `\\t` in a literal".to_owned());
    }
    if line.ends_with([' ', '\t']) {
        report(number, "space", "a space at the end of the line; remove it".to_owned());
    }
}

fn attributes(trees: &[TokenTree], report: &mut Complaint<'_>) {
    for (at, tree) in trees.iter().enumerate() {
        let attribute =
            Attribute::at(&trees[at..]).and_then(|(attribute, _)| word(attribute.content.first()?));
        if attribute.is_some_and(|name| name == "allow") {
            let text = "`allow` outlives its cause; write `expect(LINT, reason = \"...\")` instead";
            report(tree.span().start().line, "allow", text.to_owned());
        }
        if let TokenTree::Group(group) = tree {
            attributes(&inside(group), report);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The broken rules of a file, as `rule@line`.
    fn rules(text: &str) -> Vec<String> {
        let found = check(Path::new("x.rs"), text);
        found.iter().map(|problem| format!("{}@{}", problem.rule, problem.line)).collect()
    }

    const NOTHING: [&str; 0] = [];

    #[test]
    fn a_tidy_file_is_fine() {
        assert_eq!(rules("//! What it is.\n\nfn main() {}\n"), NOTHING);
    }

    #[test]
    fn the_header_is_the_first_line_and_says_something() {
        assert_eq!(rules("fn main() {}\n"), ["header@1"]);
        assert_eq!(rules("// What it is.\n"), ["header@1"]);
        assert_eq!(rules("\n//! What it is.\n"), ["header@1"]);
        assert_eq!(rules("//! \n//! What it is.\n"), ["header@1", "space@1"]);
        assert_eq!(rules(""), ["header@1"]);
    }

    #[test]
    fn allow_is_refused_and_expect_is_not() {
        assert_eq!(
            rules("//! H.\n#![allow(dead_code)]\n#[allow(unused)]\nfn f() {}\n"),
            ["allow@2", "allow@3"]
        );
        assert_eq!(rules("//! H.\n// #[allow(x)]\nconst S: &str = \"#[allow(x)]\";\n"), NOTHING);
        assert_eq!(rules("//! H.\n#[expect(unused, reason = \"why\")]\nfn f() {}\n"), NOTHING);
    }

    #[test]
    fn tabs_and_trailing_spaces_are_found_even_in_literals() {
        assert_eq!(rules("//! H.\n\tfn f() {}\nfn g() {} \n"), ["space@2", "space@3"]);
        assert_eq!(rules("//! H.\nconst S: &str = \"a\tb\";\n"), ["space@2"]);
    }

    #[test]
    fn a_file_may_have_800_lines_and_no_more() {
        let file = |lines: usize| format!("//! H.\n{}", "fn f() {}\n".repeat(lines - 1));
        assert_eq!(rules(&file(800)), NOTHING);
        assert_eq!(rules(&file(801)), ["length@801"]);
    }
}
