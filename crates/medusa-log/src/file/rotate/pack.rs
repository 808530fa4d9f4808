//! One rotated file, compressed with Zstandard.
//!
//! **Invariant: at every moment, killed or not, the lines are whole in one file that has its final name.** The compressed
//! file is made under another name, brought to the disk, and renamed; only then is the plain one deleted. If both are
//! there, that was interrupted in between, and they are compared before one goes.

use std::fs::{self, File, FileTimes, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::name::{Form, Suffix};
use super::place::{Place, is_at, rename_new};

/// Copied at a time.
const CHUNK: usize = 128 * 1024;

/// Outcome for one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Done,
    /// Someone still writes to it, or compresses it: later.
    Busy,
    /// It is not there any more.
    Gone,
}

/// Compresses the plain file `file` of `place`.
pub(super) fn pack(place: &Place, file: Suffix) -> io::Result<Packing> {
    let plain = place.at(file.as_form(Form::Plain));
    let source = match open_own(&plain) {
        Ok(source) => source,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Packing::Gone),
        Err(error) => return Err(error),
    };
    if !lock(&source) {
        return Ok(Packing::Busy);
    }
    let meta = source.metadata()?;
    if !is_at(&plain, &meta) {
        return Ok(Packing::Gone); // compressed by another process before we had the lock
    }
    let target = place.at(file.as_form(Form::Packed));
    if !target.try_exists()? {
        let unfinished = place.at(file.as_form(Form::Unfinished));
        let made = compress(&source, &meta, &unfinished).and_then(|()| {
            // Not if another writer had renamed it by mistake, and has given it back.
            if is_at(&plain, &meta) {
                rename_new(&unfinished, &target)
            } else {
                Err(io::ErrorKind::ResourceBusy.into())
            }
        });
        if let Err(error) = made {
            let _: io::Result<()> = fs::remove_file(&unfinished);
            return if error.kind() == io::ErrorKind::ResourceBusy { Ok(Packing::Busy) } else { Err(error) };
        }
        place.sync()?;
    } else if !is_same(&source, &target)? {
        return Err(io::Error::other(format!(
            "{} is there already, and holds something else",
            target.display()
        )));
    }
    fs::remove_file(&plain)?;
    Ok(Packing::Done)
}

/// Removes what an interrupted compression has left, unless it is under way in another process.
pub(super) fn clean(place: &Place, unfinished: Suffix) -> io::Result<()> {
    match open_own(&place.at(unfinished.as_form(Form::Plain))) {
        Ok(source) if !lock(&source) => Ok(()),
        _ => fs::remove_file(place.at(unfinished)),
    }
}

/// Opens a regular file, not what a link leads to.
fn open_own(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// Tells whether nobody else of us has it open. Where locks are not supported nobody could have one.
fn lock(source: &File) -> bool {
    !matches!(flock(source, FlockOperation::NonBlockingLockExclusive), Err(Errno::WOULDBLOCK))
}

fn compress(source: &File, meta: &Metadata, to: &Path) -> io::Result<()> {
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let mut encoder = zstd::stream::write::Encoder::new(&file, ZSTD_LEVEL)?;
    encoder.include_checksum(true)?;
    let copied = copy(source, &mut encoder)?;
    encoder.finish()?;
    // Written to meanwhile, by a program that knows nothing of our lock.
    if copied != source.metadata()?.len() {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    inherit(&file, meta)?;
    file.sync_all()
}

/// Access logs become a seventh to a sixth of what they were. Level 9 would take another fifth off, for nine times the work.
const ZSTD_LEVEL: i32 = 3;

/// Gives the compressed file the readers and the age of the plain one.
fn inherit(file: &File, meta: &Metadata) -> io::Result<()> {
    // Only the superuser can give files away; anybody else has them anyway.
    let _: io::Result<()> = fchown(file, Some(meta.uid()), Some(meta.gid()));
    file.set_permissions(Permissions::from_mode(meta.mode() & 0o777))?;
    file.set_times(FileTimes::new().set_modified(meta.modified()?))
}

fn copy(mut from: &File, to: &mut impl Write) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK];
    let mut copied = 0;
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(copied),
            Ok(count) => {
                to.write_all(&chunk[..count])?;
                copied += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Tells whether `packed` holds what `plain` does, and nothing more.
fn is_same(plain: &File, packed: &Path) -> io::Result<bool> {
    let mut unpacked = zstd::stream::read::Decoder::new(open_own(packed)?)?;
    let mut plain = plain;
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        for (from, chunk) in [(&mut plain as &mut dyn Read, &mut left), (&mut unpacked, &mut right)] {
            chunk.clear();
            from.take(CHUNK as u64).read_to_end(chunk)?;
        }
        if left != right {
            return Ok(false);
        }
        if left.is_empty() {
            return Ok(true);
        }
    }
}
