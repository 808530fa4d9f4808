//! The sessions that are open, whatever way they came: who has them, what they run, and how they are ended.
//!
//! **Invariant:** a session is among them exactly as long as its [`Seat`] is held.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use medusa_proto::author::Author;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::arrivals::Caller;
use crate::identity::{Identity, Role, Whence};
use crate::news::{NewsRoom, Subscription};

/// The number of sessions that may be open at a time; of [limited](crate::identity::Rights::are_limited) logins half as many. People and
/// their scripts need a handful; each may hold a statement of 1 MiB.
pub const MAX_SESSIONS: usize = 16;

/// The number of them that may come from one address (for IPv6, one /64), and by one login; of limited logins half as many.
pub const MAX_FROM_ONE: usize = 8;

/// The number of sessions that a limited login may open at once, and the time after which it may open one more: a display asks once a
/// second, and each session is two records of the audit log.
const OPENED_AT_ONCE: u32 = 60;
const OPENED_EACH: Duration = Duration::from_secs(1);

/// The number more that may come by the control socket while all of those are taken, so that the operator is heard: for what ends
/// by itself, which is everything but a statement.
pub(crate) const RESERVE: usize = 4;

/// The number of bytes of what a session runs are told.
const SHOWN: usize = 200;

/// The open sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    table: Mutex<SessionTable>,
    news: NewsRoom,
}

#[derive(Debug, Default)]
struct SessionTable {
    last: u64,
    open: BTreeMap<u64, Entry>,
    openings: Openings,
}

/// How often limited logins have opened sessions of late: when each may open as many at once as ever.
#[derive(Debug, Default)]
struct Openings(HashMap<Arc<str>, Instant>);

impl Openings {
    /// Whether a login may open one more.
    fn have_room(&mut self, login: &Arc<str>, now: Instant) -> bool {
        self.0.retain(|_, free| *free > now);
        let used = self.0.get(login).map_or(Duration::ZERO, |free| free.saturating_duration_since(now));
        used + OPENED_EACH <= OPENED_EACH * OPENED_AT_ONCE
    }

    /// A login has opened one.
    fn add(&mut self, login: &Arc<str>, now: Instant) {
        let free = self.0.get(login).map_or(now, |free| now.max(*free));
        self.0.insert(Arc::clone(login), free + OPENED_EACH);
    }
}

#[derive(Debug)]
struct Entry {
    identity: Identity,
    kind: SeatKind,
    since: SystemTime,
    running: Option<(String, Instant)>,
    /// The one who ended it.
    ended: watch::Sender<Option<Arc<str>>>,
}

/// The rights of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeatKind {
    /// Anything, one thing after the other.
    Any,
    /// Of the reserve: nothing that may go on, and soon.
    Short,
}

/// The reason why there is no place for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// As many are open as may be.
    #[error("{0} sessions are open already: close one, or try again later")]
    All(usize),
    /// As many are open as logins that may not do everything may have.
    #[error("{0} sessions of logins with limited rights are open already: close one, or try again later")]
    Limited(usize),
    /// As many are open from there as may be.
    #[error("{0} sessions are open from {1} already: close one, or try again later")]
    From(usize, Whence),
    /// As many are open by this login as may be.
    #[error("{0} sessions are open by this login already: close one, or try again later")]
    Login(usize),
    /// The login may not do everything, and has opened too many of late.
    #[error(
        "this login, with limited rights, has opened {0} sessions within a minute: ask for more in one, in lines of JSON or at a \
         prompt, or try again later"
    )]
    Often(u32),
}

/// A session, as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// Its number, unlike that of any other of this process.
    pub number: u64,
    /// The one who has it.
    pub who: String,
    /// The role: what it may do.
    pub role: Role,
    /// The way it came: `socket`, `ssh`, `classic`.
    pub front_end: String,
    /// The time at which it was opened, in seconds since 1970.
    pub since: u64,
    /// The first line of what it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
    /// For how long it has run that, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_ms: Option<u64>,
}

