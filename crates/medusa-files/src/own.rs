//! The paths of the server's own files: those that it reads its users, keys and scripts from, and writes its logs and state to.
//!
//! Whoever serves files asks [`suspect`] about each that is opened. It goes by names and by what is remembered of the files, without a
//! look at the disk, and nearly always there is nothing to suspect; else [`Suspicion::holds`] looks, and is sure.
//!
//! What counts is a path, so a file that is put in the place of another is known at once. The same file by another name (a link) is
//! known, too, by its identity, and so are copies beside it that editors, rotation and compression make ([`is_copy`]).
//!
//! It is one for the process, like the files themselves.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::stamp::{FileIdentity, FileStamp};

/// The paths there are, each once.
static OWN: RwLock<Vec<OwnEntry>> = RwLock::new(Vec::new());

/// Counts how often paths have come or gone.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// What the server has in a file or directory of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnKind {
    /// The script it runs.
    Script,
    /// A file of a handler or a module, by whose name everybody knows that it is a script: it is not served in any case.
    Module,
    /// A directory with its state.
    State,
    /// Users, their passwords or keys.
    Users,
    /// A private key.
    Key,
    /// A log.
    Log,
}

impl fmt::Display for OwnKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Script => "the script",
            Self::Module => "a script",
            Self::State => "the server's state",
            Self::Users => "users",
            Self::Key => "a private key",
            Self::Log => "a log",
        })
    }
}

#[derive(Debug)]
struct OwnEntry {
    directory: PathBuf,
    name: OsString,
    kind: OwnKind,
    /// What was there when it was named.
    identity: Option<FileIdentity>,
    /// The number of [`OwnPath`]s that name it.
    count: usize,
}

impl OwnEntry {
    fn is_at(&self, directory: &Path, name: &OsStr) -> bool {
        self.name == name && self.directory == directory
    }

    fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }
}

/// The path of a file or directory of the server's own, as long as this lives.
#[derive(Debug)]
pub struct OwnPath {
    path: PathBuf,
    /// Directory and name, as it was named and, if links are on its way, of what they led to then.
    places: Vec<(PathBuf, OsString)>,
}

impl OwnPath {
    /// Has `path` known as the server's own. Blocks.
    pub fn new(path: &Path, kind: OwnKind) -> Self {
        // Of a relative path in a directory that is gone there is nothing to be known.
        let (named, real) = (std::path::absolute(path).ok(), resolved(path));
        let real = real.filter(|real| named.as_ref() != Some(real));
        let split = |path: PathBuf| Some((path.parent()?.to_owned(), path.file_name()?.to_owned()));
        let places: Vec<_> = named.into_iter().chain(real).filter_map(split).collect();
        let identity = fs::metadata(path).ok().map(|metadata| FileStamp::from(&metadata).identity());
        let (mut own, mut is_news) = (OWN.write(), false);
        for (directory, name) in &places {
            if let Some(known) = own.iter_mut().find(|known| known.is_at(directory, name)) {
                known.count += 1;
                is_news |= std::mem::replace(&mut known.identity, identity) != identity;
            } else {
                let (directory, name) = (directory.clone(), name.clone());
                own.push(OwnEntry { directory, name, kind, identity, count: 1 });
                is_news = true;
            }
        }
        if is_news {
            CHANGES.fetch_add(1, Ordering::Release);
        }
        Self { path: path.to_owned(), places }
    }
}

impl Deref for OwnPath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl Drop for OwnPath {
    fn drop(&mut self) {
        let mut own = OWN.write();
        let before = own.len();
        for (directory, name) in &self.places {
            if let Some(known) = own.iter_mut().find(|known| known.is_at(directory, name)) {
                known.count -= 1;
            }
        }
        own.retain(|known| known.count > 0);
        if own.len() < before {
            CHANGES.fetch_add(1, Ordering::Release);
        }
    }
}

/// The number of times that paths have come or gone: what was found out before the last may not hold any more.
pub fn changes() -> u64 {
    CHANGES.load(Ordering::Acquire)
}

/// What may make a file the server's own.
#[derive(Debug)]
pub struct Suspicion {
    /// The file that it is, if it is one of these.
    file: Option<FileIdentity>,
    same: Vec<PathBuf>,
    /// Directories on its way, by the length of their paths below the root, and what they would have to be.
    within: Vec<(usize, PathBuf)>,
}

