//! The one thread that hashes passwords, and the queue before it.
//!
//! It takes less of a core than whatever else wants it. Of several networks each gets its turn, and in each of them each client,
//! whoever of them asks for how much; where the queue is full, who has most in it gives way to who has less. Hashes that are dear
//! ([`PasswordHash::concern`]) have a lane of their own, with its own room, and of the time, where others wait, at most half: so others
//! wait for one of them, not for all.
//!
//! **Invariants:** of each lane no more wait than it has room for, and one is hashed.
//! What nobody waits for any more is not hashed. Of a client, a password
//! counts as wrong once it was hashed and was wrong, and never otherwise; as one is hashed at a time, and looked at just before whether
//! there were too many, those that are sent at once are no more than those that are sent one after the other.

use std::fmt;
use std::net::Ipv6Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use std::thread::Builder;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::failures::Failures;
use crate::hash::PasswordHash;
use crate::htpasswd::StoredHash;
use crate::remembered::{Checks, Seal};
use crate::secret::Secret;

/// The most passwords that wait: some seconds' work.
const ROOM: usize = 64;

/// The most of those whose hashes are dear: some seconds' work, too.
const DEAR_ROOM: usize = 8;

/// How much further back than others the thread stands in line for a core.
const NICE: i32 = 5;

/// The wrong passwords of one client that are hashed, and the time after which one more is.
pub(crate) const HASHED: u32 = 20;
pub(crate) const EACH: Duration = Duration::from_secs(6);

/// The time between two lines of the log that tell of clients with too many.
const TELL: Duration = Duration::from_secs(10);

/// The bounds of what a client is told to wait when there is no room.
const MIN_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_mins(1);

/// What tells one client from another, as whoever asks counts them: IPv6 addresses, or the first parts of them; IPv4 ones are
/// mapped. By default it is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The client.
    pub host: [u8; 16],
    /// The network that it is in, with all that one can easily be; the client again if there is none.
    pub network: [u8; 16],
}

impl Scope {
    /// Whether it is known.
    pub(crate) fn is_known(self) -> bool {
        self != Self::default()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ipv6Addr::from(self.host).to_canonical().fmt(f)
    }
}

/// A password, and what it is to be checked against.
pub(crate) struct Attempt {
    pub(crate) scope: Scope,
    pub(crate) hash: StoredHash,
    /// Whether the hash is that of the user who is meant: another's takes as long, and lets nobody in.
    pub(crate) is_users: bool,
    pub(crate) password: Secret,
    /// Where it is remembered what comes of it, also if nobody waits for that any more; and as what, if there is a key for that.
    pub(crate) checks: Arc<Checks>,
    pub(crate) seal: Option<Seal>,
}

/// The reason why a password was not hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotHashed {
    /// Too many of this client were wrong: not before that time.
    TooMany(Duration),
    /// Too many wait: there should be room after that time.
    Busy(Duration),
}

type Hashed = Result<bool, NotHashed>;

static HASHING: Hashing = Hashing { queue: Mutex::new(Queue::new()), work: Condvar::new() };

/// The failures of all clients with all users: a guess here is a guess there.
static FAILURES: LazyLock<Failures<Scope>> = LazyLock::new(|| Failures::new(EACH, HASHED));

/// When it was last told that a client has too many.
static TOLD: Mutex<Option<Instant>> = Mutex::new(None);

struct Hashing {
    queue: Mutex<Queue>,
    work: Condvar,
}

struct Queue {
    jobs: Vec<Job>,
    usual: Lane,
    dear: Lane,
    runs: bool,
}

/// Hashes that take about as long as each other.
struct Lane {
    /// What one has taken of late.
    takes: Duration,
    /// What they have taken since there were only such.
    used: Duration,
}

impl Lane {
    const fn new() -> Self {
        Self { takes: Duration::ZERO, used: Duration::ZERO }
    }
}

struct Job {
    attempt: Attempt,
    is_dear: bool,
    /// How many of the same client were before it.
    own: usize,
    /// How many of the same network were: of each client in it at most as many as of its own, and one.
    turn: usize,
    done: oneshot::Sender<Hashed>,
}

impl Queue {
    const fn new() -> Self {
        Self { jobs: Vec::new(), usual: Lane::new(), dear: Lane::new(), runs: false }
    }

    /// Takes a job in; if there is no room, the time after which there should be.
    fn push(&mut self, attempt: Attempt, is_dear: bool) -> Result<oneshot::Receiver<Hashed>, Duration> {
        self.jobs.retain(|job| !job.done.is_closed());
        let Scope { host, network } = attempt.scope;
        let lane = |job: &Job| job.is_dear == is_dear;
        let count =
            |which: &dyn Fn(&Job) -> bool| self.jobs.iter().filter(|job| lane(job) && which(job)).count();
        let own = count(&|job| job.attempt.scope.host == host);
        let turn = count(&|job| job.attempt.scope.network == network && job.own <= own);
        if count(&|_| true) >= if is_dear { DEAR_ROOM } else { ROOM } {
            let last =
                self.jobs.iter().enumerate().filter(|(_, job)| lane(job)).max_by_key(|(_, job)| job.turn);
            match last {
                // Its sender is dropped: that is how it hears of it.
                Some((at, job)) if job.turn > turn => drop(self.jobs.remove(at)),
                _ => return Err(self.wait(is_dear)),
            }
        }
        let (done, result) = oneshot::channel();
        self.jobs.push(Job { attempt, is_dear, own, turn, done });
        Ok(result)
    }

