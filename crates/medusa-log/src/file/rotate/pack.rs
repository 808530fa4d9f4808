//! One rotated file, compressed with Zstandard.
//!
//! **Invariant: at every moment, killed or not, the lines are whole in one file that has its final name.** The compressed
//! file is made under another name, brought to the disk, and renamed; only then is the plain one deleted. If both are
//! there, that was interrupted in between, and they are compared before one goes.

use std::fs::{self, File, FileTimes, Metadata, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::name::{Form, Suffix};
use super::place::{Place, is_at, rename_new};
use crate::file::open::Make;

/// Compared at a time.
const CHUNK: u64 = 128 * 1024;

/// Compresses the plain file `file` of `place`. [`ResourceBusy`](ErrorKind::ResourceBusy): someone still writes to it, or
/// compresses it; [`NotFound`](ErrorKind::NotFound): another process has.
pub(super) fn pack(place: &Place, file: Suffix) -> io::Result<()> {
    let plain = place.at(file.as_form(Form::Plain));
    let source = open_own(&plain)?;
    lock(&source)?;
    let meta = source.metadata()?;
    if !is_at(&plain, &meta) {
        return Err(ErrorKind::NotFound.into()); // before we had the lock
    }
    let target = place.at(file.as_form(Form::Packed));
    if target.try_exists()? {
        if !is_same(&source, &target)? {
            let told = format!("{} is there already, and holds something else", target.display());
            return Err(io::Error::other(told));
        }
    } else {
        let unfinished = place.at(file.as_form(Form::Unfinished));
        let made = compress(&source, &meta, &unfinished).and_then(|()| rename_new(&unfinished, &target));
        if made.is_err() {
            let _: io::Result<()> = fs::remove_file(&unfinished);
        }
        made?;
        place.sync()?;
    }
    fs::remove_file(&plain)
}

/// Removes what an interrupted compression has left, unless it is under way in another process.
pub(super) fn clean(place: &Place, unfinished: Suffix) -> io::Result<()> {
    match open_own(&place.at(unfinished.as_form(Form::Plain))) {
        Ok(source) if lock(&source).is_err() => Ok(()),
        _ => fs::remove_file(place.at(unfinished)),
    }
}

/// Opens a regular file, not what a link leads to.
fn open_own(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(ErrorKind::InvalidInput.into()) }
}

/// Fails if somebody else of us has it open. Where locks are not supported nobody could have one.
fn lock(source: &File) -> io::Result<()> {
    match flock(source, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(ErrorKind::ResourceBusy.into()),
        _ => Ok(()),
    }
}

fn compress(source: &File, meta: &Metadata, to: &Path) -> io::Result<()> {
    match fs::remove_file(to) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let mut encoder = zstd::stream::write::Encoder::new(&file, ZSTD_LEVEL)?;
    encoder.include_checksum(true)?;
    let copied = io::copy(&mut BufReader::with_capacity(CHUNK as usize, source), &mut encoder)?;
    encoder.finish()?;
    // Written to meanwhile, by a program that knows nothing of our lock.
    if copied != source.metadata()?.len() {
        return Err(ErrorKind::ResourceBusy.into());
    }
    // The readers and the age of the plain one.
    Make { mode: None, like: Some(meta) }.apply(&file)?;
    file.set_times(FileTimes::new().set_modified(meta.modified()?))?;
    file.sync_all()
}

/// Access logs become a seventh to a sixth of what they were. Level 9 would take another fifth off, for nine times the work.
const ZSTD_LEVEL: i32 = 3;

/// Tells whether `packed` holds what `plain` does, and nothing more.
fn is_same(plain: &File, packed: &Path) -> io::Result<bool> {
    let mut unpacked = zstd::stream::read::Decoder::new(open_own(packed)?)?;
    let mut plain = plain;
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        for (from, chunk) in [(&mut plain as &mut dyn Read, &mut left), (&mut unpacked, &mut right)] {
            chunk.clear();
            from.take(CHUNK).read_to_end(chunk)?;
        }
        if left != right {
            return Ok(false);
        }
        if left.is_empty() {
            return Ok(true);
        }
    }
}
