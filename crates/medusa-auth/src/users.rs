//! Users, of a table, of a file that is looked at anew as it changes, or such as somebody else knows, and the check of one's password.
//!
//! - [`digest`]: that of an answer that is made with a password;
//! - [`asked`]: that by somebody who is asked, a function of the script;
//! - [`certificates`]: users who come with a certificate.
//!
//! **Invariants:**
//! - a wrong password takes as long as an unknown user, and guesses of one client end soon; who is known to be right is let in all
//!   the same, whatever others at the same address do, and waits only where that very name is guessed from there;
//! - a version of the file that is not understood takes no effect: what was understood last stays.

mod asked;
mod certificates;
mod digest;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use medusa_files::{FileStamp, OwnKind, OwnPath};
use medusa_proto::status::Status;
use medusa_proto::{hex, with_causes};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use self::asked::Asked;
pub use self::asked::Secrets;
pub use self::certificates::{CertificateName, CertificateUsers};
use crate::failures::Failures;
use crate::file::{self, FileError};
use crate::hashing::{self, Attempt, EACH, NotHashed, Scope};
use crate::htdigest;
use crate::htpasswd::{self, Htpasswd, MAX_USERS, StoredHash, WrongLines};
use crate::remembered::{Checks, Seal, seal};
use crate::secret::Secret;
use crate::table::UserTable;

/// The time between two looks at a file.
const LOOK: Duration = Duration::from_secs(1);

/// The longest that a request waits for such a look. A file system that does not answer keeps what was understood last.
const LOOK_WAIT: Duration = Duration::from_secs(1);

/// The passwords for one name that a client sends after too many wrong ones, until they are looked up slowly, right and wrong ones
/// alike: where that user is known, others could guess as fast as they are looked up.
const LOOKED_UP: u32 = 100;

/// The time that it takes then, and the most that wait for it at a time: so such guesses are no more than the thread that hashes
/// would take.
const SLOW: Duration = Duration::from_secs(1);
static SLOWED: Semaphore = Semaphore::const_new(32);

/// Those that were not hashed, of each client for each name.
static GUESSED: LazyLock<Failures<Seal>> = LazyLock::new(|| Failures::new(EACH, LOOKED_UP));

/// The users there are, by what they are made of: of one file there is one.
static MADE: Mutex<Option<HashMap<String, Weak<Users>>>> = Mutex::new(None);

/// Users with their passwords.
#[derive(Debug)]
pub struct Users {
    table: ArcSwap<UserTable>,
    source: Source,
    checks: Arc<Checks>,
    under_way: Mutex<HashMap<Seal, watch::Receiver<Option<Verdict>>>>,
    counts: UserCounts,
}

/// What users come of.
#[derive(Debug)]
enum Source {
    Table,
    File(UserFile),
    /// Whoever is asked.
    Asked(Asked),
    Certificates(CertificateUsers),
}

/// What stands in a file.
#[derive(Debug)]
enum Format {
    Htpasswd,
    /// Of the users those of a realm are taken.
    Htdigest {
        realm: Box<str>,
    },
}

impl Format {
    fn parse(&self, bytes: &[u8], name: &str) -> Result<Htpasswd, WrongLines> {
        match self {
            Self::Htpasswd => htpasswd::parse(bytes, name),
            Self::Htdigest { realm } => htdigest::parse(bytes, name, realm),
        }
    }
}

#[derive(Debug)]
struct UserFile {
    path: OwnPath,
    format: Format,
    looked: Mutex<Instant>,
    /// Whose turn it is to look.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// The version that was last looked into, whatever came of it; none if another might look the same.
    stamp: Mutex<Option<FileStamp>>,
    /// What is wrong with the version that is there.
    trouble: Mutex<Option<String>>,
    /// Whether one was ever taken.
    taken: AtomicBool,
}

#[derive(Debug, Default)]
struct UserCounts {
    right: AtomicU64,
    stale: AtomicU64,
    wrong: AtomicU64,
    wrong_tokens: AtomicU64,
    refused: AtomicU64,
    busy: AtomicU64,
}

/// What comes of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The password is that user's.
    Right(Arc<str>),
    /// It is, and what proves it has been sent before, or is too old: the client is to make another proof.
    Stale,
    /// It is not, or there is no such user.
    Wrong,
    /// It was not looked at, as this client has sent too many wrong ones: not before that time.
    TooMany(Duration),
    /// It was not looked at, as too many others are: there should be room after that time.
    Busy(Duration),
}

/// The reason why users cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// Their file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Lines of it, or an entry of their table.
    #[error("{0}")]
    Wrong(String),
}

impl Users {
    /// The most there can be.
    pub const MOST: usize = MAX_USERS;

