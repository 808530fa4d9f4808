//! A directory of its own for a site under test.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A directory that is removed with this value.
///
/// ```
/// use medusa_testkit::Site;
///
/// let site = Site::new().file("public/index.html", "<p>Hello</p>").file("site.luau", "-- empty");
/// assert!(site.path().join("public/index.html").is_file());
/// ```
#[derive(Debug)]
pub struct Site(TempDir);

impl Site {
    /// An empty directory.
    #[track_caller]
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    /// A directory with the script `site.luau`.
    #[track_caller]
    pub fn script(script: &str) -> Self {
        Self::new().file("site.luau", script)
    }

    /// Adds a file.
    #[must_use]
    #[track_caller]
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.write(name, content);
        self
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The path of the file `name` in it, be it there or not.
    pub fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file, over what it held. Its directory is made if need be.
    #[track_caller]
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.at(name);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all);
        let written = written.and_then(|()| fs::write(&path, content));
        written.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }

    /// The content of a file.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        let path = self.at(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}
