//! Patterns for paths: `*.css`, `assets/**`, `img/*.{png,webp}`.
//!
//! - `*` is any run of bytes within one segment, the empty one included;
//! - `**` as a whole segment is any number of segments, none included;
//! - `{a,b}` is either; groups do not nest;
//! - all else stands for itself, upper and lower case apart.
//!
//! A pattern without a `/` is for the last segment, wherever it is: `*.css` is `**/*.css`. One with a `/` is for the
//! whole path; a `/` at its beginning means nothing more.
//!
//! **Invariant:** matching takes time in proportion to pattern × path at most, whatever both are: there is no pattern
//! that a path can make expensive.

use std::fmt::{self, Display, Formatter};

/// The longest pattern, in bytes: each group repeats all of it. Paths are at most four times as long.
const LONGEST: usize = 1024;

/// The most patterns that the groups of one may stand for.
const MOST_ALTERNATIVES: usize = 64;

/// A pattern for paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: String,
    alternatives: Vec<Vec<Segment>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// `**`
    Any,
    Name(Vec<SegmentPart>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SegmentPart {
    /// `*`
    Run,
    Byte(u8),
}

/// The reason why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// It is empty, or has a segment that no path has: an empty one, `.` or `..`.
    #[error("a path has no empty segments, `.` or `..`; write `*.css` or `assets/**`")]
    Segment,
    /// `**` beside something else.
    #[error("`**` is a segment of its own, as in `assets/**`")]
    Stars,
    /// A group is not closed, not opened, or nested.
    #[error("`{{` and `}}` must come in pairs, not one within another, as in `*.{{css,js}}`")]
    Group,
    /// It is too long.
    #[error("a pattern has at most {LONGEST} bytes")]
    TooLong,
    /// The groups multiply to too much.
    #[error("the groups stand for more than {MOST_ALTERNATIVES} patterns; use several")]
    TooMany,
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// See [`GlobError`].
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        if text.len() > LONGEST {
            return Err(GlobError::TooLong);
        }
        let alternatives = expand(text)?.iter().map(|text| segments(text)).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), alternatives })
    }

    /// Whether `path` is one of those meant: relative, decoded, segments parted by `/`.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        let path: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
        self.alternatives.iter().any(|pattern| {
            wildcard(pattern, &path, |segment| *segment == Segment::Any, |segment, name| segment.fits(name))
        })
    }
}

impl Display for Glob {
    /// As it was written.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Segment {
    fn fits(&self, name: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Name(pieces) => wildcard(
                pieces,
                name,
                |piece| *piece == SegmentPart::Run,
                |piece, byte| *piece == SegmentPart::Byte(*byte),
            ),
        }
    }
}

/// Whether `pattern` stands for all of `items`, where a star stands for any run of them. After a mismatch only the last
/// star need take one more: what earlier ones took was enough to come this far.
fn wildcard<P, T>(
    pattern: &[P],
    items: &[T],
    is_star: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut pattern, mut items) = (pattern, items);
    let mut last_star: Option<(&[P], &[T])> = None;
    loop {
        match (pattern, items) {
            ([star, rest @ ..], _) if is_star(star) => {
                last_star = Some((rest, items));
                pattern = rest;
            }
            ([one, rest @ ..], [item, others @ ..]) if fits(one, item) => (pattern, items) = (rest, others),
            ([], []) => return true,
            _ => match last_star {
                Some((after, [_taken, others @ ..])) => {
                    last_star = Some((after, others));
                    (pattern, items) = (after, others);
                }
                _ => return false,
            },
        }
    }
}

/// The patterns without groups that a pattern stands for.
fn expand(text: &str) -> Result<Vec<String>, GlobError> {
    let mut expanded = vec![String::new()];
    let mut rest = text;
    while let Some((before, group)) = rest.split_once('{') {
        let (inner, after) = group.split_once('}').ok_or(GlobError::Group)?;
        if before.contains('}') || inner.contains('{') {
            return Err(GlobError::Group);
        }
        let either: Vec<&str> = inner.split(',').collect();
        if expanded.len() * either.len() > MOST_ALTERNATIVES {
            return Err(GlobError::TooMany);
        }
        expanded = (expanded.iter())
            .flat_map(|start| either.iter().map(move |one| format!("{start}{before}{one}")))
            .collect();
        rest = after;
    }
    if rest.contains('}') {
        return Err(GlobError::Group);
    }
    Ok(expanded.into_iter().map(|start| start + rest).collect())
}

