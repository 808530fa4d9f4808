//! The trees of all hosts, and which of them a request's host leads through.
//!
//! **Invariant:** trees are tried from the most specific host to the least: the exact name, `*.` suffixes from long
//! to short, or where there is none of those the patterns for `*`; then the patterns without a host. Patterns of different hosts
//! never clash.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::pattern::{HostPattern, MAX_HOST};
use super::tree::Tree;

/// One tree per distinct host.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// Sorted maps: the order in which clashes are told must not depend on chance.
    exact: BTreeMap<Box<str>, Tree>,
    /// By what follows the `*.`.
    below: BTreeMap<Box<str>, Tree>,
    others: Option<Tree>,
    any: Tree,
}

impl Hosts {
    pub(super) fn tree_mut(&mut self, host: &HostPattern) -> &mut Tree {
        match host {
            HostPattern::Any => &mut self.any,
            HostPattern::Others => self.others.get_or_insert_default(),
            HostPattern::Below(name) => self.below.entry(name.clone()).or_default(),
            HostPattern::Exact(name) => self.exact.entry(name.clone()).or_default(),
        }
    }

    /// All trees, in a fixed order.
    pub(super) fn trees(&self) -> impl Iterator<Item = &Tree> {
        std::iter::once(&self.any).chain(&self.others).chain(self.below.values()).chain(self.exact.values())
    }

    /// The trees that take requests for `host`, in order. Calls back instead of returning an iterator so that the
    /// name in lower case can live here.
    pub(super) fn for_host<'r>(&'r self, host: Option<&str>, mut each: impl FnMut(&'r Tree) -> bool) {
        let has_hosts = !self.exact.is_empty() || !self.below.is_empty();
        let mut is_named = false;
        if let Some(name) = host.filter(|_| has_hosts).and_then(canonical) {
            let exact = self.exact.get(&*name);
            let suffixes = name.match_indices('.').filter_map(|(dot, _)| self.below.get(&name[dot + 1..]));
            for tree in exact.into_iter().chain(suffixes) {
                is_named = true;
                if !each(tree) {
                    return;
                }
            }
        }
        if !is_named
            && let Some(others) = &self.others
            && !each(others)
        {
            return;
        }
        each(&self.any);
    }
}

/// In lower case and without the dot that may end an absolute name. Longer names than DNS has match no pattern.
fn canonical(host: &str) -> Option<Cow<'_, str>> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.len() > MAX_HOST {
        return None;
    }
    let is_lower = !host.bytes().any(|byte| byte.is_ascii_uppercase());
    Some(if is_lower { host.into() } else { host.to_ascii_lowercase().into() })
}
