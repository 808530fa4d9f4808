//! The meaning of a path on the command line.
//!
//! | path | is |
//! |---|---|
//! | a file `*.luau` | that script |
//! | a directory with a `site.luau` | that script |
//! | any other directory | served as it is, with lists of its files |
//! | none | `site.luau`, or else `site/site.luau`, below the current directory; without either, that directory, to be served only if named |
//!
//! **Invariant:** every command finds the same script, and so the same state directory, by the same path.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use medusa_net::ListenAddr;
use medusa_script::{Program, ProgramSource, RustHandlers};

/// The script of a site, by convention.
const SCRIPT: &str = "site.luau";

/// The folder of the sample site in its repository, and a site may be in anybody's.
const SITE: &str = "site";

/// The state directory beside a script.
const STATE: &str = ".medusa";

/// The name that the script for a mere directory has in messages.
const BUILT_IN: &str = "built-in.luau";

/// The address at which a mere directory is served: to this machine alone.
const DIRECTORY_AT: ListenAddr = ListenAddr::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080));

/// A script or directory to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    root: PathBuf,
    /// None: there is no script, the directory itself is meant.
    script: Option<String>,
}

/// The reason why a path cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// There is nothing there.
    #[error("there is no {path:?}{hint}", hint = command_hint(.path))]
    Missing {
        /// As it was given.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read {path:?}")]
    Unreadable {
        /// As it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is neither a script nor a directory.
    #[error("{0:?} is not a script: give a file that ends in .luau, or a directory")]
    NotAScript(PathBuf),
    /// No path was given, and there is no script.
    #[error(
        "there is no site.luau here, and no site/site.luau: `{command} init .` writes a sample site, `{command} serve .` serves the \
         files of this directory as they are, and `{command} serve PATH` what is elsewhere"
    )]
    NoScript {
        /// How this program is called.
        command: String,
    },
    /// A script whose name is not UTF-8, so that no message could show it.
    #[error("the script's name {0:?} is not UTF-8: rename it")]
    NotUtf8(PathBuf),
}

impl Target {
    /// Finds out what `path` means, seen from the directory `here`.
    ///
    /// # Errors
    ///
    /// See [`TargetError`].
    pub fn find(path: Option<&Path>, here: &Path) -> Result<Self, TargetError> {
        let Some(path) = path else { return Self::at_hand(here) };
        let whole = here.join(path);
        if whole.is_dir() {
            return Self::directory(&whole, path);
        }
        let error = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                TargetError::Missing { path: path.to_owned() }
            }
            _ => TargetError::Unreadable { path: path.to_owned(), source },
        };
        let file = fs::metadata(&whole).map_err(error)?;
        if !file.is_file() || whole.extension() != Some(OsStr::new("luau")) {
            return Err(TargetError::NotAScript(path.to_owned()));
        }
        Self::file(&whole, path)
    }

    /// The same, but without a path there must be a script: nobody means to show a directory to others by saying nothing.
    ///
    /// # Errors
    ///
    /// See [`TargetError`].
    pub(crate) fn find_script(path: Option<&Path>, here: &Path, command: &str) -> Result<Self, TargetError> {
        let target = Self::find(path, here)?;
        if path.is_none() && !target.is_script() {
            return Err(TargetError::NoScript { command: command.to_owned() });
        }
        Ok(target)
    }

    /// The target where no path is given.
    fn at_hand(here: &Path) -> Result<Self, TargetError> {
        for place in [PathBuf::from(SCRIPT), Path::new(SITE).join(SCRIPT)] {
            let script = here.join(&place);
            if script.is_file() {
                return Self::file(&script, &place);
            }
        }
        Self::directory(here, Path::new("."))
    }

    /// `shown` is what messages call it.
    fn directory(path: &Path, shown: &Path) -> Result<Self, TargetError> {
        let script = path.join(SCRIPT);
        if script.is_file() {
            return Self::file(&script, &shown.join(SCRIPT));
        }
        let unreadable = |source| TargetError::Unreadable { path: shown.to_owned(), source };
        fs::read_dir(path).map_err(unreadable)?;
        Ok(Self { root: path.canonicalize().map_err(unreadable)?, script: None })
    }

    /// The script's directory is that of the name it was given by, which may be a link: what lies beside the link is
    /// what an administrator sees beside it.
    fn file(path: &Path, shown: &Path) -> Result<Self, TargetError> {
        let unreadable = |source| TargetError::Unreadable { path: shown.to_owned(), source };
        File::open(path).map_err(unreadable)?;
        let name = path.file_name().and_then(OsStr::to_str);
        let name = name.ok_or_else(|| TargetError::NotUtf8(shown.to_owned()))?;
        let root = path.parent().unwrap_or(Path::new("/")).canonicalize().map_err(unreadable)?;
        Ok(Self { root, script: Some(name.to_owned()) })
    }

    /// The directory that relative paths are relative to; canonical.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether there is a script, rather than a directory to be served as it is.
    pub fn is_script(&self) -> bool {
        self.script.is_some()
    }

    /// The script, or the directory.
    pub fn path(&self) -> PathBuf {
        match &self.script {
            Some(name) => self.root.join(name),
            None => self.root.clone(),
        }
    }

    /// The state directory of its server, unless told otherwise: `.medusa` beside the script.
    pub fn default_state(&self) -> PathBuf {
        self.root.join(STATE)
    }

    /// The program that an engine runs for it; it listens on `listen` unless that is empty, and keeps what is to survive
    /// in the directory `state`, if there is one.
    pub fn program(&self, listen: Vec<ListenAddr>, state: Option<PathBuf>) -> Program {
        let (name, source) = match &self.script {
            Some(name) => (name.clone(), ProgramSource::File),
            None => (BUILT_IN.to_owned(), ProgramSource::Text(include_str!("directory.luau").to_owned())),
        };
        // So that whoever finds the port taken is told of the flag, and not of a script that is not theirs.
        let listen = if self.is_script() || !listen.is_empty() { listen } else { vec![DIRECTORY_AT] };
        let (root, handlers) = (self.root.clone(), RustHandlers::default());
        Program { root, name, source, listen, state, handlers }
    }
}

