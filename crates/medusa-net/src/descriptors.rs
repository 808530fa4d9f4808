//! The process's descriptors and their shares: what clients cause never takes the last one.
//!
//! The system numbers descriptors from the lowest free one. So the number of a new one says how many are open at least,
//! whoever opened them, and a limit for numbers ([`DescriptorShare`]) is a limit for all of them together that costs nothing to
//! keep. What clients can have kept open beside their connections is counted besides ([`OpenFile`]), so that neither
//! takes the room of the other.
//!
//! Invariant: an [`OpenFile`] is counted, and held against its holder, from its making until its descriptor is closed;
//! against its holder only as long as nobody else has it.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit};

use crate::clients::{ClientEntry, ClientPrefix, ClientTable};

/// A part of the table of descriptors, up to which something may go. Each begins where the one before it has to stop,
/// so that there is room to refuse, and after that to look after the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DescriptorShare {
    /// Connections that are served: three quarters of all.
    Connections,
    /// Connections that are told why they are not served: a sixteenth more.
    Refused,
    /// Files that are sent and forms that are kept: an eighth more, which is as many as there may be of them. The last
    /// sixteenth is left to the control socket, logs, name servers and whoever else asks the system.
    Files,
}

impl DescriptorShare {
    const fn of(self, limit: u64) -> u64 {
        match self {
            Self::Connections => limit - limit / 4,
            Self::Refused => limit - limit / 16 * 3,
            Self::Files => limit - limit / 16,
        }
    }

    /// Whether a descriptor opened now would be within this share. Opens one to find out: for callers that hand the
    /// opening to others.
    pub fn has_room(self) -> bool {
        File::open("/dev/null").is_ok_and(|probe| !self.is_passed_by(probe))
    }

    /// Whether a descriptor, just opened, is beyond this share.
    pub fn is_passed_by(self, descriptor: impl AsFd) -> bool {
        let number = u64::try_from(descriptor.as_fd().as_raw_fd()).unwrap_or(0);
        is_reached(number, |limit| self.of(limit))
    }
}

/// The limit as it was last read: a system call less for each connection.
static LIMIT: AtomicU64 = AtomicU64::new(0);

/// Whether a number is at its share of the limit, which is asked for again only where that may change the answer.
fn is_reached(number: u64, share: impl Fn(u64) -> u64) -> bool {
    number >= share(LIMIT.load(Relaxed)) && number >= share(limit())
}

/// The number of descriptors the process may have (`RLIMIT_NOFILE`). Asks the system: somebody may have changed it.
pub fn limit() -> u64 {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    LIMIT.store(limit, Relaxed);
    limit
}

/// The number of descriptors that are open. Counts them, one by one: for the status.
///
/// # Errors
///
/// `/proc` is not there, or there is no descriptor left to look with.
pub fn open() -> io::Result<u64> {
    // One of them is the directory's own.
    Ok((std::fs::read_dir("/proc/self/fd")?.count() as u64).saturating_sub(1))
}

/// Whether connections are being refused: their share is in use.
pub fn is_scarce(open: u64) -> bool {
    open >= DescriptorShare::Connections.of(limit())
}

/// Of all descriptors, how many may be files kept open for clients: an eighth. A file has one however many want it, so
/// these are thousands of different large files under way at a time where there are as many descriptors as usual.
const FILES: u64 = 8;
/// Of all descriptors, how many may be files kept open for one address: a sixteenth, half of what there is.
const FILES_OF_ADDRESS: u64 = 16;
/// Of all descriptors, how many may be connections of one address: an eighth. Together with its files that is less than
/// a quarter.
const CONNECTIONS_OF_ADDRESS: u64 = 8;

/// Whether so many connections are more than one address may have.
pub fn is_too_many_of_address(connections: u64) -> bool {
    is_reached(connections, |limit| limit / CONNECTIONS_OF_ADDRESS + 1)
}

/// The reason why no file is opened for a client now. It passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilesExhausted {
    /// The process has as many as it may.
    #[error(
        "too many files are open for clients, or too many descriptors in all, of {limit} there may be (raise \
         `ulimit -n`, or LimitNOFILE= in a systemd unit)"
    )]
    Process {
        /// See [`limit`].
        limit: u64,
    },
    /// One address has as many as it may.
    #[error("{files} files are open for {client}, as many as for one address may be")]
    Address {
        /// The client.
        client: ClientPrefix,
        /// How many.
        files: u64,
    },
}

impl From<FilesExhausted> for io::Error {
    fn from(scarce: FilesExhausted) -> Self {
        Self::other(scarce)
    }
}

impl FilesExhausted {
    /// Whether this is what stands behind an error.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Self>)
    }
}

/// A file kept open for clients, and counted.
#[derive(Debug)]
pub struct OpenFile {
    // Closed before it is given back.
    file: File,
    lease: Lease,
}

impl OpenFile {
    /// Counts `file`, which was just opened, against the process and against `holder`: the client on whose account it is
    /// kept, or none where an address stands for many.
    ///
    /// # Errors
    ///
    /// There are too many. The file is closed.
    pub fn new(file: File, holder: Option<ClientPrefix>) -> Result<Self, FilesExhausted> {
        if DescriptorShare::Files.is_passed_by(&file) {
            return Err(FilesExhausted::Process { limit: limit() });
        }
        Ok(Self { lease: Lease::take(holder, limit())?, file })
    }

