//! The names that are taken, beyond what the store has to say of them.
//!
//! Names that begin with a dot are no part of a site: `.git/hooks` or `.htpasswd` are somebody else's. But systems that mount this place
//! put files of their own everywhere, and some fail if they may not.

use medusa_http::store::PagePath;

/// The rules for names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NameRules {
    /// Whether all names may begin with a dot.
    pub(crate) dotfiles: bool,
    /// Whether the files are taken that systems put everywhere.
    pub(crate) litter: bool,
}

impl NameRules {
    /// The path that the raw rest of a request's path names.
    pub(crate) fn parse(self, tail: &str) -> Option<PagePath> {
        PagePath::with_dotfiles(tail).filter(|path| self.allow(path))
    }

    /// Whether each of its names is taken.
    pub(crate) fn allow(self, path: &PagePath) -> bool {
        path.segments().enumerate().all(|(at, name)| {
            if is_litter(name) {
                self.litter
            } else {
                self.dotfiles || !name.starts_with('.') || (at == 0 && name == ".well-known")
            }
        })
    }
}

/// Whether it is what macOS, Windows and office programs leave beside the files of people.
pub(crate) fn is_litter(name: &str) -> bool {
    name.starts_with("._")
        || name == ".DS_Store"
        || name.eq_ignore_ascii_case("thumbs.db")
        || name.eq_ignore_ascii_case("desktop.ini")
        || ((name.starts_with(".~lock.") || name.starts_with("~lock.")) && name.ends_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_by_the_rules() {
        let takes = |dotfiles, litter, tail| NameRules { dotfiles, litter }.parse(tail).is_some();
        for tail in ["._a", "b/.DS_Store", "Thumbs.DB", "a/Desktop.ini", ".~lock.a.odt%23", "~lock.a%23"] {
            assert!(takes(false, true, tail) && !takes(true, false, tail), "{tail}");
        }
        for tail in [".git/config", "a/.b", "a/.well-known/b"] {
            assert!(takes(true, false, tail) && !takes(false, true, tail), "{tail}");
        }
        for tail in ["", "a", "a/b/", ".well-known/b", "~$a.docx"] {
            assert!(takes(false, false, tail), "{tail}");
        }
        for tail in ["..", "a/../b", "a%00", ".medusa-versions/", "a%5Cb", "%252e", "a.luau"] {
            assert!(!takes(true, true, tail), "{tail}");
        }
    }
}
