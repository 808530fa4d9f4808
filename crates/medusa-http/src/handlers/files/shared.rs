//! The files that bodies are sent from just now: one open file for each, however many bodies it is sent in.
//!
//! A descriptor belongs to the inode and every read says where it reads, so bodies can share it. A file is told from
//! another by its [`FileStamp`], not by its inode alone: on an overlay file system that stays the same when a change copies
//! the file, and whoever had it open goes on reading what it was.
//!
//! Invariant: this keeps no file open. It only knows those that a body has, and forgets the others before it becomes twice
//! as large as these.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, LazyLock, Weak};

use medusa_net::clients::ClientPrefix;
use medusa_net::descriptors::{FilesExhausted, OpenFile, SharedFile};
use parking_lot::Mutex;

use crate::store::FileStamp;

/// The table is not looked through while it is this small.
const FEW: usize = 64;

/// Of all handlers and workers: looked at once for a large file, which was opened just before.
static SHARED: LazyLock<Mutex<Shared>> = LazyLock::new(Mutex::default);

#[derive(Debug, Default)]
struct Shared {
    open: HashMap<FileStamp, Weak<OpenFile>>,
    /// How large it was allowed to become when it was last looked through.
    room: usize,
}

/// The open file of this stamp: `file`, which was just opened, if there is none yet, kept on `holder`'s account
/// until another shares it.
pub(super) fn share(
    file: File,
    stamp: &FileStamp,
    holder: Option<ClientPrefix>,
) -> Result<SharedFile, FilesExhausted> {
    let mut shared = SHARED.lock();
    if let Some(open) = shared.open.get(stamp).and_then(Weak::upgrade) {
        open.share_with(holder);
        return Ok(open);
    }
    let open = Arc::new(OpenFile::new(file, holder)?);
    if shared.open.len() >= shared.room {
        shared.open.retain(|_, open| open.strong_count() > 0);
        shared.room = (2 * shared.open.len()).max(FEW);
    }
    shared.open.insert(*stamp, Arc::downgrade(&open));
    Ok(open)
}

#[cfg(test)]
mod tests {
    use rustix::fs::fstat;

    use super::*;

    fn file(dir: &tempfile::TempDir, name: &str, content: &str) -> (File, FileStamp) {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        let file = File::open(path).unwrap();
        let stamp = FileStamp::from(&fstat(&file).unwrap());
        (file, stamp)
    }

    #[test]
    fn bodies_of_a_file_share_it_until_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (one, stamp) = file(&dir, "a", "content");
        let first = share(one.try_clone().unwrap(), &stamp, None).unwrap();
        let again = share(one.try_clone().unwrap(), &stamp, None).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let (changed, other) = file(&dir, "a", "longer content");
        assert!(!Arc::ptr_eq(&first, &share(changed, &other, None).unwrap()));
        drop((first, again));
        let anew = share(one, &stamp, None).unwrap();
        assert_eq!(Arc::strong_count(&anew), 1, "a file that nobody has is not kept open");
    }

    #[test]
    fn what_nobody_has_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, stamp) = file(&dir, "kept", "content");
        let _kept = share(kept, &stamp, None).unwrap();
        for n in 0..3 * FEW {
            let (file, stamp) = file(&dir, &n.to_string(), "content");
            drop(share(file, &stamp, None).unwrap());
        }
        let known = SHARED.lock().open.len();
        assert!(known <= FEW, "{known} files are remembered, one is open");
    }
}
