//! The options of a [`Files`](super::Files), and what can be wrong with them.

use http::HeaderValue;
use medusa_proto::glob::{Glob, GlobError};

use crate::store::{RootError, Target};

/// The options of [`Files`](super::Files).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is switched by its own name in a script")]
pub struct FilesOptions {
    /// The names of index files: the first that exists in a directory is its page. Default `index.html`.
    pub index: Vec<String>,
    /// Whether a directory without an index file is answered with a list of what is in it, as HTML or JSON. Default no:
    /// then it is answered 404, so that nothing is shown that nobody meant to show.
    pub listing: bool,
    /// Whether files and directories whose names begin with a dot are served and listed. Default no: they hold
    /// repositories, editors' leftovers, passwords. `/.well-known/` ([RFC 8615](https://www.rfc-editor.org/rfc/rfc8615))
    /// is always served.
    pub dotfiles: bool,
    /// The most bytes of small files that are kept in memory, in all workers together. Default 32 MiB. 0 keeps none, and
    /// compresses none.
    pub cache: usize,
    /// Whether `app.js.br`, `app.js.zst` and `app.js.gz` are sent in place of `app.js` to clients that take them, if they
    /// are no older. Default yes: who puts them there means it.
    pub precompressed: bool,
    /// Whether text and the like of 1 KiB to 1 MiB is compressed (zstd, gzip) when first asked for, and kept so in the
    /// cache. Default yes.
    pub compress: bool,
    /// The value of `Cache-Control`: that of the first rule whose pattern matches the file's path below the root.
    /// Default none: then a client asks again each time, and gets 304 if the file is as it was.
    pub cache_control: Vec<CacheRule>,
    /// Whether `/about` serves `about.html`, and `/about.html` and `/index.html` redirect to `/about` and `/`. Default no.
    pub clean_urls: bool,
    /// Whether the files are strangers', such as uploads: only pictures, sound, video and plain text are shown, anything
    /// else is saved, and nothing becomes a page, a script or a style of the site. Default no.
    pub untrusted: bool,
    /// What is served although it is a script (`*.luau`), or the server itself reads or writes it: users, keys, logs, its state. Patterns
    /// for paths below the root. Default none.
    pub serve: Vec<Glob>,
    /// Whether the server alone asks for files there, by their names, as for the pages of errors. Default no.
    pub for_pages: bool,
    /// The file below the root that is the page of a 404 answer. Default none: the server's own page.
    pub not_found: Option<String>,
    /// The file below the root that is served, as if it were there, for each path where nothing is: the page of an application
    /// whose addresses only it knows. It goes before `not_found`. Default none.
    pub fallback: Option<String>,
}

impl Default for FilesOptions {
    fn default() -> Self {
        Self {
            index: vec!["index.html".to_owned()],
            listing: false,
            dotfiles: false,
            cache: 32 * 1024 * 1024,
            precompressed: true,
            compress: true,
            cache_control: Vec::new(),
            clean_urls: false,
            untrusted: false,
            serve: Vec::new(),
            for_pages: false,
            not_found: None,
            fallback: None,
        }
    }
}

impl FilesOptions {
    /// Finds mistakes that need no look at the disk.
    pub(in crate::handlers) fn check(&self) -> Result<(), FilesError> {
        match self.index.iter().find(|name| !is_file_name(name)) {
            Some(name) => Err(FilesError::Index(name.clone())),
            None => Ok(()),
        }
    }

    /// A pattern for paths below the root.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn pattern(text: &str) -> Result<Glob, FilesError> {
        Glob::parse(text).map_err(|source| FilesError::Pattern { pattern: text.to_owned(), source })
    }

    /// The value of `Cache-Control` for the file at `path`.
    pub(super) fn cache_control(&self, path: &[u8]) -> Option<&HeaderValue> {
        self.cache_control.iter().find(|rule| rule.pattern.matches(path)).map(|rule| &rule.value)
    }

    /// The path of the page of a 404 answer. No rule of names holds for it: it may begin with a dot, to be seen nowhere
    /// else.
    pub(super) fn not_found(&self) -> Option<Target<'_>> {
        Some(Target { path: self.not_found.as_ref()?.as_bytes().into() })
    }

    /// The path of the file that is served where nothing is. No rule of names holds for it, either.
    pub(super) fn fallback(&self) -> Option<Target<'_>> {
        Some(Target { path: self.fallback.as_ref()?.as_bytes().into() })
    }
}

/// The value of `Cache-Control` for some files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRule {
    pattern: Glob,
    value: HeaderValue,
}

impl CacheRule {
    /// `value` for the files whose paths below the root match `pattern`, a [`Glob`].
    ///
    /// # Errors
    ///
    /// The pattern or the value is none.
    pub fn new(pattern: &str, value: &str) -> Result<Self, FilesError> {
        let glob = FilesOptions::pattern(pattern)?;
        match HeaderValue::from_str(value) {
            Ok(value) if !value.is_empty() => Ok(Self { pattern: glob, value }),
            _ => Err(FilesError::CacheControl(value.to_owned())),
        }
    }
}

/// The reason why a directory cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The directory cannot be served.
    #[error(transparent)]
    Root(#[from] RootError),
    /// An index file's name is not one.
    #[error("`{0}` is not the name of an index file; give a name without `/`, as `index.html`")]
    Index(String),
    /// A pattern is none.
    #[error("`{pattern}` is not a pattern for paths")]
    Pattern {
        /// The text.
        pattern: String,
        /// What is wrong with it.
        source: GlobError,
    },
    /// A value of `cache_control` cannot be sent.
    #[error("{0:?} cannot be a value of Cache-Control; give one line of ASCII, as `public, max-age=3600`")]
    CacheControl(String),
    /// The page of 404 answers is not there.
    #[error("there is no file `{0}` below the directory to be the page for what is not found")]
    NotFoundPage(String),
    /// What is served where nothing is, is not there itself.
    #[error("there is no file `{0}` below the directory to be served where nothing is")]
    Fallback(String),
}

fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str, value: &str) -> CacheRule {
        CacheRule::new(pattern, value).unwrap()
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let options = FilesOptions {
            cache_control: vec![
                rule("assets/**", "immutable"),
                rule("*.css", "max-age=60"),
                rule("**", "no-cache"),
            ],
            ..FilesOptions::default()
        };
        for (path, expected) in [
            ("assets/a.css", "immutable"),
            ("a.css", "max-age=60"),
            ("sub/a.css", "max-age=60"),
            ("a", "no-cache"),
        ] {
            assert_eq!(options.cache_control(path.as_bytes()).unwrap(), expected, "{path}");
        }
        assert_eq!(FilesOptions::default().cache_control(b"a"), None);
    }

    #[test]
    fn rules_that_make_no_sense_are_told() {
        assert!(matches!(CacheRule::new("a//b", "x"), Err(FilesError::Pattern { .. })));
        for value in ["", "a\nb", "\u{7f}"] {
            assert!(matches!(CacheRule::new("*", value), Err(FilesError::CacheControl(_))), "{value:?}");
        }
    }
}
