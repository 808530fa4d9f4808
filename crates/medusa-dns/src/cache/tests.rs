//! Times, limits, and what goes when it is full.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::RecordType;

const SECOND: u64 = 1000;

fn key(name: &str) -> Key {
    Key::new(name, RecordType::A).expect("a name")
}

fn records(last: u8) -> Arc<[Data]> {
    [Data::A(Ipv4Addr::new(192, 0, 2, last))].into()
}

fn nxdomain(name: &str) -> LookupError {
    LookupError::NxDomain { name: name.into() }
}

fn failed() -> LookupError {
    LookupError::Timeout { name: "a".into() }
}

fn cache() -> Cache {
    Cache::new(CacheOptions::default())
}

fn ttl_of(found: &Found) -> Option<u64> {
    match found {
        Found::Fresh { ttl, .. } => Some(millis(*ttl)),
        _ => None,
    }
}

#[test]
fn an_answer_holds_as_long_as_it_says() {
    let cache = cache();
    let key = key("a.example");
    assert_eq!(cache.get(&key, 0), Found::Miss);
    cache.put(&key, &Ok(records(1)), Lifetime::Positive(60), 5 * SECOND);
    assert_eq!(
        cache.get(&key, 20 * SECOND),
        Found::Fresh { value: Ok(records(1)), ttl: Duration::from_secs(45), prefetch: false }
    );
    assert_eq!(ttl_of(&cache.get(&key, 65 * SECOND - 1)), Some(1));
    assert_eq!(cache.get(&key, 65 * SECOND), Found::Stale { records: records(1), ask: true });
    let other = Key::new("a.example", RecordType::Aaaa).expect("a name");
    assert_eq!(cache.get(&other, 20 * SECOND), Found::Miss, "of another type");
}

#[test]
fn lifetimes_have_a_floor_and_a_ceiling() {
    let options = CacheOptions {
        min_ttl: Duration::from_secs(10),
        max_ttl: Duration::from_secs(100),
        negative_max: Duration::from_secs(50),
        ..CacheOptions::default()
    };
    let cache = Cache::new(options);
    let seconds = |value: &Value, lifetime| cache.put(&key("a.example"), value, lifetime, 0).as_secs();
    let good: Value = Ok(records(1));
    let bad: Value = Err(nxdomain("a.example"));
    assert_eq!(seconds(&good, Lifetime::Positive(0)), 10);
    assert_eq!(seconds(&good, Lifetime::Positive(60)), 60);
    assert_eq!(seconds(&good, Lifetime::Positive(1000)), 100);
    assert_eq!(seconds(&good, Lifetime::Positive(u32::MAX)), 10, "the highest bit makes it 0");
    assert_eq!(seconds(&bad, Lifetime::Negative(Some(20))), 20);
    assert_eq!(seconds(&bad, Lifetime::Negative(Some(1000))), 50);
    assert_eq!(seconds(&bad, Lifetime::Negative(None)), 5, "without an SOA record, as a failure");
}

#[test]
fn no_such_name_holds_for_every_type() {
    let cache = cache();
    let (a, txt) = (key("a.example"), Key::new("a.example", RecordType::Txt).expect("a name"));
    cache.put(&a, &Ok(records(1)), Lifetime::Positive(60), 0);
    cache.put(&txt, &Err(nxdomain("a.example")), Lifetime::NoName(Some(60)), 0);
    for key in [&a, &txt] {
        let found = cache.get(key, SECOND);
        let is_nothing =
            matches!(&found, Found::Fresh { value: Err(error), .. } if *error == nxdomain("a.example"));
        // What was known of the other type holds as long as it was said to.
        assert_eq!(is_nothing, key.kind() == RecordType::Txt, "{found:?}");
    }
    cache.put(&a, &Ok(records(2)), Lifetime::Positive(60), 2 * SECOND);
    assert_eq!(cache.get(&txt, 3 * SECOND), Found::Miss, "now there is such a name");
}