impl fmt::Display for SessionInfo {
    /// `3  ssh  program  admin (...): web:mounts() (12 ms)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, who, role, front_end, running, running_ms, .. } = self;
        write!(f, "{number}  {front_end}  {role}  {who}")?;
        match (running, running_ms) {
            (Some(running), Some(ms)) => write!(f, ": {running} ({ms} ms)"),
            _ => Ok(()),
        }
    }
}

impl Sessions {
    /// Opens a session; where all places are taken, one of the reserve if `reserve` says that this is one of those it is for.
    pub(crate) fn open(self: &Arc<Self>, identity: &Identity, reserve: bool) -> Result<Seat, Full> {
        let mut table = self.table.lock();
        let now = Instant::now();
        if identity.rights.are_limited() && !table.openings.have_room(&identity.login, now) {
            return Err(Full::Often(OPENED_AT_ONCE));
        }
        let count = |which: &dyn Fn(&Entry) -> bool| table.open.values().filter(|entry| which(entry)).count();
        let is_limited = identity.rights.are_limited();
        // What limited logins have leaves others the other half.
        let is_beside = |entry: &Entry| !is_limited || entry.identity.rights.are_limited();
        let most = |of_all| identity.rights.share(of_all);
        if let Some(whence) = identity.front_end.whence() {
            let caller = Some(Caller::from(whence));
            let is_there = |entry: &Entry| entry.identity.front_end.whence().map(Caller::from) == caller;
            if count(&|entry| is_beside(entry) && is_there(entry)) >= most(MAX_FROM_ONE) {
                return Err(Full::From(most(MAX_FROM_ONE), whence));
            }
            if count(&|entry| entry.identity.login == identity.login) >= most(MAX_FROM_ONE) {
                return Err(Full::Login(most(MAX_FROM_ONE)));
            }
        }
        if is_limited && count(&is_beside) >= most(MAX_SESSIONS) {
            return Err(Full::Limited(most(MAX_SESSIONS)));
        }
        let kind = if count(&|entry| entry.kind == SeatKind::Any) < MAX_SESSIONS {
            SeatKind::Any
        } else if reserve && count(&|entry| entry.kind == SeatKind::Short) < RESERVE {
            SeatKind::Short
        } else {
            return Err(Full::All(MAX_SESSIONS));
        };
        if is_limited {
            table.openings.add(&identity.login, now);
        }
        table.last += 1;
        let number = table.last;
        let (sender, ended) = watch::channel(None);
        let (identity, since) = (identity.clone(), SystemTime::now());
        let until = identity.rights.until;
        table.open.insert(number, Entry { identity, kind, since, running: None, ended: sender });
        drop(table);
        Ok(Seat { sessions: Arc::clone(self), number, kind, ended, until })
    }

    /// The way of news to them.
    pub fn news(&self) -> &NewsRoom {
        &self.news
    }

    /// All of them, the oldest first.
    pub fn list(&self) -> Vec<SessionInfo> {
        self.table.lock().open.iter().map(|(number, entry)| entry.info(*number)).collect()
    }

    /// Ends a session, and what it runs, on behalf of an author. Whether there is one of this number.
    pub fn kill(&self, number: u64, author: &Author) -> bool {
        let table = self.table.lock();
        let Some(entry) = table.open.get(&number) else { return false };
        let who = author.who.clone().unwrap_or_else(|| Arc::clone(&author.what));
        entry.ended.send_replace(Some(who));
        tracing::info!(session = number, of = %entry.identity.who, by = %author, "a session is ended");
        true
    }
}