/// Whether the file at `path` below some directory may be the server's own, as far as can be told without a look at the disk. `file` is
/// what was found there.
pub fn suspect(path: &[u8], file: Option<FileIdentity>) -> Option<Suspicion> {
    let own = OWN.read();
    let same: Vec<_> = match file {
        None => Vec::new(),
        file => own.iter().filter(|known| known.identity == file).map(OwnEntry::path).collect(),
    };
    let (mut within, mut start) = (Vec::new(), 0);
    for name in path.split(|byte| *byte == b'/') {
        let named = own.iter().filter(|known| is_copy(name, known.name.as_bytes()));
        within.extend(named.map(|known| (start, known.directory.clone())));
        start += name.len() + 1;
    }
    (!same.is_empty() || !within.is_empty()).then_some(Suspicion { file, same, within })
}

impl Suspicion {
    /// Whether it is the server's own. `directory` says what is at the beginning of its path of so many bytes, which is empty for where
    /// the path begins. Blocks.
    pub fn holds(&self, mut directory: impl FnMut(usize) -> Option<FileIdentity>) -> bool {
        let there =
            |path: &Path| fs::metadata(path).ok().map(|metadata| FileStamp::from(&metadata).identity());
        let is_there = |found: Option<FileIdentity>, path: &Path| found.is_some() && found == there(path);
        self.same.iter().any(|path| is_there(self.file, path))
            || self.within.iter().any(|(end, path)| is_there(directory(*end), path))
    }

    /// Whether it would be the server's own if it were there, by the names of the directories on its way, which may be missing: what is
    /// put there would be read as soon as they come back. `directory` gives the absolute path of so many bytes. Blocks.
    pub fn would_hold(&self, directory: impl Fn(usize) -> Option<PathBuf>) -> bool {
        self.within.iter().any(|(end, own)| {
            directory(*end).is_some_and(|path| path == *own || resolved(&path) == resolved(own))
        })
    }
}

/// A path as the symbolic links on its way have it, as far as it is there; none of a relative one in a directory that is gone. Blocks.
fn resolved(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    path.ancestors().find_map(|there| {
        let (real, missing) = (there.canonicalize().ok()?, path.strip_prefix(there).ok()?);
        Some(real.components().chain(missing.components()).collect())
    })
}

/// Whether a name is that of a file of the server's own, or of what was made of it and lies beside it: `users~`, `users.bak`,
/// `access.log.2026-11-23.zst`, `access.log-20261123.gz`, `.users.swp`, `#users#`, `users (copy)`.
fn is_copy(name: &[u8], own: &[u8]) -> bool {
    if name.len() < own.len() {
        return false;
    }
    let begins = |before: &[u8], is_behind: fn(&[u8]) -> bool| {
        name.strip_prefix(before).and_then(|rest| rest.strip_prefix(own)).is_some_and(is_behind)
    };
    let is_hidden = |behind: &[u8]| !behind.is_empty() && (is_behind(behind) || is_random(behind));
    begins(b"", is_behind)
        || begins(b".", is_hidden)
        || begins(b".#", is_behind)
        || begins(b"#", |behind| behind == b"#")
        || is_duplicate(name, own)
}

/// Whether this stands behind a name in that of a copy; nothing does in the name itself.
fn is_behind(behind: &[u8]) -> bool {
    const ENDINGS: [&[u8]; 25] = [
        b"bak", b"backup", b"old", b"orig", b"save", b"tmp", b"new", b"part", b"swp", b"swo", b"swn", b"swx",
        b"gz", b"zst", b"br", b"xz", b"bz2", b"zip", b"rej", b"copy", b"dpkg", b"ucf", b"rpmsave", b"rpmnew",
        b"rpmorig",
    ];
    match behind {
        [] | [b'~', ..] | [b'.', b'~', ..] | [b'.' | b'-' | b'_', b'0'..=b'9', ..] => true,
        [b'.', behind @ ..] => {
            let first =
                behind.split(|byte| matches!(byte, b'.' | b'~' | b'-' | b'_')).next().unwrap_or_default();
            ENDINGS.iter().any(|ending| first.eq_ignore_ascii_case(ending))
        }
        _ => false,
    }
}

/// Whether this stands behind the name of a file that is written anew and not in its place yet, as `medusa passwd` does it.
fn is_random(behind: &[u8]) -> bool {
    behind
        .strip_prefix(b".")
        .is_some_and(|random| random.len() == 16 && random.iter().all(u8::is_ascii_hexdigit))
}

