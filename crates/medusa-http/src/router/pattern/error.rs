//! Mistakes in a pattern, told so that the reader can correct it without a manual.

use std::fmt;
use std::ops::Range;

/// The reason why a text is not a pattern: the problem, what to write instead, and where it is.
///
/// `Display` takes three lines: the message, the pattern, and a mark below the offending part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    pub(super) pattern: String,
    pub(super) span: Range<usize>,
    pub(super) problem: Problem,
}

impl PatternError {
    /// The text that is not a pattern.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The place of the offending part: a range of bytes in [`pattern`](Self::pattern).
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = |range| self.pattern.get(range).map_or(0, |part: &str| part.chars().count());
        let (before, marked) = (columns(0..self.span.start), columns(self.span.clone()).max(1));
        writeln!(f, "bad pattern: {}", self.problem)?;
        writeln!(f, "    {}", self.pattern)?;
        write!(f, "    {:before$}{:^<marked$}", "", "")
    }
}

impl std::error::Error for PatternError {}

/// One kind of mistake each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error(
        "it is empty; a pattern is `[METHODS ][host]/path`, for example `/`, `GET /about` or `example.com/docs/`"
    )]
    Empty,
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    #[error("there is no path; write `/{0}` for the path, or `{0}/` for everything on the host")]
    NoPath(String),
    #[error("a method is missing; list them with one comma between, as in `PUT,DELETE /path`")]
    NoMethod,
    #[error("`{0}` is not a method; methods are in capitals: `{upper}`", upper = .0.to_ascii_uppercase())]
    MethodCase(String),
    #[error("`{0}` is not a method")]
    Method(String),
    #[error("a mount names no port (its server's `listen` does); write only the host: `{0}`")]
    Port(String),
    #[error("a host holds no `{{wildcard}}`; `*.example.com` is every host below `example.com`")]
    HostWildcard,
    #[error(
        "`*` can only be the whole first label of a host, as in `*.example.com`, or all of it, for those that no other pattern \
         names; for every host, write none"
    )]
    HostStar,
    #[error("`{0}` is not a host name; write names outside of ASCII in their `xn--` form")]
    Host(String),
    #[error("`//` matches nothing, as requests are redirected to their clean path; write a single `/`")]
    EmptySegment,
    #[error("`{0}` matches nothing, as requests are redirected to their clean path; leave it out")]
    DotSegment(String),
    #[error("a pattern ends with the path; look at the query in the handler")]
    Query,
    #[error("a path holds no spaces and no control characters; a space in a name is `%20`")]
    Space,
    #[error("`%` must begin an escape of two hexadecimal digits, not `%00`; a percent sign is `%25`")]
    Escape,
    #[error("`{0}` is no wildcard here; write `{{name...}}` for the rest of a path, or `%2A` for a star")]
    Star(String),
    #[error("`{segment}` is no wildcard here; write `{{{name}}}`, or `%3A{name}` for a colon", name = .segment.trim_start_matches(':'))]
    Colon { segment: String },
    #[error("this `{{` has no `}}` in its segment; a brace in a name is `%7B`")]
    Unclosed,
    #[error("this `}}` has no `{{` before it; a brace in a name is `%7D`")]
    Unopened,
    #[error("a wildcard ends its segment; let it take `{0}` too and look at it in the handler")]
    AfterWildcard(String),
    #[error("a wildcard needs a name, as in `{{id}}`")]
    NoName,
    #[error("`{0}` is not a name; use letters, digits and `_`, and begin with a letter or `_`")]
    Name(String),
    #[error("the name `{0}` is there twice")]
    SameName(String),
    #[error("`{{{0}...}}` takes the rest of the path, so nothing can follow it")]
    RestNotLast(String),
    #[error("`{{{0}...}}` must be a segment of its own")]
    RestNotAlone(String),
    #[error("`{{$}}` means that the path ends here, so it is the last segment, alone")]
    EndNotLast,
}