    /// Says that `holder` has it, too. What several have is nobody's any more: whoever was the first may long be gone.
    pub fn share_with(&self, holder: Option<ClientPrefix>) {
        let mut first = self.lease.holder.lock();
        if first.as_ref().is_some_and(|first| Some(first.client()) != holder) {
            *first = None;
        }
    }
}

impl Deref for OpenFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Files that are open for clients, of all and of each. Looked at once for a file that is opened, which is system calls
/// anyway.
static FILES_OPEN: AtomicU64 = AtomicU64::new(0);
static FILES_OF_CLIENTS: LazyLock<ClientTable<()>> = LazyLock::new(ClientTable::default);

/// The number of files open for clients.
pub fn files() -> u64 {
    FILES_OPEN.load(Relaxed)
}

/// The right to keep one file open.
#[derive(Debug)]
struct Lease {
    /// On whose account it is; none that of all, or if it is nobody's any more.
    holder: Mutex<Option<Arc<ClientEntry<()>>>>,
}

impl Lease {
    fn take(holder: Option<ClientPrefix>, limit: u64) -> Result<Self, FilesExhausted> {
        let open = FILES_OPEN.fetch_add(1, Relaxed);
        // Dropped, one that is too many is given back.
        let mut lease = Self { holder: Mutex::default() };
        if open >= limit / FILES {
            return Err(FilesExhausted::Process { limit });
        }
        if let Some(client) = holder {
            let entry = FILES_OF_CLIENTS.entry(client, || ());
            let files = entry.others() as u64;
            if files >= limit / FILES_OF_ADDRESS {
                return Err(FilesExhausted::Address { client, files });
            }
            *lease.holder.get_mut() = Some(entry);
        }
        Ok(lease)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        FILES_OPEN.fetch_sub(1, Relaxed);
    }
}

/// An open file that several bodies are sent from.
pub type SharedFile = Arc<OpenFile>;

#[cfg(test)]
mod tests {
    use super::*;

    // Counts are per process, and these tests change them: nextest gives each test a process of its own.

    fn ip(last: u8) -> ClientPrefix {
        ClientPrefix::host([192, 0, 2, last].into())
    }

    fn files_of(client: ClientPrefix) -> usize {
        FILES_OF_CLIENTS.entry(client, || ()).others()
    }

    #[test]
    fn files_for_clients_have_a_share_and_each_address_half_of_it() {
        let of_one: Vec<_> = (0..4).map(|_| Lease::take(Some(ip(1)), 64).expect("a sixteenth")).collect();
        let refused = Lease::take(Some(ip(1)), 64).unwrap_err();
        assert_eq!(refused, FilesExhausted::Address { client: ip(1), files: 4 });
        let others: Vec<_> = (0..4).map(|n| Lease::take(Some(ip(2 + n)), 64).expect("an eighth")).collect();
        assert_eq!(Lease::take(None, 64).unwrap_err(), FilesExhausted::Process { limit: 64 });
        assert_eq!(files(), 8);
        drop((of_one, others));
        assert_eq!((files(), FILES_OF_CLIENTS.len()), (0, 0), "an address without files takes no memory");
    }

    #[test]
    fn a_file_that_others_have_too_is_not_the_first_ones() {
        let file = |holder| OpenFile::new(File::open("/dev/null").expect("opened"), holder).expect("counted");
        let [own, common] = [file(Some(ip(1))), file(Some(ip(1)))];
        own.share_with(Some(ip(1)));
        assert_eq!(files_of(ip(1)), 2);
        common.share_with(Some(ip(2)));
        common.share_with(None);
        assert_eq!((files(), files_of(ip(1))), (2, 1));
        drop((own, common));
        assert_eq!((files(), FILES_OF_CLIENTS.len()), (0, 0));
    }

    #[test]
    fn shares_leave_room_for_one_another() {
        for limit in [64, 1024, 20_000, 1 << 20] {
            let [connections, told, files] =
                [DescriptorShare::Connections, DescriptorShare::Refused, DescriptorShare::Files]
                    .map(|share| share.of(limit));
            assert!(connections < told && told + limit / FILES <= files && files < limit, "{limit}");
        }
    }

    #[test]
    fn the_number_of_a_descriptor_tells_how_many_are_open() {
        let held: Vec<File> = (0..100).map(|_| File::open("/dev/null").expect("opened")).collect();
        let last = held.last().expect("a hundred");
        assert!(!DescriptorShare::Connections.is_passed_by(last));
        let maximum = getrlimit(Resource::Nofile).maximum;
        // A few more than are open.
        let lowered = u64::try_from(last.as_raw_fd()).expect("not negative") + 4;
        let limited = rustix::process::Rlimit { current: Some(lowered), maximum };
        rustix::process::setrlimit(Resource::Nofile, limited).expect("lowered");
        assert_eq!(limit(), lowered);
        assert!(DescriptorShare::Connections.is_passed_by(last) && DescriptorShare::Files.is_passed_by(last));
        assert!(open().expect("counted") >= 100);
        let another = last.try_clone().expect("one more");
        assert!(matches!(OpenFile::new(another, None), Err(FilesExhausted::Process { .. })));
    }
}
