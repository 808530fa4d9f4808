//! Checks that were made before, by what they were made of: seals, which tell nobody what that was.
//!
//! **Invariant:** there are never more than the room there is; those that were not asked for in a while are gone.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::signing::{Keyed, keyed, mac, random_key};

/// What is made of a user, a stored hash and a password, under a key that only this process has.
pub(crate) type Seal = [u8; 32];

/// The key, already taken in. None if the system gives no random bytes: then nothing is remembered.
static KEYED: LazyLock<Option<Keyed>> = LazyLock::new(|| Some(keyed(&*random_key().ok()?)));

/// The seal of some parts; none if there is no key.
pub(crate) fn seal(parts: &[&[u8]]) -> Option<Seal> {
    Some(mac(KEYED.clone()?, parts))
}

/// The most right passwords that are remembered, each for one client, and the time for which they are without a request.
const MAX_RIGHT: usize = 4096;
const RIGHT_IDLE: Duration = Duration::from_mins(15);

/// The same of wrong ones: a program that has an old password asks with it again and again.
const MAX_WRONG: usize = 1024;
const WRONG_IDLE: Duration = Duration::from_mins(5);

/// The checks of passwords that are remembered. As what is stored of a password is in its seal, a line of a file that changes
/// makes what was remembered of it useless, and leaves the others as they are.
#[derive(Debug)]
pub(crate) struct Checks {
    right: Mutex<Remembered<()>>,
    wrong: Mutex<Remembered<()>>,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            right: Mutex::new(Remembered::while_asked(MAX_RIGHT, RIGHT_IDLE)),
            wrong: Mutex::new(Remembered::while_asked(MAX_WRONG, WRONG_IDLE)),
        }
    }
}

impl Checks {
    /// What came of the same check before.
    pub(crate) fn remembered(&self, seal: &Seal, now: Instant) -> Option<bool> {
        if self.right.lock().get(seal, now).is_some() {
            Some(true)
        } else {
            self.wrong.lock().get(seal, now).map(|()| false)
        }
    }

    pub(crate) fn remember(&self, seal: Seal, right: bool, now: Instant) {
        let remembered = if right { &self.right } else { &self.wrong };
        remembered.lock().add(seal, (), now);
    }

    pub(crate) fn known_right(&self) -> usize {
        self.right.lock().len()
    }
}

/// What is remembered, with when that began.
#[derive(Debug)]
pub(crate) struct Remembered<T> {
    seals: HashMap<Seal, (T, Instant)>,
    room: usize,
    lasts: Duration,
    /// Whether it begins anew whenever it is asked for.
    renews: bool,
}

impl<T: Clone> Remembered<T> {
    /// What is remembered until nobody has asked for it in that time.
    fn while_asked(room: usize, idle: Duration) -> Self {
        Self { seals: HashMap::new(), room, lasts: idle, renews: true }
    }

    /// What is remembered for that time, whoever asks.
    pub(crate) fn lasting(room: usize, lasts: Duration) -> Self {
        Self { seals: HashMap::new(), room, lasts, renews: false }
    }

    /// What is remembered.
    pub(crate) fn get(&mut self, seal: &Seal, now: Instant) -> Option<T> {
        let (what, begun) = self.seals.get_mut(seal)?;
        if now.saturating_duration_since(*begun) >= self.lasts {
            return None;
        }
        if self.renews {
            *begun = now;
        }
        Some(what.clone())
    }

    /// Remembers one more, and forgets those that have lasted long enough, or the one that has for longest.
    pub(crate) fn add(&mut self, seal: Seal, what: T, now: Instant) {
        if self.seals.len() >= self.room {
            let lasts = self.lasts;
            self.seals.retain(|_, (_, begun)| now.saturating_duration_since(*begun) < lasts);
        }
        if self.seals.len() >= self.room
            && let Some(oldest) =
                self.seals.iter().min_by_key(|(_, (_, begun))| *begun).map(|(seal, _)| *seal)
        {
            self.seals.remove(&oldest);
        }
        self.seals.insert(seal, (what, now));
    }

    pub(crate) fn len(&self) -> usize {
        self.seals.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_of_all_its_parts() {
        let of = |parts: &[&str]| seal(&parts.iter().map(|part| part.as_bytes()).collect::<Vec<_>>());
        assert!(of(&["a"]).is_some());
        assert_eq!(of(&["a", "bc"]), of(&["a", "bc"]));
        assert_ne!(of(&["a", "bc"]), of(&["ab", "c"]));
        assert_ne!(of(&["a", ""]), of(&["a"]));
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten() {
        let (idle, start) = (Duration::from_mins(1), Instant::now());
        let mut remembered = Remembered::while_asked(2, idle);
        let [one, two, three] = [1, 2, 3].map(|byte| [byte; 32]);
        remembered.add(one, (), start);
        assert!(remembered.get(&one, start + idle / 2).is_some());
        assert!(remembered.get(&one, start + idle).is_some());
        assert!(remembered.get(&one, start + 3 * idle).is_none());
        assert!(remembered.get(&two, start).is_none());
        remembered.add(two, (), start + idle + Duration::from_secs(1));
        remembered.add(three, (), start + idle + Duration::from_secs(2));
        let now = start + idle + Duration::from_secs(3);
        assert_eq!([one, two, three].map(|seal| remembered.get(&seal, now).is_some()), [false, true, true]);
        assert_eq!(remembered.len(), 2);
    }

    #[test]
    fn what_lasts_is_forgotten_however_often_it_is_asked_for() {
        let (lasts, start) = (Duration::from_mins(1), Instant::now());
        let mut remembered = Remembered::lasting(2, lasts);
        remembered.add([1; 32], "ada", start);
        assert_eq!(remembered.get(&[1; 32], start + lasts / 2), Some("ada"));
        assert_eq!(remembered.get(&[1; 32], start + lasts), None);
    }
}
