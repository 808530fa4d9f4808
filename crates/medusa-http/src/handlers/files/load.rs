//! The thing that a path below the root is, found out with system calls: on the worker as long as the kernel answers
//! from its caches, else on the blocking pool (see [`Wait`]).

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use medusa_net::clients::ClientPrefix;
use medusa_proto::coding::Coding;
use rustix::fs::{Stat, fstat};
use rustix::io::{ReadWriteFlags, preadv2};

use super::cache::{self, Form};
use super::clean;
use super::entity::{Content, Entity, Metadata, Trust};
use super::listing::{self, Listings, View};
use super::mime;
use super::offers::{Found, LONGEST, Offers};
use super::options::{FilesError, FilesOptions};
use super::shared;
use crate::handlers::compress::{self, types};
use crate::store::{FileStamp, OpenedPath, Root, RootDirectory, Target, Wait, tag};

/// The place of files, and how they are served.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) root: Root,
    pub(super) options: FilesOptions,
    pub(super) listings: Listings,
    /// The longest file that is compressed, in bytes.
    pub(super) longest_live: u64,
}

/// For whom something is looked up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Requester {
    /// On whose account files are kept open.
    pub(super) holder: Option<ClientPrefix>,
    pub(super) wait: Wait,
}

impl Requester {
    /// For the server itself.
    const US: Self = Self { holder: None, wait: Wait::ForDisk };
}

/// The thing that a target turned out to be.
#[derive(Debug)]
pub(super) enum Loaded {
    /// A file, or a directory's index file.
    File(Arc<Found>),
    /// A directory, but it was asked for as if it were a file.
    Directory,
    /// A page that has a shorter address: the path below the root.
    Shorter(Vec<u8>),
    /// A directory without an index file, which may be listed.
    ToList,
    /// The same, listed.
    Listing(listing::Page),
    /// Nothing that is served.
    Nothing,
    /// Something that the server's user may not read.
    Denied,
}

/// A look at what is there.
#[derive(Debug)]
struct PathLookup<'l> {
    place: &'l Place,
    directory: RootDirectory,
    known: Option<&'l Arc<Found>>,
    by: Requester,
}

impl Place {
    /// Finds out what `target` is. If it is still what is `known`, that is given back, and nothing is read.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) with [`Wait::Never`];
    /// [`FilesExhausted`](medusa_net::descriptors::FilesExhausted); else what the system says.
    pub(super) fn load(
        &self,
        target: &Target<'_>,
        known: Option<&Arc<Found>>,
        by: Requester,
    ) -> io::Result<Loaded> {
        let look = match self.root.enter(by.wait)? {
            Ok(directory) => PathLookup { place: self, directory, known, by },
            Err(opened) => return Ok(without_file(&opened)),
        };
        if target.is_directory() { look.at_directory(&target.path) } else { look.at_file(&target.path) }
    }

    /// The directory at `target`, which has no index file, as `view` wants it listed. Blocks.
    pub(super) fn list(&self, target: &Target<'_>, view: View) -> io::Result<Loaded> {
        match self.root.enter(Wait::ForDisk)? {
            Ok(directory) => {
                let page = self.listings.load(&directory, &target.path, view, &self.options)?;
                Ok(page.map_or_else(|opened| without_file(&opened), Loaded::Listing))
            }
            Err(opened) => Ok(without_file(&opened)),
        }
    }

    /// The file of exactly this path, for what stands in where nothing is.
    pub(super) fn load_exactly(
        &self,
        target: &Target<'_>,
        known: Option<&Arc<Found>>,
        by: Requester,
    ) -> io::Result<Loaded> {
        match self.root.enter(by.wait)? {
            Ok(directory) => PathLookup { place: self, directory, known, by }.at(&target.path),
            Err(opened) => Ok(without_file(&opened)),
        }
    }

