//! The sessions that were ended before their time, so that a copy of their text is nothing worth any more.
//!
//! **Invariant:** what was ended stays so. Where there is no room to remember each, more is ended than was asked for, the oldest
//! first, and never less.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use medusa_proto::query;

use super::LONGEST_SESSION;

/// The most users of whom something is remembered.
const MOST_USERS: usize = 4096;

/// The most sessions of one user that are remembered one by one.
const MOST_SESSIONS: usize = 16;

/// The first line of a file.
const FIRST: &str = "medusa ended sessions 1";

/// What was ended. Times are those at which sessions began, in microseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct EndedSessions {
    /// All that began by then.
    before: u64,
    users: HashMap<Arc<str>, EndedOfUser>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct EndedOfUser {
    /// All that began by then.
    before: u64,
    /// Others, in their order.
    sessions: Vec<u64>,
}

impl EndedSessions {
    /// Whether a user's session that began then was ended.
    pub(super) fn has(&self, user: &str, issued: u64) -> bool {
        issued <= self.before || self.users.get(user).is_some_and(|ended| ended.has(issued))
    }

    /// The time at which a user's session may be said to begin, now or a moment later, so that it was not ended.
    pub(super) fn first_after(&self, user: &str, now: u64) -> u64 {
        let before = self.users.get(user).map_or(0, |ended| ended.before).max(self.before);
        let mut issued = now.max(before.saturating_add(1));
        while self.has(user, issued) && issued < u64::MAX {
            issued += 1;
        }
        issued
    }

    /// Ends one session.
    pub(super) fn end(&mut self, user: &str, issued: u64, now: u64) {
        let ended = self.users.entry(user.into()).or_default();
        if let Err(at) = ended.sessions.binary_search(&issued) {
            ended.sessions.insert(at, issued);
        }
        if ended.sessions.len() > MOST_SESSIONS {
            ended.before = ended.before.max(ended.sessions.remove(0));
        }
        ended.tidy();
        self.make_room(now);
    }

    /// Ends all sessions of a user that began by now.
    pub(super) fn end_all_of(&mut self, user: &str, now: u64) {
        let ended = self.users.entry(user.into()).or_default();
        ended.before = ended.before.max(now);
        ended.tidy();
        self.make_room(now);
    }

    /// Ends all sessions that began by now.
    pub(super) fn end_all(&mut self, now: u64) {
        self.before = self.before.max(now);
        self.make_room(now);
    }

    /// Forgets what is over anyway, and of the rest, if it is too much, the oldest: all that began by then is ended in its place.
    fn make_room(&mut self, now: u64) {
        let over = now.saturating_sub(LONGEST_SESSION.as_micros() as u64).max(self.before);
        self.users.retain(|_, ended| ended.latest() > over);
        if self.users.len() <= MOST_USERS {
            return;
        }
        let mut latest: Vec<_> = self.users.values().map(EndedOfUser::latest).collect();
        latest.sort_unstable();
        let before = latest.get(MOST_USERS / 4).copied().unwrap_or_default();
        self.before = self.before.max(before);
        self.users.retain(|_, ended| ended.latest() > before);
    }

    /// A text of it all, for a file.
    pub(super) fn encode(&self) -> String {
        let mut text = format!("{FIRST}\n{}\n", self.before);
        let mut users: Vec<_> = self.users.iter().collect();
        users.sort_unstable_by_key(|(user, _)| *user);
        for (user, ended) in users {
            let _infallible = write!(text, "{} {}", query::encode(user.as_bytes()), ended.before);
            for session in &ended.sessions {
                let _infallible = write!(text, " {session}");
            }
            text.push('\n');
        }
        text
    }

    /// Reads such a text.
    ///
    /// # Errors
    ///
    /// The number of the line that is not understood.
    pub(super) fn decode(text: &str) -> Result<Self, usize> {
        let mut lines = text.lines().zip(1..);
        if lines.next().is_none_or(|(first, _)| first != FIRST) {
            return Err(1);
        }
        let before = lines.next().and_then(|(before, _)| before.parse().ok()).ok_or(2_usize)?;
        let mut ended = Self { before, users: HashMap::new() };
        for (line, number) in lines {
            let (user, of_user) = user_line(line).ok_or(number)?;
            if ended.users.insert(user, of_user).is_some() || ended.users.len() > MOST_USERS {
                return Err(number);
            }
        }
        Ok(ended)
    }
}

