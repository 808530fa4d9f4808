//! The names under which something may be published.
//!
//! They are fewer than those that are served: who can write a file chooses its name, and another program, a shell, a browser or the
//! server itself reads it. What it is about are names that are read as something else than they seem.

use super::target::Target;

/// The path of a file or a directory that may be published, relative to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagePath(String);

impl PagePath {
    /// Reads the raw rest of a path, as a request has it. `None` for what nothing may be published at.
    ///
    /// These are: what [`Target`] refuses (`.` and `..`, empty segments, NUL and slashes in disguise, names that begin with a dot but for
    /// `.well-known`, scripts), what is not UTF-8 or holds a control character or a backslash, and what would be encoded once more
    /// (`%2e`).
    pub fn parse(tail: &str) -> Option<Self> {
        Self::of(&Target::parse(tail, false, &[])?)
    }

    /// Reads a path as people write it, not encoded.
    pub fn plain(path: &str) -> Option<Self> {
        Self::of(&Target::plain(path)?)
    }

    fn of(target: &Target<'_>) -> Option<Self> {
        let path = std::str::from_utf8(&target.path).ok()?;
        let is_odd = |c: char| c.is_control() || c == '\\';
        (!path.contains(is_odd) && !is_encoded(path.as_bytes())).then(|| Self(path.to_owned()))
    }

    /// The path, without a slash at its end. Empty for the root.
    pub(super) fn path(&self) -> &str {
        self.0.strip_suffix('/').unwrap_or(&self.0)
    }

    /// Whether a directory is meant: the path ends with a slash, or is the root.
    pub(crate) fn is_directory(&self) -> bool {
        self.0.is_empty() || self.0.ends_with('/')
    }

    /// The directory that holds it, and its name there.
    pub(super) fn split(&self) -> (&str, &str) {
        self.path().rsplit_once('/').unwrap_or(("", self.path()))
    }
}

/// Whether it has an escape in it: who decodes it once more reads something else.
fn is_encoded(path: &[u8]) -> bool {
    path.windows(3)
        .any(|part| matches!(part, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_directory_and_a_name() {
        let split = |tail: &str| {
            let path = PagePath::parse(tail).expect("a path");
            let (parent, name) = path.split();
            (parent.to_owned(), name.to_owned(), path.is_directory())
        };
        assert_eq!(split("a/b%20c.html"), ("a".into(), "b c.html".into(), false));
        assert_eq!(split("a"), (String::new(), "a".into(), false));
        assert_eq!(split("a/b/"), ("a".into(), "b".into(), true));
        assert_eq!(split(""), (String::new(), String::new(), true));
        assert_eq!(PagePath::plain("100%/é.html"), PagePath::parse("100%25/%C3%A9.html"));
    }

    #[test]
    fn names_that_seem_to_be_others_are_refused() {
        for tail in [
            "a%00b",
            "a%0Ab",
            "a%7F",
            "a%C2%85b",
            "a%5Cb",
            "..%5Ca",
            "%FF",
            "%C0%AE%C0%AE/a",
            "%252e%252e/a",
            "a%252Fb",
            ".env",
            "a/.b",
            "a.luau",
            "..",
            "a//b",
        ] {
            assert_eq!(PagePath::parse(tail), None, "{tail}");
        }
        for path in ["a%2e", "a\\b", "/a", "../a", ".git/config", "a\nb"] {
            assert_eq!(PagePath::plain(path), None, "{path}");
        }
    }
}