/// Whether a name is what file managers give to a second one: `users (copy 2).htpasswd`, `users - Copy`.
fn is_duplicate(name: &[u8], own: &[u8]) -> bool {
    if !name.contains(&b' ') {
        return false;
    }
    let dot = own.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0);
    let (stem, ending) = own.split_at(dot.unwrap_or(own.len()));
    let added = name.strip_prefix(stem).and_then(|rest| rest.strip_suffix(ending));
    added.is_some_and(|added| {
        added.starts_with(b" ") && added.windows(4).any(|part| part.eq_ignore_ascii_case(b"copy"))
    })
}

/// What of the server's own lies in a directory, or is it: its kinds and paths, relative to it. Blocks.
pub fn named_below(directory: &Path) -> Vec<(OwnKind, PathBuf)> {
    let Ok(directory) = directory.canonicalize() else { return Vec::new() };
    let own: Vec<_> = OWN.read().iter().map(|known| (known.kind, known.path())).collect();
    let mut below: Vec<_> = (own.into_iter())
        .filter_map(|(kind, path)| {
            // One that is not there yet may come.
            let parent = path.parent()?.canonicalize().ok()?;
            Some((kind, parent.join(path.file_name()?).strip_prefix(&directory).ok()?.to_owned()))
        })
        .collect();
    below.sort_by(|(_, a), (_, b)| a.cmp(b));
    below.dedup();
    below
}

