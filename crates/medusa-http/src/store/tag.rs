//! Entity tags: what tells one content of a file from another (docs/decisions/0010-tags-of-content.md).
//!
//! - Up to [`HASHED`] bytes a tag is a hash of the content. It is strong, says the same on every machine, and changes exactly
//!   when the content does. What is kept in memory is hashed when it is read; of a larger file the hash is remembered under
//!   the stamp it had, so that it is made once: by who asks first, while others wait for it.
//! - Of a larger file it is made of its length and times: when it was modified, and when the system last saw it change, which
//!   also moves when a file is written and its date set back, and when it is copied with its date.
//!
//! **Invariant:** a strong tag is never given to two contents, whatever anyone does to the dates of a file.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::LazyLock;
use std::time::SystemTime;

use http::HeaderValue;
use medusa_files::FileStamp;
use medusa_proto::hex;
use parking_lot::{Condvar, Mutex};
use rustix::fs::fstat;
use sha1::{Digest as _, Sha1};

use super::root::Wait;

/// The longest file whose content is hashed, in bytes: some 20 ms' work, once. It holds what pages are made of, and most
/// downloads.
pub(crate) const HASHED: u64 = 16 * 1024 * 1024;

/// Files whose hash is remembered: 1.5 MiB of memory. When there are more, all are forgotten.
const REMEMBERED: usize = 16 * 1024;

/// The length of one read of a file.
const PIECE: usize = 128 * 1024;

/// 96 bits: two contents with the same will not be met by accident.
type Hash = [u8; 12];

static HASHES: LazyLock<Hashes> = LazyLock::new(Hashes::default);

/// The tag of content that is all there.
pub(crate) fn of_bytes(content: &[u8]) -> HeaderValue {
    strong(&first_bytes(Sha1::digest(content).as_slice()))
}

/// A hash of content that is made while it comes. Of what is longer than [`HASHED`] there is none.
#[derive(Debug)]
pub(crate) struct Hasher {
    sha1: Sha1,
    len: u64,
}

impl Hasher {
    pub(crate) fn new() -> Self {
        Self { sha1: Sha1::new(), len: 0 }
    }

    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.len += piece.len() as u64;
        if self.len <= HASHED {
            self.sha1.update(piece);
        }
    }

    /// The tag of all of it.
    pub(crate) fn tag(self) -> Option<HeaderValue> {
        (self.len <= HASHED).then(|| strong(&first_bytes(self.sha1.finalize().as_slice())))
    }
}

/// The tag of a file as it is now, for who can keep it from being changed meanwhile. Blocks.
pub(crate) fn of_current(file: &File, stamp: &FileStamp) -> io::Result<HeaderValue> {
    let is_settled = stamp.is_settled(SystemTime::now());
    if is_settled || stamp.size() > HASHED {
        return of_file(file, stamp, is_settled, Wait::ForDisk);
    }
    Ok(strong(&hash(file, stamp.size())?))
}

/// The tag of a file of this stamp, which `is_settled` if a later change is sure to give another stamp. Else it is weak.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock) where it must be read to be hashed and `wait` does not allow that.
pub(crate) fn of_file(
    file: &File,
    stamp: &FileStamp,
    is_settled: bool,
    wait: Wait,
) -> io::Result<HeaderValue> {
    if !is_settled || stamp.size() > HASHED {
        return Ok(tag(if is_settled { "" } else { "W/" }, &stamp.shown()));
    }
    if wait == Wait::Never {
        return HASHES.known(stamp).map_or(Err(io::ErrorKind::WouldBlock.into()), |hash| Ok(strong(&hash)));
    }
    let hash = HASHES.get(stamp, || {
        let hash = hash(file, stamp.size())?;
        Ok((FileStamp::from(&fstat(file)?) == *stamp).then_some(hash))
    })?;
    Ok(hash.map_or_else(|| tag("W/", &stamp.shown()), |hash| strong(&hash)))
}

/// Hashes by the stamps of files.
#[derive(Debug, Default)]
struct Hashes {
    state: Mutex<TagState>,
    /// One that was being made no longer is.
    made: Condvar,
}

#[derive(Debug, Default)]
struct TagState {
    known: HashMap<FileStamp, Hash>,
    being_made: HashSet<FileStamp>,
}

