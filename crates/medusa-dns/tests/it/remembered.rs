//! The cache, with a server behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use medusa_dns::{CacheOptions, DnsError, EntryState, LookupError, RecordType, Source};
use medusa_proto::status::Value;
use tokio::task::JoinSet;

use crate::server::{Gate, Server, Step, a, caching, cname};

#[tokio::test]
async fn many_who_ask_are_one_question() {
    let gate = Arc::new(Gate::default());
    let door = Arc::clone(&gate);
    let server = Server::start(move |question| {
        vec![Step::Wait(Arc::clone(&door)), Step::Send(question.answer(60, &[a("192.0.2.1")]))]
    });
    let resolver = server.resolver();
    let mut waiting = JoinSet::new();
    for _ in 0..200 {
        let resolver = Arc::clone(&resolver);
        waiting.spawn(async move { resolver.lookup("www.example", RecordType::A).await });
    }
    while resolver.status().get("waiting") != Some(&200_u64.into()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    gate.open();
    while let Some(outcome) = waiting.join_next().await {
        assert_eq!(outcome.expect("no panic").expect("an answer").source, Source::Server);
    }
    assert_eq!(server.asked(), ["www.example. A"]);
    assert_eq!(resolver.status().get("in_flight"), Some(&0_u64.into()));
}

#[tokio::test]
async fn who_goes_away_takes_no_one_along() {
    let gate = Arc::new(Gate::default());
    let door = Arc::clone(&gate);
    let server = Server::start(move |question| {
        vec![Step::Wait(Arc::clone(&door)), Step::Send(question.answer(60, &[a("192.0.2.1")]))]
    });
    let resolver = server.resolver();
    let first =
        tokio::time::timeout(Duration::from_millis(1), resolver.lookup("www.example", RecordType::A)).await;
    assert!(first.is_err(), "it waits: {first:?}");
    let second = resolver.lookup("www.example", RecordType::A);
    let (answer, ()) = tokio::join!(second, async { gate.open() });
    assert_eq!(answer.expect("an answer").records.len(), 1);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn what_does_not_exist_is_remembered_by_the_soa_record() {
    let server = Server::start(|question| {
        let code =
            if question.name.starts_with("no-name") { ResponseCode::NXDomain } else { ResponseCode::NoError };
        vec![Step::Send(question.negative(code, 600, 300))]
    });
    let resolver = server.resolver();
    for _ in 0..2 {
        let error = resolver.lookup("no-name.example", RecordType::A).await.expect_err("no name");
        assert_eq!(error, LookupError::NxDomain { name: "no-name.example".into() });
        let error = resolver.lookup("no-data.example", RecordType::A).await.expect_err("no data");
        assert_eq!(error, LookupError::NoData { name: "no-data.example".into(), kind: RecordType::A });
    }
    // No name has no type at all; no data is about its type alone.
    resolver.lookup("no-name.example", RecordType::Txt).await.expect_err("no name");
    assert_eq!(server.asked(), ["no-name.example. A", "no-data.example. A"]);
    resolver.lookup("no-data.example", RecordType::Txt).await.expect_err("no data");
    assert_eq!(server.asked().len(), 3);

    let entries = resolver.cache(10);
    assert_eq!(entries.len(), 3);
    for entry in entries {
        assert_eq!(entry.state, EntryState::Negative);
        assert!(entry.ttl <= Duration::from_mins(5) && entry.ttl > Duration::from_mins(4), "{entry:?}");
        assert_eq!(entry.kind.is_none(), entry.name == "no-name.example");
    }
}

#[tokio::test]
async fn an_alias_of_nothing_exists_itself() {
    let server = Server::start(|question| {
        let alias = [("www.example.", 60, cname("gone.example."))];
        let mut answer = question.records(&alias);
        if question.kind != "CNAME" {
            answer[3] |= u16::from(ResponseCode::NXDomain) as u8;
        }
        vec![Step::Send(answer)]
    });
    let resolver = server.resolver();
    let error = resolver.lookup("www.example", RecordType::A).await.expect_err("no address");
    assert!(matches!(error, LookupError::NxDomain { .. }), "{error:?}");
    let answer = resolver.lookup("www.example", RecordType::Cname).await.expect("the alias");
    assert_eq!(answer.name(), Some("gone.example"));
}

#[tokio::test]
async fn an_answer_without_a_lifetime_is_used_once() {
    let server = Server::of_one_address(0);
    let resolver = server.resolver();
    for _ in 0..3 {
        assert_eq!(
            resolver.lookup("www.example", RecordType::A).await.expect("an answer").source,
            Source::Server
        );
    }
    assert_eq!(server.asked().len(), 3);

    let floor = server
        .resolver_with(caching(CacheOptions { min_ttl: Duration::from_secs(5), ..CacheOptions::default() }));
    for _ in 0..3 {
        floor.lookup("www.example", RecordType::A).await.expect("an answer");
    }
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn what_is_flushed_is_asked_for_again() {
    let number = Arc::new(AtomicU32::new(0));
    let server = Server::start(move |question| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        vec![Step::Send(question.answer(60, &[a(&format!("192.0.2.{number}"))]))]
    });
    let resolver = server.resolver();
    let mut records = Vec::new();
    for name in ["a.example", "b.example"] {
        records.push(resolver.lookup(name, RecordType::A).await.expect("an answer").records);
    }
    let remembered =
        |name: &str| resolver.cache_of(name).into_iter().map(|entry| entry.name).collect::<Vec<_>>();
    assert_eq!(remembered("A.example."), ["a.example"]);
    assert!(remembered("c.example").is_empty() && remembered("a..example").is_empty());
    assert_eq!(resolver.flush(Some("A.example.")), 1);
    assert_ne!(resolver.lookup("a.example", RecordType::A).await.expect("an answer").records, records[0]);
    assert_eq!(resolver.lookup("b.example", RecordType::A).await.expect("an answer").records, records[1]);
    assert_eq!(resolver.flush(None), 2);
    assert_eq!(resolver.cache(10), []);
}

#[tokio::test]
async fn what_was_asked_before_a_flush_is_not_kept() {
    let gate = Arc::new(Gate::default());
    let door = Arc::clone(&gate);
    let server = Server::start(move |question| {
        vec![Step::Wait(Arc::clone(&door)), Step::Send(question.answer(60, &[a("192.0.2.1")]))]
    });
    let resolver = server.resolver();
    let (answer, ()) = tokio::join!(resolver.lookup("www.example", RecordType::A), async {
        while server.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        resolver.flush(None);
        gate.open();
    });
    assert!(answer.is_ok());
    assert_eq!(resolver.cached("www.example", RecordType::A), None);
}

#[tokio::test]
async fn pins_hide_the_servers() {
    let server = Server::of_one_address(60);
    let resolver = server.resolver();
    resolver.lookup("www.example", RecordType::A).await.expect("an answer");
    let pinned = ["198.51.100.1".parse().expect("an address"), "2001:db8::1".parse().expect("an address")];
    resolver.pin("WWW.example.", &pinned, None).expect("pinned");
    let answer = resolver.cached("www.example", RecordType::A).expect("known").expect("an answer");
    assert_eq!((answer.addresses().next(), answer.source), (Some(pinned[0]), Source::Pinned));
    let found = resolver.addresses("www.example").await.expect("addresses");
    assert_eq!((found.addresses.len(), found.source), (2, Source::Pinned));
    let error = resolver.lookup("www.example", RecordType::Mx).await.expect_err("a pin is all there is");
    assert!(matches!(error, LookupError::NoData { .. }));
    assert_eq!(resolver.flush(None), 1, "pins stay");
    assert_eq!(resolver.status().get("pins"), Some(&1_u64.into()));

    assert!(resolver.unpin("www.example") && !resolver.unpin("www.example"));
    resolver.pin("www.example", &pinned, Some(Duration::ZERO)).expect("pinned");
    assert_eq!(
        resolver.lookup("www.example", RecordType::A).await.expect("an answer").source,
        Source::Server
    );
    assert!(matches!(resolver.pin("www.example", &[], None), Err(DnsError::EmptyPin(_))));
    assert!(matches!(resolver.pin("a..b", &pinned, None), Err(DnsError::Name(_))));
}

#[tokio::test]
async fn what_is_in_use_is_fetched_before_it_is_over() {
    let server = Server::of_one_address(1);
    let resolver = server.resolver();
    resolver.lookup("www.example", RecordType::A).await.expect("an answer");
    let count = |name: &str| match resolver.status().get(name) {
        Some(Value::Count(count)) => *count,
        other => panic!("{name}: {other:?}"),
    };
    // Used all the time, it is asked for ahead of its end, and waited for only where this test was held up for that long.
    let began = std::time::Instant::now();
    while count("prefetched") < 2 {
        assert!(began.elapsed() < Duration::from_secs(20), "nothing is fetched ahead");
        let misses = count("misses");
        let answer = resolver.lookup("www.example", RecordType::A).await.expect("an answer");
        assert_eq!(answer.source == Source::Cache, count("misses") == misses);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(server.asked().len() as u64 >= count("prefetched"), "each is a question");
}