/// A word that is neither a path nor a command was probably meant to be a command.
fn command_hint(path: &Path) -> &'static str {
    let is_word = path.to_str().is_some_and(|word| !word.is_empty() && word.chars().all(char::is_alphabetic));
    if is_word { ", and no command of that name: `medusa --help` lists them" } else { "" }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn with(files: &[&str]) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            for file in files {
                let path = folder.path().join(file);
                fs::create_dir_all(path.parent().expect("it has one")).expect("made");
                fs::write(path, "").expect("written");
            }
            Self(folder)
        }

        fn find(&self, path: Option<&str>) -> Result<Target, TargetError> {
            Target::find(path.map(Path::new), self.0.path())
        }

        /// The path of the target, below the folder.
        fn found(&self, path: Option<&str>) -> PathBuf {
            let target = self.find(path).expect("a target");
            let base = self.0.path().canonicalize().expect("it exists");
            target.path().strip_prefix(base).expect("below").to_owned()
        }

        fn told(&self, path: &str) -> String {
            self.find(Some(path)).expect_err("no target").to_string()
        }
    }

    #[test]
    fn a_path_is_a_script_a_site_or_a_directory() {
        let folder = Folder::with(&["a/site.luau", "a/other.luau", "b/index.html"]);
        assert_eq!(folder.found(Some("a/other.luau")), Path::new("a/other.luau"));
        assert_eq!(folder.found(Some("a")), Path::new("a/site.luau"));
        assert_eq!(folder.found(Some("a/../b/")), Path::new("b"));
        assert!(!folder.find(Some("b")).expect("a target").is_script());
    }

    #[test]
    fn without_a_path_the_nearest_site_is_meant() {
        assert_eq!(Folder::with(&["site.luau", "site/site.luau"]).found(None), Path::new("site.luau"));
        assert_eq!(Folder::with(&["site/site.luau"]).found(None), Path::new("site/site.luau"));
        let without = Folder::with(&["site/index.html"]);
        assert_eq!(without.found(None), Path::new(""));
        let error = Target::find_script(None, without.0.path(), "medusa").expect_err("nobody has said so");
        assert!(error.to_string().contains("`medusa serve .`"), "{error}");
        Target::find_script(Some(Path::new(".")), without.0.path(), "medusa").expect("it was named");
    }

    #[test]
    fn what_cannot_be_served_is_named() {
        let folder = Folder::with(&["index.html"]);
        assert_eq!(folder.told("gone.luau"), "there is no \"gone.luau\"");
        assert_eq!(folder.told("index.html/x.luau"), "there is no \"index.html/x.luau\"");
        assert!(folder.told("relaod").contains("no command of that name"));
        assert!(folder.told("index.html").contains("\"index.html\" is not a script"));
    }

    #[test]
    fn a_linked_script_belongs_where_the_link_is() {
        let folder = Folder::with(&["store/site.luau", "etc/neighbour"]);
        symlink("../store/site.luau", folder.0.path().join("etc/site.luau")).expect("linked");
        assert_eq!(folder.found(Some("etc")), Path::new("etc/site.luau"));
    }

    #[test]
    fn the_program_of_a_directory_is_built_in() {
        let folder = Folder::with(&["site.luau", "b/x"]);
        let program = folder.find(Some("site.luau")).expect("a target").program(Vec::new(), None);
        assert!(matches!(program.source, ProgramSource::File));
        let target = folder.find(Some("b")).expect("a target");
        let program = target.program(vec!["127.0.0.1:0".parse().expect("an address")], None);
        assert!(matches!(program.source, ProgramSource::Text(text) if text.contains("listing = true")));
        assert_eq!((program.root.as_path(), program.listen.len()), (target.root(), 1));
        assert_eq!(target.default_state(), target.root().join(".medusa"));
    }
}