impl Hashes {
    fn known(&self, stamp: &FileStamp) -> Option<Hash> {
        self.state.lock().known.get(stamp).copied()
    }

    /// The hash of the file of this stamp, which `make` makes, unless the file has another by then. Who finds that somebody
    /// is making it waits, and makes it only if that one fails.
    fn get(
        &self,
        stamp: &FileStamp,
        make: impl FnOnce() -> io::Result<Option<Hash>>,
    ) -> io::Result<Option<Hash>> {
        let mut state = self.state.lock();
        loop {
            if let Some(hash) = state.known.get(stamp) {
                return Ok(Some(*hash));
            }
            if state.being_made.insert(*stamp) {
                break;
            }
            self.made.wait(&mut state);
        }
        drop(state);
        let making = HashJob { hashes: self, stamp };
        let made = make();
        if let Ok(Some(hash)) = made {
            let mut state = self.state.lock();
            if state.known.len() >= REMEMBERED {
                state.known.clear();
            }
            state.known.insert(*stamp, hash);
        }
        drop(making);
        made
    }
}

/// A hash that is being made; dropped, it no longer is.
struct HashJob<'h> {
    hashes: &'h Hashes,
    stamp: &'h FileStamp,
}

impl Drop for HashJob<'_> {
    fn drop(&mut self) {
        self.hashes.state.lock().being_made.remove(self.stamp);
        self.hashes.made.notify_all();
    }
}

fn hash(file: &File, len: u64) -> io::Result<Hash> {
    let (mut hasher, mut piece, mut at) = (Sha1::new(), vec![0; PIECE], 0);
    while at < len {
        match file.read_at(&mut piece, at) {
            Ok(0) => break,
            Ok(read) => {
                hasher.update(&piece[..read]);
                at += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(first_bytes(hasher.finalize().as_slice()))
}

fn first_bytes(digest: &[u8]) -> Hash {
    let mut hash = Hash::default();
    for (to, from) in hash.iter_mut().zip(digest) {
        *to = *from;
    }
    hash
}

fn strong(hash: &Hash) -> HeaderValue {
    tag("", &hex::lower(hash))
}

fn tag(weak: &str, opaque: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("{weak}\"{opaque}\""))
        .unwrap_or(const { HeaderValue::from_static("W/\"0\"") })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::sync::mpsc::sync_channel;
    use std::thread;

    use super::*;

    fn stamp() -> FileStamp {
        FileStamp::from(&fstat(File::open("/dev/null").unwrap()).unwrap())
    }

    #[test]
    fn who_comes_while_a_hash_is_made_waits_for_it() {
        let (hashes, stamp, made) = (Hashes::default(), stamp(), AtomicUsize::new(0));
        let make = || {
            made.fetch_add(1, Relaxed);
            Ok(Some([7; 12]))
        };
        let (begun, begins) = sync_channel(0);
        let (go, goes) = sync_channel::<()>(0);
        let hashes = &hashes;
        thread::scope(|scope| {
            let first = scope.spawn(move || {
                hashes.get(&stamp, || {
                    begun.send(()).unwrap();
                    goes.recv().unwrap();
                    make()
                })
            });
            begins.recv().unwrap();
            let others: Vec<_> = (0..4).map(|_| scope.spawn(|| hashes.get(&stamp, make))).collect();
            assert_eq!(hashes.known(&stamp), None);
            go.send(()).unwrap();
            for thread in others.into_iter().chain([first]) {
                assert_eq!(thread.join().unwrap().unwrap(), Some([7; 12]));
            }
        });
        assert_eq!(made.load(Relaxed), 1);
    }

    #[test]
    fn a_hash_that_could_not_be_made_is_made_by_the_next() {
        let (hashes, stamp) = (Hashes::default(), stamp());
        assert!(hashes.get(&stamp, || Err(io::ErrorKind::NotFound.into())).is_err());
        assert_eq!(hashes.get(&stamp, || Ok(None)).unwrap(), None, "it has changed meanwhile");
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            hashes.get(&stamp, || panic!("by design"))
        }));
        assert!(panicked.is_err());
        assert_eq!(hashes.get(&stamp, || Ok(Some([1; 12]))).unwrap(), Some([1; 12]));
    }
}
