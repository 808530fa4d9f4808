//! From the text of a pattern to its parts, by hand: the grammar is small and the errors matter.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::error::{PatternError, Problem};
use super::{HostPattern, Pattern, PatternEnd, PatternParts, Segment};
use crate::router::methods::Methods;
use crate::router::path;

/// The longest pattern. It bounds how deep the router's tree can get, and so its recursion.
const MAX_LEN: usize = 1024;
/// The longest host name ([RFC 1035 §2.3.4](https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4)).
pub(in crate::router) const MAX_HOST: usize = 253;

type Parsed<T> = Result<T, (Problem, Range<usize>)>;

pub(super) fn pattern(text: &str) -> Result<Pattern, PatternError> {
    Parser { text }.pattern().map_err(|(problem, span)| PatternError {
        pattern: text.to_owned(),
        span,
        problem,
    })
}

/// Wildcards found so far and the end of the path, if a segment has set it.
#[derive(Default)]
struct Wildcards {
    names: Vec<Box<str>>,
    end: Option<PatternEnd>,
}

struct Parser<'t> {
    text: &'t str,
}

impl<'t> Parser<'t> {
    /// An error at `part`, which is a slice of the text.
    fn fail<T>(&self, part: &str, problem: Problem) -> Parsed<T> {
        let start = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        Err((problem, start..start + part.len()))
    }

    fn pattern(&self) -> Parsed<Pattern> {
        let text = self.text;
        if text.is_empty() {
            return self.fail(text, Problem::Empty);
        }
        if text.len() > MAX_LEN {
            return self.fail(text, Problem::TooLong(MAX_LEN));
        }
        let (methods, located) =
            match text.split_once('/').map_or(text, |(before, _)| before).rfind([' ', '\t']) {
                Some(space) => (self.methods(&text[..space])?, &text[space + 1..]),
                None => (Methods::any(), text),
            };
        let Some(slash) = located.find('/') else {
            return self.fail(located, Problem::NoPath(located.to_owned()));
        };
        let host = self.host(&located[..slash])?;
        let (segments, end, names) = self.path(&located[slash..])?;
        let parts = PatternParts { text: text.into(), methods, host, segments, end, names: names.into() };
        Ok(Pattern(Arc::new(parts)))
    }

    fn methods(&self, list: &str) -> Parsed<Methods> {
        let mut methods = Methods::default();
        for method in list.split(',').map(str::trim) {
            if method.is_empty() {
                return self.fail(list, Problem::NoMethod);
            }
            if http::Method::from_bytes(method.as_bytes()).is_err() {
                return self.fail(method, Problem::Method(method.to_owned()));
            }
            if method.bytes().any(|byte| byte.is_ascii_lowercase()) {
                return self.fail(method, Problem::MethodCase(method.to_owned()));
            }
            methods.insert(method);
        }
        Ok(methods)
    }

