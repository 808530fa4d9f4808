//! The one thread that hashes passwords, and the queue before it.
//!
//! It takes less of a core than whatever else wants it. Of several clients each gets its turn, whoever of them asks for how
//! much; where the queue is full, who has most in it gives way to who has less.
//!
//! **Invariants:** at most [`ROOM`] wait, and one is hashed. What nobody waits for any more is not hashed.

use std::fmt;
use std::net::Ipv6Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::Builder;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::hash::PasswordHash;
use crate::htpasswd::StoredHash;
use crate::secret::Secret;

/// The most passwords that wait: some seconds' work.
const ROOM: usize = 64;

/// How much further back than others the thread stands in line for a core.
const NICE: i32 = 5;

/// The bounds of what a client is told to wait when there is no room.
const MIN_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_mins(1);

/// What tells one client from another, as whoever asks counts them: an IPv6 address, or the first part of it; IPv4 ones are
/// mapped. By default it is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Scope(pub [u8; 16]);

impl Scope {
    /// Whether it is known.
    pub(crate) fn is_known(self) -> bool {
        self != Self::default()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ipv6Addr::from(self.0).to_canonical().fmt(f)
    }
}

static HASHING: Hashing = Hashing { queue: Mutex::new(Queue::new()), work: Condvar::new() };

struct Hashing {
    queue: Mutex<Queue>,
    work: Condvar,
}

struct Queue {
    jobs: Vec<Job>,
    /// What a hash has taken of late.
    takes: Duration,
    runs: bool,
}

struct Job {
    scope: Scope,
    /// How many of the same client were before it.
    turn: usize,
    hash: StoredHash,
    password: Secret,
    done: oneshot::Sender<bool>,
}

impl Queue {
    const fn new() -> Self {
        Self { jobs: Vec::new(), takes: Duration::ZERO, runs: false }
    }

    /// Takes a job in; if there is no room, the time after which there should be.
    fn push(
        &mut self,
        scope: Scope,
        hash: StoredHash,
        password: Secret,
    ) -> Result<oneshot::Receiver<bool>, Duration> {
        self.jobs.retain(|job| !job.done.is_closed());
        let turn = self.jobs.iter().filter(|job| job.scope == scope).count();
        if self.jobs.len() >= ROOM {
            let last = self.jobs.iter().enumerate().max_by_key(|(_, job)| job.turn);
            match last {
                // Its sender is dropped: that is how it hears of it.
                Some((at, job)) if job.turn > turn => drop(self.jobs.remove(at)),
                _ => return Err(self.wait()),
            }
        }
        let (done, result) = oneshot::channel();
        self.jobs.push(Job { scope, turn, hash, password, done });
        Ok(result)
    }

    /// The next one: the oldest of those whose clients have had the fewest turns.
    fn pop(&mut self) -> Option<Job> {
        self.jobs.retain(|job| !job.done.is_closed());
        let at = self.jobs.iter().enumerate().min_by_key(|(_, job)| job.turn).map(|(at, _)| at)?;
        Some(self.jobs.remove(at))
    }

    /// The time that what waits will take.
    fn wait(&self) -> Duration {
        let jobs = u32::try_from(self.jobs.len()).unwrap_or(u32::MAX);
        self.takes.saturating_mul(jobs).clamp(MIN_WAIT, MAX_WAIT)
    }
}

/// Whether a password is what a stored hash was made of. If there is no room for it now, the time after which there should be.
pub(crate) async fn verify(scope: Scope, hash: StoredHash, password: Secret) -> Result<bool, Duration> {
    let result = {
        let mut queue = HASHING.queue.lock();
        if !queue.runs {
            let started = Builder::new().name("medusa-auth".into()).spawn(|| HASHING.run());
            if let Err(error) = started {
                tracing::error!("nobody can log in: there is no thread to hash passwords on: {error}");
                return Err(MIN_WAIT);
            }
            queue.runs = true;
        }
        queue.push(scope, hash, password)?
    };
    HASHING.work.notify_one();
    // Dropped without an answer: it had to give way.
    result.await.map_err(|_dropped| HASHING.queue.lock().wait())
}

/// The number of passwords that wait.
pub(crate) fn waiting() -> usize {
    HASHING.queue.lock().jobs.len()
}

impl Hashing {
    fn run(&self) -> ! {
        // Of this thread alone. Where it may not, it is like others.
        let _nice = rustix::process::setpriority_process(None, NICE);
        loop {
            let job = self.next();
            let begun = Instant::now();
            let verified = catch_unwind(AssertUnwindSafe(|| {
                PasswordHash::parse(&job.hash).is_ok_and(|hash| hash.verify(job.password.bytes()))
            }));
            let right = verified.unwrap_or_else(|_panic| {
                tracing::error!("a password could not be hashed, so it is taken for a wrong one");
                false
            });
            let took = begun.elapsed();
            let mut queue = self.queue.lock();
            queue.takes = if queue.takes.is_zero() { took } else { (queue.takes * 7 + took) / 8 };
            drop(queue);
            // The client may have gone.
            let _gone = job.done.send(right);
        }
    }

    fn next(&self) -> Job {
        let mut queue = self.queue.lock();
        loop {
            match queue.pop() {
                Some(job) => return job,
                None => self.work.wait(&mut queue),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::SECRET;

    fn push(queue: &mut Queue, client: u8) -> Result<oneshot::Receiver<bool>, Duration> {
        queue.push(Scope([client; 16]), SECRET.into(), "secret".into())
    }

    fn order(queue: &mut Queue) -> Vec<u8> {
        std::iter::from_fn(|| queue.pop()).map(|job| job.scope.0[0]).collect()
    }

    #[test]
    fn each_client_gets_its_turn() {
        let mut queue = Queue::new();
        let waits: Vec<_> = [1, 1, 1, 2, 3, 2].map(|client| push(&mut queue, client)).into_iter().collect();
        assert_eq!(order(&mut queue), [1, 2, 3, 1, 2, 1]);
        drop(waits);
    }

    #[test]
    fn who_asks_for_most_gives_way() {
        let mut queue = Queue::new();
        queue.takes = Duration::from_millis(100);
        let mut waits: Vec<_> = (0..ROOM).map(|_| push(&mut queue, 1).expect("room")).collect();
        // Seven seconds' work, and no place for more of the same.
        assert_eq!(push(&mut queue, 1).expect_err("full"), Duration::from_millis(6400));
        let other = push(&mut queue, 2).expect("room for another");
        assert_eq!(queue.jobs.len(), ROOM);
        assert!(
            waits
                .pop()
                .expect("the last")
                .try_recv()
                .is_err_and(|error| error == oneshot::error::TryRecvError::Closed)
        );
        assert_eq!(order(&mut queue)[..3], [1, 2, 1]);
        drop((waits, other));
    }

    #[test]
    fn what_nobody_waits_for_is_not_hashed() {
        let mut queue = Queue::new();
        let mut waits: Vec<_> = (0..ROOM).map(|_| push(&mut queue, 1).expect("room")).collect();
        waits.truncate(1);
        let more = push(&mut queue, 1).expect("room again");
        assert_eq!(queue.jobs.len(), 2);
        drop(more);
        assert_eq!(order(&mut queue), [1]);
    }

    #[tokio::test]
    async fn a_password_is_verified_on_the_thread() {
        let verify = |password: &str| verify(Scope::default(), SECRET.into(), password.into());
        assert_eq!(verify("secret").await, Ok(true));
        assert_eq!(verify("Secret").await, Ok(false));
        assert_eq!(super::verify(Scope::default(), "nonsense".into(), "x".into()).await, Ok(false));
    }
}
