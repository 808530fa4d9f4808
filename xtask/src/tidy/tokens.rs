//! The tokens of a Rust file, without its comments and literals: a rule about `todo!` must not fire on the sentence that
//! forbids it.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// A word, `::` or a single mark, with its line.
pub(super) type Token = (String, usize);

/// The tokens of `source`; none of what does not compile.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let mut found = Vec::new();
    if let Ok(stream) = source.parse() {
        add(stream, &mut found);
    }
    found
}

fn add(stream: TokenStream, found: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                let end = group.span_close().start().line;
                found.push((open.to_owned(), line));
                add(group.stream(), found);
                found.push((close.to_owned(), end));
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' && mark.spacing() == Spacing::Joint => {
                let path =
                    trees.next_if(|next| matches!(next, TokenTree::Punct(next) if next.as_char() == ':'));
                found.push((if path.is_some() { "::" } else { ":" }.to_owned(), line));
            }
            TokenTree::Punct(mark) => found.push((mark.to_string(), line)),
            TokenTree::Ident(word) => found.push((word.to_string(), line)),
            TokenTree::Literal(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_left_out_and_lines_counted() {
        let found = tokens("// a\nlet b = \"c\"; /* d\n*/ e::f('g', r#\"h\"#, &'i j) {\n}");
        let shown: Vec<String> = found.iter().map(|(text, line)| format!("{text}@{line}")).collect();
        assert_eq!(shown.join(" "), "let@2 b@2 =@2 ;@2 e@3 ::@3 f@3 (@3 ,@3 ,@3 &@3 '@3 i@3 j@3 )@3 {@3 }@4");
    }
}
