//! The way from a request to its mount: patterns, their precedence, and the lookup.
//!
//! The rules are those of Go 1.22's `net/http.ServeMux`, which people know, with three additions: a pattern may name
//! several methods, a segment may hold a literal before its wildcard, and a host may be `*.name`, or `*` for those that no other names. Of the patterns that
//! match, the most specific wins, whatever the order they were added in: first by host, then by path, then by
//! methods. A pattern that matches but does not take the method is passed over.
//!
//! **Invariant:** a [`Router`] exists only without a [`Conflict`], so that for every request the patterns that match
//! stand in one order, and `route` and `explain` cannot disagree.

mod conflict;
mod hosts;
mod methods;
mod params;
mod path;
mod pattern;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;
use std::ops::ControlFlow;

use http::Method;

pub use conflict::Conflict;
pub use methods::Methods;
pub use params::Params;
pub(crate) use path::{encode as encode_segment, is_clean, with_slash};
pub use pattern::{Pattern, PatternError};

use hosts::Hosts;
use path::Shape;
use tree::{Leaf, Match, MatchKind};

/// Values under patterns.
pub struct Router<T> {
    entries: Vec<(Pattern, T)>,
    hosts: Hosts,
}

/// The way of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Route<'r, T> {
    /// To a mount.
    Found {
        /// What was added under the pattern.
        value: &'r T,
        /// The pattern that matched.
        pattern: &'r Pattern,
        /// What its wildcards matched.
        params: Params,
        /// Where the part of the raw path begins that the end of the pattern, `/` or `{name...}`, covers; the path's
        /// length for a pattern that ends otherwise.
        tail: usize,
    },
    /// To another spelling of its path: clean, or with a slash at its end. A raw path without a query, which the
    /// caller appends. It is always on this host.
    Redirect(String),
    /// Nowhere: the path is there, but takes only these methods (405).
    MethodNotAllowed(Methods),
    /// Nowhere: nothing is at this path (404).
    NotFound,
    /// Nowhere: the path is not absolute, or holds a broken percent-encoding or a NUL (400).
    BadPath,
}

impl<T> Router<T> {
    /// Builds a router. The order of the entries decides nothing, except which clash is told.
    ///
    /// # Errors
    ///
    /// Two patterns clash: a request matches both, and neither is more specific than the other.
    pub fn build(entries: impl IntoIterator<Item = (Pattern, T)>) -> Result<Self, Conflict> {
        let entries: Vec<_> = entries.into_iter().collect();
        let patterns: Vec<&Pattern> = entries.iter().map(|(pattern, _)| pattern).collect();
        let mut by_methods: Vec<usize> = (0..patterns.len()).collect();
        by_methods.sort_by_key(|&index| patterns[index].0.methods.size());
        let mut hosts = Hosts::default();
        for index in by_methods {
            hosts.tree_mut(&patterns[index].0.host).insert(patterns[index], index as u32);
        }
        conflict::check(hosts.trees(), &patterns)?;
        Ok(Self { entries, hosts })
    }

    /// Finds the mount for a request.
    ///
    /// `host` is the host asked for, without its port; upper and lower case are alike. `path` is the raw path, not
    /// decoded, without the query.
    pub fn route(&self, method: &Method, host: Option<&str>, path: &str) -> Route<'_, T> {
        match path::shape(path) {
            Shape::Bad => return Route::BadPath,
            Shape::Unclean(clean) => return Route::Redirect(clean),
            Shape::Clean => {}
        }
        let mut exists_with_slash = false;
        let found = self.walk(host, path, |leaf, matched| {
            let Some(entry) = self.takers(leaf, matched, method).next() else {
                return ControlFlow::Continue(());
            };
            match matched.reach {
                MatchKind::WithSlash => {
                    exists_with_slash = true;
                    ControlFlow::Continue(())
                }
                // A rest that is not empty: that the path exists with a slash at its end tells more.
                MatchKind::Rest if exists_with_slash => {
                    ControlFlow::Break(Route::Redirect(path::with_slash(path)))
                }
                MatchKind::Rest | MatchKind::Whole => ControlFlow::Break(Self::found(entry, matched)),
            }
        });
        match found {
            Some(route) => route,
            None if exists_with_slash => Route::Redirect(path::with_slash(path)),
            None => self.refuse(host, path),
        }
    }

    /// All mounts whose pattern matches the request, the one that gets it first. None for a path that is not clean.
    ///
    /// A mount that only redirects the path, to the one with a slash at its end, is not among them.
    pub fn explain(&self, method: &Method, host: Option<&str>, path: &str) -> Vec<(&Pattern, &T)> {
        let mut matching = Vec::new();
        if path::shape(path) == Shape::Clean {
            self.walk(host, path, |leaf, matched| {
                if matched.reach != MatchKind::WithSlash {
                    matching.extend(self.takers(leaf, matched, method));
                }
                ControlFlow::<()>::Continue(())
            });
        }
        matching
    }

    /// All mounts, in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&Pattern, &T)> {
        self.entries.iter().map(|(pattern, value)| (pattern, value))
    }

    fn entry(&self, index: u32) -> (&Pattern, &T) {
        let (pattern, value) = &self.entries[index as usize];
        (pattern, value)
    }

    /// The mounts of a leaf that take the path, whatever the method.
    fn matching(&self, leaf: &Leaf, matched: &Match<'_>) -> impl Iterator<Item = (&Pattern, &T)> {
        leaf.iter().map(|&index| self.entry(index)).filter(|(pattern, _)| matched.is_taken_by(pattern))
    }

    /// Those that take the method, too, the most specific first.
    fn takers(
        &self,
        leaf: &Leaf,
        matched: &Match<'_>,
        method: &Method,
    ) -> impl Iterator<Item = (&Pattern, &T)> {
        self.matching(leaf, matched).filter(|(pattern, _)| pattern.0.methods.contains(method))
    }

    fn found<'r>((pattern, value): (&'r Pattern, &'r T), matched: &Match<'_>) -> Route<'r, T> {
        let mut params = Params::new(&pattern.0.names);
        matched.for_each_value(pattern.0.names.len(), |decoded| params.push(decoded));
        let tail = matched.tail;
        Route::Found { value, pattern, params, tail }
    }

    /// No mount takes the request: tells whether one would with another method.
    fn refuse(&self, host: Option<&str>, path: &str) -> Route<'_, T> {
        let allowed = self.methods(host, path);
        if allowed.is_empty() { Route::NotFound } else { Route::MethodNotAllowed(allowed) }
    }

    /// The methods that mounts take whose patterns match a path that is clean.
    pub fn methods(&self, host: Option<&str>, path: &str) -> Methods {
        let mut allowed = Methods::default();
        self.walk(host, path, |leaf, matched| {
            for (pattern, _) in self.matching(leaf, matched) {
                allowed.extend(pattern.methods());
            }
            ControlFlow::<()>::Continue(())
        });
        allowed
    }

    fn walk<B>(
        &self,
        host: Option<&str>,
        path: &str,
        mut visit: impl FnMut(&Leaf, &Match<'_>) -> ControlFlow<B>,
    ) -> Option<B> {
        let mut broken = None;
        self.hosts.for_host(host, |tree| {
            broken = tree.walk(path, &mut visit).break_value();
            broken.is_none()
        });
        broken
    }
}

impl<T> Default for Router<T> {
    /// A router without mounts.
    fn default() -> Self {
        Self { entries: Vec::new(), hosts: Hosts::default() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Router<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
