//! Loops that begin in one line and have their values in another.

use super::{Token, TokenKind, tokens};

/// Whether a loop over values (`for x in values do`) begins in that line, of which the values may be computed in others
/// alone. When in doubt it does: that what is called for the values is named in the line must be seen.
pub(crate) fn is_split_loop(text: &str, line: u32) -> bool {
    let named = text.lines().nth((line as usize).saturating_sub(1));
    if !named.is_some_and(|named| named.contains("for")) {
        return false;
    }
    let tokens = tokens(text);
    let mut lines = LineCount { text, at: 0, line: 1 };
    let tokens: Vec<(Token<'_>, u32)> =
        tokens.into_iter().map(|token| (token, lines.line_of(token.from))).collect();
    tokens.iter().enumerate().any(|(at, (token, begins))| {
        let rest = &tokens[at + 1..];
        match token.kind {
            TokenKind::Keyword => token.text == "for" && *begins == line && !is_whole(rest, line),
            // What is within braces is code, which is not looked into.
            TokenKind::String => {
                let ends = begins + token.text.matches('\n').count() as u32;
                token.text.starts_with('`') && token.text.contains("for") && (*begins..=ends).contains(&line)
            }
            _ => false,
        }
    })
}

/// Whether a loop, of which this is what follows `for`, counts, or names what gives its values in the line.
fn is_whole(rest: &[(Token<'_>, u32)], line: u32) -> bool {
    let head = rest.iter().position(|(token, _)| token.is_symbol("=") || token.is(TokenKind::Keyword, "in"));
    let Some(head) = head else { return false };
    if rest[head].0.is_symbol("=") {
        return true;
    }
    let values = &rest[head + 1..];
    let begins = |(token, _): &(Token<'_>, u32)| token.kind == TokenKind::Name || token.is_symbol("{");
    // Up to where something of it is computed for certain.
    let end = values.iter().position(|(token, _)| {
        let opens = ["(", "{", ","].iter().any(|symbol| token.is_symbol(symbol));
        opens || token.kind == TokenKind::String || token.is(TokenKind::Keyword, "do")
    });
    let Some(end) = end else { return false };
    values.first().is_some_and(begins) && values[..=end].iter().all(|(_, at)| *at == line)
}

/// The lines of a text, for places in it that come in order.
struct LineCount<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

impl LineCount<'_> {
    fn line_of(&mut self, place: usize) -> u32 {
        let passed = self.text.get(self.at..place).unwrap_or_default();
        self.line += passed.matches('\n').count() as u32;
        self.at = place;
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_whole_if_their_values_are_named_where_they_begin() {
        for whole in [
            "for k, v in items do print(k) end",
            "for k, v in pairs({\n1, 2 }) do end",
            "for chunk in req:chunks() do end",
            "for k, v: number in next, items do end",
            "for i = 1,\n 10 do end",
            "for _, v in {\n 1 } do end",
            "local x = 1",
            "-- for x in\ny()",
        ] {
            assert!(!is_split_loop(whole, 1), "{whole}");
        }
        for split in [
            "for k, v in\n items do end",
            "for k, v in (\n items) do end",
            "for k, v\n in items do end",
            "for x in a\n.b do end",
            "for x in not\n b do end",
            "for x in a[\n1] do end",
            "x = `{(function() for y in\n z do end end)()}`",
            "for x",
        ] {
            assert!(is_split_loop(split, 1), "{split}");
        }
        assert!(is_split_loop("\n\nfor x in\ny do end", 3) && !is_split_loop("\n\nfor x in\ny do end", 4));
    }
}