#[test]
fn no_such_record_holds_for_its_type_alone() {
    let cache = cache();
    let (a, txt) = (key("a.example"), Key::new("a.example", RecordType::Txt).expect("a name"));
    let nothing = LookupError::NoData { name: "a.example".into(), kind: RecordType::Txt };
    cache.put(&txt, &Err(nothing), Lifetime::Negative(Some(60)), 0);
    assert!(ttl_of(&cache.get(&txt, 0)).is_some());
    assert_eq!(cache.get(&a, 0), Found::Miss);
}

#[test]
fn a_failure_is_remembered_briefly() {
    let cache = cache();
    let key = key("a.example");
    assert_eq!(cache.put_failure(&key, failed(), 0), None);
    let found = cache.get(&key, 5 * SECOND - 1);
    assert!(
        matches!(&found, Found::Fresh { value: Err(error), prefetch: false, .. } if *error == failed()),
        "{found:?}"
    );
    assert_eq!(cache.get(&key, 5 * SECOND), Found::Miss);
}

#[test]
fn an_old_answer_outlives_a_failure() {
    let options = CacheOptions { stale: Duration::from_mins(10), ..CacheOptions::default() };
    let cache = Cache::new(options);
    let key = key("a.example");
    cache.put(&key, &Ok(records(1)), Lifetime::Positive(60), 0);
    assert_eq!(cache.put_failure(&key, failed(), 61 * SECOND), Some(records(1)));
    assert_eq!(
        cache.get(&key, 62 * SECOND),
        Found::Stale { records: records(1), ask: false },
        "no one is asked"
    );
    assert_eq!(cache.get(&key, 91 * SECOND), Found::Stale { records: records(1), ask: true }, "now they are");
    assert_eq!(cache.get(&key, 659 * SECOND), Found::Stale { records: records(1), ask: true });
    assert_eq!(cache.get(&key, 660 * SECOND), Found::Miss, "its time is over");
    assert_eq!(cache.put_failure(&key, failed(), 661 * SECOND), None);
    // A negative answer is never given beyond its time.
    cache.put(&key, &Err(nxdomain("a.example")), Lifetime::NoName(Some(60)), 700 * SECOND);
    assert_eq!(cache.get(&key, 760 * SECOND), Found::Miss);
}

#[test]
fn what_is_in_use_is_asked_for_in_time_and_once() {
    let cache = cache();
    let hot = key("hot.example");
    cache.put(&hot, &Ok(records(1)), Lifetime::Positive(100), 0);
    let asks = |at: u64| matches!(cache.get(&hot, at * SECOND), Found::Fresh { prefetch: true, .. });
    assert!(!asks(1) && !asks(2) && !asks(3) && !asks(89), "it is too early");
    assert!(asks(90), "in its last tenth");
    assert!(!asks(91), "someone is on the way");
    assert_eq!(cache.put_failure(&hot, failed(), 92 * SECOND), Some(records(1)), "it still holds");
    let asks = |at: u64| matches!(cache.get(&hot, at * SECOND), Found::Fresh { prefetch: true, .. });
    assert!(!asks(93), "not right after a failure");
    assert!(asks(97));

    let cold = key("cold.example");
    cache.put(&cold, &Ok(records(1)), Lifetime::Positive(100), 0);
    let found = cache.get(&cold, 95 * SECOND);
    assert!(matches!(found, Found::Fresh { prefetch: false, .. }), "no one uses it: {found:?}");
}

#[test]
fn what_is_used_stays_when_it_is_full() {
    let cache = Cache::new(CacheOptions { entries: 100, ..CacheOptions::default() });
    let used = key("used.example");
    cache.put(&used, &Ok(records(1)), Lifetime::Positive(60), 0);
    for number in 0..1000 {
        let once = key(&format!("{number}.example"));
        cache.put(&once, &Ok(records(2)), Lifetime::Positive(60), 0);
        assert!(ttl_of(&cache.get(&used, 0)).is_some(), "gone after {number}");
    }
    let counts = cache.counts();
    assert_eq!((counts.entries, counts.evicted, counts.hits), (100, 901, 1000));
}