fn segments(text: &str) -> Result<Vec<Segment>, GlobError> {
    let anywhere = (!text.contains('/')).then_some(Ok(Segment::Any));
    let text = text.strip_prefix('/').unwrap_or(text);
    anywhere.into_iter().chain(text.split('/').map(segment)).collect()
}

fn segment(text: &str) -> Result<Segment, GlobError> {
    let piece = |byte| if byte == b'*' { SegmentPart::Run } else { SegmentPart::Byte(byte) };
    match text {
        "" | "." | ".." => Err(GlobError::Segment),
        "**" => Ok(Segment::Any),
        text if text.contains("**") => Err(GlobError::Stars),
        text => Ok(Segment::Name(text.bytes().map(piece).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Glob::parse(pattern).expect("a pattern").matches(path.as_bytes())
    }

    #[test]
    fn patterns_and_paths() {
        for (pattern, path, expected) in [
            ("*.css", "a.css", true),
            ("*.css", "deep/er/a.css", true),
            ("*.css", ".css", true),
            ("*.css", "a.css.map", false),
            ("*.css", "a.css/b", false),
            ("*", "a/b", true),
            ("index.html", "sub/index.html", true),
            ("/*.css", "a.css", true),
            ("/*.css", "sub/a.css", false),
            ("assets/**", "assets/a", true),
            ("assets/**", "assets/a/b/c", true),
            ("assets/**", "other/assets/a", false),
            ("assets/*", "assets/a/b", false),
            ("assets/**/*.js", "assets/a.js", true),
            ("assets/**/*.js", "assets/a/b/a.js", true),
            ("**/b/**/d", "a/b/c/b/d", true),
            ("**/b/**/d", "a/b/c/b/e", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("*.{css,js}", "x/a.js", true),
            ("*.{css,js}", "x/a.json", false),
            ("{a,b}/*.{c,d}", "b/x.c", true),
            ("a{,.min}.js", "a.js", true),
            ("[id].html", "[id].html", true),
            ("*.CSS", "a.css", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
        assert!(Glob::parse("*.x").expect("a pattern").matches(b"\xff.x"));
        assert!(matches("a\u{e9}*", "a\u{e9}b"));
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        for (text, error) in [
            ("x".repeat(LONGEST + 1).as_str(), GlobError::TooLong),
            ("", GlobError::Segment),
            ("/", GlobError::Segment),
            ("a//b", GlobError::Segment),
            ("a/", GlobError::Segment),
            ("../a", GlobError::Segment),
            ("a**", GlobError::Stars),
            ("a/**b", GlobError::Stars),
            ("*.{css", GlobError::Group),
            ("*.css}", GlobError::Group),
            ("{a,{b}}", GlobError::Group),
            ("{0,1}{0,1}{0,1}{0,1}{0,1}{0,1}{0,1}", GlobError::TooMany),
        ] {
            assert_eq!(Glob::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn many_stars_are_not_expensive() {
        let pattern = Glob::parse(&format!("{}b", "a*".repeat(200))).expect("a pattern");
        assert!(!pattern.matches(&b"a".repeat(20_000)));
        let pattern = Glob::parse(&format!("{}b", "**/a/".repeat(200))).expect("a pattern");
        assert!(!pattern.matches("a/".repeat(10_000).as_bytes()));
    }

    /// The same by trying everything.
    fn slowly(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|at| slowly(rest, &text[at..])),
            ([one, rest @ ..], [byte, others @ ..]) => one == byte && slowly(rest, others),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn names_match_as_by_trying_everything(
            pattern in "[ab*]{1,8}".prop_filter("a segment", |pattern| !pattern.contains("**")),
            name in "[ab]{0,10}",
        ) {
            prop_assert_eq!(matches(&pattern, &name), slowly(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn a_path_matches_itself_and_what_is_above(path in "[a-c]{1,3}(/[a-c]{1,3}){0,4}") {
            let rooted = format!("/{path}");
            prop_assert!(matches(&rooted, &path));
            prop_assert!(matches("**", &path));
            let above = path.split('/').next().unwrap_or_default();
            let below = format!("{above}/**");
            prop_assert!(matches(&below, &path));
        }

        #[test]
        fn texts_never_panic(pattern in "[ab*/{},.]{0,20}|.*", path: Vec<u8>) {
            if let Ok(glob) = Glob::parse(&pattern) {
                let _ = glob.matches(&path);
            }
        }
    }
}
