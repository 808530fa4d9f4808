//! The trees of tokens of a Rust file, which are without its comments: a rule about `allow` must not fire on the sentence that
//! forbids it.

use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};

/// The trees of `source`; none of what does not compile.
pub(super) fn trees(source: &str) -> Vec<TokenTree> {
    source.parse().map_or_else(|_no_rust| Vec::new(), |stream: TokenStream| stream.into_iter().collect())
}

/// The trees in a group.
pub(super) fn inside(group: &Group) -> Vec<TokenTree> {
    group.stream().into_iter().collect()
}

/// The group with these delimiters that a tree is.
pub(super) fn group(tree: Option<&TokenTree>, delimiter: Delimiter) -> Option<&Group> {
    match tree? {
        TokenTree::Group(group) if group.delimiter() == delimiter => Some(group),
        _ => None,
    }
}

/// The word that a tree is.
pub(super) fn word(tree: &TokenTree) -> Option<String> {
    match tree {
        TokenTree::Ident(word) => Some(word.to_string()),
        _ => None,
    }
}

/// Whether there is this mark.
pub(super) fn is_mark(tree: Option<&TokenTree>, mark: char) -> bool {
    matches!(tree, Some(TokenTree::Punct(found)) if found.as_char() == mark)
}

/// Whether `::` stands at the beginning of `trees`.
pub(super) fn is_path_mark(trees: &[TokenTree]) -> bool {
    matches!(trees, [TokenTree::Punct(first), second, ..]
        if first.as_char() == ':' && first.spacing() == Spacing::Joint && is_mark(Some(second), ':'))
}

/// An attribute.
pub(super) struct Attribute {
    /// Whether it is about what is around it: `#![...]`.
    pub(super) is_inner: bool,
    /// What stands in its brackets.
    pub(super) content: Vec<TokenTree>,
}

impl Attribute {
    /// The attribute that `trees` begin with, and the trees behind it.
    pub(super) fn at(trees: &[TokenTree]) -> Option<(Self, &[TokenTree])> {
        let (hash, rest) = trees.split_first()?;
        let is_inner = is_mark(rest.first(), '!');
        let rest = &rest[usize::from(is_inner)..];
        let brackets = group(rest.first(), Delimiter::Bracket).filter(|_| is_mark(Some(hash), '#'))?;
        Some((Self { is_inner, content: inside(brackets) }, &rest[1..]))
    }
}
