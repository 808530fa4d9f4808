//! Guesses of passwords, counted for each address: they cost more and more time, and then have to wait.
//!
//! **Invariant:** the table has at most [`MAX_ADDRESSES`] addresses; keys are never counted, so nobody can lock out who has
//! one.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use medusa_net::clients::ClientPrefix;
use parking_lot::Mutex;

/// The most wrong passwords of an address in a row.
const BUDGET: u32 = 10;

/// The time until it may send one more.
const REFILL: Duration = Duration::from_mins(1);

/// The most addresses that are remembered. Of more, the one that guessed the longest time ago is forgotten.
const MAX_ADDRESSES: usize = 4096;

/// The least that a wrong password takes, and what each of those before adds.
const DELAY: Duration = Duration::from_secs(1);
const DELAY_FOR_EACH: Duration = Duration::from_millis(500);

/// The guesses of all addresses.
#[derive(Debug)]
pub(super) struct Guesses(Mutex<VecDeque<(ClientPrefix, u32, Instant)>>);

impl Guesses {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }

    /// The time that a wrong password from there takes; none if it may send none for now.
    pub(super) fn delay(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let client = ClientPrefix::host(address);
        let wrong =
            self.0.lock().iter().find(|(known, ..)| *known == client).map_or(0, |known| left(known, now));
        (wrong < BUDGET).then(|| DELAY + DELAY_FOR_EACH * wrong)
    }

    /// A password from there is looked at: it counts as wrong until it is [right](Self::right), lest many are sent at a time.
    pub(super) fn begin(&self, address: IpAddr, now: Instant) {
        let client = ClientPrefix::host(address);
        let mut table = self.0.lock();
        let known = table.iter().position(|(known, ..)| *known == client).and_then(|at| table.remove(at));
        let wrong = known.map_or(0, |known| left(&known, now));
        if table.len() >= MAX_ADDRESSES {
            table.pop_front();
        }
        table.push_back((client, wrong + 1, now));
    }

    /// It was right: the address has guessed nothing.
    pub(super) fn right(&self, address: IpAddr) {
        let client = ClientPrefix::host(address);
        self.0.lock().retain(|(known, ..)| *known != client);
    }
}

/// The number of an address's wrong passwords that still count.
fn left((_, wrong, at): &(ClientPrefix, u32, Instant), now: Instant) -> u32 {
    let forgiven = now.duration_since(*at).as_secs() / REFILL.as_secs();
    wrong.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_take_longer_and_longer_and_then_wait() {
        let (guesses, start) = (Guesses::new(), Instant::now());
        let [me, you] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(IpAddr::from);
        assert_eq!(guesses.delay(me, start), Some(DELAY));
        for _ in 0..BUDGET {
            guesses.begin(me, start);
        }
        assert_eq!(guesses.delay(me, start), None);
        assert_eq!(guesses.delay(you, start), Some(DELAY));
        assert!(guesses.delay(me, start + REFILL).is_some());
        guesses.right(me);
        assert_eq!(guesses.delay(me, start), Some(DELAY));
        for at in 0..MAX_ADDRESSES + 10 {
            guesses.begin(IpAddr::from((at as u32).to_be_bytes()), start);
        }
        assert_eq!(guesses.0.lock().len(), MAX_ADDRESSES);
    }
}
