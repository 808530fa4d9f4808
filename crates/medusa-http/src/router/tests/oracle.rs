//! The definition of the rules, by brute force: a pattern *is* the set of paths it matches, out of a universe small
//! enough to list. What clashes and what wins follows from comparing sets. The tree must agree.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::{Conflict, Method, Methods, Pattern, Route, Router, split};
use crate::router::pattern::{HostPattern, PatternEnd, Segment};

/// Tells apart the literals and prefixes the patterns below are made of.
const SEGMENTS: [&str; 5] = ["a", "ab", "abc", "ac", "z"];
const METHODS: [&str; 5] = ["GET", "HEAD", "PUT", "POST", "LOCK"];
const HOSTS: [Option<&str>; 5] =
    [None, Some("h.example"), Some("i.example"), Some("x.h.example"), Some("other")];

/// All paths of up to four segments.
static UNIVERSE: LazyLock<Vec<String>> = LazyLock::new(universe);

fn universe() -> Vec<String> {
    let mut paths = vec![String::new()];
    let mut level: Range<usize> = 0..1;
    for _ in 0..4 {
        for index in level.clone() {
            for segment in SEGMENTS {
                paths.push(format!("{}/{segment}", paths[index]));
            }
        }
        level = level.end..paths.len();
    }
    let with_slash: Vec<String> = paths.iter().map(|path| format!("{path}/")).collect();
    paths.into_iter().skip(1).chain(with_slash).collect()
}

/// Whether a pattern matches, and if so, whether a rest took something.
fn matches(pattern: &Pattern, path: &str) -> Option<bool> {
    let mut parts = path[1..].split('/');
    for segment in &pattern.0.segments {
        let part = parts.next().filter(|part| !part.is_empty())?.as_bytes();
        let takes = match segment {
            Segment::Literal(literal) => part == &**literal,
            Segment::Prefix(literal) => part.starts_with(literal) && part.len() > literal.len(),
            Segment::Wild => true,
        };
        if !takes {
            return None;
        }
    }
    let rest: Vec<&str> = parts.collect();
    match pattern.0.end {
        PatternEnd::Here => rest.is_empty().then_some(false),
        PatternEnd::Slash => (rest == [""]).then_some(false),
        PatternEnd::Rest => (!rest.is_empty()).then_some(rest != [""]),
    }
}

fn takes_host(pattern: &Pattern, host: Option<&str>, all: &[Pattern]) -> bool {
    match &pattern.0.host {
        HostPattern::Any => true,
        HostPattern::Others => {
            let names = |other: &&Pattern| !matches!(other.0.host, HostPattern::Any | HostPattern::Others);
            !all.iter().filter(names).any(|other| takes_host(other, host, all))
        }
        HostPattern::Exact(name) => host == Some(name),
        HostPattern::Below(name) => host.is_some_and(|host| host.ends_with(&format!(".{name}"))),
    }
}

/// A pattern as the sets of what it matches.
#[derive(PartialEq)]
struct Sets {
    paths: BTreeSet<usize>,
    methods: BTreeSet<&'static str>,
}

impl Sets {
    fn of(pattern: &Pattern, universe: &[String]) -> Self {
        let paths =
            (0..universe.len()).filter(|&index| matches(pattern, &universe[index]).is_some()).collect();
        let takes = |name: &&str| pattern.0.methods.contains(&name.parse().unwrap());
        Self { paths, methods: METHODS.into_iter().filter(takes).collect() }
    }

    fn is_below(&self, other: &Self) -> bool {
        if self.paths == other.paths {
            self.methods != other.methods && self.methods.is_subset(&other.methods)
        } else {
            self.paths.is_subset(&other.paths)
        }
    }

    fn clashes(&self, other: &Self) -> bool {
        !self.paths.is_disjoint(&other.paths)
            && !self.methods.is_disjoint(&other.methods)
            && !self.is_below(other)
            && !other.is_below(self)
    }
}

