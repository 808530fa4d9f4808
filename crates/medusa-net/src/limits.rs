//! The number of connections of the process, and its limit.
//!
//! Invariant: [`open`] is the number of [`Permit`]s in existence, and never above [`max_connections`] except after that
//! was lowered.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::descriptors;

/// The default of [`max_connections`].
///
/// An idle connection holds of the order of 10 KiB (the kernel's socket, the protocol's task and read buffer), so 100,000
/// of them hold about 1 GiB: what a small server can afford to lose to clients that only connect.
pub const DEFAULT_MAX_CONNECTIONS: usize = 100_000;

static OPEN: AtomicUsize = AtomicUsize::new(0);
static MAX: AtomicUsize = AtomicUsize::new(DEFAULT_MAX_CONNECTIONS);

/// The number of connections open in this process.
pub fn open() -> usize {
    OPEN.load(Ordering::Relaxed)
}

/// The number of connections that may be open at a time. Further ones wait in the kernel's queue (and are refused
/// when that is full) until one closes. Default: [`DEFAULT_MAX_CONNECTIONS`].
pub fn max_connections() -> usize {
    MAX.load(Ordering::Relaxed)
}

/// Sets how many connections may be open at a time. Takes effect at once; never closes one that is open.
pub fn set_max_connections(max: usize) {
    MAX.store(max, Ordering::Relaxed);
}

/// The right to hold one connection open.
#[derive(Debug)]
pub struct Permit(());

impl Permit {
    /// Takes a permit, unless as many connections are open as may be.
    pub fn take() -> Option<Self> {
        let max = max_connections();
        OPEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < max).then_some(open + 1))
            .ok()
            .map(|_| Self(()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The process's limit of open files, each connection being one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFiles {
    /// The limit before; `None` if there was none.
    pub before: Option<u64>,
    /// The limit now; `None` if there is none.
    pub now: Option<u64>,
}

/// Raises the soft limit of open files to the hard limit.
///
/// The soft limit is commonly 1024, kept that low for programs that use `select`; servers are meant to raise it.
///
/// # Errors
///
/// The system refused. The limit is then unchanged, and running out of files is waited out as ever.
pub fn raise_nofile() -> io::Result<OpenFiles> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
        descriptors::limit();
    }
    Ok(OpenFiles { before: limit.current, now: limit.maximum })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Counts are per process, and these tests change them: nextest gives each test a process of its own.

    #[test]
    fn permits_stop_at_the_limit() {
        set_max_connections(2);
        let first = Permit::take().expect("works");
        let _second = Permit::take().expect("works");
        assert!(Permit::take().is_none());
        assert_eq!(open(), 2);

        drop(first);
        assert_eq!(open(), 1);
        assert!(Permit::take().is_some());
    }

    #[test]
    fn the_soft_limit_rises_to_the_hard_limit() {
        let maximum = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: Some(200), maximum }).expect("works");

        assert_eq!(raise_nofile().expect("works"), OpenFiles { before: Some(200), now: maximum });
        assert_eq!(getrlimit(Resource::Nofile).current, maximum);
    }
}
