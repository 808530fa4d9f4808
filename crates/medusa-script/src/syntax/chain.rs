//! What stands before the cursor: the beginning of a word, and the chain of names it belongs to.

use super::{Token, TokenKind, tokens};

/// The most steps of a chain that is followed.
const MAX_STEPS: usize = 32;

/// What a chain begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChainRoot<'a> {
    Name(&'a str),
    /// A string between quotes.
    String,
}

/// What stands between brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key<'a> {
    Number(i64),
    Name(&'a str),
    /// Something that would have to be worked out.
    Other,
}

/// A step from one value to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChainStep<'a> {
    /// `.name`, `:name`
    Member(&'a str),
    /// `[1]`, `["name"]`
    Index(Key<'a>),
    /// `(...)`, `{ ... }`, `"..."`
    Call,
}

/// A value in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain<'a> {
    pub(crate) root: ChainRoot<'a>,
    pub(crate) steps: Vec<ChainStep<'a>>,
}

/// What may stand where the cursor is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Spot<'a> {
    /// A name.
    Global { prefix: &'a str },
    /// A name in the table of options of a function, or one of the surroundings.
    Option { prefix: &'a str, function: Chain<'a> },
    /// What belongs to a value. Where its dot or colon is, and whether it is a colon.
    Member { prefix: &'a str, of: Chain<'a>, at: usize, colon: bool },
    /// A topic of `help`.
    Topic { prefix: &'a str },
    /// A text that is the first argument of a function.
    Text { prefix: &'a str, function: Chain<'a> },
    /// Nothing that is known of.
    Nothing,
}

/// What may stand at the end of a text.
pub(crate) fn spot(text: &str) -> Spot<'_> {
    let words = tokens(text);
    let Some((last, before)) = words.split_last() else { return Spot::Global { prefix: "" } };
    if last.kind == TokenKind::Unfinished {
        return in_text(last, before).unwrap_or(Spot::Nothing);
    }
    let (prefix, before) = match last.kind {
        TokenKind::Name | TokenKind::Keyword if last.end() == text.len() => (last.text, before),
        TokenKind::Number if last.end() == text.len() => return Spot::Nothing,
        _ => ("", &words[..]),
    };
    match before.last() {
        Some(sign) if sign.is_symbol(".") || sign.is_symbol(":") => {
            let chain = before.split_last().and_then(|(_, before)| chain(before));
            let member = |of| Spot::Member { prefix, of, at: sign.from, colon: sign.text == ":" };
            chain.map_or(Spot::Nothing, member)
        }
        // A new name.
        Some(word) if ["local", "function", "for"].contains(&word.text) => Spot::Nothing,
        Some(sign) if ["{", ",", ";"].contains(&sign.text) => match options(before) {
            Some(function) => Spot::Option { prefix, function },
            None => Spot::Global { prefix },
        },
        _ => Spot::Global { prefix },
    }
}

/// `help("`, `web:find("`, and what comes behind that.
fn in_text<'a>(last: &Token<'a>, before: &[Token<'a>]) -> Option<Spot<'a>> {
    let prefix = last.text.strip_prefix(['"', '\''])?;
    let called = match before {
        [called @ .., open] if open.is_symbol("(") => called,
        called => called,
    };
    if called.last()?.is(TokenKind::Name, "help") {
        return Some(Spot::Topic { prefix });
    }
    Some(Spot::Text { prefix, function: chain(called)? })
}

/// The function whose table of options is open.
fn options<'a>(words: &[Token<'a>]) -> Option<Chain<'a>> {
    let brace = opening(words)?;
    let before = words.get(..brace).filter(|_| words[brace].is_symbol("{"))?;
    match before.last() {
        Some(word) if word.is_symbol("(") => chain(&before[..before.len() - 1]),
        Some(word) if word.is_symbol(",") => {
            let round = opening(before).filter(|at| before[*at].is_symbol("("))?;
            chain(&before[..round])
        }
        _ => chain(before),
    }
}

/// The last bracket that is opened and not closed.
fn opening(words: &[Token<'_>]) -> Option<usize> {
    let mut closed = 0_usize;
    words.iter().rposition(|word| {
        if word.kind != TokenKind::Symbol {
            return false;
        }
        match word.text {
            ")" | "]" | "}" => closed += 1,
            "(" | "[" | "{" if closed == 0 => return true,
            "(" | "[" | "{" => closed -= 1,
            _ => {}
        }
        false
    })
}

/// The chain that ends with the last of these words.
fn chain<'a>(mut words: &[Token<'a>]) -> Option<Chain<'a>> {
    let mut steps = Vec::new();
    let root = loop {
        if steps.len() > MAX_STEPS {
            return None;
        }
        let (last, before) = words.split_last()?;
        match (last.kind, last.text) {
            (TokenKind::Name, name) => match before.split_last() {
                Some((sign, of)) if sign.is_symbol(".") || sign.is_symbol(":") => {
                    steps.push(ChainStep::Member(name));
                    words = of;
                }
                _ => break ChainRoot::Name(name),
            },
            (TokenKind::String, _) if before.last().is_some_and(ends_value) => {
                steps.push(ChainStep::Call);
                words = before;
            }
            (TokenKind::String, _) => break ChainRoot::String,
            (TokenKind::Symbol, ")" | "}" | "]") => {
                let open = opening(before)?;
                let (of, inside) = (&before[..open], &before[open + 1..]);
                if last.text == "]" {
                    steps.push(ChainStep::Index(key(inside)));
                } else if of.last().is_some_and(ends_value) {
                    steps.push(ChainStep::Call);
                } else if let (")", [one]) = (last.text, inside)
                    && one.kind == TokenKind::String
                {
                    break ChainRoot::String;
                } else {
                    return None;
                }
                words = of;
            }
            _ => return None,
        }
    };
    steps.reverse();
    Some(Chain { root, steps })
}