/// Whether `a` is the more specific of two hosts that both match.
fn host_is_below(a: &HostPattern, b: &HostPattern) -> bool {
    match (a, b) {
        (HostPattern::Exact(_), HostPattern::Below(_) | HostPattern::Any)
        | (HostPattern::Below(_) | HostPattern::Others, HostPattern::Any) => true,
        (HostPattern::Below(a), HostPattern::Below(b)) => a.len() > b.len(),
        _ => false,
    }
}

struct Oracle {
    patterns: Vec<Pattern>,
    has_clash: bool,
    /// `below[a][b]`: pattern `a` is more specific than `b`.
    below: Vec<Vec<bool>>,
}

impl Oracle {
    fn new(patterns: Vec<Pattern>, universe: &[String]) -> Self {
        let sets: Vec<Sets> = patterns.iter().map(|pattern| Sets::of(pattern, universe)).collect();
        let same_host = |a: usize, b: usize| patterns[a].0.host == patterns[b].0.host;
        let all = 0..patterns.len();
        let clash = |a: usize, b: usize| same_host(a, b) && sets[a].clashes(&sets[b]);
        let has_clash = all.clone().any(|a| (0..a).any(|b| clash(a, b)));
        let is_below = |a: usize, b: usize| {
            host_is_below(&patterns[a].0.host, &patterns[b].0.host)
                || (same_host(a, b) && sets[a].is_below(&sets[b]))
        };
        let below = all.clone().map(|a| all.clone().map(|b| is_below(a, b)).collect()).collect();
        Self { patterns, has_clash, below }
    }

    /// The patterns that match, the most specific first.
    fn matching(&self, method: &Method, host: Option<&str>, path: &str) -> Vec<usize> {
        let mut matching: Vec<usize> = (0..self.patterns.len())
            .filter(|&index| {
                let pattern = &self.patterns[index];
                takes_host(pattern, host, &self.patterns)
                    && pattern.0.methods.contains(method)
                    && matches(pattern, path).is_some()
            })
            .collect();
        let all = matching.clone();
        matching.sort_by_key(|&one| all.iter().filter(|&&other| self.below[other][one]).count());
        matching
    }

    fn route(&self, method: &Method, host: Option<&str>, path: &str) -> Route<'static, usize> {
        let best = |path: &str| {
            let index = *self.matching(method, host, path).first()?;
            Some((index, matches(&self.patterns[index], path)?))
        };
        let found = best(path);
        if let Some((index, false)) = found {
            return self.found(index, path);
        }
        let with_slash = format!("{path}/");
        if !path.ends_with('/') && best(&with_slash).is_some_and(|(_, by_rest)| !by_rest) {
            return Route::Redirect(with_slash);
        }
        if let Some((index, _)) = found {
            return self.found(index, path);
        }
        let mut allowed = Methods::default();
        for pattern in self.patterns.iter().filter(|pattern| takes_host(pattern, host, &self.patterns)) {
            if matches(pattern, path).is_some()
                || (!path.ends_with('/') && matches(pattern, &with_slash).is_some())
            {
                allowed.extend(&pattern.0.methods);
            }
        }
        if allowed.is_empty() { Route::NotFound } else { Route::MethodNotAllowed(allowed) }
    }

    fn found(&self, index: usize, path: &str) -> Route<'static, usize> {
        let pattern = &self.patterns[index];
        let starts: Vec<usize> = path.match_indices('/').map(|(at, _)| at + 1).collect();
        let mut values = Vec::new();
        for (segment, part) in pattern.0.segments.iter().zip(path[1..].split('/')) {
            match segment {
                Segment::Literal(_) => {}
                Segment::Prefix(literal) => values.push(&part[literal.len()..]),
                Segment::Wild => values.push(part),
            }
        }
        let tail = match pattern.0.end {
            PatternEnd::Rest => starts[pattern.0.segments.len()],
            PatternEnd::Here | PatternEnd::Slash => path.len(),
        };
        values.push(&path[tail..]);
        let params = pattern.names().zip(values).map(|(name, value)| (name, value.as_bytes())).collect();
        // Leaked: a test's patterns are few, and a route borrows from its router.
        let (value, pattern) = Box::leak(Box::new((index, pattern.clone())));
        Route::Found { value, pattern, params, tail }
    }
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let methods = prop::sample::select(vec!["", "", "GET ", "HEAD ", "PUT ", "GET,PUT ", "PUT,POST,LOCK "]);
    let host = prop::sample::select(vec!["", "", "", "h.example", "*.example", "*.h.example", "*"]);
    let segment = prop::sample::select(vec!["a", "ab", "z", "a{_}", "ab{_}", "{_}"]);
    let end = prop::sample::select(vec!["", "", "/", "/{$}", "/{_...}"]);
    (methods, host, prop::collection::vec(segment, 0..4), end).prop_map(|(methods, host, segments, end)| {
        let mut path: String = segments.iter().flat_map(|segment| ["/", segment]).chain([end]).collect();
        if path.is_empty() {
            path.push('/');
        }
        for number in 0..4 {
            path = path.replacen("{_", &format!("{{p{number}"), 1);
        }
        format!("{methods}{host}{path}").parse().unwrap_or_else(|error| panic!("{error}"))
    })
}

