//! What a source file declares and names, outside of tests: modules, imports, paths, types.
//!
//! A reader of tokens, not of Rust: it knows enough of the grammar to tell an item of a module from one of an `impl`,
//! and what `#[cfg(test)]` stands before. For what does not compile it may be wrong, and never fails.

use proc_macro2::{Delimiter, TokenTree};

use super::tokens::{Attribute, group, inside, is_mark, is_path_mark, trees, word};

/// A module written in one file: the file itself, or `mod name { ... }` in it.
#[derive(Debug, Default)]
pub(super) struct ModuleScope {
    /// The modules around it in the file, outermost first, and its own name; empty for the file.
    pub(super) path: Vec<String>,
    /// Modules it declares, here or in a file of their own.
    pub(super) children: Vec<String>,
    /// What it imports.
    pub(super) imports: Vec<Import>,
    /// Paths of two names or more in its code.
    pub(super) paths: Vec<(Vec<String>, usize)>,
    /// Names of its code, outside of imports.
    pub(super) words: Vec<String>,
    /// Structs, enums, traits and aliases, with their lines; those of its functions too, associated types not.
    pub(super) types: Vec<(String, usize)>,
}

/// One name that a `use` brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Import {
    /// What it is the name of.
    pub(super) path: Vec<String>,
    /// The name; `*` for all that the path has.
    pub(super) name: String,
    /// Whether it is passed on: `pub use`, `pub(crate) use`.
    pub(super) public: bool,
    /// Counted from 1.
    pub(super) line: usize,
}

/// The modules written in the file `source`; the first is the file itself.
pub(super) fn scopes(source: &str) -> Vec<ModuleScope> {
    let mut scopes = vec![ModuleScope::default()];
    read(&trees(source), 0, false, &mut scopes);
    scopes
}

/// Adds what `trees` say, which stand in the module number `here`; `in_impl`, in the body of an `impl` or a trait.
fn read(trees: &[TokenTree], here: usize, in_impl: bool, scopes: &mut Vec<ModuleScope>) {
    // Whether the next brace is the body of an `impl` or a trait.
    let mut of_impl = false;
    let mut before: Option<&TokenTree> = None;
    let mut rest = trees;
    while let [tree, after @ ..] = rest {
        if let Some((attribute, after)) = Attribute::at(rest) {
            rest = match attribute {
                attribute if !is_for_tests(&attribute.content) => after,
                attribute if attribute.is_inner => return,
                _ => &after[item(after)..],
            };
            continue;
        }
        let begins_item = begins_item_after(before);
        let after_path_mark = is_path_mark(&trees[(trees.len() - rest.len()).saturating_sub(2)..]);
        let line = tree.span().start().line;
        rest = after;
        match (word(tree).as_deref(), after.first().and_then(word)) {
            (Some("use"), _) if begins_item && !is_mark(after.first(), '<') => {
                let length = after.iter().position(|tree| is_mark(Some(tree), ';')).unwrap_or(after.len());
                let public = is_public(before);
                imports(&after[..length], &[], &mut |path, name| {
                    scopes[here].imports.push(Import { path, name, public, line });
                });
                rest = &after[length..];
            }
            (Some("mod"), Some(name)) if begins_item => {
                scopes[here].children.push(name.clone());
                rest = &after[1..];
                if let Some(body) = group(rest.first(), Delimiter::Brace) {
                    let path = [&scopes[here].path[..], &[name]].concat();
                    scopes.push(ModuleScope { path, ..ModuleScope::default() });
                    read(&inside(body), scopes.len() - 1, false, scopes);
                    rest = &rest[1..];
                }
            }
            (Some(kind @ ("struct" | "enum" | "trait" | "type")), Some(name)) if begins_item => {
                if !in_impl {
                    scopes[here].types.push((name, line));
                }
                of_impl = kind == "trait";
                rest = &after[1..];
            }
            (Some("impl"), _) if begins_item => of_impl = true,
            (Some(first), _) if !after_path_mark => {
                let mut path = vec![first.to_owned()];
                while let Some(next) = rest.get(2).and_then(word).filter(|_| is_path_mark(rest)) {
                    path.push(next);
                    rest = &rest[3..];
                }
                scopes[here].words.push(first.to_owned());
                if path.len() > 1 {
                    scopes[here].paths.push((path, line));
                }
            }
            _ => match tree {
                TokenTree::Group(group) => {
                    let in_impl = group.delimiter() == Delimiter::Brace && std::mem::take(&mut of_impl);
                    read(&inside(group), here, in_impl, scopes);
                }
                _ if is_mark(Some(tree), ';') => of_impl = false,
                _ => {}
            },
        }
        before = trees.get(trees.len() - rest.len() - 1);
    }
}

/// Whether a keyword after this is that of an item.
fn begins_item_after(before: Option<&TokenTree>) -> bool {
    match before {
        None | Some(TokenTree::Group(_)) => true,
        Some(TokenTree::Ident(word)) => word == "pub" || word == "unsafe",
        Some(_) => is_mark(before, ';'),
    }
}

/// Whether what comes after this is passed on: `pub`, `pub(crate)`.
fn is_public(before: Option<&TokenTree>) -> bool {
    before.and_then(word).is_some_and(|word| word == "pub") || group(before, Delimiter::Parenthesis).is_some()
}

