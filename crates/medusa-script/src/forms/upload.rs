//! One uploaded file: in memory while it is small, in a file without a name past that.
//!
//! A file without a name (`O_TMPFILE`) cannot be opened by others, and is gone with its last descriptor: with the
//! request, or with the server, however it ends. A form has one for all that is on disk, each upload being a range of
//! it: a form of a thousand files takes one descriptor, of which a process, and each address, has only so many.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use medusa_net::clients::ClientPrefix;
use medusa_net::descriptors::OpenFile;
use rustix::fs::{Mode, OFlags};
use tokio::task::spawn_blocking;

/// The longest file that is kept in memory, in bytes: most that are not photographs. A worker with a hundred forms at
/// a time holds some MiB.
const MAX_FILE_IN_MEMORY: usize = 64 * 1024;

/// The size that is written at once, in bytes: each write is a hop to another thread.
const WRITE: usize = 256 * 1024;

/// A file of a form: what that says of it, and its content.
#[derive(Debug)]
pub(super) struct Upload {
    /// The last part of the name the client gave, which may be anything but a path.
    pub(super) filename: Vec<u8>,
    pub(super) content_type: Option<String>,
    pub(super) content: Content,
}

/// A file's content. Sent to the blocking pool to be read.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Memory(Bytes),
    /// A part of the form's file: where it begins, and how long it is.
    Disk(Arc<OpenFile>, u64, u64),
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Disk(_, _, length) => *length,
        }
    }

    /// Reads at most `limit` bytes from `offset` on; none at the end. Blocks.
    pub(super) fn read_at(&self, offset: u64, limit: usize) -> io::Result<Bytes> {
        let left = self.len().saturating_sub(offset);
        let length = usize::try_from(left).map_or(limit, |left| left.min(limit));
        match self {
            Self::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Ok(bytes.slice(start..start + length))
            }
            Self::Disk(file, begin, _) => {
                let mut piece = vec![0; length];
                file.read_exact_at(&mut piece, begin.saturating_add(offset))?;
                Ok(piece.into())
            }
        }
    }
}

/// The room of a form for its content: so much memory, and a file for what there is no memory for.
#[derive(Debug)]
pub(super) struct Room {
    memory: usize,
    /// On whose account the file is kept.
    holder: Option<ClientPrefix>,
    file: Option<Arc<OpenFile>>,
    on_disk: u64,
}

impl Room {
    pub(super) fn new(memory: usize, holder: Option<ClientPrefix>) -> Self {
        Self { memory, holder, file: None, on_disk: 0 }
    }

    /// The memory that is left.
    pub(super) fn left(&self) -> usize {
        self.memory
    }

    /// Takes so many bytes of the memory; false if there are not so many.
    #[must_use]
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let left = self.memory.checked_sub(bytes);
        self.memory = left.unwrap_or(self.memory);
        left.is_some()
    }

    /// Writes behind what is in the file.
    async fn append(&mut self, bytes: Bytes) -> io::Result<Arc<OpenFile>> {
        let file = if let Some(file) = &self.file {
            Arc::clone(file)
        } else {
            let file = OpenFile::new(blocking(unnamed_file).await?, self.holder)?;
            Arc::clone(self.file.insert(Arc::new(file)))
        };
        let (at, length) = (self.on_disk, bytes.len() as u64);
        let written = Arc::clone(&file);
        blocking(move || written.write_all_at(&bytes, at)).await?;
        self.on_disk += length;
        Ok(file)
    }
}

/// A file on its way in.
#[derive(Debug, Default)]
pub(super) struct Spool {
    /// All of it, or what has not been written yet.
    memory: BytesMut,
    /// The offset at which it begins in the form's file, once it goes there.
    begin: Option<u64>,
    file: Option<Arc<OpenFile>>,
    written: u64,
}

