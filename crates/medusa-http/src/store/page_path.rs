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

    /// As [`parse`](Self::parse), with names that begin with a dot; what is kept of published files stays out of reach, and names that
    /// versions have.
    pub fn with_dotfiles(tail: &str) -> Option<Self> {
        let path = Self::of(&Target::parse(tail, true, &[])?)?;
        (!path.0.split('/').any(is_version)).then_some(path)
    }

    /// What has this name in it, if that is one.
    pub fn join(&self, name: &str) -> Option<Self> {
        let slash = if self.is_directory() { "" } else { "/" };
        let path = Self::of(&Target { path: format!("{}{slash}{name}", self.0).into_bytes().into() })?;
        let is_name = !name.is_empty()
            && !name.contains('/')
            && Target::is_served(name.as_bytes(), false, true, || false);
        (is_name && !matches!(name, "." | "..") && !is_version(name)).then_some(path)
    }

    /// The same, as a file or a directory.
    #[must_use]
    pub fn as_directory(&self, is_directory: bool) -> Self {
        let slash = if is_directory && !self.path().is_empty() { "/" } else { "" };
        Self(format!("{}{slash}", self.path()))
    }

    /// The segments, from the root.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.path().split('/').filter(|segment| !segment.is_empty())
    }

    fn of(target: &Target<'_>) -> Option<Self> {
        let path = std::str::from_utf8(&target.path).ok()?;
        let is_odd = |c: char| c.is_control() || c == '\\';
        (!path.contains(is_odd) && !is_encoded(path.as_bytes())).then(|| Self(path.to_owned()))
    }

    /// The path, without a slash at its end. Empty for the root.
    pub fn path(&self) -> &str {
        self.0.strip_suffix('/').unwrap_or(&self.0)
    }

    /// Whether a directory is meant: the path ends with a slash, or is the root.
    pub fn is_directory(&self) -> bool {
        self.0.is_empty() || self.0.ends_with('/')
    }

    /// The directory that holds it, and its name there.
    pub fn split(&self) -> (&str, &str) {
        self.path().rsplit_once('/').unwrap_or(("", self.path()))
    }
}

/// Whether it is what a version is called, which lies beside those of pages.
fn is_version(name: &str) -> bool {
    name.strip_prefix('.')
        .is_some_and(|time| time.len() == 20 && time.bytes().all(|byte| byte.is_ascii_digit()))
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
    fn dotfiles_are_named_only_where_they_may_be() {
        for tail in ["._a", "a/.DS_Store", ".git/config"] {
            assert!(PagePath::parse(tail).is_none() && PagePath::with_dotfiles(tail).is_some(), "{tail}");
        }
        for tail in [".medusa-versions/pages/a", "a/.01764590809000000000", "a/..", "a.luau", "a%5Cb"] {
            assert_eq!(PagePath::with_dotfiles(tail), None, "{tail}");
        }
        let directory = PagePath::parse("a/b/").expect("a path");
        let joined = |name: &str| directory.join(name).map(|path| path.path().to_owned());
        assert_eq!(joined("._c d").as_deref(), Some("a/b/._c d"));
        assert_eq!(directory.as_directory(false).join("c"), directory.join("c"));
        assert_eq!(PagePath::parse("").expect("the root").join("c"), PagePath::parse("c"));
        for name in
            ["", ".", "..", "a/b", "a\\b", "a%20b", ".medusa-versions", "x.luau", ".01764590809000000000"]
        {
            assert_eq!(joined(name), None, "{name}");
        }
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
