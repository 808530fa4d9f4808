//! What a source file declares and names, outside of tests: modules, imports, paths, types.
//!
//! A reader of tokens, not of Rust: it knows enough of the grammar to tell an item of a module from one of an `impl`,
//! and what `#[cfg(test)]` stands before. For what does not compile it may be wrong, and never fails.

use super::tokens::tokens;

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

/// A token that is looked at.
type TokenRef<'a> = (&'a str, usize);

/// The modules written in the file `source`; the first is the file itself.
pub(super) fn scopes(source: &str) -> Vec<ModuleScope> {
    let tokens = tokens(source);
    let tokens: Vec<TokenRef<'_>> = tokens.iter().map(|(text, line)| (text.as_str(), *line)).collect();
    let tokens = without_tests(&tokens);
    let mut scopes = vec![ModuleScope::default()];
    // For each open brace: the module it stands in, and whether it is the body of an `impl` or a trait.
    let mut open = vec![(0, false)];
    let mut next = None;
    let mut at = 0;
    while at < tokens.len() {
        let (here, in_impl) = open.last().copied().unwrap_or_default();
        let before = if at == 0 { ";" } else { tokens[at - 1].0 };
        let begins_item = matches!(before, ";" | "{" | "}" | "]" | ")" | "pub" | "unsafe");
        let (token, line) = tokens[at];
        let following = tokens.get(at + 1).map_or("", |token| token.0);
        match token {
            "{" => open.push(next.take().unwrap_or((here, false))),
            "}" => {
                open.pop();
            }
            ";" => next = None,
            "use" if begins_item && following != "<" => {
                let length =
                    tokens[at..].iter().position(|token| token.0 == ";").unwrap_or(tokens.len() - at);
                let public = matches!(before, "pub" | ")");
                tree(&tokens[at + 1..at + length], &mut Vec::new(), &mut |path, name| {
                    scopes[here].imports.push(Import { path, name, public, line });
                });
                at += length;
            }
            "mod" if begins_item && is_word(following) => {
                scopes[here].children.push(following.to_owned());
                let mut path = scopes[here].path.clone();
                path.push(following.to_owned());
                if tokens.get(at + 2).is_some_and(|token| token.0 == "{") {
                    next = Some((scopes.len(), false));
                    scopes.push(ModuleScope { path, ..ModuleScope::default() });
                }
                at += 1;
            }
            "struct" | "enum" | "trait" | "type" if begins_item && is_word(following) => {
                if !in_impl {
                    scopes[here].types.push((following.to_owned(), line));
                }
                next = Some((here, token == "trait"));
                at += 1;
            }
            "impl" if begins_item => next = Some((here, true)),
            _ if is_word(token) && before != "::" => {
                let mut path = vec![token.to_owned()];
                while let [("::", _), (word, _), ..] = tokens[at + 1..]
                    && is_word(word)
                {
                    path.push(word.to_owned());
                    at += 2;
                }
                scopes[here].words.push(token.to_owned());
                if path.len() > 1 {
                    scopes[here].paths.push((path, line));
                }
            }
            _ => {}
        }
        at += 1;
    }
    scopes
}

/// The names of a tree of imports: `a::{b, c as d, e::*}`.
fn tree(tokens: &[TokenRef<'_>], prefix: &mut Vec<String>, found: &mut dyn FnMut(Vec<String>, String)) {
    let depth_before = prefix.len();
    let mut name = None;
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].0 {
            "{" => {
                let length = closing(&tokens[at..]);
                let mut from = at + 1;
                let mut depth = 0;
                for index in at + 1..=at + length {
                    match tokens.get(index).map_or("}", |token| token.0) {
                        "," if depth == 0 => {
                            tree(&tokens[from..index], prefix, found);
                            from = index + 1;
                        }
                        "{" => depth += 1,
                        "}" if index == at + length => {
                            tree(&tokens[from..index.min(tokens.len())], prefix, found);
                        }
                        "}" => depth -= 1,
                        _ => {}
                    }
                }
                prefix.truncate(depth_before);
                return;
            }
            "*" => name = Some("*"),
            "as" => {
                name = tokens.get(at + 1).map(|token| token.0);
                at += 1;
            }
            "self" if !prefix.is_empty() => {}
            word if is_word(word) => prefix.push(word.to_owned()),
            _ => {}
        }
        at += 1;
    }
    if let Some(last) = prefix.last() {
        let name = name.map_or_else(|| last.clone(), str::to_owned);
        if !tokens.is_empty() {
            found(prefix.clone(), name);
        }
    }
    prefix.truncate(depth_before);
}

/// The distance from the brace or bracket that `tokens` begins with to its partner.
fn closing(tokens: &[TokenRef<'_>]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.0 {
            "{" | "[" | "(" => depth += 1,
            "}" | "]" | ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len().saturating_sub(1)
}

/// `tokens` without attributes, and without what a `#[cfg(test)]` stands before.
fn without_tests<'a>(tokens: &[TokenRef<'a>]) -> Vec<TokenRef<'a>> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let inner = tokens.get(at + 1).is_some_and(|token| token.0 == "!");
        let bracket = at + 1 + usize::from(inner);
        if tokens[at].0 == "#" && tokens.get(bracket).is_some_and(|token| token.0 == "[") {
            let end = bracket + closing(&tokens[bracket..]);
            let attribute: Vec<&str> = tokens[bracket..=end].iter().map(|token| token.0).collect();
            at = end + 1;
            if attribute.starts_with(&["[", "cfg", "("]) && asks_for_test(&attribute) {
                at = if inner { tokens.len() } else { at + item(&tokens[at..]) };
            }
            continue;
        }
        kept.push(tokens[at]);
        at += 1;
    }
    kept
}

fn asks_for_test(attribute: &[&str]) -> bool {
    attribute.contains(&"test") && !attribute.contains(&"not")
}

/// The length of the item, statement, field or arm that `tokens` begins with, attributes of its own included.
fn item(tokens: &[TokenRef<'_>]) -> usize {
    let mut at = 0;
    while tokens.get(at).is_some_and(|token| token.0 == "#") {
        at += 2 + closing(&tokens[at + 1..]);
    }
    // A comma ends a field or an arm; in a function it stands between type parameters.
    let keyword = matches!(
        tokens.get(at).map_or("", |token| token.0),
        "pub"
            | "use"
            | "mod"
            | "fn"
            | "impl"
            | "struct"
            | "enum"
            | "trait"
            | "type"
            | "unsafe"
            | "async"
            | "let"
    ) && tokens.get(at + 1).is_none_or(|token| token.0 != ":");
    while at < tokens.len() {
        match tokens[at].0 {
            "{" | "(" | "[" => {
                let brace = tokens[at].0 == "{";
                at += closing(&tokens[at..]);
                let next = tokens.get(at + 1).map_or("", |token| token.0);
                if brace && !matches!(next, ";" | "," | "." | "?" | "else") {
                    return at + 1;
                }
            }
            ";" => return at + 1,
            "," if !keyword => return at + 1,
            "}" => return at,
            _ => {}
        }
        at += 1;
    }
    at
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| is_of_word(c) && !c.is_ascii_digit())
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
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