    /// The next one: of the lane that has taken less time, the oldest of those whose networks have had the fewest turns.
    fn pop(&mut self) -> Option<Job> {
        self.jobs.retain(|job| !job.done.is_closed());
        let waits = |is_dear| self.jobs.iter().any(|job| job.is_dear == is_dear);
        let is_dear = match (waits(false), waits(true)) {
            (true, true) => self.dear.used < self.usual.used,
            (_, only_dear) => {
                // Nobody was held up by whatever has run.
                (self.usual.used, self.dear.used) = (Duration::ZERO, Duration::ZERO);
                only_dear
            }
        };
        let lane = self.jobs.iter().enumerate().filter(|(_, job)| job.is_dear == is_dear);
        let at = lane.min_by_key(|(_, job)| job.turn).map(|(at, _)| at)?;
        Some(self.jobs.remove(at))
    }

    /// The lane of hashes that are dear, or of the others.
    fn lane(&mut self, is_dear: bool) -> &mut Lane {
        if is_dear { &mut self.dear } else { &mut self.usual }
    }

    /// A hash has taken that time.
    fn took(&mut self, is_dear: bool, took: Duration) {
        let lane = self.lane(is_dear);
        lane.takes = if lane.takes.is_zero() { took } else { (lane.takes * 7 + took) / 8 };
        lane.used += took;
    }

    /// The time that what waits in a lane will take: the other has as much of it.
    fn wait(&self, is_dear: bool) -> Duration {
        let all = |lane: &Lane, is_dear| {
            let jobs = self.jobs.iter().filter(|job| job.is_dear == is_dear).count();
            lane.takes.saturating_mul(u32::try_from(jobs).unwrap_or(u32::MAX))
        };
        let (usual, dear) = (all(&self.usual, false), all(&self.dear, true));
        let (own, other) = if is_dear { (dear, usual) } else { (usual, dear) };
        own.saturating_add(other.min(own)).clamp(MIN_WAIT, MAX_WAIT)
    }
}

/// Whether a password is that of the user who is meant.
pub(crate) async fn verify(attempt: Attempt) -> Hashed {
    if let Some(wait) = too_many(attempt.scope) {
        return Err(NotHashed::TooMany(wait));
    }
    let is_dear = PasswordHash::stored(&attempt.hash).is_ok_and(|hash| hash.concern().is_some());
    let result = {
        let mut queue = HASHING.queue.lock();
        if !queue.runs {
            let started = Builder::new().name("medusa-auth".into()).spawn(|| HASHING.run());
            if let Err(error) = started {
                tracing::error!("nobody can log in: there is no thread to hash passwords on: {error}");
                return Err(NotHashed::Busy(MIN_WAIT));
            }
            queue.runs = true;
        }
        queue.push(attempt, is_dear).map_err(NotHashed::Busy)?
    };
    HASHING.work.notify_one();
    // Dropped without an answer: it had to give way.
    result.await.unwrap_or_else(|_dropped| Err(NotHashed::Busy(HASHING.queue.lock().wait(is_dear))))
}

/// The time that a client has to wait, if too many of its passwords were wrong. Of one that is not known nothing is counted: it
/// may be everybody.
pub(crate) fn too_many(client: Scope) -> Option<Duration> {
    let now = Instant::now();
    let too_many = client.is_known() && FAILURES.count(client, now) >= HASHED;
    too_many.then(|| FAILURES.until_fewer(client, HASHED, now))
}

/// A client was wrong once more.
pub(crate) fn add_wrong(client: Scope, now: Instant) {
    if client.is_known() {
        FAILURES.add(client, now);
        if FAILURES.count(client, now) >= HASHED {
            tell(client);
        }
    }
}

/// Tells that a client has too many, now and then.
fn tell(client: Scope) {
    let (mut told, now) = (TOLD.lock(), Instant::now());
    if told.is_none_or(|told| now.saturating_duration_since(told) >= TELL) {
        *told = Some(now);
        tracing::warn!("passwords from {client} are not looked at for now: {HASHED} were wrong");
    }
}

