//! What a path below the root is, found out with system calls. Runs on the blocking pool.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use rustix::fs::{Stat, fstat};

use super::Options;
use super::cache;
use super::entity::{Content, Entity, Stamp};
use super::listing::Listing;
use super::mime;
use super::root::{Opened, Root};
use super::target::Target;

/// Where files are, and how they are served.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) root: Root,
    pub(super) options: Options,
}

/// What a target turned out to be.
#[derive(Debug)]
pub(super) enum Loaded {
    /// A file, or a directory's index file.
    File(Arc<Entity>),
    /// A directory, but it was asked for as if it were a file.
    Directory,
    /// A directory without an index file.
    Listing(Listing),
    /// Nothing that is served.
    Nothing,
    /// Something that the server's user may not read.
    Denied,
}

/// Finds out what `target` is. If it is still the file that is `known`, that is given back, and nothing is read.
pub(super) fn load(place: &Place, target: &Target<'_>, known: Option<Arc<Entity>>) -> io::Result<Loaded> {
    if target.is_directory() {
        return load_directory(place, &target.path, known);
    }
    Ok(match place.root.look_up(&target.path)? {
        Opened::File(file, stat) => Loaded::File(read(file, &stat, &target.path, known)?),
        Opened::Directory(_) => Loaded::Directory,
        Opened::Nothing => Loaded::Nothing,
        Opened::Denied => Loaded::Denied,
    })
}

fn load_directory(place: &Place, path: &[u8], known: Option<Arc<Entity>>) -> io::Result<Loaded> {
    for index in &place.options.index {
        let index = [path, index.as_bytes()].concat();
        match place.root.look_up(&index)? {
            Opened::File(file, stat) => return Ok(Loaded::File(read(file, &stat, &index, known)?)),
            Opened::Denied => return Ok(Loaded::Denied),
            Opened::Directory(_) | Opened::Nothing => {}
        }
    }
    if !place.options.listing {
        return Ok(Loaded::Nothing);
    }
    Ok(match place.root.look_up(path)? {
        Opened::Directory(directory) => list(place, path, directory)?,
        Opened::Denied => Loaded::Denied,
        Opened::File(..) | Opened::Nothing => Loaded::Nothing,
    })
}

fn list(place: &Place, path: &[u8], directory: OwnedFd) -> io::Result<Loaded> {
    Ok(Loaded::Listing(Listing::read(&place.root, path, directory, place.options.dotfiles)?))
}

/// How often to read a file again that changes while it is read.
const ATTEMPTS: usize = 3;

fn read(file: File, stat: &Stat, path: &[u8], known: Option<Arc<Entity>>) -> io::Result<Arc<Entity>> {
    let mut stamp = Stamp::from(stat);
    if let Some(known) = known.filter(|known| known.stamp == Some(stamp)) {
        return Ok(known);
    }
    let content_type = mime::of(path);
    let mut now = SystemTime::now();
    if stamp.size() > cache::LARGEST {
        return Ok(Arc::new(Entity::new(stamp, Content::File(Arc::new(file)), content_type, now, true)));
    }
    let mut attempt = 1;
    loop {
        let content = read_small(&file, stamp.size())?;
        let after = Stamp::from(&fstat(&file)?);
        let is_whole = after == stamp && content.len() as u64 == stamp.size();
        if is_whole || attempt == ATTEMPTS {
            return Ok(Arc::new(Entity::new(stamp, Content::Bytes(content), content_type, now, is_whole)));
        }
        (stamp, now, attempt) = (after, SystemTime::now(), attempt + 1);
    }
}

/// Reads `len` bytes, or less if the file ends before. A file that grew meanwhile gives no more: memory is bounded.
fn read_small(file: &File, len: u64) -> io::Result<Bytes> {
    let mut content = vec![0; len.min(cache::LARGEST) as usize];
    let mut filled = 0;
    while filled < content.len() {
        match file.read_at(&mut content[filled..], filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    content.truncate(filled);
    Ok(content.into())
}