impl Entry {
    fn info(&self, number: u64) -> SessionInfo {
        let since = self.since.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let running = self.running.as_ref();
        SessionInfo {
            number,
            who: self.identity.who.to_string(),
            role: self.identity.rights.role,
            front_end: self.identity.front_end.name().to_owned(),
            since,
            running: running.map(|(what, _)| what.clone()),
            running_ms: running
                .map(|(_, begun)| u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// The place of a session among those that are open.
#[derive(Debug)]
pub(crate) struct Seat {
    sessions: Arc<Sessions>,
    number: u64,
    kind: SeatKind,
    ended: watch::Receiver<Option<Arc<str>>>,
    /// When its rights end.
    until: Option<SystemTime>,
}

impl Seat {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// What the session is told without asking, from now on.
    pub(crate) fn news(&self) -> Subscription {
        self.sessions.news.subscribe(self.number)
    }

    pub(crate) fn is_short(&self) -> bool {
        self.kind == SeatKind::Short
    }

    /// Whether the session runs something.
    pub(crate) fn is_running(&self) -> bool {
        self.sessions.table.lock().open.get(&self.number).is_some_and(|entry| entry.running.is_some())
    }

    /// Returns who or what ended the session, when that is so.
    pub(crate) async fn ended(&self) -> Arc<str> {
        let mut ended = self.ended.clone();
        tokio::select! {
            biased;
            who = ended.wait_for(Option::is_some) => match who {
                Ok(who) => who.clone().unwrap_or_default(),
                // Its entry is there as long as this is.
                Err(_gone) => std::future::pending().await,
            },
            () = reached(self.until) => "the end of its rights (`expiry-time`)".into(),
        }
    }

    /// Has others see what the session runs, until the result is dropped.
    pub(crate) fn running(&self, what: &str) -> RunningNote<'_> {
        self.set_running(Some((shown_line(what), Instant::now())));
        RunningNote(self)
    }

    fn set_running(&self, running: Option<(String, Instant)>) {
        if let Some(entry) = self.sessions.table.lock().open.get_mut(&self.number) {
            entry.running = running;
        }
    }
}

/// Returns when a time of the clock has come, which may be set meanwhile; never, where there is none.
pub(crate) async fn reached(time: Option<SystemTime>) {
    const LOOKS_EVERY: Duration = Duration::from_mins(1);
    let Some(time) = time else { return std::future::pending().await };
    while let Ok(left) = time.duration_since(SystemTime::now()) {
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LOOKS_EVERY)).await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.sessions.table.lock().open.remove(&self.number);
    }
}

/// The first line of a statement or the like, as much of it as is told.
pub fn shown_line(what: &str) -> String {
    let line = what.lines().next().unwrap_or_default();
    let mut shown: String = line.chars().filter(|char| !char.is_control()).take(SHOWN).collect();
    shown.truncate(shown.floor_char_boundary(SHOWN));
    shown
}

/// The note of what a session runs, shown as long as this is held.
pub(crate) struct RunningNote<'a>(&'a Seat);

impl Drop for RunningNote<'_> {
    fn drop(&mut self) {
        self.0.set_running(None);
    }
}

#[cfg(test)]
mod tests {
    use medusa_proto::author::Via;

    use super::*;
    use crate::identity::FrontEnd;

    fn from(front_end: FrontEnd) -> Identity {
        Identity::new("somebody", "somebody", Role::Program, front_end)
    }

    fn ssh(last: u8) -> Identity {
        by(&format!("key {last}"), Role::Program, last)
    }

    fn by(login: &str, role: Role, last: u8) -> Identity {
        Identity::new("somebody", login, role, FrontEnd::Ssh([192, 0, 2, last].into()))
    }

    #[test]
    fn sessions_are_bounded_in_all_and_for_each_address() {
        let sessions = Arc::<Sessions>::default();
        let open = |identity: &Identity, reserve| sessions.open(identity, reserve);
        let mut seats: Vec<Seat> = (0..MAX_FROM_ONE).map(|_| open(&ssh(1), false).expect("room")).collect();
        let full = open(&ssh(1), false).expect_err("as many as may be from there");
        assert_eq!(full, Full::From(MAX_FROM_ONE, Whence::Address([192, 0, 2, 1].into())));
        while seats.len() < MAX_SESSIONS {
            seats.push(open(&from(FrontEnd::Socket), true).expect("room"));
        }
        assert_eq!(open(&ssh(2), false).expect_err("all are taken"), Full::All(MAX_SESSIONS));
        let reserve: Vec<Seat> =
            (0..RESERVE).map(|_| open(&from(FrontEnd::Socket), true).expect("the reserve")).collect();
        assert!(reserve.iter().all(Seat::is_short));
        assert_eq!(open(&from(FrontEnd::Socket), true).expect_err("all are taken"), Full::All(MAX_SESSIONS));
        seats.clear();
        assert!(!open(&ssh(1), false).expect("room").is_short());
        assert_eq!(sessions.list().len(), RESERVE);
    }