#[test]
fn bytes_are_limited_too() {
    let limit = 64 * 1024;
    let cache = Cache::new(CacheOptions { bytes: limit, entries: 1000, ..CacheOptions::default() });
    for number in 0..100 {
        let big: Arc<[Data]> = [Data::Txt([vec![0; 20_000].into()].into())].into();
        cache.put(&key(&format!("{number}.example")), &Ok(big), Lifetime::Positive(60), 0);
        assert!(cache.counts().bytes <= limit as u64);
    }
    let counts = cache.counts();
    assert!(counts.entries > 0 && counts.entries <= 3, "{counts:?}");
    cache.flush();
    assert_eq!((cache.counts().entries, cache.counts().bytes), (0, 0));
}

#[test]
fn what_there_is_not_takes_memory_too() {
    let cache = cache();
    let name = [&*"a".repeat(60); 4].join(".");
    let value = Err(LookupError::NxDomain { name: name.as_str().into() });
    cache.put(&key(&name), &value, Lifetime::NoName(Some(60)), 0);
    assert!(cache.counts().bytes as usize > 2 * name.len(), "once in the key, once in the error");
}

#[test]
fn a_name_is_forgotten_with_all_its_types() {
    let cache = cache();
    let txt = Key::new("a.example", RecordType::Txt).expect("a name");
    cache.put(&key("a.example"), &Ok(records(1)), Lifetime::Positive(60), 0);
    cache.put(&txt, &Ok(records(1)), Lifetime::Positive(60), 0);
    cache.put(&key("b.example"), &Ok(records(1)), Lifetime::Positive(60), 0);
    assert_eq!(cache.flush_name(&key("a.example")), 2);
    assert_eq!(cache.get(&txt, 0), Found::Miss);
    assert_eq!(cache.flush(), 1);
}

#[test]
fn the_list_begins_with_what_is_used_most() {
    let cache = cache();
    for (name, uses) in [("a.example", 1), ("b.example", 3), ("c.example", 0)] {
        cache.put(&key(name), &Ok(records(1)), Lifetime::Positive(60), 0);
        for _ in 0..uses {
            cache.get(&key(name), 0);
        }
    }
    let names = |limit| {
        cache
            .list(limit, SECOND)
            .iter()
            .map(|listed| crate::name::shown(&listed.key).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(10), ["b.example", "a.example", "c.example"]);
    assert_eq!(names(1), ["b.example"]);
}

proptest! {
    /// Whatever is put in, used, and forgotten: the numbers are right and the limits hold.
    #[test]
    fn the_books_are_kept(steps in prop::collection::vec((0_u8..4, 0_u8..40, 1_usize..3000), 1..400)) {
        let cache = Cache::new(CacheOptions { entries: 20, bytes: 64 * 1024, ..CacheOptions::default() });
        for (time, (what, name, size)) in steps.into_iter().enumerate() {
            let key = key(&format!("{name}.example"));
            let now = time as u64 * SECOND;
            match what {
                0 => drop(cache.get(&key, now)),
                1 => drop(cache.put_failure(&key, failed(), now)),
                2 if size % 7 == 0 => drop(cache.flush_name(&key)),
                _ => {
                    let value = Ok([Data::Txt([vec![0; size].into()].into())].into());
                    cache.put(&key, &value, Lifetime::Positive(size as u32 % 100), now);
                }
            }
            let counts = cache.counts();
            prop_assert!(counts.entries <= 20 && counts.bytes <= 64 * 1024);
            prop_assert_eq!(counts.entries == 0, counts.bytes == 0);
        }
        let left = cache.counts().entries;
        prop_assert_eq!(cache.flush() as u64, left);
    }
}
