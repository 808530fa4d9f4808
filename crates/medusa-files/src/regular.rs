//! Regular files, opened with care and read within bounds.
//!
//! **Invariants:** no pipe is waited for, and no device or terminal is taken for a file; memory is bounded, though the file may grow
//! meanwhile.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// A file that was read.
#[derive(Debug)]
pub struct Contents {
    /// All that was in it.
    pub bytes: Vec<u8>,
    /// What was known of it before it was read.
    pub metadata: Metadata,
    /// The file, at its end.
    pub file: File,
}

/// Opens a regular file to read it, or the one that a link leads to.
///
/// # Errors
///
/// Those of the system, and that it is no regular file.
pub fn open(path: &Path) -> io::Result<(File, Metadata)> {
    open_with(path, OFlags::empty())
}

/// Opens a regular file to read it, and none that a link leads to.
///
/// # Errors
///
/// Those of the system, and that it is a link, or no regular file.
pub fn open_no_link(path: &Path) -> io::Result<(File, Metadata)> {
    open_with(path, OFlags::NOFOLLOW)
}

fn open_with(path: &Path, flags: OFlags) -> io::Result<(File, Metadata)> {
    // Without NONBLOCK, opening a pipe would wait for its writer; without NOCTTY a terminal would become the server's.
    let flags = (flags | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok((file, metadata))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// Reads what is left of a file.
///
/// # Errors
///
/// Those of the system; [`FileTooLarge`](io::ErrorKind::FileTooLarge), if that is more than `limit` bytes.
pub fn read_within(file: &File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Not by the length in the metadata: the file may grow meanwhile.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {limit} bytes")));
    }
    Ok(bytes)
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
///
/// Those of [`open`] and [`read_within`].
pub fn read(path: &Path, limit: u64) -> io::Result<Contents> {
    let (file, metadata) = open(path)?;
    Ok(Contents { bytes: read_within(&file, limit)?, metadata, file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_within_its_limit_and_nothing_else_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, "0123456789").expect("written");
        let contents = read(&path, 10).expect("read");
        assert_eq!((&contents.bytes[..], contents.metadata.len()), (&b"0123456789"[..], 10));
        let kind = |path: &Path, limit| read(path, limit).expect_err("refused").kind();
        assert_eq!(kind(&path, 9), io::ErrorKind::FileTooLarge);
        assert_eq!(kind(&folder.path().join("none"), 9), io::ErrorKind::NotFound);
        assert_eq!(kind(folder.path(), 9), io::ErrorKind::InvalidInput);
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .expect("made");
        assert_eq!(kind(&pipe, 9), io::ErrorKind::InvalidInput, "and not waited for");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("made");
        assert!(read(&link, 10).is_ok() && open_no_link(&link).is_err() && open_no_link(&path).is_ok());
    }
}
