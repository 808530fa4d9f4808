//! Nonces of Digest: what a client's answers are made with, which each of them may be once.
//!
//! A nonce says when it was made, under a seal; nothing is kept of it until somebody has answered with the right password. From then
//! on it is known which counts it came with: the highest, and which of the [`BITS`] below that, as requests that are sent at once arrive in
//! any order.
//!
//! **Invariants:** no answer is taken twice, by whichever worker and after whatever reload. There are counts of at most
//! [`MOST`] nonces: where there are more, those of the oldest nonce go, and with them whatever is as old is no longer taken.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use subtle::ConstantTimeEq as _;

use crate::remembered::seal;

/// The most nonces whose counts are known: less than 1 MiB.
const MOST: usize = 16 * 1024;

/// How many counts below the highest may still come.
const BITS: u32 = 128;

/// The bytes of the seal that are in a nonce.
const SEALED: usize = 16;

static NONCES: LazyLock<Nonces> = LazyLock::new(|| Nonces::new(Instant::now()));

/// A nonce for clients at `realm`; none if the system gives no random bytes to seal it with.
pub fn new_nonce(realm: &str) -> Option<String> {
    NONCES.make(realm, Instant::now())
}

/// Whether an answer with that nonce and count is the first, and the nonce was made here for that realm, and not longer ago than it lasts.
pub(crate) fn take(nonce: &[u8], count: u32, realm: &str, lasts: Duration) -> bool {
    NONCES.take(nonce, count, realm, lasts, Instant::now())
}

struct Nonces {
    begun: Instant,
    /// When the last one was made, in nanoseconds since: no two have the same.
    last: AtomicU64,
    counts: Mutex<Counts>,
}

impl Nonces {
    fn new(begun: Instant) -> Self {
        Self { begun, last: AtomicU64::new(0), counts: Mutex::default() }
    }

    fn since(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.begun).as_nanos()).unwrap_or(u64::MAX)
    }

    fn make(&self, realm: &str, now: Instant) -> Option<String> {
        let now = self.since(now);
        let last = self.last.fetch_update(Relaxed, Relaxed, |last| Some(now.max(last.saturating_add(1))));
        let (Ok(last) | Err(last)) = last;
        let made = now.max(last.saturating_add(1));
        let sealed = sealed(made, realm)?;
        Some(URL_SAFE_NO_PAD.encode([&made.to_be_bytes()[..], &sealed].concat()))
    }

    fn take(&self, nonce: &[u8], count: u32, realm: &str, lasts: Duration, now: Instant) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(nonce) else { return false };
        let Some((made, seal)) = bytes.split_first_chunk() else { return false };
        let made = u64::from_be_bytes(*made);
        let is_ours = sealed(made, realm).is_some_and(|sealed| sealed.as_slice().ct_eq(seal).into());
        let age = self.since(now).saturating_sub(made);
        is_ours && Duration::from_nanos(age) < lasts && self.counts.lock().take(made, count)
    }
}

/// What shows that a nonce is ours.
fn sealed(made: u64, realm: &str) -> Option<[u8; SEALED]> {
    let seal = seal(&[b"nonce", realm.as_bytes(), &made.to_be_bytes()])?;
    seal.first_chunk().copied()
}

/// The counts that nonces came with.
#[derive(Debug, Default)]
struct Counts {
    /// By when they were made.
    seen: BTreeMap<u64, Seen>,
    /// None that was made until then is taken any more.
    gone: Option<u64>,
}

/// The counts that one came with.
#[derive(Debug)]
struct Seen {
    highest: u32,
    /// A bit for each, from the highest downwards.
    bits: u128,
}

impl Counts {
    fn take(&mut self, made: u64, count: u32) -> bool {
        if let Some(seen) = self.seen.get_mut(&made) {
            return seen.take(count);
        }
        if self.seen.len() >= MOST
            && let Some((oldest, _)) = self.seen.pop_first()
        {
            self.gone = self.gone.max(Some(oldest));
        }
        if Some(made) <= self.gone {
            return false;
        }
        self.seen.insert(made, Seen { highest: count, bits: 1 });
        true
    }
}

impl Seen {
    fn take(&mut self, count: u32) -> bool {
        if let Some(above) = count.checked_sub(self.highest).filter(|above| *above > 0) {
            self.bits = self.bits.checked_shl(above).unwrap_or_default() | 1;
            self.highest = count;
            return true;
        }
        let below = self.highest - count;
        if below >= BITS || self.bits >> below & 1 == 1 {
            return false;
        }
        self.bits |= 1 << below;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_mins(5);

    #[test]
    fn a_nonce_is_taken_once_for_each_count_while_it_lasts() {
        let start = Instant::now();
        let nonces = Nonces::new(start);
        let [one, other] = [(); 2].map(|()| nonces.make("here", start).expect("a nonce"));
        assert!(one != other && one.len() == 32, "{one} {other}");
        let take = |nonce: &str, count, realm, after| {
            nonces.take(nonce.as_bytes(), count, realm, LASTS, start + after)
        };
        assert!(take(&one, 1, "here", Duration::ZERO));
        assert!(!take(&one, 1, "here", Duration::ZERO), "it is sent again");
        assert!(take(&other, 1, "here", Duration::ZERO) && take(&one, 2, "here", Duration::ZERO));
        assert!(!take(&one, 3, "there", Duration::ZERO), "of another realm");
        assert!(take(&one, 4, "here", LASTS / 2));
        assert!(!take(&one, 5, "here", LASTS + Duration::from_secs(1)));
        for wrong in [
            "",
            "x",
            "!",
            &one[1..],
            &format!("{}AAAA", &one[..28]),
            &format!("{one}A"),
            &format!("{one}AAAA"),
        ] {
            assert!(!take(wrong, 9, "here", Duration::ZERO), "{wrong}");
        }
    }

    #[test]
    fn requests_may_arrive_in_any_order_within_a_window() {
        let mut counts = Counts::default();
        for count in [5, 3, 4, 1, 2, 200, 73, 199] {
            assert!(counts.take(7, count), "{count}");
        }
        for again in [5, 3, 1, 200, 73, 199, 72] {
            assert!(!counts.take(7, again), "{again}: it was, or it is too far below");
        }
        assert!(counts.take(7, u32::MAX) && !counts.take(7, 198) && counts.take(7, u32::MAX - 127));
        assert!(!counts.take(7, u32::MAX - 128) && !counts.take(7, u32::MAX));
    }

    #[test]
    fn where_there_are_too_many_the_oldest_is_taken_no_more() {
        let mut counts = Counts::default();
        for made in 10..10 + MOST as u64 {
            assert!(counts.take(made, 1));
        }
        assert!(counts.take(5_000_000, 1));
        assert_eq!(counts.seen.len(), MOST);
        for old in [10, 9, 0] {
            assert!(!counts.take(old, 1) && !counts.take(old, 2), "{old}");
        }
        assert!(counts.seen.len() <= MOST && !counts.take(5_000_000, 1) && counts.take(5_000_000, 2));
    }
}
