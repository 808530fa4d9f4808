//! Entity tags: what tells one content of a file from another (docs/decisions/0010-tags-of-content.md).
//!
//! - Up to [`HASHED`] bytes a tag is a hash of the content. It is strong, says the same on every machine, and changes exactly
//!   when the content does. What is kept in memory is hashed when it is read; of a larger file the hash is remembered under
//!   the stamp it had, so that it is made once.
//! - Of a larger file it is made of its length and times: when it was modified, and when the system last saw it change, which
//!   also moves when a file is written and its date set back, and when it is copied with its date.
//!
//! **Invariant:** a strong tag is never given to two contents, whatever anyone does to the dates of a file.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{LazyLock, Mutex, PoisonError};

use http::HeaderValue;
use medusa_proto::hex;
use rustix::fs::fstat;
use sha1::{Digest as _, Sha1};

use super::entity::Stamp;
use super::root::Wait;

/// The longest file whose content is hashed, in bytes: some 20 ms' work, once. It holds what pages are made of, and most
/// downloads.
pub(super) const HASHED: u64 = 16 * 1024 * 1024;

/// Files whose hash is remembered: 1.5 MiB of memory. When there are more, all are forgotten.
const REMEMBERED: usize = 16 * 1024;

/// How much of a file is read at once.
const PIECE: usize = 128 * 1024;

/// 96 bits: two contents with the same will not be met by accident.
type Hash = [u8; 12];

static KNOWN: LazyLock<Mutex<HashMap<Stamp, Hash>>> = LazyLock::new(Mutex::default);

/// The tag of content that is all there.
pub(super) fn of_bytes(content: &[u8]) -> HeaderValue {
    strong(&first_bytes(Sha1::digest(content).as_slice()))
}

/// The tag of a file of this stamp, which `is_settled` if a later change is sure to give another stamp. Else it is weak.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock) where it must be read to be hashed and `wait` does not allow that.
pub(super) fn of_file(file: &File, stamp: &Stamp, is_settled: bool, wait: Wait) -> io::Result<HeaderValue> {
    if !is_settled || stamp.size() > HASHED {
        return Ok(tag(if is_settled { "" } else { "W/" }, &stamp.shown()));
    }
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(hash) = known().get(stamp).copied() {
        return Ok(strong(&hash));
    }
    if wait == Wait::Never {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let hash = hash(file, stamp.size())?;
    if Stamp::from(&fstat(file)?) != *stamp {
        return Ok(tag("W/", &stamp.shown()));
    }
    let mut known = known();
    if known.len() >= REMEMBERED {
        known.clear();
    }
    known.insert(*stamp, hash);
    Ok(strong(&hash))
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
