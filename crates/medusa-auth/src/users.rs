//! Users, of a table or of a file that is looked at anew as it changes, and the check of one's password.
//!
//! **Invariants:**
//! - a wrong password takes as long as an unknown user, and guesses of one client end soon; who is known to be right waits for
//!   none of that;
//! - a version of the file that is not understood takes no effect: what was understood last stays.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use medusa_proto::status::Status;
use medusa_proto::{hex, with_causes};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::failures::Failures;
use crate::file::{self, FileError, Stamp};
use crate::hashing::{self, Scope};
use crate::htpasswd::{self, Htpasswd, MAX_USERS};
use crate::remembered::{Seal, seal};
use crate::secret::Secret;
use crate::table::UserTable;

/// The time between two looks at a file.
const LOOK: Duration = Duration::from_secs(1);

/// The longest that a request waits for such a look. A file system that does not answer keeps what was understood last.
const LOOK_WAIT: Duration = Duration::from_secs(1);

/// The wrong passwords that one client may send, and the time after which it may send one more.
const HASHED: u32 = 20;
const EACH: Duration = Duration::from_secs(6);

/// The wrong passwords of one client after which not even those are let in that are known to be right: among them it could
/// guess as fast as they are looked up.
const LOOKED_UP: u32 = 100;

/// The time between two lines of the log that tell of clients with too many.
const TELL: Duration = Duration::from_secs(10);

/// The failures of all clients with all users: a guess here is a guess there.
static FAILURES: LazyLock<Failures<Scope>> = LazyLock::new(|| Failures::new(EACH, LOOKED_UP));

/// When it was last told that a client has too many.
static TOLD: Mutex<Option<Instant>> = Mutex::new(None);

/// The users there are, by what they are made of: of one file there is one.
static MADE: Mutex<Option<HashMap<String, Weak<Users>>>> = Mutex::new(None);

/// Users with their passwords.
#[derive(Debug)]
pub struct Users {
    table: ArcSwap<UserTable>,
    file: Option<UserFile>,
    under_way: Mutex<HashMap<Seal, watch::Receiver<Option<Verdict>>>>,
    counts: UserCounts,
}

#[derive(Debug)]
struct UserFile {
    path: PathBuf,
    looked: Mutex<Instant>,
    /// Whose turn it is to look.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// The version that was last looked into, whatever came of it; none if another might look the same.
    stamp: Mutex<Option<Stamp>>,
    /// What is wrong with the version that is there.
    trouble: Mutex<Option<String>>,
    /// Whether one was ever taken.
    taken: AtomicBool,
}

