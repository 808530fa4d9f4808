//! Sessions of users who have logged in, which the client keeps as a signed text: nothing of them is here but those that were ended
//! before their time.
//!
//! What is signed is the user, when it began and when it was last renewed, and what is stored of the user's password: it is over as
//! soon as that is another, or the user is gone.
//!
//! **Invariant:** a session that was ended is so on all threads at once, and stays so, after a restart, too, if there is a place
//! to keep that.

mod cookie;
mod ended;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fmt, io};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::task::spawn_blocking;

use self::cookie::{Claim, ROOM};
use self::ended::EndedSessions;
use crate::htpasswd::StoredHash;
use crate::signing::{Signer, SigningKeys};
use crate::users::Users;

/// The longest that a session lasts, whatever is asked for: browsers keep no cookie for longer
/// ([6265bis §5.5](https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#section-5.5)).
pub const LONGEST_SESSION: Duration = Duration::from_hours(400 * 24);

/// What the clock may have been set back by since a session was renewed.
const SET_BACK: u64 = 5 * 60 * 1_000_000;

/// What is signed here.
const PURPOSE: &str = "login session";

/// The sessions of a server.
pub struct LoginSessions {
    signer: ArcSwap<Signer>,
    ended: ArcSwap<EndedSessions>,
    /// Counts the changes of that; with how many of them it was saved.
    changes: AtomicU64,
    saved: Mutex<u64>,
    save: Option<Box<Save>>,
    /// Why it could not be saved.
    trouble: Mutex<Option<String>>,
}

/// Keeps the text of what was ended.
type Save = dyn Fn(&[u8]) -> io::Result<()> + Send + Sync;

/// A session that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginSession {
    /// Whose it is.
    pub user: Arc<str>,
    stored: StoredHash,
    issued: u64,
    renewed: u64,
    /// Whether an older key has signed it.
    is_old: bool,
}

/// The time for which a session goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// Since it was last renewed, which it is with requests.
    pub idle: Duration,
    /// Since it began.
    pub whole: Duration,
}

/// What was said to have been ended before is not understood, in that line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {0} is not understood")]
pub struct NotUnderstood(usize);

impl LoginSessions {
    /// Those that these keys have signed, or will; `ended` was saved before. `save` keeps it: it is called where it may block.
    ///
    /// # Errors
    ///
    /// `ended` is not understood.
    pub fn new(
        keys: &SigningKeys,
        ended: Option<&str>,
        save: Option<Box<Save>>,
    ) -> Result<Arc<Self>, NotUnderstood> {
        let ended = ended.map_or_else(|| Ok(EndedSessions::default()), EndedSessions::decode);
        Ok(Arc::new(Self {
            signer: ArcSwap::from_pointee(keys.signer(PURPOSE)),
            ended: ArcSwap::from_pointee(ended.map_err(NotUnderstood)?),
            changes: AtomicU64::new(0),
            saved: Mutex::new(0),
            save,
            trouble: Mutex::default(),
        }))
    }

    /// Takes other keys from now on: what none of them has signed is no session any more.
    pub fn set_keys(&self, keys: &SigningKeys) {
        self.signer.store(Arc::new(keys.signer(PURPOSE)));
    }

    /// A new session of a user; none if there is no such user.
    pub async fn begin(&self, users: &Arc<Users>, user: &str, now: u64) -> Option<LoginSession> {
        let (user, stored) = users.stored(user).await?;
        let issued = self.ended.load().first_after(&user, now);
        Some(LoginSession { user, stored, issued, renewed: issued, is_old: false })
    }

