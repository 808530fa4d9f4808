//! Batches, and those that other tests are given.

use super::*;
use proptest::option;
use proptest::prelude::*;

/// A record of `target`, `at` microseconds after the epoch.
pub(crate) fn record(target: &str, at: i64) -> Record<'_> {
    Record {
        time: Timestamp::from_micros(at),
        peer: Peer::Ip([127, 0, 0, 1].into()),
        name: None,
        user: None,
        method: "GET",
        target,
        version: Version::Http11,
        host: Some("localhost"),
        status: 200,
        bytes: 5,
        duration_us: 10,
        referer: None,
        user_agent: Some(b"test"),
        server: "web",
        id: None,
    }
}

/// The target of the first record of `batch`.
pub(crate) fn first_target(batch: &Batch) -> &str {
    match batch.iter().next() {
        Some(Entry::Access(record)) => record.target,
        other => panic!("a record, not {other:?}"),
    }
}

/// A sealed batch of records with these targets, a second apart.
pub(crate) fn batch<T: AsRef<str>>(targets: impl IntoIterator<Item = T>) -> Arc<Batch> {
    let mut batch = Batch::new();
    for (second, target) in (0..).zip(targets) {
        batch.push(&record(target.as_ref(), second * 1_000_000));
    }
    batch.seal()
}

#[test]
fn long_fields_are_cut_between_characters() {
    let long = format!("x{}", "ü".repeat(MAX_FIELD));
    let mut batch = Batch::new();
    batch.push(&Record { referer: Some(long.as_bytes()), ..record(&long, 0) });
    let Some(Entry::Access(kept)) = batch.iter().next() else { panic!("a record") };
    assert_eq!(kept.target, &long[..MAX_FIELD - 1]);
    assert_eq!(kept.referer, Some(&long.as_bytes()[..MAX_FIELD]));
}

#[test]
fn sealing_gives_unused_memory_back() {
    let mut batch = Batch::with_capacity(Extent { records: 256, text: 16_384, raw: 16_384 });
    batch.push(&record("/", 0));
    let used = batch.bytes();
    assert!(batch.footprint() > 32_768);
    assert!(batch.seal().footprint() < 2 * used);
}

#[test]
fn events_and_records_come_out_in_their_order() {
    let event = Event {
        time: Timestamp::from_micros(3),
        level: Level::Warn,
        part: "http",
        message: "broke off",
        request: Some("0191"),
    };
    let mut batch = Batch::new();
    batch.push_entry(&record("/a", 1).into());
    batch.push_entry(&event.into());
    batch.push(&record("/b", 5));
    let out: Vec<_> = batch.iter().collect();
    assert_eq!(out, [record("/a", 1).into(), event.into(), record("/b", 5).into()]);
    assert_eq!(batch.loss_after(1).map(|loss| loss.records), Some(2));
}

#[test]
fn a_loss_spans_what_is_missing() {
    let batch = batch(["a", "b", "c"]);
    let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
    assert_eq!(batch.loss_after(1), Some(Loss { records: 2, from: at(1), to: at(2) }));
    assert_eq!(batch.loss_after(3), None);
}

type Fields = (Option<String>, String, String, Option<String>, Option<Vec<u8>>, Option<Vec<u8>>, u16);

fn fields() -> impl Strategy<Value = Fields> {
    (
        option::of(".*"),
        ".*",
        ".*",
        option::of(".*"),
        any::<Option<Vec<u8>>>(),
        any::<Option<Vec<u8>>>(),
        any::<u16>(),
    )
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(all in proptest::collection::vec(fields(), 0..20)) {
        let records: Vec<Record<'_>> = all
            .iter()
            .map(|(user, method, target, host, referer, user_agent, status)| Record {
                user: user.as_deref(),
                method,
                host: host.as_deref(),
                referer: referer.as_deref(),
                user_agent: user_agent.as_deref(),
                status: *status,
                ..record(target, i64::from(*status))
            })
            .collect();
        let mut batch = Batch::new();
        for record in &records {
            batch.push(record);
        }
        prop_assert_eq!(batch.iter().collect::<Vec<_>>(), records.into_iter().map(Entry::Access).collect::<Vec<_>>());
    }
}