    fn host(&self, host: &str) -> Parsed<HostPattern> {
        if host.is_empty() {
            return Ok(HostPattern::Any);
        }
        if host == "*" {
            return Ok(HostPattern::Others);
        }
        let (name, is_below) = match host.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (host, false),
        };
        if let Some(at) = name.find(['{', '}']) {
            return self.fail(&name[at..], Problem::HostWildcard);
        }
        if let Some(at) = name.find('*') {
            return self.fail(&name[at..=at], Problem::HostStar);
        }
        if is_ip_literal(name) && !is_below {
            return Ok(HostPattern::Exact(name.to_ascii_lowercase().into()));
        }
        if let Some((before, port)) = name.rsplit_once(':')
            && port.bytes().all(|byte| byte.is_ascii_digit())
        {
            return self.fail(port, Problem::Port(before.to_owned()));
        }
        if !is_host_name(name) {
            return self.fail(name, Problem::Host(name.to_owned()));
        }
        let name = name.to_ascii_lowercase().into();
        Ok(if is_below { HostPattern::Below(name) } else { HostPattern::Exact(name) })
    }

    fn path(&self, path: &'t str) -> Parsed<(Vec<Segment>, PatternEnd, Vec<Box<str>>)> {
        if let Some(at) = path.find(|c: char| c.is_whitespace() || c.is_control()) {
            return self.fail(&path[at..], Problem::Space);
        }
        if let Some(at) = path.find(['?', '#']) {
            return self.fail(&path[at..], Problem::Query);
        }
        let mut segments = Vec::new();
        let mut wildcards = Wildcards::default();
        let mut rest = path;
        while let Some(after_slash) = rest.strip_prefix('/') {
            let len = after_slash.find('/').unwrap_or(after_slash.len());
            let (raw, following) = after_slash.split_at(len);
            if raw.is_empty() {
                if !following.is_empty() {
                    return self.fail(&rest[..2], Problem::EmptySegment);
                }
                wildcards.end = Some(PatternEnd::Rest);
            } else if let Some(segment) = self.segment(raw, following.is_empty(), &mut wildcards)? {
                segments.push(segment);
            }
            rest = following;
        }
        Ok((segments, wildcards.end.unwrap_or(PatternEnd::Here), wildcards.names))
    }

    /// One segment. `{$}` and `{name...}` are none: they set the end.
    fn segment(&self, raw: &str, is_last: bool, wildcards: &mut Wildcards) -> Parsed<Option<Segment>> {
        let Some(open) = raw.find('{') else {
            return self.literal(raw).map(Some);
        };
        let (before, braced) = raw.split_at(open);
        let inside = self.braced(braced)?;
        let prefix = self.decoded(before)?;
        if inside == "$" {
            if !is_last || !before.is_empty() {
                return self.fail(braced, Problem::EndNotLast);
            }
            wildcards.end = Some(PatternEnd::Slash);
            return Ok(None);
        }
        let (name, is_rest) = match inside.strip_suffix("...") {
            Some(name) => (name, true),
            None => (inside, false),
        };
        self.name(name, braced, wildcards)?;
        if is_rest {
            if !before.is_empty() {
                return self.fail(raw, Problem::RestNotAlone(name.to_owned()));
            }
            if !is_last {
                return self.fail(braced, Problem::RestNotLast(name.to_owned()));
            }
            wildcards.end = Some(PatternEnd::Rest);
            return Ok(None);
        }
        Ok(Some(if prefix.is_empty() { Segment::Wild } else { Segment::Prefix(prefix.into()) }))
    }

    /// Reads the wildcard between the braces of a segment's end, `{...}`.
    fn braced<'a>(&self, braced: &'a str) -> Parsed<&'a str> {
        let Some((inside, after)) = braced.strip_prefix('{').and_then(|open| open.split_once('}')) else {
            return self.fail(braced, Problem::Unclosed);
        };
        if inside.contains('{') {
            return self.fail(braced, Problem::Unclosed);
        }
        if !after.is_empty() {
            return self.fail(after, Problem::AfterWildcard(after.to_owned()));
        }
        Ok(inside)
    }

    fn name(&self, name: &str, braced: &str, wildcards: &mut Wildcards) -> Parsed<()> {
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if name.is_empty() {
            self.fail(braced, Problem::NoName)
        } else if !starts_well || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            self.fail(name, Problem::Name(name.to_owned()))
        } else if wildcards.names.iter().any(|known| **known == *name) {
            self.fail(name, Problem::SameName(name.to_owned()))
        } else {
            wildcards.names.push(name.into());
            Ok(())
        }
    }

    fn literal(&self, raw: &str) -> Parsed<Segment> {
        if matches!(raw, "*" | "**") {
            return self.fail(raw, Problem::Star(raw.to_owned()));
        }
        if raw.starts_with(':') {
            return self.fail(raw, Problem::Colon { segment: raw.to_owned() });
        }
        let literal = self.decoded(raw)?;
        if matches!(&*literal, b"." | b"..") {
            return self.fail(raw, Problem::DotSegment(raw.to_owned()));
        }
        Ok(Segment::Literal(literal.into()))
    }

    fn decoded<'a>(&self, raw: &'a str) -> Parsed<Cow<'a, [u8]>> {
        if let Some(at) = raw.find('}') {
            return self.fail(&raw[at..=at], Problem::Unopened);
        }
        if !path::is_well_formed(raw.as_bytes()) {
            let at = raw.find('%').unwrap_or_default();
            return self.fail(&raw[at..], Problem::Escape);
        }
        Ok(path::decode(raw))
    }
}

fn is_ip_literal(host: &str) -> bool {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok())
}