    /// The session that a text is of, if it goes on.
    pub async fn check(
        &self,
        users: &Arc<Users>,
        text: &[u8],
        lifetime: Lifetime,
        now: u64,
    ) -> Option<LoginSession> {
        let mut room = ROOM;
        let (claim, signature) = Claim::decode(text, &mut room)?;
        let known = users.stored(claim.user).await;
        // A name that nobody has takes as long as another.
        let stored = known.as_ref().map_or("", |(_, stored)| stored);
        let parts = [&claim.times()[..], claim.user.as_bytes(), stored.as_bytes()];
        let key = self.signer.load().verify(&parts, signature);
        let ((user, stored), key) = (known?, key?);
        let Claim { issued, renewed, .. } = claim;
        let goes_on = lifetime.ends(issued, renewed) > now && renewed <= now.saturating_add(SET_BACK);
        let goes_on = goes_on && !self.ended.load().has(&user, issued);
        goes_on.then_some(LoginSession { user, stored, issued, renewed, is_old: key > 0 })
    }

    /// The text of a session, for the client to keep.
    pub fn text(&self, session: &LoginSession) -> String {
        let LoginSession { user, stored, issued, renewed, .. } = session;
        let claim = Claim { user, issued: *issued, renewed: *renewed };
        let signature = self.signer.load().sign(&[&claim.times(), user.as_bytes(), stored.as_bytes()]);
        claim.encode(&signature)
    }

    /// Ends a session, and returns when that is kept.
    pub async fn end(self: &Arc<Self>, session: &LoginSession, now: u64) {
        self.change(|ended| ended.end(&session.user, session.issued, now)).await;
    }

    /// Ends all sessions of a user that have begun, or of everybody, and returns when that is kept.
    pub async fn end_all(self: &Arc<Self>, user: Option<&str>, now: u64) {
        let change = |ended: &mut EndedSessions| match user {
            Some(user) => ended.end_all_of(user, now),
            None => ended.end_all(now),
        };
        self.change(change).await;
    }

    /// The reason why sessions that were ended are not kept.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    async fn change(self: &Arc<Self>, change: impl Fn(&mut EndedSessions)) {
        self.ended.rcu(|ended| {
            let mut ended = EndedSessions::clone(ended);
            change(&mut ended);
            ended
        });
        let change = self.changes.fetch_add(1, SeqCst) + 1;
        let sessions = Arc::clone(self);
        // It goes on if whoever asked for it does not wait; it does not panic.
        let _saved = spawn_blocking(move || sessions.save(change)).await;
    }

    /// Keeps what was ended, with all changes up to this one at least: of those that come together, one writes.
    fn save(&self, change: u64) {
        let Some(save) = &self.save else { return };
        let mut saved = self.saved.lock();
        if *saved >= change {
            return;
        }
        let with = self.changes.load(SeqCst);
        let outcome = save(self.ended.load().encode().as_bytes());
        match &outcome {
            Ok(()) => *saved = with,
            Err(error) => tracing::error!(
                "it could not be saved which sessions were ended, so that after a restart they would go on: {error}"
            ),
        }
        *self.trouble.lock() = outcome.err().map(|error| error.to_string());
    }
}

impl fmt::Debug for LoginSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginSessions").field("ended", &self.ended.load()).finish_non_exhaustive()
    }
}

impl LoginSession {
    /// The same, renewed, if it is time for that: a quarter of its idle time is over, or the key is an older one.
    pub fn renewed(&self, lifetime: Lifetime, now: u64) -> Option<Self> {
        let is_due = now.saturating_sub(self.renewed) >= micros(lifetime.idle) / 4;
        (is_due || self.is_old).then(|| Self {
            renewed: now.max(self.renewed),
            is_old: false,
            ..self.clone()
        })
    }

    /// The time for which it goes on unless it is renewed, in whole seconds.
    pub fn seconds_left(&self, lifetime: Lifetime, now: u64) -> u64 {
        lifetime.ends(self.issued, self.renewed).saturating_sub(now).div_ceil(1_000_000)
    }
}

impl Lifetime {
    /// When a session ends.
    fn ends(self, issued: u64, renewed: u64) -> u64 {
        let whole = self.whole.min(LONGEST_SESSION);
        renewed.saturating_add(micros(self.idle)).min(issued.saturating_add(micros(whole)))
    }
}

/// The time, as all functions here take it: microseconds since 1970.
pub fn now() -> u64 {
    micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn micros(time: Duration) -> u64 {
    time.as_micros().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
