//! The patterns of one host as a tree of path segments, and the walk that matches a path.
//!
//! **Invariants:** a child has a higher [`NodeId`] than its parent. The walk meets matching patterns from the most
//! specific to the least: at each segment it tries the literal, then literal prefixes from long to short, then the
//! wildcard, then the rest. Each node is visited at most once, and siblings are looked up, never scanned: the cost
//! depends on the path and on how many patterns *overlap* with it, not on how many there are.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use memchr::memchr;
use smallvec::SmallVec;

use super::path;
use super::pattern::{Pattern, PatternEnd, Segment};

/// The place of a node in its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId(u32);

/// Patterns that match the same paths; they differ in their methods. Indices of the router's entries, those with the
/// fewest methods first, so that a subset comes before what holds it.
pub(super) type Leaf = SmallVec<[u32; 2]>;

/// A place between segments.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) literals: Children,
    /// Children for "literal, then at least one byte more", by the length of the literal, the longest first.
    prefixes: Vec<(usize, Children)>,
    pub(super) wild: Option<NodeId>,
    /// Patterns that end here: `/a`.
    pub(super) here: Leaf,
    /// Patterns that end behind the slash that follows: `/a/{$}`.
    pub(super) slash: Leaf,
    /// Patterns that take whatever follows that slash: `/a/`.
    pub(super) rest: Leaf,
}

/// Children by their literal, with an order of their own: that of insertion.
#[derive(Debug, Default)]
pub(super) struct Children {
    index: HashMap<Arc<[u8]>, NodeId>,
    list: Vec<(Arc<[u8]>, NodeId)>,
}

impl Children {
    pub(super) fn get(&self, literal: &[u8]) -> Option<NodeId> {
        self.index.get(literal).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], NodeId)> {
        self.list.iter().map(|(literal, id)| (&**literal, *id))
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    fn insert(&mut self, literal: &Arc<[u8]>, id: NodeId) {
        self.index.insert(Arc::clone(literal), id);
        self.list.push((Arc::clone(literal), id));
    }
}

impl Node {
    /// Children for a segment that begins with some literal, with that literal.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = (&[u8], NodeId)> {
        self.prefixes.iter().flat_map(|(_, children)| children.iter())
    }

    /// The child for segments that begin with exactly this literal.
    pub(super) fn prefix(&self, literal: &[u8]) -> Option<NodeId> {
        self.prefixes.iter().find(|(len, _)| *len == literal.len())?.1.get(literal)
    }

    /// Children with a wildcard that take `segment`, the most specific first, each with the length of its literal. No
    /// wildcard takes a slash: one in a segment was escaped, and its value would be taken for two segments.
    pub(super) fn covering(&self, segment: &[u8]) -> impl Iterator<Item = (usize, NodeId)> {
        let prefixes = self.prefixes.iter().filter_map(|(len, children)| {
            let literal = segment.get(..*len).filter(|literal| literal.len() < segment.len())?;
            Some((*len, children.get(literal)?))
        });
        let all = prefixes.chain(self.wild.map(|id| (0, id)));
        all.filter(|(literal, _)| memchr(b'/', &segment[*literal..]).is_none())
    }

    fn child(&self, segment: &Segment) -> Option<NodeId> {
        match segment {
            Segment::Literal(literal) => self.literals.get(literal),
            Segment::Prefix(literal) => self.prefix(literal),
            Segment::Wild => self.wild,
        }
    }

    fn adopt(&mut self, segment: &Segment, child: NodeId) {
        match segment {
            Segment::Literal(literal) => self.literals.insert(literal, child),
            Segment::Prefix(literal) => self.prefixes_of(literal.len()).insert(literal, child),
            Segment::Wild => self.wild = Some(child),
        }
    }

    fn prefixes_of(&mut self, len: usize) -> &mut Children {
        let place = match self.prefixes.binary_search_by(|(known, _)| len.cmp(known)) {
            Ok(place) => place,
            Err(place) => {
                self.prefixes.insert(place, (len, Children::default()));
                place
            }
        };
        &mut self.prefixes[place].1
    }

    fn leaf_mut(&mut self, end: PatternEnd) -> &mut Leaf {
        match end {
            PatternEnd::Here => &mut self.here,
            PatternEnd::Slash => &mut self.slash,
            PatternEnd::Rest => &mut self.rest,
        }
    }

    pub(super) fn leaves(&self) -> [&Leaf; 3] {
        [&self.here, &self.slash, &self.rest]
    }
}

