//! How long requests take, from their head to their last byte, while somebody looks on.
//!
//! Counts by length, in steps of an eighth, in a shard for each worker; two readings tell what was between them. Streams and
//! `WebSocket`s go on for as long as they like, and do not count.
//!
//! **Invariant:** while nobody looks on, that costs each request one look at a number.

use std::array;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use medusa_net::worker;
use parking_lot::RwLock;

use crate::counters::{Counters, SHARDS};

/// The steps from one power of two to the next, and below the first of them one for each microsecond.
const STEPS: usize = 8;
/// The powers of two: what takes longer than half an hour counts as that.
const POWERS: usize = 28;
const BUCKETS: usize = STEPS + POWERS * STEPS;

static LOOKING_ON: AtomicUsize = AtomicUsize::new(0);
static WATCHERS: RwLock<Vec<Arc<LatencyWatcher>>> = RwLock::new(Vec::new());

/// Who looks on, as requests see them.
#[derive(Debug)]
struct LatencyWatcher {
    /// Of requests to these mounts; none: of all.
    mounts: Option<Vec<Arc<Counters>>>,
    histogram: Box<Histogram>,
}

/// The looking on; it ends when it is dropped.
#[derive(Debug)]
pub struct LatencyWatch(Arc<LatencyWatcher>);

impl LatencyWatch {
    /// Looks on from now on: at the requests that begin, to the mounts with these counters or to all.
    pub fn begin(mounts: Option<Vec<Arc<Counters>>>) -> Self {
        let watcher = Arc::new(LatencyWatcher { mounts, histogram: Box::default() });
        let mut watchers = WATCHERS.write();
        watchers.push(Arc::clone(&watcher));
        LOOKING_ON.store(watchers.len(), Relaxed);
        Self(watcher)
    }

    /// All that was seen until now.
    pub fn read(&self) -> Latencies {
        self.0.histogram.read()
    }
}

impl Drop for LatencyWatch {
    fn drop(&mut self) {
        let mut watchers = WATCHERS.write();
        watchers.retain(|other| !Arc::ptr_eq(other, &self.0));
        LOOKING_ON.store(watchers.len(), Relaxed);
    }
}

/// Whether anybody looks on.
pub(crate) fn is_watched() -> bool {
    LOOKING_ON.load(Relaxed) > 0
}

/// A request has ended, which came to the mount with these counters.
pub(crate) fn ended(begun: Instant, mount: Option<&Counters>) {
    let length = begun.elapsed();
    let is = |of: &Arc<Counters>| mount.is_some_and(|mount| std::ptr::eq(&raw const **of, mount));
    for watcher in &*WATCHERS.read() {
        if watcher.mounts.as_ref().is_none_or(|mounts| mounts.iter().any(is)) {
            watcher.histogram.count(length);
        }
    }
}

#[derive(Debug)]
struct Histogram([LatencyShard; SHARDS]);

#[derive(Debug)]
#[repr(align(64))]
struct LatencyShard([AtomicU64; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Self(array::from_fn(|_| LatencyShard(array::from_fn(|_| AtomicU64::new(0)))))
    }
}

impl Histogram {
    fn count(&self, length: Duration) {
        self.0[worker::index() % SHARDS].0[bucket(length)].fetch_add(1, Relaxed);
    }

    fn read(&self) -> Latencies {
        let sum = |at: usize| self.0.iter().map(|shard| shard.0[at].load(Relaxed)).sum();
        Latencies((0..BUCKETS).map(sum).collect())
    }
}

fn bucket(length: Duration) -> usize {
    let micros = usize::try_from(length.as_micros()).unwrap_or(usize::MAX);
    if micros < STEPS {
        return micros;
    }
    let power = micros.ilog2() - STEPS.ilog2();
    let step = (micros >> power) - STEPS;
    (STEPS + power as usize * STEPS + step).min(BUCKETS - 1)
}

/// The middle of a bucket.
fn length_of(bucket: usize) -> Duration {
    let micros = if bucket < STEPS {
        bucket as f64
    } else {
        let (power, step) = (bucket / STEPS - 1, bucket % STEPS);
        ((STEPS + step) as f64 + 0.5) * (1_u64 << power) as f64
    };
    Duration::from_secs_f64(micros / 1e6)
}

/// How many requests took how long.
#[derive(Debug, Clone)]
pub struct Latencies(Box<[u64]>);

impl FromIterator<Duration> for Latencies {
    fn from_iter<I: IntoIterator<Item = Duration>>(lengths: I) -> Self {
        let mut all = vec![0; BUCKETS].into_boxed_slice();
        for length in lengths {
            all[bucket(length)] += 1;
        }
        Self(all)
    }
}

impl Latencies {
    /// Those that were not in an earlier reading.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self(self.0.iter().zip(&before.0).map(|(now, before)| now.saturating_sub(*before)).collect())
    }

    /// How many they are.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The length that this part of them took at the most (0.5: the median); none if there were none.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let all = self.count();
        let wanted = ((all as f64 * part).ceil() as u64).max(1);
        let mut so_far = 0;
        let at = self.0.iter().position(|count| {
            so_far += count;
            so_far >= wanted
        });
        at.map(length_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_told_to_an_eighth() {
        for micros in [0_u64, 1, 7, 8, 9, 15, 16, 17, 100, 999, 1000, 12_345, 1_000_000, 59_000_000, 1 << 30]
        {
            let told = length_of(bucket(Duration::from_micros(micros))).as_secs_f64() * 1e6;
            let off = (told - micros as f64).abs();
            assert!(off <= micros as f64 / 8.0, "{micros}: {told}");
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
        let rising = (0..1 << 16).map(|micros| bucket(Duration::from_micros(micros)));
        assert!(rising.is_sorted());
    }

    #[test]
    fn two_readings_tell_what_was_between_them() {
        let histogram = Histogram::default();
        histogram.count(Duration::from_secs(50));
        let before = histogram.read();
        assert_eq!(before.since(&before).quantile(0.5), None);
        for millis in 1..=100 {
            histogram.count(Duration::from_millis(millis));
        }
        let between = histogram.read().since(&before);
        for (part, millis) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            let told = between.quantile(part).expect("there are some").as_secs_f64() * 1000.0;
            assert!((told - millis).abs() <= millis / 8.0, "{part}: {told}");
        }
    }
}
