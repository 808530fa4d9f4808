//! How much of the log each login and each address may fill: what is new pushes out what is old, and nobody may choose what is
//! forgotten.
//!
//! A share is a vessel with a leak: what was written runs off within an hour, bit by bit, so that whoever has filled it waits
//! no longer than what they want to write takes. Of each share, a part is kept for what matters more: see [`Need`].

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How many bytes an hour a login may have written. A statement of 300 characters a second, or one of the longest every four
/// minutes.
pub(super) const SHARE: u64 = 16 << 20;

/// The share of all logins from one address, or on this machine, together.
const TOGETHER: u64 = 2 * SHARE;

/// The share of all who have not logged in, together: six hundred refusals, so that they need months to fill a log.
const STRANGERS: u64 = 256 << 10;

const HOUR: Duration = Duration::from_hours(1);

/// How many shares are told apart in an hour. Those beyond are one.
const MAX_SHARES: usize = 1024;

/// How much somebody needs a record, and so how much of their shares may be full before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// It tells of something that is done in any case: who looks without end may change something all the same.
    Look,
    /// A statement waits for it.
    Statement,
    /// A request that is no statement waits for it: `rollback`, `confirm`. It is small, and whoever has filled their share with
    /// statements may need just that.
    Request,
}

impl Need {
    /// The part of a share, in tenths.
    fn tenths(self) -> u32 {
        match self {
            Self::Look => 5,
            Self::Statement => 9,
            Self::Request => 10,
        }
    }
}

/// A share, by whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Share {
    /// All logins from there.
    Address(String),
    Login(String),
    Strangers,
    /// Of those that are too many to be told apart.
    Others,
}

impl Share {
    /// How many bytes an hour.
    fn bytes(&self) -> u64 {
        match self {
            Self::Address(_) | Self::Others => TOGETHER,
            Self::Login(_) => SHARE,
            Self::Strangers => STRANGERS,
        }
    }

    /// The time in which so many bytes run off.
    fn time(&self, bytes: u64) -> Duration {
        let nanos = HOUR.as_nanos() * u128::from(bytes) / u128::from(self.bytes());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The one for whom something is written: the shares that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spender(Vec<Share>);

impl Spender {
    /// A login, if it is known, from an address.
    pub(super) fn new(login: Option<&str>, address: String) -> Self {
        let login = login.map(|login| Share::Login(login.to_owned()));
        Self(login.into_iter().chain([Share::Address(address)]).collect())
    }

    /// Somebody who has not logged in.
    pub(super) fn stranger() -> Self {
        Self(vec![Share::Strangers])
    }
}

/// What was written for whom.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    /// When all of it has run off.
    empty_at: HashMap<Share, Instant>,
}

impl Quotas {
    /// Counts `bytes` for somebody. Whether they may be written.
    pub(super) fn take(&mut self, spender: &Spender, bytes: u64, need: Need, now: Instant) -> bool {
        let shares: Vec<_> = spender.0.iter().map(|share| self.known(share, now)).collect();
        let full = |share: &Share| self.level(share, now) + share.time(bytes);
        if shares.iter().any(|share| full(share) > HOUR * need.tenths() / 10) {
            return false;
        }
        let filled: Vec<_> = shares.into_iter().map(|share| (now + full(&share), share)).collect();
        for (empty_at, share) in filled {
            self.empty_at.insert(share, empty_at);
        }
        true
    }

    /// Counts what is written in any case, as it ends what was [let in](Self::take): a share may be more than full by what is under
    /// way at a time, and lets nothing in until that has run off.
    pub(super) fn charge(&mut self, spender: &Spender, bytes: u64, now: Instant) {
        for share in &spender.0 {
            let share = self.known(share, now);
            let filled = self.level(&share, now) + share.time(bytes);
            self.empty_at.insert(share, now + filled);
        }
    }

    /// Takes back what was counted for what could not be written.
    pub(super) fn refund(&mut self, spender: &Spender, bytes: u64, now: Instant) {
        for share in &spender.0 {
            let share = self.known(share, now);
            let left = self.level(&share, now).saturating_sub(share.time(bytes));
            self.empty_at.insert(share, now + left);
        }
    }

    /// How full a share is, as the time in which that runs off.
    fn level(&self, share: &Share, now: Instant) -> Duration {
        self.empty_at.get(share).map_or(Duration::ZERO, |empty_at| empty_at.saturating_duration_since(now))
    }

