//! A share of the records, chosen by chance: what a busy site logs when it cannot keep all.
//!
//! Of records that are not to be kept for their level, each is kept with the same probability, whatever the others were.
//! A request that has an id is kept or passed over *by that id*: every sampler of the same or a higher rate, on whichever
//! machine, keeps it as well, so that what one log has of a request another has, too. Ids are the server's own or a
//! trusted proxy's, never the client's, who could otherwise choose one that is not kept.
//!
//! **Invariant: events are never passed over.** There are few, and each is the only one of its kind.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use medusa_proto::entry::Entry;
use medusa_proto::event::Level;
use medusa_proto::status::Status;

use crate::queue::fnv1a;
use crate::{Choice, OptionError, SelectingSink};

/// Passes on a share of what it is given.
pub type SampleSink = SelectingSink<Sampling>;

/// The share that is kept, and what besides.
#[derive(Debug)]
pub struct Sampling {
    rate: Rate,
    always: Option<Level>,
    /// The state of the generator: a Weyl sequence, of which each draw mixes one step.
    dice: AtomicU64,
}

/// A probability above 0, up to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(f64);

impl TryFrom<f64> for Rate {
    type Error = OptionError;

    fn try_from(rate: f64) -> Result<Self, OptionError> {
        if rate > 0.0 && rate <= 1.0 {
            return Ok(Self(rate));
        }
        let message =
            format!("a rate is above 0 and at most 1, not {rate}: 0.01 keeps one record in a hundred");
        Err(OptionError(message))
    }
}

impl Rate {
    /// Tells whether something is kept that drew `number`, out of all numbers there are.
    fn keeps(self, number: u64) -> bool {
        // The 53 bits that a float can tell apart; with rate 1 every one of them is below.
        ((number >> 11) as f64) < self.0 * (1_u64 << 53) as f64
    }
}

impl Sampling {
    /// Keeps each record with the probability `rate`. Those whose level is `always` or more important (a response of
    /// 5xx is an error, of 4xx a warning) are kept in any case; by default, none.
    pub fn new(rate: Rate, always: Option<Level>) -> Self {
        Self { rate, always, dice: AtomicU64::new(RandomState::new().hash_one(0)) }
    }
}

impl Choice for Sampling {
    fn keeps(&self, entry: &Entry<'_>) -> bool {
        let Entry::Access(record) = entry else { return true };
        if self.always.is_some_and(|level| entry.level() <= level) {
            return true;
        }
        self.rate.keeps(record.id.map_or_else(|| mix(self.dice.fetch_add(WEYL, Relaxed)), of_id))
    }

    fn status(&self) -> Status {
        Status::new("log.sample", self.rate.0.to_string()).maybe("always", self.always.map(Level::name))
    }
}

const WEYL: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of `SplitMix64`: every bit of the result depends on every bit of `number`.
const fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A number for an id: FNV-1a, mixed. The same everywhere and in every version, for machines are to agree on it.
fn of_id(id: &str) -> u64 {
    mix(fnv1a(id.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use medusa_proto::access::{Record, Timestamp};
    use medusa_proto::event::Event;

    use super::*;
    use crate::batch::tests::record;
    use crate::sink::tests::Memory;
    use crate::{Batch, Sink};

    fn sampler(rate: f64, always: Option<Level>) -> (Arc<Memory>, SampleSink) {
        let memory = Arc::new(Memory::default());
        let sink = SampleSink::new(
            Sampling::new(Rate::try_from(rate).expect("a rate"), always),
            Arc::clone(&memory) as _,
        );
        (memory, sink)
    }

    fn kept(memory: &Memory) -> usize {
        memory.batches().iter().map(|batch| batch.len()).sum()
    }

    fn submit(sink: &SampleSink, count: usize, record: &Record<'_>) {
        let mut batch = Batch::new();
        (0..count).for_each(|_| batch.push(record));
        sink.submit(&batch.seal());
    }

    #[test]
    fn about_the_rate_is_kept_and_the_rest_counted() {
        for rate in [0.01, 0.5, 1.0] {
            let (memory, sink) = sampler(rate, None);
            submit(&sink, 100_000, &record("/", 0));
            let (kept, expected) = (kept(&memory) as f64, rate * 100_000.0);
            // Six standard deviations: once in 500 million runs.
            let off = 6.0 * (expected * (1.0 - rate)).sqrt();
            assert!((kept - expected).abs() <= off, "{rate}: {kept}");
            let status = sink.status();
            assert_eq!(status.get("passed_over"), Some(&(100_000 - kept as u64).into()));
        }
        for none in [0.0, -1.0, 1.01, f64::NAN] {
            assert!(Rate::try_from(none).is_err());
        }
    }

    #[test]
    fn an_id_decides_alike_everywhere_and_more_is_kept_at_a_higher_rate() {
        let ids: Vec<String> = (0..2000).map(|n| format!("01J{n:05}")).collect();
        let keeps = |rate| {
            let (_, sink) = sampler(rate, None);
            let keep = |id: &String| sink.choice.keeps(&Record { id: Some(id), ..record("/", 0) }.into());
            ids.iter().map(keep).collect::<Vec<_>>()
        };
        let (low, again, high) = (keeps(0.1), keeps(0.1), keeps(0.4));
        assert_eq!(low, again);
        assert!(low.iter().zip(&high).all(|(low, high)| !low || *high));
        let share = low.iter().filter(|kept| **kept).count();
        assert!((120..=280).contains(&share), "{share}");
    }

    #[test]
    fn what_matters_and_events_are_always_kept() {
        let (memory, sink) = sampler(1e-9, Some(Level::Error));
        submit(&sink, 100, &Record { status: 503, ..record("/", 0) });
        submit(&sink, 100, &Record { status: 404, ..record("/", 0) });
        assert_eq!(kept(&memory), 100);
        let mut batch = Batch::new();
        let time = Timestamp::default();
        batch.push_event(&Event { time, level: Level::Debug, part: "http", message: "m", request: None });
        sink.submit(&batch.seal());
        assert_eq!(kept(&memory), 101);
    }
}