fn user_line(line: &str) -> Option<(Arc<str>, EndedOfUser)> {
    let mut words = line.split(' ');
    let user = String::from_utf8(query::decode(words.next()?.as_bytes()).into_owned()).ok()?;
    let before = words.next()?.parse().ok()?;
    let sessions = words.map(|word| word.parse().ok()).collect::<Option<Vec<u64>>>()?;
    let in_order = sessions.is_sorted_by(|one, next| one < next) && sessions.len() <= MOST_SESSIONS;
    in_order.then(|| (user.into(), EndedOfUser { before, sessions }))
}

impl EndedOfUser {
    fn has(&self, issued: u64) -> bool {
        issued <= self.before || self.sessions.binary_search(&issued).is_ok()
    }

    fn tidy(&mut self) {
        let before = self.before;
        self.sessions.retain(|session| *session > before);
    }

    /// When the last session began that it is about.
    fn latest(&self) -> u64 {
        self.sessions.last().copied().unwrap_or_default().max(self.before)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    const NOW: u64 = 1_800_000_000_000_000;

    #[test]
    fn one_session_is_ended_or_all_of_a_user_or_all() {
        let mut ended = EndedSessions::default();
        ended.end("ada", NOW, NOW + 5);
        assert!(ended.has("ada", NOW) && !ended.has("ada", NOW - 1) && !ended.has("bob", NOW));
        ended.end_all_of("ada", NOW + 5);
        assert!(ended.has("ada", NOW - 1) && ended.has("ada", NOW + 5) && !ended.has("ada", NOW + 6));
        assert!(!ended.has("bob", NOW));
        assert_eq!(ended.first_after("ada", NOW + 5), NOW + 6);
        assert_eq!(ended.first_after("bob", NOW + 5), NOW + 5);
        ended.end("bob", NOW + 7, NOW + 7);
        assert_eq!(ended.first_after("bob", NOW + 7), NOW + 8);
        ended.end_all(NOW + 9);
        assert!(ended.has("eve", NOW + 9) && ended.users.is_empty());
    }

    #[test]
    fn what_is_too_much_ends_the_oldest() {
        let mut ended = EndedSessions::default();
        for at in 0..=MOST_SESSIONS as u64 {
            ended.end("ada", NOW + at, NOW);
        }
        assert!(ended.has("ada", NOW - 1), "there is no room for each");
        assert!(!ended.has("ada", NOW + 100));
        let mut ended = EndedSessions::default();
        for at in 0..=MOST_USERS as u64 {
            ended.end_all_of(&format!("user{at}"), NOW + at);
        }
        assert!(ended.users.len() <= MOST_USERS);
        for at in 0..=MOST_USERS as u64 {
            assert!(ended.has(&format!("user{at}"), NOW + at));
        }
        assert!(!ended.has("user4096", NOW + 4097) && !ended.has("another", NOW + 4096));
    }

    #[test]
    fn what_would_be_over_anyway_is_forgotten() {
        let mut ended = EndedSessions::default();
        ended.end_all_of("ada", NOW);
        ended.end("bob", NOW + 1, NOW + 1 + LONGEST_SESSION.as_micros() as u64);
        assert_eq!(ended.users.keys().map(|user| &**user).collect::<Vec<_>>(), [] as [&str; 0]);
    }

    #[test]
    fn a_file_that_is_not_understood_says_where() {
        let text = |lines: &str| format!("{FIRST}\n7\n{lines}");
        assert_eq!(EndedSessions::decode(&text("ada 5 6 7\n")).map(|ended| ended.users.len()), Ok(1));
        for (wrong, line) in [
            (String::new(), 1),
            (format!("{FIRST}2\n0\n"), 1),
            (format!("{FIRST}\n"), 2),
            (format!("{FIRST}\nx\n"), 2),
            (text("ada\n"), 3),
            (text("ada 1\n\n"), 4),
            (text("ada 1 x\n"), 3),
            (text("ada 1 3 2\n"), 3),
            (text("ada 1\nada 2\n"), 4),
            (text("%ff 1\n"), 3),
        ] {
            assert_eq!(EndedSessions::decode(&wrong), Err(line), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_was_ended_stays_so(steps in vec((0..5_u8, 0..4_usize, 1..40_u64), 0..80)) {
            let users = ["ada", "bob b", "zo\u{eb}", "e%e"];
            let (mut ended, mut known) = (EndedSessions::default(), Vec::new());
            for (step, user, at) in steps {
                let user = users[user];
                match step {
                    0 => ended.end_all_of(user, at),
                    _ => ended.end(user, at, at),
                }
                known.push((user, at));
                let read = EndedSessions::decode(&ended.encode());
                prop_assert_eq!(read.as_ref(), Ok(&ended));
                prop_assert!(known.iter().all(|(user, at)| ended.has(user, *at)), "{:?}", ended);
                let next = ended.first_after(user, at);
                prop_assert!(next >= at && !ended.has(user, next));
            }
        }
    }
}
