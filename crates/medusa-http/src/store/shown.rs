//! What is there, or was, as it is shown to authors: contents, versions, and what was removed.

use std::fs::File;

use rustix::fs::Stat;
use rustix::io::Errno;

use super::draft::user_of;
use super::error::StoreError;
use super::page_path::PagePath;
use super::publish::{Store, look, open, parent_of};
use super::versions::{self, Version};

/// A file that is open to be read.
#[derive(Debug)]
pub(crate) struct StoredContent {
    pub(crate) file: File,
    pub(crate) stat: Stat,
    /// Who has published it, if that is known.
    pub(crate) user: Option<String>,
}

impl Store {
    /// Opens the file at `path`.
    pub(crate) fn content(&self, path: &PagePath) -> Result<StoredContent, StoreError> {
        let (parent, name) = path.split();
        let root = self.to_change(path)?;
        let parent = parent_of(&root, parent)?;
        // What it is: an open would tell less of what is no file.
        look(&parent, name)?.ok_or(StoreError::Missing)?;
        let (file, stat) = open(&parent, name)?;
        Ok(StoredContent { user: user_of(&file), file, stat })
    }

    /// Opens a version of the file at `path`.
    pub(crate) fn version(&self, path: &PagePath, id: &str) -> Result<StoredContent, StoreError> {
        let file = versions::open(&self.to_change(path)?, path, id)?;
        let stat = rustix::fs::fstat(&file)?;
        Ok(StoredContent { user: user_of(&file), file, stat })
    }