/// The wrong passwords of a client that count.
#[cfg(test)]
pub(crate) fn failures(client: Scope) -> u32 {
    FAILURES.count(client, Instant::now())
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
            let Job { attempt, is_dear, done, .. } = self.next();
            // The same may have been sent before by one that has gone.
            let remembered = attempt.seal.and_then(|seal| attempt.checks.remembered(&seal, Instant::now()));
            let hashed = match (remembered, too_many(attempt.scope)) {
                (Some(right), _) => Ok(right),
                (None, Some(wait)) => Err(NotHashed::TooMany(wait)),
                (None, None) => Ok(self.hash(&attempt, is_dear)),
            };
            // The client may have gone.
            let _gone = done.send(hashed);
        }
    }

    fn hash(&self, attempt: &Attempt, is_dear: bool) -> bool {
        let begun = Instant::now();
        let verified = catch_unwind(AssertUnwindSafe(|| {
            PasswordHash::stored(&attempt.hash).is_ok_and(|hash| hash.verify(attempt.password.bytes()))
        }));
        let fits = verified.unwrap_or_else(|_panic| {
            tracing::error!("a password could not be hashed, so it is taken for a wrong one");
            false
        });
        let now = Instant::now();
        self.queue.lock().took(is_dear, now.saturating_duration_since(begun));
        let right = fits && attempt.is_users;
        if let Some(seal) = attempt.seal {
            attempt.checks.remember(seal, right, now);
        }
        if !right {
            add_wrong(attempt.scope, now);
        }
        right
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

    fn attempt(scope: Scope, hash: &str, password: &str) -> Attempt {
        let (hash, password, checks) = (hash.into(), password.into(), Arc::default());
        Attempt { scope, hash, is_users: true, password, checks, seal: None }
    }

    fn push(queue: &mut Queue, client: u8) -> Result<oneshot::Receiver<Hashed>, Duration> {
        push_from(queue, client, client)
    }

    fn push_from(queue: &mut Queue, host: u8, network: u8) -> Result<oneshot::Receiver<Hashed>, Duration> {
        queue.push(attempt(Scope { host: [host; 16], network: [network; 16] }, SECRET, "secret"), false)
    }

    fn order(queue: &mut Queue) -> Vec<u8> {
        std::iter::from_fn(|| queue.pop()).map(|job| job.attempt.scope.host[0]).collect()
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
        queue.took(false, Duration::from_millis(100));
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
    fn a_network_has_no_more_of_it_than_an_address() {
        let mut queue = Queue::new();
        let waits: Vec<_> = (0..ROOM).map(|host| push_from(&mut queue, host as u8, 255)).collect();
        assert!(waits.iter().all(Result::is_ok));
        let newcomers: Vec<_> =
            [100, 101].map(|host| push_from(&mut queue, host, host)).into_iter().collect();
        assert!(newcomers.iter().all(Result::is_ok), "in the places of the network that has most");
        assert_eq!(queue.jobs.len(), ROOM);
        assert!(push_from(&mut queue, 99, 255).is_err(), "one more of the same");
        assert_eq!(order(&mut queue)[..4], [0, 100, 101, 1]);
    }

    #[test]
    fn of_a_network_each_client_gets_its_turn() {
        let mut queue = Queue::new();
        let waits: Vec<_> = (0..ROOM).map(|_| push_from(&mut queue, 1, 255)).collect();
        let others: Vec<_> = [2, 3].map(|host| push_from(&mut queue, host, 255)).into_iter().collect();
        assert!(others.iter().all(Result::is_ok), "in the places of the client that has most");
        assert_eq!(order(&mut queue)[..6], [1, 1, 2, 1, 3, 1]);
        drop(waits);
    }

    #[test]
    fn dear_hashes_have_room_and_time_of_their_own() {
        let (mut queue, second) = (Queue::new(), Duration::from_secs(1));
        let push_dear = |queue: &mut Queue, client: u8| {
            let scope = Scope { host: [client; 16], network: [client; 16] };
            queue.push(attempt(scope, SECRET, "secret"), true)
        };
        let mut waits: Vec<_> = (0..DEAR_ROOM as u8).map(|client| push_dear(&mut queue, client)).collect();
        assert!(waits.iter().all(Result::is_ok) && push_dear(&mut queue, 99).is_err());
        let next = |queue: &mut Queue, took| {
            let job = queue.pop().expect("one waits");
            queue.took(job.is_dear, took);
            job.is_dear
        };
        assert!(next(&mut queue, second), "they were first");
        waits.extend((100..110).map(|client| push(&mut queue, client)));
        assert!(waits.iter().all(Result::is_ok));
        // Nine take as long as the one that they waited for.
        for _ in 0..9 {
            assert!(!next(&mut queue, second / 9));
        }
        waits.push(push(&mut queue, 111));
        let is_dear: Vec<_> = (0..3).map(|_| next(&mut queue, second / 9)).collect();
        assert_eq!(is_dear.iter().filter(|is_dear| **is_dear).count(), 1, "{is_dear:?}");
        (queue.usual.takes, queue.dear.takes) = (second / 10, second);
        assert_eq!(queue.wait(true), second * 6);
        waits.extend((0..20).map(|client| push(&mut queue, client)));
        assert_eq!([queue.wait(true), queue.wait(false)], [second * 8, second * 4]);
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
        let verify = |hash: &str, password: &str| verify(attempt(Scope::default(), hash, password));
        assert_eq!(verify(SECRET, "secret").await, Ok(true));
        assert_eq!(verify(SECRET, "Secret").await, Ok(false));
        assert_eq!(verify("nonsense", "x").await, Ok(false));
        let anothers = Attempt { is_users: false, ..attempt(Scope::default(), SECRET, "secret") };
        assert_eq!(super::verify(anothers).await, Ok(false));
    }
}
