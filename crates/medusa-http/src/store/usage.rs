//! How much lies below a directory, for its quota.
//!
//! What is there is measured by going through all of it, which takes long, so it is kept and corrected by what we change ourselves.
//! Others may change it, too: it is measured again now and then, and before anything is refused.
//!
//! **Invariant:** what is on its way in is counted before it is written, so no number of uploads gets past the quota.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::fs::{AtFlags, Dir, FileType, Stat, statat};

use super::error::StoreError;
use super::root::{Root, RootDirectory};
use super::versions;

/// The time for which a measurement counts.
const COUNTS: Duration = Duration::from_mins(1);
/// So many times as long as it took to measure it is not done again.
const REST: u32 = 20;
/// The size that a file has at least, in bytes: what is small takes room, too.
const BLOCK: u64 = 4096;

/// The usages that somebody has, by the device and inode of the directory: several handlers may publish to one.
static USAGES: LazyLock<Mutex<Usages>> = LazyLock::new(Mutex::default);

type Usages = HashMap<(u64, u64), Weak<StoreUsage>>;

/// How much lies below one directory.
#[derive(Debug, Default)]
pub(super) struct StoreUsage {
    state: Mutex<StoreUsageState>,
}

#[derive(Debug, Default)]
struct StoreUsageState {
    measured: Option<Measured>,
    /// What is on its way in.
    reserved: u64,
}

#[derive(Debug)]
struct Measured {
    bytes: u64,
    at: Instant,
    took: Duration,
}

impl Measured {
    fn is_older_than(&self, age: Duration) -> bool {
        self.at.elapsed() > age.max(self.took * REST)
    }
}

impl StoreUsage {
    /// That of the directory of this identity.
    pub(super) fn of(stat: &Stat) -> Arc<Self> {
        let mut usages = USAGES.lock();
        let identity = (stat.st_dev, stat.st_ino);
        if let Some(usage) = usages.get(&identity).and_then(Weak::upgrade) {
            return usage;
        }
        usages.retain(|_, usage| usage.strong_count() > 0);
        let usage = Arc::new(Self::default());
        usages.insert(identity, Arc::downgrade(&usage));
        usage
    }

    /// The bytes that lie there, as far as they were measured.
    pub(super) fn known(&self) -> Option<u64> {
        // Who asks for the status does not wait for a disk.
        self.state.try_lock()?.measured.as_ref().map(|measured| measured.bytes)
    }

    /// The bytes that lie there, which are measured where that was not done lately. Blocks.
    pub(super) fn measured(&self, root: &Root) -> Result<u64, StoreError> {
        let mut state = self.state.lock();
        let known = state.measured.as_ref().filter(|measured| !measured.is_older_than(COUNTS));
        match known.map(|measured| measured.bytes) {
            Some(bytes) => Ok(bytes),
            None => measure(&mut state, &root.to_change()?),
        }
    }

    /// Finds out whether there is room for `wanted` bytes once `goes` bytes have gone, and old versions have given way. Blocks.
    ///
    /// # Errors
    ///
    /// [`StoreError::Quota`]; what the file system says.
    pub(super) fn check_room(
        &self,
        wanted: u64,
        goes: u64,
        quota: u64,
        root: &Root,
    ) -> Result<(), StoreError> {
        let excess = |used: u64| used.saturating_sub(goes).saturating_add(wanted).saturating_sub(quota);
        if excess(self.measured(root)?) == 0 {
            return Ok(());
        }
        // Others may have made room since.
        let root = root.to_change()?;
        let used = measure(&mut self.state.lock(), &root)?;
        if excess(used) > versions::room(&root)? { Err(StoreError::Quota { quota }) } else { Ok(()) }
    }

    /// So many bytes came, and so many went.
    pub(super) fn changed(&self, came: u64, went: u64) {
        if let Some(measured) = &mut self.state.lock().measured {
            measured.bytes = measured.bytes.saturating_add(came).saturating_sub(went);
        }
    }
}

/// Room for what is on its way in. Given back when it is dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    usage: Arc<StoreUsage>,
    quota: Option<u64>,
    bytes: u64,
}

impl Reserved {
    /// None yet, of a directory that may have `quota` bytes below it.
    pub(super) fn new(usage: &Arc<StoreUsage>, quota: Option<u64>) -> Self {
        Self { usage: Arc::clone(usage), quota, bytes: 0 }
    }

    /// Reserves room for `bytes` in all. Where there is none, the oldest versions give way.
    ///
    /// # Errors
    ///
    /// [`StoreError::Quota`]; what the file system says.
    pub(super) fn grow_to(&mut self, bytes: u64, root: &Root) -> Result<(), StoreError> {
        let Some(quota) = self.quota else { return Ok(()) };
        let wanted = blocks(bytes);
        let more = wanted.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let mut state = self.usage.state.lock();
        let reserved = state.reserved.saturating_add(more);
        let mut oldest = COUNTS;
        loop {
            let known = state.measured.as_ref().filter(|measured| !measured.is_older_than(oldest));
            let used = match known.map(|measured| measured.bytes) {
                Some(bytes) => bytes,
                None => measure(&mut state, &root.to_change()?)?,
            };
            let excess = used.saturating_add(reserved).saturating_sub(quota);
            if excess == 0 {
                break;
            }
            if oldest != Duration::ZERO {
                oldest = Duration::ZERO;
                continue;
            }
            let freed = versions::give_way(&root.to_change()?, excess)?;
            if let Some(measured) = &mut state.measured {
                measured.bytes = measured.bytes.saturating_sub(freed);
            }
            if freed < excess {
                return Err(StoreError::Quota { quota });
            }
        }
        state.reserved = reserved;
        self.bytes = wanted;
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let mut state = self.usage.state.lock();
            state.reserved = state.reserved.saturating_sub(self.bytes);
        }
    }
}

/// The room that a file of this length takes.
pub(super) fn blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK).max(1).saturating_mul(BLOCK)
}

fn measure(state: &mut StoreUsageState, root: &RootDirectory) -> Result<u64, StoreError> {
    let at = Instant::now();
    let mut bytes = 0_u64;
    walk(root, "", |_, stat| bytes = bytes.saturating_add(blocks(stat.st_size.try_into().unwrap_or(0))))?;
    state.measured = Some(Measured { bytes, at: Instant::now(), took: at.elapsed() });
    Ok(bytes)
}

/// Goes through the files below a directory: each with its path from the root. What goes away meanwhile, and what may not be read,
/// is passed over.
pub(super) fn walk(
    root: &RootDirectory,
    below: &str,
    mut each: impl FnMut(&[u8], &Stat),
) -> Result<(), StoreError> {
    let mut left = vec![below.as_bytes().to_vec()];
    while let Some(path) = left.pop() {
        let directory = match root.to_change(&path).map_err(StoreError::from) {
            Ok(directory) => directory,
            Err(StoreError::NoParent | StoreError::Link | StoreError::Denied(_)) => continue,
            Err(error) => return Err(error),
        };
        let mut names = Dir::read_from(&directory)?;
        while let Some(found) = names.read() {
            let found = found?;
            let name = found.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(stat) = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let mut path = path.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.to_bytes());
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => left.push(path),
                FileType::RegularFile => each(&path, &stat),
                _ => {}
            }
        }
    }
    Ok(())
}