impl Spool {
    pub(super) fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.written == 0
    }

    /// Adds a piece. The files of a form come one after the other, so that each is in one piece on disk.
    pub(super) async fn push(&mut self, piece: &[u8], room: &mut Room) -> io::Result<()> {
        self.memory.extend_from_slice(piece);
        if self.begin.is_none() {
            if self.memory.len() <= MAX_FILE_IN_MEMORY && room.take(piece.len()) {
                return Ok(());
            }
            // What was kept so far goes to disk and leaves its room to others.
            room.memory += self.memory.len() - piece.len();
            self.begin = Some(room.on_disk);
        }
        if self.memory.len() >= WRITE { self.write(room).await } else { Ok(()) }
    }

    async fn write(&mut self, room: &mut Room) -> io::Result<()> {
        if self.begin.is_some() && !self.memory.is_empty() {
            let bytes = self.memory.split().freeze();
            self.written += bytes.len() as u64;
            self.file = Some(room.append(bytes).await?);
        }
        Ok(())
    }

    pub(super) async fn finish(
        mut self,
        filename: &[u8],
        content_type: Option<String>,
        room: &mut Room,
    ) -> io::Result<Rc<Upload>> {
        self.write(room).await?;
        let content = match (self.file, self.begin) {
            (Some(file), Some(begin)) => Content::Disk(file, begin, self.written),
            // Copied, for what it was collected in is up to twice as large.
            _ => Content::Memory(Bytes::copy_from_slice(&self.memory)),
        };
        Ok(Rc::new(Upload { filename: base_name(filename).to_vec(), content_type, content }))
    }
}

/// Runs what may wait for a disk, off the worker.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|gone| Err(io::Error::other(gone)))
}

/// The directory for large files: `TMPDIR` if it is set, else `/var/tmp`, as `/tmp` is memory on many systems.
fn unnamed_file() -> io::Result<File> {
    let chosen = std::env::temp_dir();
    let usual = chosen == Path::new("/tmp");
    let first = if usual { Path::new("/var/tmp") } else { chosen.as_path() };
    let opened = open_unnamed(first);
    if usual { opened.or_else(|_error| open_unnamed(&chosen)) } else { opened }
}

fn open_unnamed(directory: &Path) -> io::Result<File> {
    // EXCL: it can never be given a name.
    let flags = OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR)?.into())
}

/// A file name without directories, whichever system it comes from. Old browsers sent whole paths, and attackers do.
fn base_name(filename: &[u8]) -> &[u8] {
    let name = filename.rsplit(|byte| matches!(byte, b'/' | b'\\')).next().unwrap_or_default();
    if matches!(name, b"." | b"..") { b"" } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_have_no_directories() {
        for (sent, name) in [
            ("photo.jpg", "photo.jpg"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\me\\photo.jpg", "photo.jpg"),
            ("..", ""),
            ("a/..", ""),
            ("dir/", ""),
        ] {
            assert_eq!(base_name(sent.as_bytes()), name.as_bytes());
        }
    }

    async fn spooled(length: usize, room: &mut Room) -> Rc<Upload> {
        let content: Vec<u8> = (0..length).map(|at| (at + length / 1000) as u8).collect();
        let mut spool = Spool::default();
        for piece in content.chunks(1000) {
            spool.push(piece, room).await.unwrap();
        }
        let upload = spool.finish(b"x", None, room).await.unwrap();
        assert_eq!(upload.content.len(), length as u64);
        let mut read = Vec::new();
        while read.len() < length {
            read.extend(upload.content.read_at(read.len() as u64, 70_000).unwrap());
        }
        assert!(read == content, "{length} bytes came back changed");
        assert!(upload.content.read_at(length as u64, 10).unwrap().is_empty());
        upload
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_small_stays_in_memory_and_what_is_not_goes_to_disk() {
        let mut room = Room::new(100_000, None);
        let small = spooled(MAX_FILE_IN_MEMORY, &mut room).await;
        assert!(matches!(small.content, Content::Memory(_)));
        assert_eq!(room.memory, 100_000 - MAX_FILE_IN_MEMORY);
        let large = spooled(1_000_000, &mut room).await;
        assert!(matches!(large.content, Content::Disk(..)));
        assert_eq!(room.memory, 100_000 - MAX_FILE_IN_MEMORY, "a file on disk takes no memory");
        let no_room = spooled(50_000, &mut room).await;
        assert!(matches!(no_room.content, Content::Disk(..)));
        // Both are in the one file, and neither reads of the other.
        let (Content::Disk(one, ..), Content::Disk(other, begin, _)) = (&large.content, &no_room.content)
        else {
            panic!("they are on disk");
        };
        assert!(Arc::ptr_eq(one, other));
        assert_eq!(*begin, 1_000_000);
        assert_eq!(large.content.read_at(999_990, 100).unwrap().len(), 10);
        let fits = spooled(30_000, &mut room).await;
        assert!(matches!(fits.content, Content::Memory(_)));
        drop(spooled(0, &mut room).await);
    }
}
