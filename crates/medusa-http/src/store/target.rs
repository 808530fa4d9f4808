//! From what a request's path says below the mount to a path relative to the root.
//!
//! **Invariant:** a [`Target`] holds no `.` or `..` segment, no NUL, and no `/` that was hidden in an escape. That keeps
//! names honest; it is not what keeps requests within the root (see [`Root`](super::Root)).

use std::borrow::Cow;

use medusa_proto::glob::Glob;
use memchr::memchr;

/// The directory of a root that has what is kept of published files; nothing in it is served.
pub(super) const KEPT: &str = ".medusa-versions";

/// The path that a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target<'t> {
    /// Relative to the root, decoded. Empty for the root itself.
    pub(crate) path: Cow<'t, [u8]>,
}

impl<'t> Target<'t> {
    /// Reads the raw rest of a path. `None` for what no request may name: then nothing is there (404).
    ///
    /// Names that begin with a dot are refused unless `dotfiles`, but for a first segment `.well-known`; scripts, unless one of the
    /// patterns in `asked` is for the path; what is kept of published files always.
    pub(crate) fn parse(tail: &'t str, dotfiles: bool, asked: &[Glob]) -> Option<Self> {
        let path = match memchr(b'%', tail.as_bytes()) {
            None => tail.as_bytes().into(),
            Some(_) => decode(tail)?.into(),
        };
        let target = Self { path };
        target.is_acceptable(dotfiles, asked).then_some(target)
    }

    /// Reads a path that is not encoded, by the same rules.
    pub(crate) fn plain(path: &'t str) -> Option<Self> {
        let target = Self { path: path.as_bytes().into() };
        target.is_acceptable(false, &[]).then_some(target)
    }

    /// Whether a name may be asked for, as far as it tells. `is_first`: it lies directly below the root. A script of the
    /// site may lie in what is served, and hold passwords: none is shown unless `scripts` says so.
    pub(crate) fn is_served(
        name: &[u8],
        is_first: bool,
        dotfiles: bool,
        scripts: impl FnOnce() -> bool,
    ) -> bool {
        let is_dotfile = name.starts_with(b".") && !(is_first && name == b".well-known");
        (dotfiles || !is_dotfile) && name != KEPT.as_bytes() && (!is_script(name) || scripts())
    }

    /// Whether a directory is asked for: the path ends with a slash, or is the root.
    pub(crate) fn is_directory(&self) -> bool {
        self.path.is_empty() || self.path.ends_with(b"/")
    }

    pub(crate) fn to_owned(&self) -> Target<'static> {
        Target { path: Cow::Owned(self.path.to_vec()) }
    }

    fn is_acceptable(&self, dotfiles: bool, asked: &[Glob]) -> bool {
        let scripts = || asked.iter().any(|pattern| pattern.matches(&self.path));
        let mut segments = self.path.split(|&byte| byte == b'/').enumerate().peekable();
        while let Some((place, segment)) = segments.next() {
            let acceptable = match segment {
                b"" => segments.peek().is_none(),
                b"." | b".." => false,
                name => Self::is_served(name, place == 0, dotfiles, scripts),
            };
            if !acceptable {
                return false;
            }
        }
        memchr(0, &self.path).is_none()
    }
}

/// Whether it is a script, or what is left of one: compressed (`a.luau.gz`), or an editor's copy (`a.luau~`, `a.luau.bak`).
fn is_script(name: &[u8]) -> bool {
    const SUFFIX: &[u8] = b".luau";
    let found = name.windows(SUFFIX.len()).rposition(|part| part.eq_ignore_ascii_case(SUFFIX));
    let behind = found.and_then(|at| name.get(at + SUFFIX.len()..));
    behind.is_some_and(|behind| !behind.first().is_some_and(u8::is_ascii_alphanumeric))
}

/// Decodes segment by segment: an escaped slash is part of a name, and no name holds one.
fn decode(tail: &str) -> Option<Vec<u8>> {
    let mut path = Vec::with_capacity(tail.len());
    for (place, segment) in tail.split('/').enumerate() {
        if place > 0 {
            path.push(b'/');
        }
        let start = path.len();
        path.extend(percent_encoding::percent_decode_str(segment));
        if path[start..].contains(&b'/') {
            return None;
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::{Glob, Target};

    fn parse(tail: &str) -> Option<String> {
        let target = Target::parse(tail, false, &[])?;
        Some(String::from_utf8_lossy(&target.path).into_owned())
    }

    #[test]
    fn names_are_decoded() {
        assert_eq!(parse("a/b.txt").as_deref(), Some("a/b.txt"));
        assert_eq!(parse("a%20b/c%3F/").as_deref(), Some("a b/c?/"));
        assert_eq!(parse("").as_deref(), Some(""));
        assert_eq!(Target::parse("%FF", false, &[]).map(|target| target.path.into_owned()), Some(vec![0xff]));
    }

    #[test]
    fn what_no_request_may_name_is_refused() {
        for tail in [
            "..", "../a", "a/..", "a/../b", "%2e%2e/a", ".", "a/./b", "a//b", "/a", "a%2Fb", "..%2Fa", "%00",
            "a\0",
        ] {
            assert_eq!(parse(tail), None, "{tail:?}");
            assert!(Target::parse(tail, true, &[]).is_none(), "{tail:?}");
        }
    }

    #[test]
    fn dotfiles_need_the_option() {
        for tail in [".git/config", "a/.htpasswd", "%2Egit/", "a/.well-known/b", ".well-known/.x"] {
            assert_eq!(parse(tail), None, "{tail:?}");
            assert!(Target::parse(tail, true, &[]).is_some(), "{tail:?}");
        }
        for tail in [".medusa-versions/pages/a", "a/.medusa-versions/pages/a", "%2Emedusa-versions/"] {
            assert!(Target::parse(tail, true, &[]).is_none(), "{tail:?}");
        }
        assert!(parse(".well-known/acme-challenge/x").is_some());
    }

    #[test]
    fn a_script_is_no_content_nor_is_its_copy() {
        for name in ["a.luau", "b/A.LuaU", "a.luau.gz", "a.luau~", "a.luau.bak", "a.luau%20", ".luau"] {
            assert!(Target::parse(name, true, &[]).is_none(), "{name}");
        }
        for name in ["luau", "a.luau2", "metadata-luau.html", "x.luaux.txt"] {
            assert!(Target::parse(name, true, &[]).is_some(), "{name}");
        }
        let asked = [Glob::parse("examples/*.luau").unwrap()];
        assert!(Target::parse("examples/a.luau", false, &asked).is_some());
        for name in ["a.luau", "examples/b/a.luau", "examples/.a.luau", "examples/a.luau.gz"] {
            assert!(Target::parse(name, false, &asked).is_none(), "{name}");
        }
    }

    #[test]
    fn a_slash_asks_for_a_directory() {
        let is_directory = |tail| Target::parse(tail, false, &[]).map(|target| target.is_directory());
        assert_eq!(is_directory(""), Some(true));
        assert_eq!(is_directory("a/"), Some(true));
        assert_eq!(is_directory("a"), Some(false));
    }
}