    /// The users of a table: names, and hashes of passwords.
    ///
    /// # Errors
    ///
    /// The first entry that is not understood.
    pub fn of_table<'a>(
        entries: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Arc<Self>, UsersError> {
        let parsed = htpasswd::of_entries(entries).map_err(UsersError::Wrong)?;
        let mut entries: Vec<_> = parsed.users.iter().collect();
        entries.sort_by_key(|(user, _)| *user);
        let parts: Vec<&[u8]> =
            entries.into_iter().flat_map(|(user, hash)| [user.as_bytes(), hash.as_bytes()]).collect();
        let key = seal(&parts).map(|seal| format!("table\0{}", hex::lower(&seal)));
        let make = || {
            for concern in &parsed.concerns {
                tracing::warn!("{concern}");
            }
            Arc::new(Self::new(parsed.users, Source::Table))
        };
        Ok(match key {
            Some(key) => made(key, make),
            None => make(),
        })
    }

    /// The users of a file. It is read here, and looked at again as they are asked for.
    ///
    /// # Errors
    ///
    /// It cannot be read, or a line of it is not understood.
    pub fn of_file(path: &Path) -> Result<Arc<Self>, UsersError> {
        Self::of_file_like(path, "file\0", Format::Htpasswd)
    }

    /// The users of a `realm` in a file as Apache's `htdigest` makes them.
    ///
    /// # Errors
    ///
    /// It cannot be read, a line of it is not understood, or there can be no such realm.
    pub fn of_htdigest(path: &Path, realm: &str) -> Result<Arc<Self>, UsersError> {
        htdigest::check_realm(realm).map_err(UsersError::Wrong)?;
        Self::of_file_like(path, &format!("htdigest\0{realm}\0"), Format::Htdigest { realm: realm.into() })
    }

    fn of_file_like(path: &Path, key: &str, format: Format) -> Result<Arc<Self>, UsersError> {
        // Outside of the lock that `made` holds.
        let own = OwnPath::new(path, OwnKind::Users);
        let users = made(format!("{key}{}", path.as_os_str().as_encoded_bytes().escape_ascii()), || {
            let file = UserFile {
                path: own,
                format,
                looked: Mutex::new(Instant::now()),
                turn: Arc::default(),
                stamp: Mutex::default(),
                trouble: Mutex::default(),
                taken: AtomicBool::new(false),
            };
            Arc::new(Self::new(HashMap::new(), Source::File(file)))
        });
        users.look()?;
        Ok(users)
    }

    fn new(users: htpasswd::Stored, source: Source) -> Self {
        Self {
            table: ArcSwap::from_pointee(UserTable::new(users)),
            source,
            checks: Arc::default(),
            under_way: Mutex::default(),
            counts: UserCounts::default(),
        }
    }

    /// Checks the password of a user, sent by a client.
    pub async fn verify(self: &Arc<Self>, client: Scope, user: &str, password: Secret) -> Verdict {
        let verdict = self.check(client, user, password).await;
        self.count(&verdict);
        verdict
    }

    fn count(&self, verdict: &Verdict) {
        let count = match verdict {
            Verdict::Right(_) => &self.counts.right,
            Verdict::Stale => &self.counts.stale,
            Verdict::Wrong => &self.counts.wrong,
            Verdict::TooMany(_) => &self.counts.refused,
            Verdict::Busy(_) => &self.counts.busy,
        };
        count.fetch_add(1, Relaxed);
    }

    fn file(&self) -> Option<&UserFile> {
        if let Source::File(file) = &self.source { Some(file) } else { None }
    }

    /// Finds out whose a token is.
    pub async fn verify_token(self: &Arc<Self>, token: &[u8]) -> Verdict {
        let table = self.current().await;
        let verdict =
            table.whose_token(token).map_or(Verdict::Wrong, |user| Verdict::Right(Arc::clone(user)));
        let count = if verdict == Verdict::Wrong { &self.counts.wrong_tokens } else { &self.counts.right };
        count.fetch_add(1, Relaxed);
        verdict
    }

    /// A user's name, and what is stored of the password, as the file has it now.
    pub(crate) async fn stored(self: &Arc<Self>, user: &str) -> Option<(Arc<str>, StoredHash)> {
        let table = self.current().await;
        table.users().get_key_value(user).map(|(user, stored)| (Arc::clone(user), stored.clone()))
    }

    /// Whether any of them has a token, or may have.
    pub fn have_tokens(&self) -> bool {
        self.asked_secrets() == Some(Secrets::Tokens) || self.table.load().has_tokens()
    }

