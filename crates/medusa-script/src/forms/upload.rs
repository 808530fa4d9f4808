//! One uploaded file: in memory while it is small, in a file without a name past that.
//!
//! A file without a name (`O_TMPFILE`) cannot be opened by others, and is gone with its last descriptor: with the
//! request, or with the server, however it ends.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rustix::fs::{Mode, OFlags};
use tokio::task::spawn_blocking;

/// The longest file that is kept in memory, in bytes: most that are not photographs. A worker with a hundred forms at
/// a time holds some MiB.
const MAX_FILE_IN_MEMORY: usize = 64 * 1024;

/// How much is written at once, in bytes: each write is a hop to another thread.
const WRITE: usize = 256 * 1024;

/// What a form says of a file, and its content.
#[derive(Debug)]
pub(super) struct Upload {
    /// The last part of the name the client gave, which may be anything but a path.
    pub(super) filename: String,
    pub(super) content_type: Option<String>,
    pub(super) content: Content,
}

/// A file's content. Sent to the blocking pool to be read.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Memory(Bytes),
    Disk(Arc<File>, u64),
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Disk(_, length) => *length,
        }
    }

    /// At most `limit` bytes from `offset` on; none at the end. Blocks.
    pub(super) fn read_at(&self, offset: u64, limit: usize) -> io::Result<Bytes> {
        let left = self.len().saturating_sub(offset);
        let length = usize::try_from(left).map_or(limit, |left| left.min(limit));
        match self {
            Self::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Ok(bytes.slice(start..start + length))
            }
            Self::Disk(file, _) => {
                let mut piece = vec![0; length];
                file.read_exact_at(&mut piece, offset)?;
                Ok(piece.into())
            }
        }
    }
}

/// A file on its way in.
#[derive(Debug, Default)]
pub(super) struct Spool {
    /// All of it, or what has not been written yet.
    memory: BytesMut,
    file: Option<Arc<File>>,
    written: u64,
}

impl Spool {
    pub(super) fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.written == 0
    }

    /// Adds a piece. `room` is the memory that is left to the whole form.
    pub(super) async fn push(&mut self, piece: &[u8], room: &mut usize) -> io::Result<()> {
        self.memory.extend_from_slice(piece);
        if self.file.is_none() {
            if self.memory.len() <= MAX_FILE_IN_MEMORY && piece.len() <= *room {
                *room -= piece.len();
                return Ok(());
            }
            // What was kept so far goes to disk and leaves its room to others.
            *room += self.memory.len() - piece.len();
            self.file = Some(blocking(unnamed_file).await?);
        }
        if self.memory.len() >= WRITE { self.write().await } else { Ok(()) }
    }

    async fn write(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let (file, bytes) = (Arc::clone(file), self.memory.split().freeze());
        self.written += bytes.len() as u64;
        blocking(move || (&*file).write_all(&bytes)).await
    }

    pub(super) async fn finish(
        mut self,
        filename: &str,
        content_type: Option<String>,
    ) -> io::Result<Rc<Upload>> {
        self.write().await?;
        let content = match self.file {
            None => Content::Memory(self.memory.freeze()),
            Some(file) => Content::Disk(file, self.written),
        };
        Ok(Rc::new(Upload { filename: base_name(filename).to_owned(), content_type, content }))
    }
}

/// Runs what may wait for a disk, off the worker.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|gone| Err(io::Error::other(gone)))
}

/// Where large files belong: `TMPDIR` if it is set, else `/var/tmp`, as `/tmp` is memory on many systems.
fn unnamed_file() -> io::Result<Arc<File>> {
    let chosen = std::env::temp_dir();
    let usual = chosen == Path::new("/tmp");
    let first = if usual { Path::new("/var/tmp") } else { chosen.as_path() };
    let opened = open_unnamed(first);
    let opened = if usual { opened.or_else(|_error| open_unnamed(&chosen)) } else { opened };
    opened.map(Arc::new)
}

fn open_unnamed(directory: &Path) -> io::Result<File> {
    // EXCL: it can never be given a name.
    let flags = OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR)?.into())
}

/// A file name without directories, whichever system it comes from. Old browsers sent whole paths, and attackers do.
fn base_name(filename: &str) -> &str {
    let name = filename.rsplit(['/', '\\']).next().unwrap_or_default();
    if matches!(name, "." | "..") { "" } else { name }
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
            assert_eq!(base_name(sent), name);
        }
    }

    async fn spooled(length: usize, room: &mut usize) -> Rc<Upload> {
        let content: Vec<u8> = (0..length).map(|at| at as u8).collect();
        let mut spool = Spool::default();
        for piece in content.chunks(1000) {
            spool.push(piece, room).await.unwrap();
        }
        let upload = spool.finish("x", None).await.unwrap();
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
        let mut room = 100_000;
        let small = spooled(MAX_FILE_IN_MEMORY, &mut room).await;
        assert!(matches!(small.content, Content::Memory(_)));
        assert_eq!(room, 100_000 - MAX_FILE_IN_MEMORY);
        let large = spooled(1_000_000, &mut room).await;
        assert!(matches!(large.content, Content::Disk(..)));
        assert_eq!(room, 100_000 - MAX_FILE_IN_MEMORY, "a file on disk takes no room");
        let no_room = spooled(50_000, &mut room).await;
        assert!(matches!(no_room.content, Content::Disk(..)));
        let fits = spooled(30_000, &mut room).await;
        assert!(matches!(fits.content, Content::Memory(_)));
        drop(spooled(0, &mut room).await);
    }
}