    /// The names of files that were in the directory at `path` and are not there any more, of which there are versions, with the latest
    /// of each.
    pub(crate) fn removed(&self, path: &PagePath) -> Result<Vec<(String, Version)>, StoreError> {
        let root = self.root.to_change()?;
        let mut names = versions::names(&root, path)?;
        // What has become the server's own since is not told of either.
        let is_own = |file: PagePath| matches!(self.to_change(&file), Err(StoreError::Own));
        names.retain(|(name, _)| !path.join(name).is_some_and(is_own));
        match root.to_change(path.path().as_bytes()) {
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            opened => {
                let directory = opened?;
                names.retain(|(name, _)| matches!(look(&directory, name), Ok(None)));
            }
        }
        names.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use medusa_files::{OwnKind, OwnPath};
    use tempfile::TempDir;

    use super::*;
    use crate::store::StoreOptions;

    fn store() -> (TempDir, Store) {
        let dir = TempDir::new().unwrap();
        let store = Store::open(dir.path()).unwrap();
        (dir, store)
    }

    fn path(path: &str) -> PagePath {
        PagePath::plain(path).unwrap()
    }

    fn publish(store: &Store, at: &str, text: &str, user: &str) {
        let options = StoreOptions::default();
        let mut draft = store.begin(&path(at), None, None, &options, &|_| Ok(())).unwrap();
        draft.write(text.as_bytes(), &store.root).unwrap();
        draft.set_user(Some(user));
        store.publish(&path(at), draft, &options, &|_| Ok(())).unwrap();
    }

    #[test]
    fn what_is_renamed_keeps_its_versions_and_replaces_nothing() {
        let (dir, store) = store();
        let options = StoreOptions::default();
        let making = StoreOptions { create_directories: true, ..options.clone() };
        publish(&store, "a", "1", "ada");
        publish(&store, "a", "2", "bob");
        store.rename(&path("a"), &path("b"), &options, false).unwrap();
        assert_eq!(fs::read(dir.path().join("b")).unwrap(), b"2");
        let versions = store.versions(&path("b")).unwrap();
        assert_eq!((versions.len(), store.versions(&path("a")).unwrap().len()), (1, 0));
        assert!(store.removed(&path("")).unwrap().is_empty());
        publish(&store, "c", "3", "ada");
        assert!(matches!(store.rename(&path("b"), &path("c"), &options, false), Err(StoreError::Exists)));
        assert!(matches!(store.rename(&path("b"), &path("d/b"), &options, false), Err(StoreError::NoParent)));
        store.rename(&path("b"), &path("d/b"), &making, false).unwrap();
        store.rename(&path("d/"), &path("e"), &options, false).unwrap();
        assert_eq!(store.versions(&path("e/b")).unwrap(), versions, "they go along with the directory");
        assert!(matches!(store.rename(&path("e"), &path("e/f"), &options, false), Err(StoreError::Within)));
        assert!(matches!(
            store.rename(&path("nothing"), &path("f"), &options, false),
            Err(StoreError::Missing)
        ));
        std::os::unix::fs::symlink("c", dir.path().join("link")).unwrap();
        assert!(matches!(store.rename(&path("link"), &path("f"), &options, false), Err(StoreError::Link)));
    }

    #[test]
    fn what_was_removed_is_listed_with_who_had_published_it() {
        let (_dir, store) = store();
        let options = StoreOptions::default();
        store.make_directory(&path("sub")).unwrap();
        assert!(matches!(store.make_directory(&path("sub")), Err(StoreError::Exists)));
        assert!(matches!(store.make_directory(&path("no/sub")), Err(StoreError::NoParent)));
        for (at, user) in [("sub/a", "ada"), ("sub/b", "bob"), ("sub/b", "ada")] {
            publish(&store, at, at, user);
        }
        store.remove(&path("sub/a"), &options, &|_| Ok(())).unwrap();
        let version = store.versions(&path("sub/a")).unwrap().remove(0);
        assert_eq!(store.removed(&path("sub/")).unwrap(), [("a".to_owned(), version.clone())]);
        let of_system = store.content(&path("sub/b")).unwrap().user;
        // Where the file system keeps no such notes there are none.
        if of_system.is_some() {
            assert_eq!(version.user.as_deref(), Some("ada"));
            assert_eq!(store.versions(&path("sub/b")).unwrap()[0].user.as_deref(), Some("bob"));
        }
        store.restore(&path("sub/a"), &version.id, &options).unwrap();
        assert!(store.removed(&path("sub")).unwrap().is_empty());
        assert!(matches!(store.content(&path("sub")), Err(StoreError::Directory)));
        assert!(matches!(store.version(&path("sub/a"), "../a"), Err(StoreError::NoVersion)));
    }

    #[test]
    fn the_servers_own_files_are_neither_shown_nor_moved() {
        let (dir, store) = store();
        let options = StoreOptions::default();
        store.make_directory(&path("sub")).unwrap();
        fs::write(dir.path().join("sub/users"), "ada:x").unwrap();
        let _own = OwnPath::new(&dir.path().join("sub/users"), OwnKind::Users);
        for (from, to) in [("sub/users", "a"), ("sub", "b"), ("sub/", "b")] {
            let moved = store.rename(&path(from), &path(to), &options, false);
            assert!(matches!(moved, Err(StoreError::Own)), "{from}: {moved:?}");
        }
        assert!(matches!(store.content(&path("sub/users")), Err(StoreError::Own)));
        let copied = store.copy(&path("sub/users"), &path("a"), None, &options);
        assert!(matches!(copied, Err(StoreError::Own)), "{copied:?}");
        publish(&store, "c", "1", "ada");
        let replaced = store.rename(&path("c"), &path("sub/users"), &options, true);
        assert!(matches!(replaced, Err(StoreError::Own)), "{replaced:?}");
        assert!(store.find(&path("sub/users")).unwrap().is_none());
    }

    #[test]
    fn versions_of_what_has_become_the_servers_own_are_not_shown() {
        let (dir, store) = store();
        let options = StoreOptions::default();
        for text in ["ada:x", "ada:y"] {
            publish(&store, "users", text, "ada");
        }
        let id = store.versions(&path("users")).unwrap().remove(0).id;
        assert!(store.version(&path("users"), &id).is_ok());
        let own = OwnPath::new(&dir.path().join("users"), OwnKind::Users);
        assert!(matches!(store.version(&path("users"), &id), Err(StoreError::Own)));
        assert!(matches!(store.versions(&path("users")), Err(StoreError::Own)));
        assert!(matches!(store.restore(&path("users"), &id, &options), Err(StoreError::Own)));
        fs::remove_file(dir.path().join("users")).unwrap();
        assert!(store.removed(&path("")).unwrap().is_empty());
        drop(own);
        assert_eq!(store.removed(&path("")).unwrap().len(), 1);
    }

    #[test]
    fn nothing_comes_to_lie_where_the_servers_own_is_missing() {
        let (dir, store) = store();
        let options = StoreOptions { create_directories: true, ..StoreOptions::default() };
        let _own = OwnPath::new(&dir.path().join("conf/users"), OwnKind::Users);
        for at in ["conf/users", "conf/users.bak", "conf/users/below"] {
            let begun = store.begin(&path(at), None, None, &options, &|_| Ok(()));
            assert!(matches!(begun, Err(StoreError::Own)), "{at}");
        }
        store.make_directory(&path("prep")).unwrap();
        publish(&store, "prep/users", "eve:x", "eve");
        for (from, to) in [("prep", "conf"), ("prep/", "conf/"), ("prep/users", "conf/users")] {
            let moved = store.rename(&path(from), &path(to), &options, false);
            assert!(matches!(moved, Err(StoreError::Own)), "{from}: {moved:?}");
        }
        assert!(!dir.path().join("conf").exists());
        store.rename(&path("prep"), &path("other"), &options, false).unwrap();
    }
}
