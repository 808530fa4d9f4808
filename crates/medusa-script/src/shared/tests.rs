//! Dictionaries: their operations and limits.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::dictionary::LAST_WHOLE;
use super::*;

fn text(text: &'static str) -> SharedValue {
    SharedValue::Text(Bytes::from_static(text.as_bytes()))
}

#[test]
fn set_get_remove() {
    let dictionary = Dictionary::new(&Arc::default());
    dictionary.set(b"k", Some(text("v")), None).unwrap();
    assert_eq!(dictionary.get(b"k"), Some(text("v")));
    dictionary.set(b"k", None, None).unwrap();
    assert_eq!(dictionary.get(b"k"), None);
}

#[test]
fn what_has_expired_is_gone() {
    let dictionary = Dictionary::new(&Arc::default());
    dictionary.set(b"k", Some(text("v")), Some(Duration::ZERO)).unwrap();
    assert_eq!(dictionary.get(b"k"), None);
    assert!((0..SHARDS).all(|shard| dictionary.keys(shard, b"", 10).is_empty()));
    assert_eq!(dictionary.incr(b"k", 2.0, None), Ok(2.0));
}

#[test]
fn counting_is_atomic_over_threads() {
    let dictionary = Dictionary::new(&Arc::default());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10_000).for_each(|_| drop(dictionary.incr(b"n", 1.0, None))));
        }
    });
    assert_eq!(dictionary.get(b"n"), Some(SharedValue::Number(40_000.0)));
    dictionary.set(b"s", Some(text("x")), None).unwrap();
    assert_eq!(dictionary.incr(b"s", 1.0, None), Err(SharedError::NotANumber("s".into())));
    assert_eq!(dictionary.incr(b"far", LAST_WHOLE - 1.0, None), Ok(LAST_WHOLE - 1.0));
    assert_eq!(dictionary.incr(b"far", 1.0, None), Ok(LAST_WHOLE));
    assert_eq!(dictionary.incr(b"far", 1.0, None), Err(SharedError::TooFar("far".into())));
    assert_eq!(dictionary.incr(b"far", -1.0, None), Ok(LAST_WHOLE - 1.0), "it is what it was");
}

#[test]
fn compare_and_set() {
    let dictionary = Dictionary::new(&Arc::default());
    assert_eq!(dictionary.cas(b"k", None, Some(text("a")), None), Ok(true));
    assert_eq!(dictionary.cas(b"k", None, Some(text("b")), None), Ok(false));
    assert_eq!(dictionary.cas(b"k", Some(&text("a")), Some(text("b")), None), Ok(true));
    assert_eq!(dictionary.cas(b"k", Some(&text("b")), None, None), Ok(true));
    assert_eq!(dictionary.get(b"k"), None);
}

#[test]
fn all_together_never_hold_more_than_their_limit() {
    let all = Dictionaries::default();
    let fill = |name: &str| {
        let dictionary = all.open(name.as_bytes()).unwrap();
        let big = Bytes::from(vec![b'x'; 1 << 20]);
        let set = |n: u32| dictionary.set(&n.to_ne_bytes(), Some(SharedValue::Text(big.clone())), None);
        let refused: Vec<_> = (0..200).filter_map(|n| set(n).err()).collect();
        assert!(all.held.bytes() <= ALL as u64);
        refused
    };
    let names: Vec<String> = (0..10).map(|n| format!("d{n}")).collect();
    let is_full = |refused: &[SharedError]| refused.iter().all(|error| *error == SharedError::Full);
    assert!(is_full(&fill(&names[0])), "one by itself");
    for name in &names {
        fill(name);
    }
    assert!(fill("more").contains(&SharedError::AllFull));
    for name in &names {
        let dictionary = all.open(name.as_bytes()).unwrap();
        (0..200_u32).for_each(|n| dictionary.set(&n.to_ne_bytes(), None, None).unwrap());
    }
    assert!(is_full(&fill("more")), "there is room again");
    let large = SharedValue::Text(Bytes::from(vec![0; LARGEST]));
    let refused = all.open(b"more").unwrap().set(b"k", Some(large), None).unwrap_err();
    assert!(matches!(refused, SharedError::TooLarge { .. }), "{refused}");
    let (key, more) = (vec![0; LARGEST + 1], all.open(b"more").unwrap());
    assert_eq!(more.incr(&key, 1.0, None), Err(SharedError::TooLarge { size: LARGEST + 1 }));
    assert_eq!(more.get(&key), None);
    assert_eq!(all.open(&[b'n'; 257]).unwrap_err(), SharedError::Name(257));
}

#[test]
fn it_never_holds_more_than_its_limit_and_makes_room_of_what_expired() {
    let dictionary = Dictionary::new(&Arc::default());
    let big = Bytes::from(vec![b'x'; LARGEST / 2]);
    let mut stored = 0;
    for n in 0..SHARDS * 4 {
        let key = format!("k{n}");
        stored += usize::from(
            dictionary
                .set(key.as_bytes(), Some(SharedValue::Text(big.clone())), Some(Duration::from_mins(1)))
                .is_ok(),
        );
    }
    assert!(stored <= SHARDS * 2 && stored > 0, "{stored}");
    for shard in &dictionary.shards {
        let mut shard = shard.lock();
        assert!(shard.size <= LARGEST);
        shard.entries.values_mut().for_each(|entry| entry.expires = Some(Instant::now()));
    }
    assert_eq!(dictionary.set(b"k0", Some(SharedValue::Text(big)), None), Ok(()));
}