    async fn check(self: &Arc<Self>, client: Scope, user: &str, password: Secret) -> Verdict {
        let table = self.current().await;
        // Git and WebDAV clients send a token as a password.
        if let Some(name) = table.whose_token(password.bytes()).filter(|name| ***name == *user) {
            return Verdict::Right(Arc::clone(name));
        }
        let (hash, name) = table.hash(user);
        let verdict = |hashed: Result<bool, NotHashed>| match (hashed, name) {
            (Ok(true), Some(name)) => Verdict::Right(Arc::clone(name)),
            (Ok(_), _) => Verdict::Wrong,
            (Err(NotHashed::TooMany(wait)), _) => Verdict::TooMany(wait),
            (Err(NotHashed::Busy(wait)), _) => Verdict::Busy(wait),
        };
        let is_known: &[u8] = if name.is_some() { b"known" } else { b"" };
        let seal = seal(&[&client.host, user.as_bytes(), is_known, hash.as_bytes(), password.bytes()]);
        let (scope, hash, is_users, checks) =
            (client, hash.clone(), name.is_some(), Arc::clone(&self.checks));
        let attempt = Attempt { scope, hash, is_users, password, checks, seal };
        let Some(seal) = seal else {
            return verdict(hashing::verify(attempt).await);
        };
        if let Err(wait) = slow_down(client, user).await {
            return Verdict::Busy(wait);
        }
        if let Some(right) = self.checks.remembered(&seal, Instant::now()) {
            return verdict(Ok(right));
        }
        let lead = loop {
            let mut other = match self.lead(seal) {
                Ok(lead) => break lead,
                Err(other) => other,
            };
            // Whoever asked the same first may have gone: then it is asked anew.
            if let Ok(told) = other.wait_for(Option::is_some).await
                && let Some(verdict) = &*told
            {
                return verdict.clone();
            }
        };
        let hashed = hashing::verify(attempt).await;
        if let Err(NotHashed::TooMany(_)) = hashed {
            add_guess(client, user);
        }
        let came = verdict(hashed);
        lead.tell(came.clone());
        came
    }

    /// Whoever is the first to have something checked leads; others are told what comes of it.
    fn lead(&self, seal: Seal) -> Result<Lead<'_>, watch::Receiver<Option<Verdict>>> {
        let mut under_way = self.under_way.lock();
        if let Some(other) = under_way.get(&seal) {
            return Err(other.clone());
        }
        let (told, others) = watch::channel(None);
        under_way.insert(seal, others);
        Ok(Lead { users: self, seal, told })
    }

    /// The users, as the file has them now.
    async fn current(self: &Arc<Self>) -> Arc<UserTable> {
        if let Some(file) = self.file()
            && file.is_due()
        {
            let look = async {
                let turn = Arc::clone(&file.turn).lock_owned().await;
                if !file.is_due() {
                    return;
                }
                let users = Arc::clone(self);
                let look = spawn_blocking(move || {
                    // What is wrong was told, and the status has it.
                    let _told = users.look();
                    drop(turn);
                });
                // It does not panic.
                let _looked = look.await;
            };
            if timeout(LOOK_WAIT, look).await.is_err() {
                file.looked_now();
            }
        }
        self.table.load_full()
    }

    /// Looks whether the file has changed, and reads it if so.
    fn look(&self) -> Result<(), UsersError> {
        let Some(file) = self.file() else { return Ok(()) };
        let mut stamp = file.stamp.lock();
        let read = file.read_anew(&mut stamp);
        let mut trouble = file.trouble.lock();
        let looked = match read {
            Ok(None) => trouble.clone().map_or(Ok(()), |told| Err(UsersError::Wrong(told))),
            Ok(Some((parsed, mode))) => {
                let told = trouble.take();
                self.take(file, parsed, mode, told.is_some());
                Ok(())
            }
            Err(error) => {
                let told = with_causes(&error);
                if trouble.as_ref() != Some(&told) && file.taken.load(Relaxed) {
                    tracing::error!("the users of {} stay as they were: {told}", file.path.display());
                }
                *trouble = Some(told);
                Err(error)
            }
        };
        drop((trouble, stamp));
        file.looked_now();
        looked
    }

    /// Takes over what a file says.
    fn take(&self, file: &UserFile, parsed: Htpasswd, mode: u32, had_trouble: bool) {
        let table = self.table.load();
        let taken_before = file.taken.swap(true, Relaxed);
        if *table.users() == parsed.users && !had_trouble && taken_before {
            return;
        }
        let path = file.path.display();
        let is_read = mode & 0o004 != 0 && matches!(file.format, Format::Htdigest { .. });
        if mode & 0o002 != 0 {
            tracing::warn!(
                "everybody on this machine may write {path}, and so log in as anybody: `chmod o-w {path}`"
            );
        } else if is_read {
            tracing::warn!(
                "everybody on this machine may read {path}, and so log in as anybody, as hashes of Digest are as good as \
                 passwords: `chmod o-r {path}`"
            );
        }
        for concern in &parsed.concerns {
            tracing::warn!("{concern}");
        }
        if taken_before {
            tracing::info!("{path} was read anew: {} users", parsed.users.len());
        }
        self.table.store(Arc::new(UserTable::new(parsed.users)));
    }

    /// Itself, and what came of the checks.
    pub fn status(&self) -> Status {
        let count = |count: &AtomicU64| count.load(Relaxed);
        let table = self.table.load();
        let status = match &self.source {
            Source::Table => Status::new("auth.users", ""),
            Source::File(file) => {
                let kind = match file.format {
                    Format::Htpasswd => "auth.htpasswd",
                    Format::Htdigest { .. } => "auth.htdigest",
                };
                Status::new(kind, file.path.display().to_string())
                    .maybe("trouble", file.trouble.lock().clone())
            }
            Source::Asked(asked) => return self.count_in(asked.status()),
            Source::Certificates(_) => {
                return Status::new("auth.certificates", "")
                    .counter("logins", count(&self.counts.right))
                    .counter("wrong_certificates", count(&self.counts.wrong));
            }
        };
        self.count_in(status.gauge("users", table.users().len()))
            .maybe_counter("stale", self.realm().map(|_| count(&self.counts.stale)))
            .maybe_counter("wrong_tokens", table.has_tokens().then(|| count(&self.counts.wrong_tokens)))
            .gauge("remembered", self.checks.known_right())
            .gauge("waiting", hashing::waiting())
    }

    /// What came of checks of passwords.
    fn count_in(&self, status: Status) -> Status {
        let count = |count: &AtomicU64| count.load(Relaxed);
        status
            .counter("logins", count(&self.counts.right))
            .counter("wrong_passwords", count(&self.counts.wrong))
            .counter("too_many", count(&self.counts.refused))
            .counter("busy", count(&self.counts.busy))
    }
}