    /// The share that counts for this one.
    fn known(&mut self, share: &Share, now: Instant) -> Share {
        if self.empty_at.len() >= MAX_SHARES && !self.empty_at.contains_key(share) {
            self.empty_at.retain(|_, empty_at| *empty_at > now);
        }
        let is_known = self.empty_at.contains_key(share) || self.empty_at.len() < MAX_SHARES;
        if is_known { share.clone() } else { Share::Others }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(name: &str, address: &str) -> Spender {
        Spender::new(Some(name), address.to_owned())
    }

    /// Fills what may be filled, a KiB at a time; how much that was.
    fn fill(quotas: &mut Quotas, spender: &Spender, need: Need, now: Instant) -> u64 {
        let mut filled = 0;
        while quotas.take(spender, 1024, need, now) {
            filled += 1024;
        }
        filled
    }

    #[test]
    fn a_share_comes_back_bit_by_bit() {
        let (mut quotas, start) = (Quotas::default(), Instant::now());
        let (me, seconds) = (login("me", "::1"), |seconds| start + Duration::from_secs(seconds));
        let filled = fill(&mut quotas, &me, Need::Statement, start);
        assert!(filled <= SHARE / 10 * 9 && filled > SHARE / 10 * 9 - 2048, "{filled}");
        assert!(!quotas.take(&me, 2048, Need::Statement, start));
        assert!(quotas.take(&me, 4096, Need::Statement, seconds(2)), "a moment later");
        // However often somebody asks meanwhile.
        for tenth in 20..600 {
            quotas.take(&me, SHARE, Need::Statement, start + Duration::from_millis(100 * tenth));
        }
        let minute = fill(&mut quotas, &me, Need::Statement, seconds(60));
        assert!(minute > SHARE / 60 - 8192 && minute <= SHARE / 60, "{minute}");
        assert!(fill(&mut quotas, &me, Need::Statement, seconds(3661)) > SHARE / 10 * 9 - 2048);
    }

    #[test]
    fn who_has_filled_a_share_with_statements_may_go_back_all_the_same() {
        let (mut quotas, now) = (Quotas::default(), Instant::now());
        let me = login("me", "::1");
        assert!(fill(&mut quotas, &me, Need::Look, now) <= SHARE / 2);
        fill(&mut quotas, &me, Need::Statement, now);
        assert!(!quotas.take(&me, 1024, Need::Statement, now));
        let kept = fill(&mut quotas, &me, Need::Request, now);
        assert!(kept > SHARE / 10 - 4096, "{kept}");
        assert!(!quotas.take(&me, 1024, Need::Request, now));
    }

    #[test]
    fn what_is_written_in_any_case_has_to_run_off_and_what_was_not_written_counts_nothing() {
        let (mut quotas, now) = (Quotas::default(), Instant::now());
        let me = login("me", "::1");
        fill(&mut quotas, &me, Need::Request, now);
        quotas.charge(&me, SHARE / 60, now);
        let seconds = |seconds| now + Duration::from_secs(seconds);
        assert!(!quotas.take(&me, 1024, Need::Request, seconds(59)), "it is more than full");
        assert!(quotas.take(&me, 1024, Need::Request, seconds(62)));
        quotas.refund(&me, SHARE / 2, now);
        assert!(quotas.take(&me, SHARE / 4, Need::Statement, now));
        quotas.refund(&me, 2 * SHARE, now);
        let filled = fill(&mut quotas, &me, Need::Request, now);
        assert!(filled > SHARE - 4096 && filled <= SHARE, "{filled}");
    }

    #[test]
    fn logins_have_shares_of_their_own_and_an_address_has_one() {
        let (mut quotas, now) = (Quotas::default(), Instant::now());
        fill(&mut quotas, &login("operator", "::1"), Need::Request, now);
        assert!(!quotas.take(&login("operator", "::2"), 1024, Need::Request, now), "wherever it comes from");
        assert!(quotas.take(&login("programmer", "::1"), SHARE / 2, Need::Statement, now));
        let (one, other) = (login("one", "::1"), login("other", "::1"));
        let filled =
            fill(&mut quotas, &one, Need::Request, now) + fill(&mut quotas, &other, Need::Request, now);
        assert!(filled <= TOGETHER - SHARE - SHARE / 2, "{filled}");
        assert!(quotas.take(&login("other", "::3"), 1024, Need::Look, now));
        let strangers = fill(&mut quotas, &Spender::stranger(), Need::Request, now);
        assert!(strangers <= STRANGERS, "{strangers}");
    }

    #[test]
    fn spenders_without_number_take_no_memory_without_limit() {
        let (mut quotas, now) = (Quotas::default(), Instant::now());
        for number in 0..3 * MAX_SHARES {
            assert!(quotas.take(&login("me", &number.to_string()), 1, Need::Statement, now));
        }
        assert!(quotas.empty_at.len() <= MAX_SHARES + 1);
        let other = Spender::new(None, "another".into());
        quotas.charge(&other, TOGETHER, now);
        assert!(!quotas.take(&other, 1024, Need::Statement, now), "they are one");
        assert!(quotas.take(&other, 1024, Need::Statement, now + HOUR), "until others have run off");
        assert!(quotas.empty_at.len() <= 3, "{}", quotas.empty_at.len());
    }
}