/// The patterns of one host.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl Tree {
    /// The place before the path's first slash.
    pub(super) const ROOT: NodeId = NodeId(0);

    /// All nodes, parents before their children.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeId(index as u32), node))
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// Adds a pattern under its index. Patterns of one leaf must come in order of the size of their methods.
    pub(super) fn insert(&mut self, pattern: &Pattern, entry: u32) {
        let mut at = Self::ROOT;
        for segment in &pattern.0.segments {
            at = match self.node(at).child(segment) {
                Some(child) => child,
                None => self.grow(at, segment),
            };
        }
        self.nodes[at.index()].leaf_mut(pattern.0.end).push(entry);
    }

    fn grow(&mut self, parent: NodeId, segment: &Segment) -> NodeId {
        let child = NodeId(self.nodes.len() as u32);
        self.nodes.push(Node::default());
        self.nodes[parent.index()].adopt(segment, child);
        child
    }

    /// Shows `visit` every leaf that matches the clean `path`, from the most specific on, until it breaks.
    pub(super) fn walk<B>(
        &self,
        path: &str,
        visit: impl FnMut(&Leaf, &Match<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        Search { tree: self, path, captures: Captures::new(), visit }.after_slash(Self::ROOT, 1)
    }
}

impl NodeId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A wildcard's part of the path: a range of raw bytes, and how many *decoded* bytes at its beginning belong to the
/// literal before the wildcard.
#[derive(Debug, Clone, Copy)]
struct Capture {
    start: usize,
    end: usize,
    skip: usize,
}

type Captures = SmallVec<[Capture; 4]>;

/// The part of the path that a leaf matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MatchKind {
    /// All of it, without the help of a rest that is not empty.
    Whole,
    /// All of it, with a rest that is not empty.
    Rest,
    /// Not the path itself, but the path with a slash at its end: a candidate for a redirect.
    WithSlash,
}

/// The match of a leaf.
pub(super) struct Match<'m> {
    pub(super) reach: MatchKind,
    /// The beginning of the part of the path that the rest took; the path's length if there is none.
    pub(super) tail: usize,
    path: &'m str,
    captures: &'m [Capture],
}

impl Match<'_> {
    /// Whether a pattern of the leaf takes the request, its method apart. A rest with a name takes no escaped slash, as no
    /// wildcard does: decoded, nobody could tell it from others, and `..%2F` would climb.
    pub(super) fn is_taken_by(&self, pattern: &Pattern) -> bool {
        // What the rest took is the last capture.
        let has_named_rest =
            pattern.0.end == PatternEnd::Rest && pattern.0.names.len() == self.captures.len();
        !has_named_rest || !path::has_escaped_slash(&self.path[self.tail..])
    }

    /// Decodes the values of the first `count` wildcards, from left to right. A rest without a name is the last one.
    pub(super) fn for_each_value(&self, count: usize, mut take: impl FnMut(&[u8])) {
        for capture in self.captures.iter().take(count) {
            let decoded = path::decode(&self.path[capture.start..capture.end]);
            take(&decoded[capture.skip..]);
        }
    }
}

struct Search<'w, V> {
    tree: &'w Tree,
    path: &'w str,
    captures: Captures,
    visit: V,
}

impl<B, V: FnMut(&Leaf, &Match<'_>) -> ControlFlow<B>> Search<'_, V> {
    /// Goes on from `node` with what follows the slash before `start`.
    fn after_slash(&mut self, node: NodeId, start: usize) -> ControlFlow<B> {
        let node = self.tree.node(node);
        let path = self.path;
        let rest = &path[start..];
        if rest.is_empty() {
            self.show(&node.slash, MatchKind::Whole, start)?;
        } else {
            let end = memchr(b'/', rest.as_bytes()).map_or(path.len(), |len| start + len);
            self.through(node, start, end)?;
        }
        let reach = if rest.is_empty() { MatchKind::Whole } else { MatchKind::Rest };
        self.capturing(Capture { start, end: path.len(), skip: 0 }, |walk| {
            walk.show(&node.rest, reach, start)
        })
    }

    /// Goes into those children of `node` that take the segment from `start` to `end`.
    fn through(&mut self, node: &Node, start: usize, end: usize) -> ControlFlow<B> {
        let segment = path::decode(&self.path[start..end]);
        if let Some(child) = node.literals.get(&segment) {
            self.enter(child, end)?;
        }
        for (skip, child) in node.covering(&segment) {
            self.capturing(Capture { start, end, skip }, |walk| walk.enter(child, end))?;
        }
        ControlFlow::Continue(())
    }

    /// Goes on from a child whose segment ended at `end`.
    fn enter(&mut self, child: NodeId, end: usize) -> ControlFlow<B> {
        if end < self.path.len() {
            return self.after_slash(child, end + 1);
        }
        let node = self.tree.node(child);
        self.show(&node.here, MatchKind::Whole, end)?;
        self.show(&node.slash, MatchKind::WithSlash, end)?;
        self.show(&node.rest, MatchKind::WithSlash, end)
    }

    fn capturing(
        &mut self,
        capture: Capture,
        go: impl FnOnce(&mut Self) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.captures.push(capture);
        let flow = go(self);
        self.captures.pop();
        flow
    }

    fn show(&mut self, leaf: &Leaf, reach: MatchKind, tail: usize) -> ControlFlow<B> {
        if leaf.is_empty() {
            return ControlFlow::Continue(());
        }
        (self.visit)(leaf, &Match { reach, tail, path: self.path, captures: &self.captures })
    }
}
