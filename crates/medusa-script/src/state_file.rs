//! Files of the state directory that the server writes for its next start. What they hold is run.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use medusa_files::regular;
use rustix::fs::OFlags;

/// Opens one to be read, if it is there: a regular file of the server's user, of at most `longest` bytes, and no link.
pub(crate) fn open(path: &Path, longest: u64) -> io::Result<Option<File>> {
    let (file, meta) = match regular::open_no_link(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if meta.uid() != rustix::process::geteuid().as_raw() || meta.len() > longest {
        return Err(io::Error::other("it is no file of this server's, or too long"));
    }
    Ok(Some(file))
}

/// Puts one in place of another, whole, also after a crash of the machine.
pub(crate) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&part, path)
    })();
    if written.is_err() {
        // It may have filled the disk.
        let _gone = fs::remove_file(&part);
    }
    written?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// Puts a text into one that has always been as long, over what is there: that needs no room, so that a full disk does not prevent it.
pub(crate) fn overwrite(path: &Path, text: &str) -> io::Result<()> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let file = options.open(path)?;
    file.write_all_at(text.as_bytes(), 0)?;
    file.sync_data()
}