/// Whether something of the server's own would lie in a directory at this path, or be it: nothing of that need be there. Blocks.
pub fn would_lie_below(directory: &Path) -> bool {
    let named = [std::path::absolute(directory).ok(), resolved(directory)];
    let own: Vec<_> = OWN.read().iter().map(OwnEntry::path).collect();
    own.iter().any(|own| {
        let real = resolved(own);
        named.iter().flatten().any(|directory| {
            own.starts_with(directory) || real.as_ref().is_some_and(|real| real.starts_with(directory))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn with(files: &[&str]) -> Self {
            let folder = Self(tempfile::tempdir().expect("a folder"));
            for file in files {
                let path = folder.at(file);
                fs::create_dir_all(path.parent().expect("a parent")).expect("made");
                fs::write(path, file).expect("written");
            }
            folder
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        /// Whether the file is the server's own for whoever serves the directory `root`.
        fn is_own(&self, root: &str, path: &str) -> bool {
            let root = self.at(root);
            let identity =
                |path: &Path| fs::metadata(path).ok().map(|found| FileStamp::from(&found).identity());
            let suspicion = suspect(path.as_bytes(), identity(&root.join(path)));
            suspicion.is_some_and(|suspicion| suspicion.holds(|end| identity(&root.join(&path[..end]))))
        }
    }

    #[test]
    fn a_file_is_known_by_its_path_whatever_is_put_there() {
        let folder = Folder::with(&["a/users", "a/users.html", "b/users", "a/users.bak", "a/x"]);
        let own = OwnPath::new(&folder.at("a/users"), OwnKind::Users);
        for (root, path, is) in [
            ("", "a/users", true),
            ("a", "users", true),
            ("a", "users.bak", true),
            ("a", "users~", true),
            ("a", "users.2026-11-23.1.zst", true),
            ("a", "users.html", false),
            ("", "b/users", false),
            ("b", "users", false),
            ("a", "x", false),
        ] {
            assert_eq!(folder.is_own(root, path), is, "{path} in {root:?}");
        }
        fs::rename(folder.at("a/x"), folder.at("a/users")).expect("renamed");
        assert!(folder.is_own("a", "users"));
        fs::remove_file(folder.at("a/users")).expect("removed");
        assert!(folder.is_own("a", "users"), "nothing can be put there");
        drop(own);
        fs::write(folder.at("a/users"), "").expect("written");
        assert!(!folder.is_own("a", "users"));
    }

    #[test]
    fn copies_are_known_by_their_names() {
        for name in [
            "users.htpasswd",
            "users.htpasswd~",
            "users.htpasswd.~1~",
            "users.htpasswd.copy",
            "users.htpasswd.dpkg-old",
            "users.htpasswd.dpkg-new",
            "users.htpasswd.dpkg-dist",
            "users.htpasswd.ucf-old",
            "users.htpasswd.rpmsave",
            "users.htpasswd.rpmnew",
            "users (copy).htpasswd",
            "users (Copy 2).htpasswd",
            "users copy.htpasswd",
            "users - Copy.htpasswd",
            "#users.htpasswd#",
            ".#users.htpasswd",
            ".users.htpasswd.swp",
            ".users.htpasswd.swo",
            ".users.htpasswd.swx",
            ".users.htpasswd.f123456789abcdef",
        ] {
            assert!(is_copy(name.as_bytes(), b"users.htpasswd"), "{name}");
        }
        for name in [".htpasswd.swp", "..htpasswd.f123456789abcdef", ".htpasswd (copy)"] {
            assert!(is_copy(name.as_bytes(), b".htpasswd"), "{name}");
        }
        for name in [
            "users",
            "users.html",
            "users.htpasswd.html",
            ".users.htpasswd.f123456789abcdeg",
            ".users.htpasswd",
            "#users.htpasswd",
            "users copy.html",
            "users (old).htpasswd",
            "copy.htpasswd",
        ] {
            assert!(!is_copy(name.as_bytes(), b"users.htpasswd"), "{name}");
        }
    }

    #[test]
    fn all_in_a_directory_and_what_links_lead_to_is_known() {
        let folder = Folder::with(&["state/key", "state/a/b", "users", "public/c", "other/state/key"]);
        std::os::unix::fs::symlink(folder.at("state"), folder.at("link")).expect("made");
        let _state = OwnPath::new(&folder.at("link"), OwnKind::State);
        let _users = OwnPath::new(&folder.at("users"), OwnKind::Users);
        fs::hard_link(folder.at("users"), folder.at("public/hard")).expect("made");
        std::os::unix::fs::symlink(folder.at("users"), folder.at("public/soft")).expect("made");
        for (root, path, is) in [
            ("", "link/key", true),
            ("", "link", true),
            ("", "link/a/b", true),
            ("", "state", true),
            ("", "state/a/b", true),
            ("public", "hard", true),
            ("public", "soft", true),
            ("public", "c", false),
            ("other", "state/key", false),
        ] {
            assert_eq!(folder.is_own(root, path), is, "{path} in {root:?}");
        }
    }

    #[test]
    fn what_would_be_own_is_known_where_its_directory_is_missing() {
        let folder = Folder::with(&["share/conf/users", "share/page"]);
        std::os::unix::fs::symlink(folder.at("share"), folder.at("link")).expect("made");
        let _own = OwnPath::new(&folder.at("share/conf/users"), OwnKind::Users);
        let _later = OwnPath::new(&folder.at("link/none/log"), OwnKind::Log);
        fs::rename(folder.at("share/conf"), folder.at("elsewhere")).expect("renamed");
        for (path, is) in [
            ("conf/users", true),
            ("conf/users.bak", true),
            ("conf/users/below", true),
            ("none/log", true),
            ("conf/users.html", false),
            ("users", false),
            ("other/users", false),
        ] {
            for root in ["share", "link"] {
                let root = folder.at(root);
                let would_be = suspect(path.as_bytes(), None).is_some_and(|suspicion| {
                    suspicion.would_hold(|end| path.get(..end).map(|path| root.join(path)))
                });
                assert_eq!(would_be, is, "{path} in {}", root.display());
            }
        }
        for (directory, is) in [
            ("share", true),
            ("share/conf", true),
            ("link/conf", true),
            ("share/none", true),
            ("share/other", false),
            ("share/con", false),
            ("elsewhere", false),
        ] {
            assert_eq!(would_lie_below(&folder.at(directory)), is, "{directory}");
        }
    }

    #[test]
    fn what_is_named_twice_is_known_until_both_are_gone() {
        let folder = Folder::with(&["users"]);
        let both = [(); 2].map(|()| OwnPath::new(&folder.at("users"), OwnKind::Users));
        let named = || named_below(folder.0.path());
        assert_eq!(named(), [(OwnKind::Users, PathBuf::from("users"))]);
        let [one, other] = both;
        drop(one);
        assert_eq!(named().len(), 1);
        let before = changes();
        drop(other);
        assert!(named().is_empty() && changes() > before);
        let _later = OwnPath::new(&folder.at("none/later"), OwnKind::Log);
        assert!(named().is_empty(), "its directory is not there");
    }
}