    /// Whether what stands in where nothing is, is there.
    pub(super) fn check_stand_ins(&self) -> Result<(), FilesError> {
        let check = |target: Option<Target<'_>>, missing: fn(String) -> FilesError| {
            let Some(target) = target else { return Ok(()) };
            match self.load_exactly(&target, None, Requester::US) {
                Ok(Loaded::File(_)) => Ok(()),
                _ => Err(missing(String::from_utf8_lossy(&target.path).into_owned())),
            }
        };
        check(self.options.not_found(), FilesError::NotFoundPage)?;
        check(self.options.fallback(), FilesError::Fallback)
    }

    /// The sibling of a file in `coding`; `None` if it has gone, or become older than the file, since it was found.
    pub(super) fn sibling(
        &self,
        found: &Found,
        coding: Coding,
        by: Requester,
    ) -> io::Result<Option<Arc<Entity>>> {
        let Ok(directory) = self.root.enter(by.wait)? else { return Ok(None) };
        let OpenedPath::File(file, stat) = directory.look_up(&sibling_path(&found.path, coding))? else {
            return Ok(None);
        };
        if found.entity.stamp.is_some_and(|plain| FileStamp::from(&stat).is_older_than(&plain)) {
            return Ok(None);
        }
        let metadata = Metadata { coding: Some(coding), ..found.entity.metadata.clone() };
        read(file, &stat, metadata, by).map(|entity| Some(Arc::new(entity)))
    }
}

impl PathLookup<'_> {
    fn at_file(&self, path: &[u8]) -> io::Result<Loaded> {
        if !self.place.options.clean_urls {
            return self.at(path);
        }
        let opened = self.directory.look_up(path)?;
        if let OpenedPath::File(..) = opened {
            return Ok(match clean::shorter(&self.directory, &self.place.options.index, path)? {
                Some(shorter) => Loaded::Shorter(shorter),
                None => self.loaded(opened, path)?,
            });
        }
        let page = clean::page(path);
        match self.directory.look_up(&page)? {
            found @ (OpenedPath::File(..) | OpenedPath::Denied) => self.loaded(found, &page),
            OpenedPath::Directory(_) | OpenedPath::Nothing => self.loaded(opened, path),
        }
    }

    fn at_directory(&self, path: &[u8]) -> io::Result<Loaded> {
        if let Some((index, opened)) = self.directory.index(path, &self.place.options.index)? {
            return self.loaded(opened, &index);
        }
        Ok(if self.place.options.listing { Loaded::ToList } else { Loaded::Nothing })
    }

    fn at(&self, path: &[u8]) -> io::Result<Loaded> {
        self.loaded(self.directory.look_up(path)?, path)
    }

    fn loaded(&self, opened: OpenedPath, path: &[u8]) -> io::Result<Loaded> {
        match opened {
            OpenedPath::File(file, stat) => self.found(file, &stat, path).map(Loaded::File),
            other => Ok(without_file(&other)),
        }
    }

    fn found(&self, file: File, stat: &Stat, path: &[u8]) -> io::Result<Arc<Found>> {
        let stamp = FileStamp::from(stat);
        let known = self.known.filter(|known| known.entity.stamp == Some(stamp) && *known.path == *path);
        let entity = match known {
            Some(known) => Arc::clone(&known.entity),
            None => Arc::new(read(file, stat, self.metadata(path), self.by)?),
        };
        let offers = self.offers(path, &entity, &stamp)?;
        match known {
            Some(known) if known.offers == offers => Ok(Arc::clone(known)),
            _ => Ok(Arc::new(Found { path: path.into(), entity, offers })),
        }
    }

    fn metadata(&self, path: &[u8]) -> Metadata {
        let cache_control = self.place.options.cache_control(path).cloned();
        let (content_type, trust) = match mime::of(path) {
            known if !self.place.options.untrusted => (known, Trust::Ours),
            known if mime::does_nothing(&known) => (known, Trust::Shown),
            _other => (mime::UNKNOWN, Trust::Saved),
        };
        Metadata { content_type, cache_control, coding: None, trust }
    }

    fn offers(&self, path: &[u8], entity: &Entity, stamp: &FileStamp) -> io::Result<Offers> {
        let Metadata { content_type, cache_control, .. } = &entity.metadata;
        let is_live = self.place.options.compress
            && (compress::SHORTEST..=self.place.longest_live.min(LONGEST)).contains(&entity.len)
            && types::is_compressible(content_type)
            && !cache_control.as_ref().is_some_and(compress::forbids_transform);
        let mut offers = if is_live { Offers::live(entity.stamp) } else { Offers::NONE };
        if !self.place.options.precompressed || types::is_packed(content_type) {
            return Ok(offers);
        }
        for coding in Coding::ALL {
            if let Some(stat) = self.directory.stat(&sibling_path(path, coding))?
                && rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file()
                && !FileStamp::from(&stat).is_older_than(stamp)
            {
                offers.sibling(coding, FileStamp::from(&stat));
            }
        }
        Ok(offers)
    }
}

