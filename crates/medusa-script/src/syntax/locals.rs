//! The names that a statement declares for itself, outside of all blocks.

use std::collections::HashSet;

use super::blocks::Blocks;
use super::{Token, TokenKind, tokens};

/// What a statement declares.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Locals<'a> {
    /// The names, each once.
    pub(crate) names: Vec<&'a str>,
    /// Where all of them are there still: before the `return` that ends it, or at its end.
    pub(crate) end: usize,
}

/// The names that a statement declares by `local` outside of all blocks.
pub(crate) fn locals(source: &str) -> Locals<'_> {
    let words = tokens(source);
    let mut blocks = Blocks::default();
    let (mut names, mut seen, mut end) = (Vec::new(), HashSet::new(), source.len());
    for (index, word) in words.iter().enumerate() {
        if blocks.depth() == 0 && word.kind == TokenKind::Keyword {
            match word.text {
                "local" => {
                    let declared = declared(words.get(index + 1..).unwrap_or_default());
                    names.extend(declared.filter(|name| seen.insert(*name)));
                }
                "return" => {
                    end = word.from;
                    break;
                }
                _ => {}
            }
        }
        blocks.take(word);
    }
    Locals { names, end }
}

/// The names behind a `local`.
fn declared<'t, 'a>(words: &'t [Token<'a>]) -> impl Iterator<Item = &'a str> + use<'t, 'a> {
    let mut next = match words {
        [first, rest @ ..] if first.is(TokenKind::Keyword, "function") => Some(rest),
        words => Some(words),
    };
    std::iter::from_fn(move || {
        let [name, rest @ ..] = next.take()? else { return None };
        if name.kind != TokenKind::Name {
            return None;
        }
        let rest = match rest {
            [colon, kind @ ..] if colon.is_symbol(":") => behind_type(kind),
            rest => rest,
        };
        if let [comma, more @ ..] = rest
            && comma.is_symbol(",")
        {
            next = Some(more);
        }
        Some(name.text)
    })
}

/// What stands behind a type.
fn behind_type<'t, 'a>(mut words: &'t [Token<'a>]) -> &'t [Token<'a>] {
    loop {
        words = behind_one(words);
        while let [mark, rest @ ..] = words
            && mark.is_symbol("?")
        {
            words = rest;
        }
        match words {
            [sign, rest @ ..] if ["|", "&", "->"].contains(&sign.text) => words = rest,
            _ => return words,
        }
    }
}

/// What stands behind a name with what belongs to it, or behind brackets.
fn behind_one<'t, 'a>(mut words: &'t [Token<'a>]) -> &'t [Token<'a>] {
    loop {
        let [first, rest @ ..] = words else { return words };
        return match (first.kind, first.text) {
            (TokenKind::Symbol, "(" | "{") => behind_brackets(words),
            (TokenKind::Name, _) => match rest {
                [dot, more @ ..] if dot.is_symbol(".") => {
                    words = more;
                    continue;
                }
                [open, ..] if open.is_symbol("<") || (first.text == "typeof" && open.is_symbol("(")) => {
                    behind_brackets(rest)
                }
                _ => rest,
            },
            (TokenKind::Keyword, "nil" | "true" | "false") | (TokenKind::String, _) => rest,
            _ => words,
        };
    }
}

/// What stands behind the brackets that these words begin with.
fn behind_brackets<'t, 'a>(words: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let mut depth = 0_usize;
    for (index, word) in words.iter().enumerate() {
        match word.text {
            "(" | "{" | "[" | "<" => depth += 1,
            ")" | "}" | "]" | ">" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return words.get(index + 1..).unwrap_or_default();
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_of_blocks_are_the_statements() {
        let names = |source| locals(source).names;
        assert_eq!(names("local a, b = 1, 2 local function c() local d end"), ["a", "b", "c"]);
        assert_eq!(
            names("local a: { x: number, y: { z: string } }, b: Foo.Bar<string, x>? = f(c, d)"),
            ["a", "b"]
        );
        assert_eq!(names("local a: (number, string) -> (string | nil)\nb, c = 1, 2"), ["a"]);
        assert_eq!(
            names("local f = function() local x end for i = 1, 2 do local y end if a then local z end"),
            ["f"]
        );
        assert_eq!(names("local x = if a then b else c local y = 1 local x = 2"), ["x", "y"]);
        assert_eq!(names("-- local a\nprint('local b') t = { local_ = 1 }"), [""; 0]);
        assert_eq!(names("local"), [""; 0]);
    }

    #[test]
    fn long_ones_take_neither_stack_nor_time() {
        let path = format!("local x: {}a, y = 1", "a.".repeat(500_000));
        assert_eq!(locals(&path).names, ["x", "y"]);
        let many = (0..150_000).map(|number| format!("a{number}")).collect::<Vec<_>>().join(",");
        let begun = std::time::Instant::now();
        assert_eq!(locals(&format!("local {many} local a7")).names.len(), 150_000);
        assert!(
            begun.elapsed() < std::time::Duration::from_secs(5),
            "each looks through all: {:?}",
            begun.elapsed()
        );
    }

    #[test]
    fn they_are_there_until_the_last_return() {
        let end = |source| locals(source).end;
        assert_eq!(end("local x = 1"), 11);
        assert_eq!(end("local x = 1 return x"), 12);
        assert_eq!(end("local f = function() return 1 end return f"), 34);
        assert_eq!(end("if a then return 1 end local x = 2"), 34);
    }
}
