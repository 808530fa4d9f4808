//! Patterns of one host that clash: some request matches both, and neither is the more specific one.
//!
//! All pairs would be quadratic. Instead two places of the tree are walked *together*, along overlapping branches
//! only, and only where the methods below meet. The walk starts at two siblings that overlap, the first more specific
//! than the second. As long as the first stays so, they cannot clash. Once the second is the more specific one at some
//! segment they have *crossed*: from there on, whatever both match is a clash.

use std::fmt;

use super::methods::Methods;
use super::path;
use super::pattern::{HostPattern, Pattern, PatternEnd, Segment};
use super::tree::{Leaf, Node, NodeId, Tree};

/// Two patterns that match a same request, with nothing to tell which one should get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The one that was added first: its place in the order of the builder's input, and the pattern.
    pub first: (usize, Pattern),
    /// The one that was added later.
    pub second: (usize, Pattern),
    /// A request that both match, as `GET example.com/a/b`.
    pub sample: String,
}

impl Conflict {
    fn new(patterns: &[&Pattern], one: u32, other: u32) -> Self {
        let numbered = |index: u32| (index as usize, patterns[index as usize].clone());
        let (first, second) = (numbered(one.min(other)), numbered(one.max(other)));
        let sample = sample(&first.1, &second.1);
        Self { first, second, sample }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, second) = (&self.first.1, &self.second.1);
        write!(f, "the mounts `{first}` and `{second}` clash: both match `{}`, ", self.sample)?;
        if same_paths(first, second) && first.0.methods == second.0.methods {
            f.write_str("and everything else alike; remove one, or give them different methods")
        } else if same_paths(first, second) {
            f.write_str(
                "with methods of which neither list holds the other; name each method in one of them only",
            )
        } else {
            f.write_str("and neither path is within the other; make one more specific, or give them different methods")
        }
    }
}

impl std::error::Error for Conflict {}

/// Tells the first clash in `trees` of `patterns`.
pub(super) fn check<'t>(
    trees: impl Iterator<Item = &'t Tree>,
    patterns: &[&Pattern],
) -> Result<(), Conflict> {
    for tree in trees {
        find(tree, patterns).map_err(|Clash(one, other)| Conflict::new(patterns, one, other))?;
    }
    Ok(())
}

/// Two patterns that clash, by their indices.
struct Clash(u32, u32);

fn find(tree: &Tree, patterns: &[&Pattern]) -> Result<(), Clash> {
    let check = ConflictCheck { tree, patterns, below: methods_below(tree, patterns) };
    for (_, node) in tree.iter() {
        for leaf in node.leaves() {
            check.same_paths(leaf)?;
        }
        for (literal, child) in node.literals.iter().chain(node.prefixes()) {
            for (_, wider) in node.covering(literal) {
                check.pair(child, wider, false)?;
            }
        }
    }
    Ok(())
}

/// For each node, the methods of all patterns at and below it: two branches whose methods do not meet cannot clash.
fn methods_below(tree: &Tree, patterns: &[&Pattern]) -> Vec<Methods> {
    let mut below: Vec<Methods> = Vec::new();
    below.resize_with(tree.iter().count(), Methods::default);
    for (id, node) in tree.iter().rev() {
        let mut methods = Methods::default();
        for entry in node.leaves().into_iter().flatten() {
            methods.extend(&patterns[*entry as usize].0.methods);
        }
        for child in children(node) {
            methods.extend(&below[child.index()]);
        }
        below[id.index()] = methods;
    }
    below
}

fn children(node: &Node) -> impl Iterator<Item = NodeId> {
    node.literals.iter().chain(node.prefixes()).map(|(_, child)| child).chain(node.wild)
}

struct ConflictCheck<'c> {
    tree: &'c Tree,
    patterns: &'c [&'c Pattern],
    below: Vec<Methods>,
}

