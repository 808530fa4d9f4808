//! Whether something is open at the end of a text that comes line by line, so that it cannot be a whole statement yet.

use super::blocks::Blocks;
use super::{TokenKind, long_bracket, tokens};

/// What is open in a text. Each line is looked at once, but for those of a text in long brackets.
#[derive(Debug, Default)]
pub struct OpenText {
    blocks: Blocks,
    /// A text or a comment in long brackets that has no end yet.
    long: String,
    /// Whether there was anything in it that only the compiler can tell.
    is_unknown: bool,
}

impl OpenText {
    /// Takes the next line, with its end. Whether a block, a bracket or a long text is open behind it; where that is not known, no.
    pub fn take(&mut self, line: &str) -> bool {
        if self.is_unknown {
            return false;
        }
        self.long.push_str(line);
        let text = std::mem::take(&mut self.long);
        for token in tokens(&text) {
            if token.kind != TokenKind::Unfinished {
                self.blocks.take(&token);
            } else if long_bracket(token.text.strip_prefix("--").unwrap_or(token.text)).is_some() {
                token.text.clone_into(&mut self.long);
            } else if !token.text.starts_with("--") {
                self.is_unknown = true;
            }
        }
        !self.is_unknown && (self.blocks.depth() > 0 || !self.long.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether something is open behind each line.
    fn open(text: &str) -> Vec<bool> {
        let mut open = OpenText::default();
        text.split_inclusive('\n').map(|line| open.take(line)).collect()
    }

    #[test]
    fn what_is_open_is_known_line_by_line() {
        let (yes, no) = (true, false);
        assert_eq!(open("t = {\n  1,\n}\n"), [yes, yes, no]);
        assert_eq!(open("x = if a then\n  1\nelse 2\n"), [yes, yes, no]);
        assert_eq!(
            open("function f() -- {\n  --[[ end\n ]] return [=[\n]]\n]=] end\nx = 1 +\n"),
            [yes, yes, yes, yes, no, no]
        );
        assert_eq!(open("f(\n'no end\n)\n{"), [yes, no, no, no], "that is for the compiler");
        assert_eq!(open("f(--"), [yes]);
    }
}