/// Patterns of which none clashes with an earlier one, so that large sets are tested, not only lucky ones.
fn without_clashes(patterns: Vec<Pattern>) -> Vec<Pattern> {
    let mut kept: Vec<(Pattern, usize)> = Vec::new();
    for pattern in patterns {
        kept.push((pattern, 0));
        if Router::build(kept.iter().cloned()).is_err() {
            kept.pop();
        }
    }
    kept.into_iter().map(|(pattern, _)| pattern).collect()
}

fn build(patterns: &[Pattern]) -> Result<Router<usize>, Conflict> {
    Router::build(patterns.iter().cloned().zip(0..))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn clashes_are_those_of_the_definition(patterns in prop::collection::vec(pattern(), 2..4)) {
        let router = build(&patterns);
        let oracle = Oracle::new(patterns, &UNIVERSE);
        match router {
            Ok(_) => prop_assert!(!oracle.has_clash, "a clash was not found: {:?}", oracle.patterns),
            Err(conflict) => {
                prop_assert!(oracle.has_clash, "{conflict}");
                let (method, host, path) = split(&conflict.sample);
                for (_, pattern) in [&conflict.first, &conflict.second] {
                    let matches = matches(pattern, path).is_some()
                        && takes_host(pattern, host, &oracle.patterns)
                        && pattern.0.methods.contains(&method);
                    prop_assert!(matches, "{conflict}");
                }
            }
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn routes_are_those_of_the_definition(
        patterns in prop::collection::vec(pattern(), 1..24),
        picks in prop::collection::vec((any::<prop::sample::Index>(), 0..METHODS.len(), 0..HOSTS.len()), 150),
    ) {
        let patterns = without_clashes(patterns);
        let router = build(&patterns).unwrap_or_else(|conflict| panic!("{conflict}"));
        let oracle = Oracle::new(patterns, &UNIVERSE);
        for (path, method, host) in picks {
            let (path, method, host) = (path.get(&UNIVERSE), METHODS[method].parse().unwrap(), HOSTS[host]);
            let expected = oracle.route(&method, host, path);
            let found = router.route(&method, host, path);
            prop_assert_eq!(found, expected, "{} {:?} {}, {:?}", method, host, path, oracle.patterns);
            let explained: Vec<usize> = router.explain(&method, host, path).into_iter().map(|(_, index)| *index).collect();
            prop_assert_eq!(explained, oracle.matching(&method, host, path));
        }
    }
}