impl ConflictCheck<'_> {
    fn methods(&self, entry: u32) -> &Methods {
        &self.patterns[entry as usize].0.methods
    }

    /// Patterns that match the same paths: of two whose methods meet, one must hold the other's and more.
    fn same_paths(&self, leaf: &Leaf) -> Result<(), Clash> {
        for (index, &one) in leaf.iter().enumerate() {
            for &other in &leaf[index + 1..] {
                let (a, b) = (self.methods(one), self.methods(other));
                if a.intersects(b) && !a.is_strict_subset(b) && !b.is_strict_subset(a) {
                    return Err(Clash(one, other));
                }
            }
        }
        Ok(())
    }

    /// Two places that some path leads to both: `a` by more specific segments than `b`, unless they have crossed.
    fn pair(&self, a: NodeId, b: NodeId, crossed: bool) -> Result<(), Clash> {
        if !self.below[a.index()].intersects(&self.below[b.index()]) {
            return Ok(());
        }
        let (node_a, node_b) = (self.tree.node(a), self.tree.node(b));
        if crossed {
            self.disjoint(&node_a.here, &node_b.here)?;
            self.disjoint(&node_a.slash, &node_b.slash)?;
            self.disjoint(&node_a.slash, &node_b.rest)?;
            self.disjoint(&node_a.rest, &node_b.rest)?;
            self.nothing_below(node_a, &node_b.rest)?;
        }
        self.disjoint(&node_a.rest, &node_b.slash)?;
        self.nothing_below(node_b, &node_a.rest)?;
        self.children_alike(node_a, node_b, crossed)?;
        children_within(node_a, node_b, |within, wider| self.pair(within, wider, crossed))?;
        children_within(node_b, node_a, |within, wider| self.pair(wider, within, true))
    }

    /// Pairs of children for the very same segments.
    fn children_alike(&self, a: &Node, b: &Node, crossed: bool) -> Result<(), Clash> {
        let a_is_smaller = a.literals.len() <= b.literals.len();
        let (few, many) = if a_is_smaller { (a, b) } else { (b, a) };
        for (literal, one) in few.literals.iter() {
            if let Some(other) = many.literals.get(literal) {
                let (of_a, of_b) = if a_is_smaller { (one, other) } else { (other, one) };
                self.pair(of_a, of_b, crossed)?;
            }
        }
        for (literal, of_a) in a.prefixes() {
            if let Some(of_b) = b.prefix(literal) {
                self.pair(of_a, of_b, crossed)?;
            }
        }
        match (a.wild, b.wild) {
            (Some(of_a), Some(of_b)) => self.pair(of_a, of_b, crossed),
            _ => Ok(()),
        }
    }

    /// No pattern below `node` may meet one of `rest`, which takes everything there.
    fn nothing_below(&self, node: &Node, rest: &Leaf) -> Result<(), Clash> {
        for &entry in rest {
            let methods = self.methods(entry);
            if let Some(other) = children(node).find_map(|child| self.some_meeting(child, methods)) {
                return Err(Clash(entry, other));
            }
        }
        Ok(())
    }

    /// Some pattern at or below `id` whose methods meet `methods`. Goes straight to one: what lies below is known.
    fn some_meeting(&self, id: NodeId, methods: &Methods) -> Option<u32> {
        if !self.below[id.index()].intersects(methods) {
            return None;
        }
        let node = self.tree.node(id);
        let mut here = node.leaves().into_iter().flatten().copied();
        here.find(|entry| self.methods(*entry).intersects(methods))
            .or_else(|| children(node).find_map(|child| self.some_meeting(child, methods)))
    }

    fn disjoint(&self, a: &Leaf, b: &Leaf) -> Result<(), Clash> {
        for &one in a {
            for &other in b {
                if self.methods(one).intersects(self.methods(other)) {
                    return Err(Clash(one, other));
                }
            }
        }
        Ok(())
    }
}

/// Pairs of a child of `narrow` and a child of `wide` that takes a strict superset of its segments.
fn children_within(
    narrow: &Node,
    wide: &Node,
    mut each: impl FnMut(NodeId, NodeId) -> Result<(), Clash>,
) -> Result<(), Clash> {
    if wide.wild.is_none() && wide.prefixes().next().is_none() {
        return Ok(());
    }
    for (literal, within) in narrow.literals.iter().chain(narrow.prefixes()) {
        for (_, wider) in wide.covering(literal) {
            each(within, wider)?;
        }
    }
    Ok(())
}

fn same_paths(a: &Pattern, b: &Pattern) -> bool {
    a.0.segments == b.0.segments && a.0.end == b.0.end
}

/// A request that two clashing patterns match both.
fn sample(a: &Pattern, b: &Pattern) -> String {
    let mut sample = a.0.methods.common(&b.0.methods).unwrap_or("GET").to_owned();
    sample.push(' ');
    match &a.0.host {
        HostPattern::Any => {}
        // A name that is nobody's (RFC 2606).
        HostPattern::Others => sample.push_str("other.invalid"),
        HostPattern::Below(name) => sample.extend(["www.", name]),
        HostPattern::Exact(name) => sample.push_str(name),
    }
    let depth = a.0.segments.len().max(b.0.segments.len());
    for index in 0..depth {
        sample.push('/');
        let (of_a, of_b) = (a.0.segments.get(index), b.0.segments.get(index));
        sample.push_str(&sample_segment(of_a.unwrap_or(&Segment::Wild), of_b.unwrap_or(&Segment::Wild)));
    }
    let longer_end = if a.0.segments.len() >= b.0.segments.len() { a.0.end } else { b.0.end };
    let ends_here = longer_end == PatternEnd::Here
        || (a.0.segments.len() == b.0.segments.len() && b.0.end == PatternEnd::Here);
    if !ends_here {
        sample.push('/');
    }
    sample
}

fn sample_segment(a: &Segment, b: &Segment) -> String {
    let show = |literal| path::encode(literal).to_string();
    match (a, b) {
        (Segment::Literal(literal), _) | (_, Segment::Literal(literal)) => show(literal),
        (Segment::Prefix(one), Segment::Prefix(other)) => {
            show(if one.len() > other.len() { one } else { other }) + "x"
        }
        (Segment::Prefix(literal), Segment::Wild) | (Segment::Wild, Segment::Prefix(literal)) => {
            show(literal) + "x"
        }
        (Segment::Wild, Segment::Wild) => "x".to_owned(),
    }
}
