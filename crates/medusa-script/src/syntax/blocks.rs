//! Where blocks begin and end: of functions, loops and conditions, and what is in brackets.

use super::{Token, TokenKind};

/// A block that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OpenBlock {
    /// Closed by `end`.
    Body,
    /// Closed by `until`.
    Repeat,
    /// Closed by nothing: `if a then b else c`, as a value.
    Choice,
    /// Closed by a bracket.
    Bracket,
}

/// The blocks that are open.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    open: Vec<OpenBlock>,
    /// Whether a value is wanted next.
    wants_value: bool,
}

impl Blocks {
    /// How many are open.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// Takes the next word of a text.
    pub(super) fn take(&mut self, token: &Token<'_>) {
        let wanted = std::mem::replace(&mut self.wants_value, false);
        match token.kind {
            TokenKind::Keyword => self.take_keyword(token.text, wanted),
            TokenKind::Symbol => self.take_symbol(token.text),
            TokenKind::Name | TokenKind::Number | TokenKind::String | TokenKind::Unfinished => {}
        }
    }

    fn take_keyword(&mut self, word: &str, wanted: bool) {
        match word {
            "function" | "do" => self.open.push(OpenBlock::Body),
            "if" => {
                self.open.push(if wanted { OpenBlock::Choice } else { OpenBlock::Body });
                self.wants_value = true;
            }
            "then" => self.wants_value = self.open.last() == Some(&OpenBlock::Choice),
            "else" => {
                self.wants_value = self.open.last() == Some(&OpenBlock::Choice);
                if self.wants_value {
                    self.open.pop();
                }
            }
            "repeat" => self.open.push(OpenBlock::Repeat),
            "until" => {
                self.close(OpenBlock::Repeat);
                self.wants_value = true;
            }
            "end" => self.close(OpenBlock::Body),
            "and" | "or" | "not" | "return" | "in" | "elseif" | "while" => self.wants_value = true,
            _ => {}
        }
    }

    fn take_symbol(&mut self, symbol: &str) {
        match symbol {
            "(" | "{" | "[" => {
                self.open.push(OpenBlock::Bracket);
                self.wants_value = true;
            }
            ")" | "}" | "]" => self.close(OpenBlock::Bracket),
            ";" | "..." => {}
            _ => self.wants_value = true,
        }
    }

    /// Closes the innermost block of this kind, with what was left open in it.
    fn close(&mut self, block: OpenBlock) {
        if let Some(at) = self.open.iter().rposition(|open| *open == block) {
            self.open.truncate(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::tokens;

    fn depth(source: &str) -> usize {
        let mut blocks = Blocks::default();
        for token in tokens(source) {
            blocks.take(&token);
        }
        blocks.depth()
    }

    #[test]
    fn blocks_are_closed_by_what_closes_them() {
        for source in [
            "for i = 1, 2 do while a do b() end end",
            "if a then b() elseif c then d() else e() end",
            "repeat local x = function() return { 1, (2) } end until x",
            "x = if a then 1 elseif b then 2 else if c then 3 else 4",
            "f(if a then function() if b then c() end end else nil)",
            "return if a then b else c",
            "local t = { if a then 1 else 2, x = if b then 3 else 4 }",
            "if (if a then b else c) then d() else if e then f() end end",
        ] {
            assert_eq!(depth(source), 0, "{source}");
        }
        assert_eq!(depth("function f() if a then g("), 3);
        assert_eq!(depth("end end )"), 0);
    }
}