#[derive(Debug, Default)]
struct UserCounts {
    right: AtomicU64,
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
            Arc::new(Self::new(parsed.users, None))
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
        let users = made(format!("file\0{}", path.as_os_str().as_encoded_bytes().escape_ascii()), || {
            let file = UserFile {
                path: path.to_owned(),
                looked: Mutex::new(Instant::now()),
                turn: Arc::default(),
                stamp: Mutex::default(),
                trouble: Mutex::default(),
                taken: AtomicBool::new(false),
            };
            Arc::new(Self::new(HashMap::new(), Some(file)))
        });
        users.look()?;
        Ok(users)
    }

    fn new(users: htpasswd::Stored, file: Option<UserFile>) -> Self {
        Self {
            table: ArcSwap::from_pointee(UserTable::new(users)),
            file,
            under_way: Mutex::default(),
            counts: UserCounts::default(),
        }
    }

    /// Checks the password of a user, sent by a client.
    pub async fn verify(self: &Arc<Self>, client: Scope, user: &str, password: Secret) -> Verdict {
        let verdict = self.check(client, user, password).await;
        let count = match verdict {
            Verdict::Right(_) => &self.counts.right,
            Verdict::Wrong => &self.counts.wrong,
            Verdict::TooMany(_) => &self.counts.refused,
            Verdict::Busy(_) => &self.counts.busy,
        };
        count.fetch_add(1, Relaxed);
        verdict
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

    /// Whether any of them has a token.
    pub fn have_tokens(&self) -> bool {
        self.table.load().has_tokens()
    }

    async fn check(self: &Arc<Self>, client: Scope, user: &str, password: Secret) -> Verdict {
        let now = Instant::now();
        if let Some(wait) = too_many(client, LOOKED_UP, now) {
            return Verdict::TooMany(wait);
        }
        let table = self.current().await;
        let (hash, name) = table.hash(user);
        let verdict = |fits: bool| match name {
            Some(name) if fits => Verdict::Right(Arc::clone(name)),
            _ => Verdict::Wrong,
        };
        let Some(seal) = seal(&[&client.0, user.as_bytes(), hash.as_bytes(), password.bytes()]) else {
            return self.hash(client, hash, password, verdict).await;
        };
        if let Some(right) = table.remembered(&seal, now) {
            return verdict(right);
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
        let came = self.hash(client, hash, password, verdict).await;
        match &came {
            Verdict::Right(_) => table.remember(seal, true, Instant::now()),
            Verdict::Wrong => table.remember(seal, false, Instant::now()),
            Verdict::TooMany(_) | Verdict::Busy(_) => {}
        }
        lead.tell(came.clone());
        came
    }

    /// Has a password hashed, unless there were too many before it.
    async fn hash(
        &self,
        client: Scope,
        hash: &htpasswd::StoredHash,
        password: Secret,
        verdict: impl Fn(bool) -> Verdict,
    ) -> Verdict {
        let now = Instant::now();
        let too_many = too_many(client, HASHED, now);
        if client.is_known() {
            // Until it is right, it counts as wrong, lest many are sent at a time.
            FAILURES.add(client, now);
        }
        if let Some(wait) = too_many {
            tell(client, now);
            return Verdict::TooMany(wait);
        }
        let verified = hashing::verify(client, hash.clone(), password).await;
        let came = verified.map_or_else(Verdict::Busy, verdict);
        if came != Verdict::Wrong && client.is_known() {
            FAILURES.take_back(client, Instant::now());
        }
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
        if let Some(file) = &self.file
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
        let Some(file) = &self.file else { return Ok(()) };
        let mut stamp = file.stamp.lock();
        let read = file.read_anew(&mut stamp);
        let mut trouble = file.trouble.lock();
        let looked = match read {
            Ok(None) => trouble.clone().map_or(Ok(()), |told| Err(UsersError::Wrong(told))),
            Ok(Some((parsed, open_to_others))) => {
                let told = trouble.take();
                self.take(file, parsed, open_to_others, told.is_some());
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
    fn take(&self, file: &UserFile, parsed: Htpasswd, open_to_others: bool, had_trouble: bool) {
        let table = self.table.load();
        let taken_before = file.taken.swap(true, Relaxed);
        if *table.users() == parsed.users && !had_trouble && taken_before {
            return;
        }
        let path = file.path.display();
        if open_to_others {
            tracing::warn!(
                "everybody on this machine may write {path}, and so log in as anybody: `chmod o-w {path}`"
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
        let status = match &self.file {
            Some(file) => Status::new("auth.htpasswd", file.path.display().to_string())
                .maybe("trouble", file.trouble.lock().clone()),
            None => Status::new("auth.users", ""),
        };
        status
            .gauge("users", table.users().len())
            .counter("logins", count(&self.counts.right))
            .counter("wrong_passwords", count(&self.counts.wrong))
            .maybe_counter("wrong_tokens", table.has_tokens().then(|| count(&self.counts.wrong_tokens)))
            .counter("too_many", count(&self.counts.refused))
            .counter("busy", count(&self.counts.busy))
            .gauge("remembered", table.known_right())
            .gauge("waiting", hashing::waiting())
    }
}

impl UserFile {
    fn is_due(&self) -> bool {
        self.looked.lock().elapsed() >= LOOK
    }

    fn looked_now(&self) {
        *self.looked.lock() = Instant::now();
    }

    /// What the file says, and whether others may write it; none if it has not changed.
    fn read_anew(&self, stamp: &mut Option<Stamp>) -> Result<Option<(Htpasswd, bool)>, UsersError> {
        let known = stamp.take();
        if known.is_some() && Some(Stamp::now(&self.path)?) == known {
            *stamp = known;
            return Ok(None);
        }
        let read = file::read(&self.path)?;
        *stamp = read.stamp;
        let name = self.path.display().to_string();
        let parsed =
            htpasswd::parse(&read.bytes, &name).map_err(|wrong| UsersError::Wrong(wrong.told(&name)))?;
        Ok(Some((parsed, read.mode & 0o002 != 0)))
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

/// The time that a client has to wait, if as many of its passwords were wrong. Of one that is not known nothing is counted: it
/// may be everybody.
fn too_many(client: Scope, allowed: u32, now: Instant) -> Option<Duration> {
    let too_many = client.is_known() && FAILURES.count(client, now) >= allowed;
    too_many.then(|| FAILURES.until_fewer(client, allowed, now))
}

/// Tells that a client has too many, now and then.
fn tell(client: Scope, now: Instant) {
    let mut told = TOLD.lock();
    if told.is_none_or(|told| now.saturating_duration_since(told) >= TELL) {
        *told = Some(now);
        tracing::warn!("passwords from {client} are not looked at for now: {HASHED} were wrong");
    }
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
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::examples::{SECRET, SECRET_5, TOKEN};

    /// A client of which nothing is known yet.
    fn client(number: u8) -> Scope {
        Scope([number; 16])
    }

    fn right(user: &str) -> Verdict {
        Verdict::Right(user.into())
    }

    #[tokio::test]
    async fn a_password_is_its_users() {
        let users = Users::of_table([("ada", SECRET), ("bob", SECRET_5)]).expect("users");
        let verify = async |user: &str, password: &str| users.verify(client(1), user, password.into()).await;
        for _ in 0..2 {
            assert_eq!(verify("ada", "secret").await, right("ada"));
            assert_eq!(verify("bob", "secret").await, right("bob"));
            assert_eq!(verify("bob", "Secret").await, Verdict::Wrong);
            assert_eq!(verify("eve", "secret").await, Verdict::Wrong);
            assert_eq!(verify("", "").await, Verdict::Wrong);
        }
        // Each was hashed once.
        assert_eq!(users.table.load().known_right(), 2);
        assert_eq!(FAILURES.count(client(1), Instant::now()), 3);
        let shown = format!("{users:?} {}", users.status());
        assert!(shown.contains("ada") && !shown.contains("$2y$") && !shown.contains("secret"), "{shown}");
    }

    #[tokio::test]
    async fn a_token_is_its_users() {
        let users = Users::of_table([("ci", TOKEN), ("ada", SECRET)]).expect("users");
        assert!(users.have_tokens());
        assert_eq!(users.verify_token(b"secret").await, right("ci"));
        assert_eq!(users.verify_token(b"guess").await, Verdict::Wrong);
        // Git and WebDAV clients send it as a password.
        assert_eq!(users.verify(client(8), "ci", "secret".into()).await, right("ci"));
        assert!(users.status().to_string().contains("wrong_tokens     1"), "{}", users.status());
    }

    #[tokio::test]
    async fn the_same_table_is_the_same_users() {
        let [one, same] = [1, 2].map(|_| Users::of_table([("ada", SECRET), ("bob", SECRET)]).expect("users"));
        let turned = Users::of_table([("bob", SECRET), ("ada", SECRET)]).expect("users");
        let other = Users::of_table([("ada", SECRET), ("bob", SECRET_5)]).expect("users");
        assert!(Arc::ptr_eq(&one, &same) && Arc::ptr_eq(&one, &turned) && !Arc::ptr_eq(&one, &other));
        assert!(Users::of_table([("ada", "x")]).expect_err("no hash").to_string().starts_with("ada: "));
    }

    #[tokio::test]
    async fn who_guesses_is_not_looked_at_and_hinders_nobody_else() {
        let users = Users::of_table([("ada", SECRET)]).expect("users");
        let verify = async |from: u8, password: String| {
            users.verify(client(from), "ada", password.as_str().into()).await
        };
        assert_eq!(verify(2, "secret".into()).await, right("ada"));
        for guess in 0..HASHED {
            assert_eq!(verify(2, format!("guess {guess}")).await, Verdict::Wrong);
        }
        for guess in HASHED..LOOKED_UP {
            // What is known to be wrong is still told so, and costs nothing.
            assert_eq!(verify(2, "guess 0".into()).await, Verdict::Wrong);
            assert_eq!(verify(2, "secret".into()).await, right("ada"));
            let Verdict::TooMany(wait) = verify(2, format!("guess {guess}")).await else { panic!("{guess}") };
            assert!(wait <= EACH * (guess - HASHED + 1), "{wait:?}");
        }
        let Verdict::TooMany(wait) = verify(2, "secret".into()).await else { panic!("looked up") };
        assert!(wait <= EACH, "{wait:?}");
        // From elsewhere she is let in, and of somebody who is not known nothing is counted.
        assert_eq!(verify(3, "secret".into()).await, right("ada"));
        for guess in 0..2 * LOOKED_UP {
            let verdict = users.verify(Scope::default(), "ada", format!("{guess}").as_str().into()).await;
            assert_eq!(verdict, Verdict::Wrong);
        }
    }

    #[tokio::test]
    async fn what_is_asked_at_once_is_hashed_once() {
        let users = Users::of_table([("bob", SECRET_5)]).expect("users");
        let verify = || users.verify(client(4), "bob", "secret".into());
        let (one, two, three) = tokio::join!(verify(), verify(), verify());
        assert_eq!([one, two, three], [1, 2, 3].map(|_| right("bob")));
        let wrong = || users.verify(client(4), "bob", "wrong".into());
        let (one, two) = tokio::join!(wrong(), wrong());
        assert_eq!([one, two], [Verdict::Wrong, Verdict::Wrong]);
        assert_eq!(FAILURES.count(client(4), Instant::now()), 1);
        assert!(users.under_way.lock().is_empty());
    }

    #[tokio::test]
    async fn a_check_goes_on_when_who_asked_first_has_gone() {
        // It takes long enough for the first to be gone before.
        let dear = SECRET.replace("$04$", "$10$");
        let users = Users::of_table([("carol", &*dear)]).expect("users");
        let first = users.verify(client(5), "carol", "x".into());
        let second = users.verify(client(5), "carol", "x".into());
        tokio::select! {
            biased;
            _ = first => panic!("it takes a while"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(second.await, Verdict::Wrong);
        assert!(users.under_way.lock().is_empty());
    }

    struct Folder {
        folder: tempfile::TempDir,
        users: Arc<Users>,
    }

    impl Folder {
        fn of(text: &str) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("users");
            fs::write(&path, text).expect("written");
            Self { users: Users::of_file(&path).expect("users"), folder }
        }

        /// Puts another file in the place of the old one.
        fn replace(&self, text: &str) {
            let [new, path] = ["new", "users"].map(|name| self.folder.path().join(name));
            fs::write(&new, text).expect("written");
            fs::rename(&new, &path).expect("renamed");
        }

        /// As if a second had passed.
        fn due(&self) {
            let file = self.users.file.as_ref().expect("a file");
            *file.looked.lock() = Instant::now().checked_sub(LOOK).expect("the machine runs for longer");
        }

        async fn verify(&self, user: &str) -> Verdict {
            self.users.verify(client(6), user, "secret".into()).await
        }

        fn trouble(&self) -> Option<String> {
            self.users.file.as_ref().and_then(|file| file.trouble.lock().clone())
        }
    }

    #[tokio::test]
    async fn a_file_is_looked_at_anew() {
        let folder = Folder::of(&format!(
            "ada:{SECRET}
"
        ));
        assert_eq!(folder.verify("ada").await, right("ada"));
        folder.replace(&format!(
            "bob:{SECRET}
"
        ));
        assert_eq!(folder.verify("bob").await, Verdict::Wrong);
        folder.due();
        assert_eq!(folder.verify("bob").await, right("bob"));
        assert_eq!(folder.verify("ada").await, Verdict::Wrong);
        // In place, within the same tick of the clock, with the same size.
        fs::write(
            folder.folder.path().join("users"),
            format!(
                "eve:{SECRET}
"
            ),
        )
        .expect("written");
        folder.due();
        assert_eq!(folder.verify("eve").await, right("eve"));
        let before = folder.users.table.load_full();
        folder.due();
        assert_eq!(folder.verify("eve").await, right("eve"));
        assert!(
            Arc::ptr_eq(&before, &folder.users.table.load_full()),
            "the same is kept, with what is remembered"
        );
    }

    #[tokio::test]
    async fn a_file_that_is_broken_keeps_what_was() {
        let folder = Folder::of(&format!(
            "ada:{SECRET}
"
        ));
        let path = folder.folder.path().join("users");
        let large = format!(
            "# {}
",
            "x".repeat(5 << 20)
        );
        for (text, why) in [
            (
                "ada:x
",
                "users:1: a password that is not hashed",
            ),
            (&large, "more than 4 MiB"),
        ] {
            folder.replace(text);
            folder.due();
            assert_eq!(folder.verify("ada").await, right("ada"));
            let trouble = folder.trouble().expect("trouble");
            assert!(trouble.contains(why), "{trouble}");
            assert!(folder.users.status().to_string().contains("trouble"));
            assert!(Users::of_file(&path).is_err(), "a script that asks for it is told");
        }
        fs::remove_file(&path).expect("removed");
        folder.due();
        assert_eq!(folder.verify("ada").await, right("ada"));
        assert!(folder.trouble().expect("trouble").contains("cannot read"));
        folder.replace(&format!(
            "ada:{SECRET}
"
        ));
        fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("changed");
        folder.due();
        assert_eq!(folder.verify("ada").await, right("ada"));
        assert_eq!(folder.trouble(), None);
        let same = Users::of_file(&path).expect("users");
        assert!(Arc::ptr_eq(&same, &folder.users));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let told = |path: &Path| with_causes(&Users::of_file(path).expect_err("no users"));
        assert!(told(&folder.path().join("none")).contains("No such file"));
        assert!(told(folder.path()).contains("it is no file"));
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).expect("made");
        assert!(told(&pipe).contains("it is no file"));
    }

    #[tokio::test]
    async fn an_unknown_user_takes_as_long_as_a_wrong_password() {
        // Long enough to be told from the noise: 16 ms each.
        let dear = SECRET.replace("$04$", "$08$");
        let users = Users::of_table([("ada", &*dear), ("bob", &*dear)]).expect("users");
        let mut took = [Duration::MAX; 2];
        for round in 0..4 {
            for (took, user) in took.iter_mut().zip(["ada", "nobody"]) {
                let begun = Instant::now();
                let password = format!("{round}");
                assert_eq!(users.verify(client(7), user, password.as_str().into()).await, Verdict::Wrong);
                *took = (*took).min(begun.elapsed());
            }
        }
        let [known, unknown] = took.map(|took| took.as_secs_f64());
        assert!(unknown > known / 2.0 && unknown < known * 2.0, "{known} {unknown}");
    }
}
