//! Where the history is kept: a file of the user's, for nobody else to read.
//!
//! Sessions append to it side by side. What fails here is no reason to stop anyone's work: then there is no history.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use medusa_monitor::terminal::History;

/// The most that is read, in bytes. A file beyond it is written anew.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// The file, if there is one.
#[derive(Debug)]
pub(super) struct Keep(Option<File>);

impl Keep {
    /// Opens `medusa/history` in `state`.
    pub(super) fn open(state: Option<&Path>) -> (Self, History) {
        let opened = state.map(|state| open(&state.join("medusa")));
        opened
            .and_then(Result::ok)
            .map_or((Self(None), History::default()), |(file, history)| (Self(Some(file)), history))
    }

    pub(super) fn append(&mut self, lines: &str) {
        if let Some(file) = &mut self.0
            && file.write_all(lines.as_bytes()).is_err()
        {
            self.0 = None;
        }
    }
}

fn open(directory: &Path) -> io::Result<(File, History)> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let path = directory.join("history");
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path)?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    // Of one that is longer, the newest: what is older has no room anyway.
    (&file).seek(SeekFrom::Start(length.saturating_sub(2 * MAX_FILE)))?;
    (&file).take(2 * MAX_FILE).read_to_end(&mut bytes)?;
    let history = History::from_text(&String::from_utf8_lossy(&bytes));
    if length <= MAX_FILE {
        return Ok((file, history));
    }
    let shorter = directory.join("history.new");
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&shorter)?
        .write_all(history.to_text().as_bytes())?;
    fs::rename(&shorter, &path)?;
    Ok((OpenOptions::new().append(true).open(&path)?, history))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_is_nobody_elses() {
        let state = tempfile::tempdir().expect("a folder");
        let (mut keep, history) = Keep::open(Some(state.path()));
        assert_eq!(history.to_text(), "");
        keep.append("one\n");
        let (mut other, _) = Keep::open(Some(state.path()));
        other.append("two\n");
        keep.append("three\n");
        assert_eq!(Keep::open(Some(state.path())).1.to_text(), "one\ntwo\nthree\n");
        let mode = |path: &str| {
            fs::metadata(state.path().join(path)).expect("it is there").permissions().mode() & 0o777
        };
        assert_eq!((mode("medusa"), mode("medusa/history")), (0o700, 0o600));
    }

    #[test]
    fn a_file_that_has_grown_long_is_written_anew() {
        let state = tempfile::tempdir().expect("a folder");
        fs::create_dir(state.path().join("medusa")).expect("a folder");
        let path = state.path().join("medusa/history");
        let lines: Vec<_> = (0..500_000).map(|n| format!("line({n})\n")).collect();
        fs::write(&path, lines.concat()).expect("a file");
        let (mut keep, _) = Keep::open(Some(state.path()));
        keep.append("new()\n");
        let kept = fs::read_to_string(&path).expect("a file");
        assert!(kept.lines().count() == 1001 && kept.ends_with("line(499999)\nnew()\n"));
    }

    #[test]
    fn without_a_place_there_is_no_history() {
        let (mut keep, history) = Keep::open(Some(Path::new("/proc/none")));
        keep.append("x\n");
        assert_eq!(history.to_text(), "");
    }
}