/// The names of a tree of imports: `a::{b, c as d, e::*}`.
fn imports(trees: &[TokenTree], prefix: &[String], found: &mut dyn FnMut(Vec<String>, String)) {
    for branch in trees.split(|tree| is_mark(Some(tree), ',')) {
        let mut path = prefix.to_vec();
        path.extend(branch.iter().filter_map(word));
        if let Some(branches) = group(branch.last(), Delimiter::Brace) {
            imports(&inside(branches), &path, found);
            continue;
        }
        let renamed = path.iter().position(|word| word == "as").and_then(|at| path.split_off(at).pop());
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let star = is_mark(branch.last(), '*').then(|| "*".to_owned());
        if let Some(name) = renamed.or(star).or_else(|| path.last().cloned()).filter(|_| !branch.is_empty()) {
            found(path, name);
        }
    }
}

/// Whether an attribute asks for tests: `cfg(test)`, `cfg(all(test, ...))`.
fn is_for_tests(attribute: &[TokenTree]) -> bool {
    let has = |wanted: &str| words_in(attribute).iter().any(|word| word == wanted);
    attribute.first().and_then(word).is_some_and(|first| first == "cfg") && has("test") && !has("not")
}

fn words_in(trees: &[TokenTree]) -> Vec<String> {
    let words = |tree: &TokenTree| match tree {
        TokenTree::Group(group) => words_in(&inside(group)),
        tree => word(tree).into_iter().collect(),
    };
    trees.iter().flat_map(words).collect()
}

/// The number of trees of the item, statement, field or arm that `trees` begin with, attributes of its own included.
fn item(trees: &[TokenTree]) -> usize {
    const ITEMS: [&str; 12] =
        ["pub", "use", "mod", "fn", "impl", "struct", "enum", "trait", "type", "unsafe", "async", "let"];
    let mut rest = trees;
    while let Some((_, after)) = Attribute::at(rest) {
        rest = after;
    }
    // A comma ends a field or an arm; in a function it stands between type parameters.
    let is_item = rest.first().and_then(word).is_some_and(|word| ITEMS.contains(&word.as_str()))
        && !is_mark(rest.get(1), ':');
    let goes_on = |next: Option<&TokenTree>| {
        next.and_then(word).is_some_and(|word| word == "else")
            || [';', ',', '.', '?'].into_iter().any(|mark| is_mark(next, mark))
    };
    let ends = |at: &usize| {
        let tree = rest.get(*at);
        is_mark(tree, ';')
            || (!is_item && is_mark(tree, ','))
            || (group(tree, Delimiter::Brace).is_some() && !goes_on(rest.get(at + 1)))
    };
    let length = (0..rest.len()).find(ends).map_or(rest.len(), |last| last + 1);
    trees.len() - rest.len() + length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(source: &str) -> Vec<String> {
        let scopes = scopes(source);
        let shown = |import: &Import| {
            let public = if import.public { "pub " } else { "" };
            format!("{public}{} as {}", import.path.join("::"), import.name)
        };
        scopes.iter().flat_map(|scope| scope.imports.iter().map(shown)).collect()
    }

    fn types(source: &str) -> Vec<String> {
        let scopes = scopes(source);
        scopes
            .iter()
            .flat_map(|scope| scope.types.iter().map(|(name, line)| format!("{name}@{line}")))
            .collect()
    }

    #[test]
    fn a_tree_of_imports_is_every_name_it_brings() {
        assert_eq!(
            imports("use a::{self, b, c::{d as e, f::*}};\npub(crate) use crate::g;"),
            ["a as a", "a::b as b", "a::c::d as e", "a::c::f as *", "pub crate::g as g"]
        );
    }

    #[test]
    fn what_is_for_tests_is_not_seen() {
        let source = "
            #[cfg(test)] use a::{b};
            #[cfg(test)] #[expect(x)] mod tests { struct T; }
            #[cfg(all(test, unix))] fn f<A, B>() { enum U {} }
            #[cfg(not(test))] use c::d;
            struct S { #[cfg(test)] a: crate::x::Y, b: u8 }
            mod tests_of_others;";
        assert_eq!(imports(source), ["c::d as d"]);
        assert_eq!(types(source), ["S@6"]);
        assert_eq!(scopes(source)[0].children, ["tests_of_others"]);
        assert_eq!(scopes(source)[0].paths, []);
    }

    #[test]
    fn a_type_of_an_impl_or_trait_is_associated() {
        let source =
            "impl A for B { type C = D; fn f() { struct E; } }\ntrait F { type G; }\ntype H<T> = Vec<T>;";
        assert_eq!(types(source), ["E@1", "F@2", "H@3"]);
    }

    #[test]
    fn a_module_in_the_file_has_a_scope_of_its_own() {
        let scopes = scopes("mod a { use super::b; mod c { fn f() { super::d::e() } } } fn g() { a::h() }");
        let paths: Vec<String> = scopes.iter().map(|scope| scope.path.join("::")).collect();
        assert_eq!(paths, ["", "a", "a::c"]);
        assert_eq!(scopes[1].imports[0].path, ["super", "b"]);
        assert_eq!(scopes[2].paths[0].0, ["super", "d", "e"]);
        assert_eq!(scopes[0].paths[0].0, ["a", "h"]);
    }
}