    #[test]
    fn who_may_only_look_keeps_nobody_else_out() {
        let sessions = Arc::<Sessions>::default();
        let open = |identity: &Identity| sessions.open(identity, false);
        let looks = |login: &str, last| by(login, Role::View, last);
        let half = MAX_FROM_ONE / 2;
        let mut seats: Vec<Seat> = (0..half).map(|_| open(&looks("a", 1)).expect("room")).collect();
        let full = open(&looks("b", 1)).expect_err("as many as may look from there");
        assert_eq!(full, Full::From(half, Whence::Address([192, 0, 2, 1].into())));
        assert_eq!(open(&looks("a", 2)).expect_err("as many as it may have"), Full::Login(half));
        seats.extend((0..half).map(|_| open(&looks("b", 2)).expect("room")));
        assert_eq!(open(&looks("c", 3)).expect_err("half of all"), Full::Limited(MAX_SESSIONS / 2));
        let scope = Some(Arc::default());
        let mut limited = by("d", Role::Operate, 3);
        limited.rights.scope = scope;
        assert_eq!(open(&limited).expect_err("it is limited, too"), Full::Limited(MAX_SESSIONS / 2));
        seats.extend((0..half).map(|_| open(&by("admin", Role::Program, 1)).expect("from there, too")));
        seats.extend((0..half).map(|_| open(&by("admin", Role::Operate, 4)).expect("room")));
        let full = open(&by("admin", Role::Program, 5)).expect_err("all are taken");
        assert_eq!(full, Full::Login(MAX_FROM_ONE));
        assert_eq!(open(&by("other", Role::Program, 5)).expect_err("all are taken"), Full::All(MAX_SESSIONS));
    }

    #[test]
    fn who_may_only_look_opens_some_sessions_a_minute() {
        let sessions = Arc::<Sessions>::default();
        let open = |role, login: &str| sessions.open(&by(login, role, 1), false).map(drop);
        let mut openings = Openings::default();
        let (start, login) = (Instant::now(), Arc::<str>::from("a"));
        for _ in 0..OPENED_AT_ONCE {
            assert!(openings.have_room(&login, start));
            openings.add(&login, start);
        }
        assert!(!openings.have_room(&login, start), "none more at once");
        assert!(openings.have_room(&"b".into(), start), "another has its own");
        for second in 1..200 {
            let now = start + OPENED_EACH * second;
            assert!(openings.have_room(&login, now), "one a second");
            openings.add(&login, now);
            assert!(!openings.have_room(&login, now));
        }
        assert!(openings.have_room(&login, start + OPENED_EACH * 1000) && openings.0.is_empty());

        sessions.table.lock().openings = Openings([(login, Instant::now() + Duration::from_hours(1))].into());
        assert_eq!(open(Role::View, "a"), Err(Full::Often(OPENED_AT_ONCE)));
        assert_eq!((open(Role::View, "b"), open(Role::Operate, "a")), (Ok(()), Ok(())));
    }

    #[tokio::test]
    async fn a_session_tells_what_it_runs_and_is_ended_by_its_number() {
        let sessions = Arc::<Sessions>::default();
        let seat = sessions.open(&ssh(1), false).expect("room");
        let note = seat.running("while true do\n\x1b[2J end");
        let [info] = &sessions.list()[..] else { panic!("one session") };
        assert_eq!((info.number, &*info.who, &*info.front_end), (seat.number(), "somebody", "ssh"));
        assert_eq!(info.running.as_deref(), Some("while true do"));
        drop(note);
        assert_eq!(sessions.list()[0].running, None);

        let author = Author::new(Via::Control, "kill").by("me");
        assert!(!sessions.kill(seat.number() + 1, &author));
        assert!(sessions.kill(seat.number(), &author));
        assert_eq!(&*seat.ended().await, "me");
        drop(seat);
        assert!(sessions.list().is_empty());
    }
}