impl UserFile {
    fn is_due(&self) -> bool {
        self.looked.lock().elapsed() >= LOOK
    }

    fn looked_now(&self) {
        *self.looked.lock() = Instant::now();
    }

    /// What the file says, and its permissions; none if it has not changed.
    fn read_anew(&self, stamp: &mut Option<FileStamp>) -> Result<Option<(Htpasswd, u32)>, UsersError> {
        let known = stamp.take();
        if known.is_some() && Some(file::stamp(&self.path)?) == known {
            *stamp = known;
            return Ok(None);
        }
        let read = file::read(&self.path)?;
        *stamp = read.stamp;
        let name = self.path.display().to_string();
        let parsed =
            self.format.parse(&read.bytes, &name).map_err(|wrong| UsersError::Wrong(wrong.told(&name)))?;
        Ok(Some((parsed, read.mode)))
    }
}

/// A check that others may wait for.
struct Lead<'a> {
    users: &'a Users,
    seal: Seal,
    told: watch::Sender<Option<Verdict>>,
}

impl Lead<'_> {
    fn tell(self, verdict: Verdict) {
        self.told.send_replace(Some(verdict));
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.users.under_way.lock().remove(&self.seal);
    }
}

/// A client sent one more password for a name that was not hashed.
fn add_guess(client: Scope, user: &str) {
    if let Some(guessed) = seal(&[&client.host, user.as_bytes()]) {
        GUESSED.add(guessed, Instant::now());
    }
}

/// Waits, before what is remembered is looked up, where a client guesses at that name; if too many wait, it is to come later.
async fn slow_down(client: Scope, user: &str) -> Result<(), Duration> {
    // As long as its wrong passwords are hashed, it learns nothing any sooner.
    let guessed = hashing::too_many(client).and_then(|_wait| seal(&[&client.host, user.as_bytes()]));
    if guessed.is_some_and(|guessed| GUESSED.count(guessed, Instant::now()) >= LOOKED_UP) {
        let _place = SLOWED.try_acquire().map_err(|_full| SLOW)?;
        sleep(SLOW).await;
    }
    Ok(())
}

/// The users made of `key`, if there still are some, or new ones.
fn made(key: String, make: impl FnOnce() -> Arc<Users>) -> Arc<Users> {
    let mut made = MADE.lock();
    let made = made.get_or_insert_default();
    if let Some(users) = made.get(&key).and_then(Weak::upgrade) {
        return users;
    }
    made.retain(|_, users| users.strong_count() > 0);
    let users = make();
    made.insert(key, Arc::downgrade(&users));
    users
}

#[cfg(test)]
mod tests;
