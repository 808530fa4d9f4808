//! The directory that a log and the rotated files are in.
//!
//! Two writers of one file may both find that it is time to rotate. One lock has them do so one after the other: the second
//! finds its file no longer in its place, and goes over to the new one. Another process's writer, which the lock does not
//! keep off, at worst rotates a file early, or before us; no line is lost.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::Tag;
use super::name::{Form, LONGEST_SUFFIX, Suffix};
use crate::file::open::directory_of;

/// The longest name a file can have on any usual file system.
const LONGEST_NAME: usize = 255;

/// More names than that are not tried when one after the other turns out to be taken by others.
const ATTEMPTS: u32 = 100;

/// Place where a log really is: a symbolic link in its place stays, what it leads to is rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::file) struct Place {
    directory: PathBuf,
    base: OsString,
}

impl Place {
    /// The place of the log `path`, which exists.
    pub(in crate::file) fn of(path: &Path) -> io::Result<Self> {
        let real = path.canonicalize()?;
        match real.file_name() {
            Some(base) if base.len() + LONGEST_SUFFIX <= LONGEST_NAME => {
                Ok(Self { directory: directory_of(&real).to_owned(), base: base.to_owned() })
            }
            _ => Err(io::ErrorKind::InvalidFilename.into()),
        }
    }

    pub(in crate::file) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Renames the log, which is the open file `meta`, as a file of the period `tag`. In its place is nothing then. False:
    /// another writer has been faster.
    pub(in crate::file) fn rename(&self, meta: &Metadata, tag: Tag) -> io::Result<bool> {
        static ROTATING: Mutex<()> = Mutex::new(());
        let _one = ROTATING.lock();
        let from = self.directory.join(&self.base);
        if !is_at(&from, meta) {
            return Ok(false);
        }
        let last = self.files()?.into_iter().filter(|file| file.tag == tag).map(|file| file.number).max();
        let first = last.map_or(0, |last| last.saturating_add(1));
        for number in first..first.saturating_add(ATTEMPTS) {
            match rename_new(&from, &self.at(Suffix { tag, number, form: Form::Plain })) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // Gone since the look at it: a writer of another process has rotated it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                renamed => return renamed.map(|()| true),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// The rotated files, the oldest first.
    pub(super) fn files(&self) -> io::Result<Vec<Suffix>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if let Some(suffix) = Suffix::of(&entry.file_name(), &self.base)
                && entry.file_type()?.is_file()
            {
                files.push(suffix);
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    pub(super) fn at(&self, suffix: Suffix) -> PathBuf {
        self.directory.join(suffix.name(&self.base))
    }

    /// Makes renamings and deletions outlive a crash of the machine.
    pub(in crate::file) fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }
}

/// Renames, but never over another file.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can; then only another program could come between the two steps.
        Err(Errno::INVAL | Errno::NOSYS) => {
            if fs::symlink_metadata(to).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        renamed => Ok(renamed?),
    }
}

/// Tells whether the open file that `meta` describes is what `path` leads to. An error other than that nothing is there leaves
/// it as it is: true.
pub(in crate::file) fn is_at(path: &Path, meta: &Metadata) -> bool {
    match path.metadata() {
        Ok(there) => (there.dev(), there.ino()) == (meta.dev(), meta.ino()),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    use super::*;

    fn tag() -> Tag {
        Tag::day(&"2026-11-23T12:00:00Z".parse::<Timestamp>().expect("a time").to_zoned(TimeZone::UTC))
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("a directory");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    #[test]
    fn names_go_on_behind_the_last_and_nothing_is_overwritten() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("a.log");
        for taken in ["a.log.2026-11-23.3.zst", "a.log.2026-11-22.9"] {
            fs::write(dir.path().join(taken), "old").expect("written");
        }
        // Not a file of ours, but its name is taken all the same.
        fs::create_dir(dir.path().join("a.log.2026-11-23.4")).expect("made");
        for _ in 0..2 {
            fs::write(&log, "new").expect("written");
            let place = Place::of(&log).expect("a place");
            assert!(place.rename(&log.metadata().expect("a file"), tag()).expect("renamed"));
        }
        let expected = [
            "a.log.2026-11-22.9",
            "a.log.2026-11-23.3.zst",
            "a.log.2026-11-23.4",
            "a.log.2026-11-23.5",
            "a.log.2026-11-23.6",
        ];
        assert_eq!(names(dir.path()), expected);
    }

    #[test]
    fn another_process_may_be_faster() {
        let dir = tempfile::tempdir().expect("a directory");
        let (log, aside) = (dir.path().join("a.log"), dir.path().join("aside"));
        fs::write(&log, "line").expect("written");
        let meta = log.metadata().expect("a file");
        let place = Place::of(&log).expect("a place");
        let rotated = place.at(Suffix { tag: tag(), number: 0, form: Form::Plain });
        // It comes and goes, also between the look at it and the renaming.
        let rotations = std::thread::scope(|scope| {
            let rotating = scope.spawn(|| -> io::Result<u32> {
                let (mut tries, mut rotations) = (0, 0);
                // On a busy machine the other may stand still for long, with the file.
                while tries < 5_000 || rotations == 0 {
                    tries += 1;
                    if place.rename(&meta, tag())? {
                        rotations += 1;
                        fs::rename(&rotated, &log)?;
                    }
                }
                Ok(rotations)
            });
            while !rotating.is_finished() {
                let _ = fs::rename(&log, &aside);
                let _ = fs::rename(&aside, &log);
            }
            rotating.join().expect("no panic")
        });
        assert_ne!(rotations.expect("no error, whoever was faster"), 0);
    }

    #[test]
    fn a_link_stays_and_its_file_is_rotated() {
        let dir = tempfile::tempdir().expect("a directory");
        let (real, link) = (dir.path().join("data/real.log"), dir.path().join("link.log"));
        fs::create_dir(dir.path().join("data")).expect("made");
        fs::write(&real, "line\n").expect("written");
        symlink("data/real.log", dir.path().join("between")).expect("a link");
        symlink("between", &link).expect("a link");
        let place = Place::of(&link).expect("a place");
        assert!(place.rename(&real.metadata().expect("a file"), tag()).expect("renamed"));
        assert_eq!(names(&dir.path().join("data")), ["real.log.2026-11-23"]);
        assert!(link.is_symlink());
    }

    #[test]
    fn links_in_a_circle_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        symlink("a.log", dir.path().join("a.log")).expect("a link");
        Place::of(&dir.path().join("a.log")).expect_err("nowhere");
    }

    #[test]
    fn a_file_of_another_writer_is_given_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let (old, log) = (dir.path().join("old"), dir.path().join("a.log"));
        fs::write(&old, "old").expect("written");
        fs::write(&log, "new").expect("written");
        let (place, old) = (Place::of(&log).expect("a place"), old.metadata().expect("a file"));
        assert!(!place.rename(&old, tag()).expect("given back"));
        assert_eq!(fs::read_to_string(&log).expect("in its place"), "new");
        fs::remove_file(&log).expect("there");
        assert!(!place.rename(&old, tag()).expect("nothing there"));
    }

    #[test]
    fn a_name_that_could_not_grow_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("x".repeat(230));
        fs::write(&log, "").expect("written");
        Place::of(&log).expect_err("too long");
    }
}