/// Whether what follows may be its arguments.
fn ends_value(word: &Token<'_>) -> bool {
    matches!((word.kind, word.text), (TokenKind::Name, _) | (TokenKind::Symbol, ")" | "]" | "}"))
}

fn key<'a>(inside: &[Token<'a>]) -> Key<'a> {
    let [one] = inside else { return Key::Other };
    match one.kind {
        TokenKind::Number => one.text.parse().map_or(Key::Other, Key::Number),
        TokenKind::String if !one.text.contains('\\') => {
            let name = one.text.get(1..one.text.len() - 1).filter(|_| one.text.starts_with(['"', '\'']));
            name.map_or(Key::Other, Key::Name)
        }
        _ => Key::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(text: &str) -> (&str, ChainRoot<'_>, Vec<ChainStep<'_>>, bool) {
        match spot(text) {
            Spot::Member { prefix, of, colon, .. } => (prefix, of.root, of.steps, colon),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn chains_are_followed_to_their_root() {
        use ChainStep::{Call, Index, Member};
        assert_eq!(member("x = web:mo"), ("mo", ChainRoot::Name("web"), vec![], true));
        assert_eq!(member("a.b.c."), ("", ChainRoot::Name("a"), vec![Member("b"), Member("c")], false));
        assert_eq!(
            member("f(site.servers[1]:mounts()[2].pa"),
            (
                "pa",
                ChainRoot::Name("site"),
                vec![Member("servers"), Index(Key::Number(1)), Member("mounts"), Call, Index(Key::Number(2)),],
                false
            )
        );
        assert_eq!(member("t['k'].x"), ("x", ChainRoot::Name("t"), vec![Index(Key::Name("k"))], false));
        assert_eq!(member("t[i + 1].x").2, [Index(Key::Other)]);
        assert_eq!(member("medusa.log.file('x', { a = 1 }):").2, [Member("log"), Member("file"), Call]);
        assert_eq!(member("require 'x'.y").2, [Call]);
        assert_eq!(member("('x'):up"), ("up", ChainRoot::String, vec![], true));
    }

    #[test]
    fn names_are_told_from_what_is_none() {
        for (text, expected) in [
            ("", Spot::Global { prefix: "" }),
            ("pri", Spot::Global { prefix: "pri" }),
            ("print(si", Spot::Global { prefix: "si" }),
            ("for i = 1, n do en", Spot::Global { prefix: "en" }),
            ("help('med", Spot::Topic { prefix: "med" }),
            ("help \"", Spot::Topic { prefix: "" }),
        ] {
            assert_eq!(spot(text), expected, "{text}");
        }
        for text in [
            "'abc",
            "-- web:",
            "12",
            "local na",
            "function na",
            "(1 + 2).x",
            "{}.x",
            ").x",
            "x = 3 .y",
            "].x",
        ] {
            assert_eq!(spot(text), Spot::Nothing, "{text}");
        }
    }

    #[test]
    fn texts_belong_to_their_function() {
        for (text, expected) in
            [("web:find(\"GET /h", "GET /h"), ("x = web:find '", ""), ("f(web:find('/a", "/a")]
        {
            match spot(text) {
                Spot::Text { prefix, function } => {
                    assert_eq!(
                        (prefix, function.steps),
                        (expected, vec![ChainStep::Member("find")]),
                        "{text}"
                    );
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        for text in ["web:find(a, '", "x = '", "web:find(`", "web:find([[", "f() .. '"] {
            assert_eq!(spot(text), Spot::Nothing, "{text}");
        }
    }

    #[test]
    fn options_belong_to_their_function() {
        for text in ["f.g { ", "f.g({ a", "f.g('x', { a = { 1 }, ", "f.g { a = 1, b"] {
            match spot(text) {
                Spot::Option { function, .. } => {
                    assert_eq!(function.steps, [ChainStep::Member("g")], "{text}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        for text in ["t = { a", "f(a, b", "{ { a"] {
            assert!(matches!(spot(text), Spot::Global { .. }), "{text}");
        }
    }
}