/// Letters, digits, hyphens and underscores in labels of 1 to 63: what DNS names of hosts are made of in practice.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    name.len() <= MAX_HOST && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Pattern {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.as_bytes().into())
    }

    #[test]
    fn the_parts_are_found() {
        let pattern = parsed("PUT,DELETE *.Example.com/a/~{user}/{id}/{rest...}");
        assert_eq!(pattern.0.methods.to_string(), "PUT, DELETE");
        assert_eq!(pattern.0.host, HostPattern::Below("example.com".into()));
        assert_eq!(pattern.0.segments, [literal("a"), Segment::Prefix(b"~"[..].into()), Segment::Wild]);
        assert_eq!(pattern.0.end, PatternEnd::Rest);
        assert_eq!(pattern.names().collect::<Vec<_>>(), ["user", "id", "rest"]);
    }

    #[test]
    fn ends_are_told_apart() {
        assert_eq!((parsed("/").0.segments.len(), parsed("/").0.end), (0, PatternEnd::Rest));
        assert_eq!(parsed("/{$}").0.end, PatternEnd::Slash);
        assert_eq!(parsed("/a").0.end, PatternEnd::Here);
        assert_eq!(parsed("/a/").0.end, PatternEnd::Rest);
        assert_eq!(parsed("/a/{$}").0.end, PatternEnd::Slash);
        assert_eq!(parsed("/a/{x}").0.end, PatternEnd::Here);
        assert_eq!(parsed("/a/{x}/").0.end, PatternEnd::Rest);
    }

    #[test]
    fn literals_are_decoded() {
        assert_eq!(parsed("/caf%C3%A9").0.segments, parsed("/caf\u{e9}").0.segments);
        assert_eq!(parsed("/a%2Fb").0.segments, [literal("a/b")]);
        assert_eq!(parsed("/%7Ex").0.segments, [literal("~x")]);
    }

    #[test]
    fn methods_may_be_spaced() {
        assert_eq!(parsed("PUT, DELETE /x").0.methods.to_string(), "PUT, DELETE");
        assert_eq!(parsed("GET\t host.example/x").0.host, HostPattern::Exact("host.example".into()));
        assert_eq!(parsed("PROPFIND /x").0.methods.to_string(), "PROPFIND");
        assert!(parsed("/x").0.methods.is_any());
    }

    #[test]
    fn an_ipv6_host_keeps_its_brackets() {
        assert_eq!(parsed("[::1]/").0.host, HostPattern::Exact("[::1]".into()));
    }

    #[test]
    fn display_gives_back_what_was_written() {
        for text in ["/", "GET /a", "PUT, DELETE  Example.com/~{u}/", "*.a.b/{x...}", "*/a", "/caf%C3%A9/{$}"]
        {
            assert_eq!(parsed(text).to_string(), text);
            assert_eq!(parsed(&parsed(text).to_string()), parsed(text));
        }
    }

    /// Pattern, the part that is marked, a piece of the advice.
    const MISTAKES: &[(&str, &str, &str)] = &[
        ("", "", "`[METHODS ][host]/path`"),
        ("hello", "hello", "`/hello`"),
        ("GET hello", "hello", "`hello/`"),
        ("get /x", "get", "`GET`"),
        ("GET,,PUT /x", "GET,,PUT", "a method is missing"),
        (" /x", "", "a method is missing"),
        ("G(T /x", "G(T", "not a method"),
        ("example.com:80/x", "80", "`example.com`"),
        ("{host}/x", "{host}", "`*.example.com`"),
        ("**/x", "*", "that no other pattern names"),
        ("a.*.b/x", "*", "`*.example.com`"),
        ("b\u{fc}cher.example/x", "b\u{fc}cher.example", "`xn--`"),
        ("a..b/x", "a..b", "not a host name"),
        ("*.[::1]/x", "[::1]", "not a host name"),
        ("/a//b", "//", "single `/`"),
        ("/a/../b", "..", "leave it out"),
        ("/a/%2e", "%2e", "leave it out"),
        ("/a?b=c", "?b=c", "query"),
        ("/a b", " b", "`%20`"),
        ("/a%zz", "%zz", "`%25`"),
        ("/%00", "%00", "`%25`"),
        ("/a/*", "*", "`{name...}`"),
        ("/users/:id", ":id", "`{id}`"),
        ("/{a", "{a", "`%7B`"),
        ("/{a{b}}", "{a{b}}", "`%7B`"),
        ("/a}", "}", "`%7D`"),
        ("/{name}.html", ".html", "take `.html` too"),
        ("/{a}{b}", "{b}", "take `{b}` too"),
        ("/{}", "{}", "`{id}`"),
        ("/{...}", "{...}", "`{id}`"),
        ("/{1a}", "1a", "letters, digits"),
        ("/{a}/{a}", "a", "twice"),
        ("/{a...}/b", "{a...}", "nothing can follow"),
        ("/{a...}/", "{a...}", "nothing can follow"),
        ("/x{a...}", "x{a...}", "segment of its own"),
        ("/{$}/a", "{$}", "last segment"),
        ("/a{$}", "{$}", "last segment"),
    ];

    #[test]
    fn mistakes_are_marked_and_advice_is_given() {
        for (text, marked, advice) in MISTAKES {
            let error = text.parse::<Pattern>().expect_err(text);
            assert_eq!(&text[error.span()], *marked, "{error}");
            assert!(error.to_string().contains(advice), "{error}");
        }
    }

    #[test]
    fn the_mark_stands_below_the_part() {
        let error = "GET /caf\u{e9}/:id".parse::<Pattern>().unwrap_err();
        let shown = error.to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1..], ["    GET /caf\u{e9}/:id", "              ^^^"]);
    }

    #[test]
    fn length_is_bounded() {
        assert!("/a".repeat(512).parse::<Pattern>().is_ok());
        assert!("/a".repeat(513).parse::<Pattern>().is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_pattern_or_an_error_that_can_be_shown(text in "([A-Z, ]{0,6}|[a-z.*:]{0,8})?[/a{}$.%0é* ]{0,12}") {
            match text.parse::<Pattern>() {
                Ok(pattern) => assert_eq!(pattern.to_string(), text),
                Err(error) => assert!(error.to_string().contains(&text)),
            }
        }
    }
}
