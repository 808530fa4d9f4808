//! Functions in a text, of which Luau knows no more than the line they begin in.

use super::blocks::Blocks;
use super::{Token, TokenKind, tokens};

/// The functions of a text that begin in `line`, as the places of their first words.
fn beginning_in(source: &str, words: &[Token<'_>], line: usize) -> Vec<usize> {
    let (mut number, mut at) = (1, 0);
    let mut found = Vec::new();
    for (index, word) in words.iter().enumerate() {
        number += newlines(source, at, word.from);
        at = word.from;
        if number == line && word.is(TokenKind::Keyword, "function") {
            found.push(index);
        }
    }
    found
}

fn newlines(source: &str, from: usize, to: usize) -> usize {
    memchr::memchr_iter(b'\n', source.as_bytes().get(from..to).unwrap_or_default()).count()
}

/// The last line of what begins in `line`: where the functions that begin there end; that line itself, if none does.
pub(crate) fn last_line(source: &str, line: usize) -> usize {
    let words = tokens(source);
    let end_of = |first: usize| {
        let mut blocks = Blocks::default();
        words.iter().skip(first).find(|word| {
            blocks.take(word);
            blocks.depth() == 0
        })
    };
    let ends = beginning_in(source, &words, line).into_iter().filter_map(end_of);
    ends.map(|word| 1 + newlines(source, 0, word.from)).max().unwrap_or(line).max(line)
}

/// The parameters of the function that begins in `line`, as they are written: `(req, next)`. None where more than one begins
/// there, or none.
pub(crate) fn parameters(source: &str, line: usize) -> Option<&str> {
    let words = tokens(source);
    let [first] = *beginning_in(source, &words, line) else { return None };
    let open = words.iter().skip(first).find(|word| word.is_symbol("("))?;
    let close = words.iter().find(|word| word.from > open.from && word.is_symbol(")"))?;
    source.get(open.from..close.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "local a = 1
web:mount('/x', function(req)
    if a then
        return if a == 1 then 'one' else 'other'
    end
end)
function one(x, y) return x end function two() end
";

    #[test]
    fn a_function_ends_with_its_end() {
        assert_eq!([1, 2, 3, 7, 99].map(|line| last_line(SOURCE, line)), [1, 6, 3, 7, 99]);
        assert_eq!(last_line("function f()\n  while true do", 1), 1, "it has no end");
    }

    #[test]
    fn parameters_are_those_of_the_only_one() {
        assert_eq!(parameters(SOURCE, 2), Some("(req)"));
        assert_eq!([1, 7].map(|line| parameters(SOURCE, line)), [None, None]);
    }
}