fn without_file(opened: &OpenedPath) -> Loaded {
    match opened {
        OpenedPath::Directory(_) => Loaded::Directory,
        OpenedPath::Denied => Loaded::Denied,
        OpenedPath::File(..) | OpenedPath::Nothing => Loaded::Nothing,
    }
}

fn sibling_path(path: &[u8], coding: Coding) -> Vec<u8> {
    [path, coding.suffix().as_bytes()].concat()
}

/// Compresses a file as it was found; to [`Form::Plain`] also if it has changed since. Takes a while: for the blocking
/// pool.
pub(super) fn encode(found: &Found, coding: Coding) -> io::Result<Form> {
    let content = match &found.entity.content {
        Content::Bytes(bytes) => bytes.clone(),
        Content::File(file) => {
            let content = read_some(file, found.entity.len.min(LONGEST), Wait::ForDisk)?;
            if Some(FileStamp::from(&fstat(file)?)) != found.entity.stamp
                || content.len() as u64 != found.entity.len
            {
                return Ok(Form::Plain);
            }
            content
        }
    };
    Ok(match compress::encode::whole(coding, &content)? {
        Some(encoded) => Form::Encoded(Arc::new(found.entity.encoded(coding, encoded))),
        None => Form::Plain,
    })
}

/// The number of times to read a file that changes while it is read.
const ATTEMPTS: usize = 3;

fn read(file: File, stat: &Stat, metadata: Metadata, by: Requester) -> io::Result<Entity> {
    let mut stamp = FileStamp::from(stat);
    let mut now = SystemTime::now();
    if stamp.size() > cache::LARGEST {
        let tag = tag::of_file(&file, &stamp, stamp.is_settled(now), by.wait)?;
        let content = Content::File(shared::share(file, &stamp, by.holder)?);
        return Ok(Entity::new(stamp, (content, tag), metadata, now, true));
    }
    let mut attempt = 1;
    loop {
        // A file that grew meanwhile gives no more: memory is bounded.
        let content = read_some(&file, stamp.size().min(cache::LARGEST), by.wait)?;
        let after = FileStamp::from(&fstat(&file)?);
        let is_whole = after == stamp && content.len() as u64 == stamp.size();
        if is_whole || attempt == ATTEMPTS {
            let tag = tag::of_bytes(&content);
            return Ok(Entity::new(stamp, (Content::Bytes(content), tag), metadata, now, is_whole));
        }
        (stamp, now, attempt) = (after, SystemTime::now(), attempt + 1);
    }
}

/// Reads `len` bytes, or less if the file ends before.
fn read_some(file: &File, len: u64, wait: Wait) -> io::Result<Bytes> {
    let mut content = vec![0; len as usize];
    let mut filled = 0;
    while filled < content.len() {
        match read_at(file, &mut content[filled..], filled as u64, wait) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted && wait == Wait::ForDisk => {}
            Err(error) => return Err(error),
        }
    }
    content.truncate(filled);
    Ok(content.into())
}

/// On a worker only from the page cache; whatever keeps the kernel from that, the blocking pool finds out.
fn read_at(file: &File, content: &mut [u8], offset: u64, wait: Wait) -> io::Result<usize> {
    match wait {
        Wait::ForDisk => file.read_at(content, offset),
        Wait::Never => {
            let read = preadv2(file.as_fd(), &mut [IoSliceMut::new(content)], offset, ReadWriteFlags::NOWAIT);
            read.map_err(|_errno| io::ErrorKind::WouldBlock.into())
        }
    }
}
