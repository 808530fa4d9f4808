//! More questions than can be asked: by clients that make a log ask for the names of many addresses, none of which has a
//! name server that answers. What others ask must not wait behind these.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use medusa_dns::{Answer, LookupError, RecordType, Resolver, ServerOptions, Source};
use medusa_proto::status::Value;
use tokio::task::JoinSet;

use crate::server::{Server, Step, a};

/// More than can be on the wire.
const CROWD: u32 = 1000;

/// More than can be under way.
const LARGE_CROWD: u32 = 10_000;

/// How long anything may take that must not wait for a timeout.
const SOON: Duration = Duration::from_secs(20);

fn patient() -> ServerOptions {
    ServerOptions { timeout: Duration::from_mins(1), ..ServerOptions::default() }
}

/// One that says nothing of the names of addresses, and answers everything else.
fn server() -> Server {
    Server::start(|question| match &*question.kind {
        "PTR" => vec![],
        _ => vec![Step::Send(question.answer(60, &[a("192.0.2.1")]))],
    })
}

/// Asks for the names of so many addresses, as a log does.
fn crowd(resolver: &Resolver, size: u32) -> Receiver<Result<Answer, LookupError>> {
    let (answer, answers) = sync_channel(size as usize);
    for number in 0..size {
        let answer = answer.clone();
        let address = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + number));
        resolver.ask_ptr(address, move |outcome| drop(answer.send(outcome)));
    }
    answers
}

#[tokio::test]
async fn a_lookup_does_not_wait_behind_a_log() {
    let server = server();
    for size in [CROWD, LARGE_CROWD] {
        let resolver = server.resolver_with(patient());
        let _answers = crowd(&resolver, size);
        let lookup = resolver.lookup("www.example", RecordType::A);
        let answer = tokio::time::timeout(SOON, lookup).await.expect("in time").expect("there is room");
        assert_eq!(answer.source, Source::Server);
    }
}

#[tokio::test]
async fn who_joins_the_question_of_a_log_does_not_wait_behind_it() {
    let server = server();
    let resolver = server.resolver_with(patient());
    let _answers = crowd(&resolver, CROWD);
    let (answer, answers) = sync_channel(1);
    resolver.ask_lookup("www.example", RecordType::A, move |outcome| drop(answer.send(outcome)));
    let lookup = resolver.lookup("www.example", RecordType::A);
    tokio::time::timeout(SOON, lookup).await.expect("in time").expect("an answer");
    answers.recv_timeout(SOON).expect("called back").expect("the same answer");
    assert_eq!(server.asked().iter().filter(|asked| asked.ends_with(" A")).count(), 1);
}

#[tokio::test]
async fn where_there_is_no_room_an_old_answer_does() {
    let server = Server::start(|question| match &*question.name {
        "www.example." => vec![Step::Send(question.answer(0, &[a("192.0.2.1")]))],
        _ => vec![],
    });
    let resolver = server.resolver_with(patient());
    resolver.lookup("www.example", RecordType::A).await.expect("an answer");
    let mut crowd = JoinSet::new();
    for number in 0..LARGE_CROWD {
        let resolver = Arc::clone(&resolver);
        crowd.spawn(async move { resolver.lookup(&format!("{number}.example"), RecordType::A).await });
    }
    while resolver.status().get("in_flight") != Some(&Value::Count(8192)) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let refused = resolver.lookup("new.example", RecordType::A).await;
    assert_eq!(refused, Err(LookupError::Busy), "there is no room");
    let stale = resolver.lookup("www.example", RecordType::A).await.expect("an answer");
    assert_eq!(stale.source, Source::Stale);
}

#[tokio::test]
async fn a_resolver_ends_at_once_whatever_it_has_to_do() {
    let server = server();
    let resolver = server.resolver_with(patient());
    let answers = crowd(&resolver, CROWD);
    while server.asked().len() < 100 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(resolver);
    let began = Instant::now();
    for _ in 0..CROWD {
        let left = SOON.saturating_sub(began.elapsed());
        assert_eq!(answers.recv_timeout(left).expect("called back"), Err(LookupError::Closed));
    }
}

#[tokio::test]
async fn resolvers_that_are_replaced_leave_nothing_behind() {
    let server = server();
    let count = |directory: &str| std::fs::read_dir(directory).expect("a directory").count();
    let before = (count("/proc/self/task"), count("/proc/self/fd"));
    for _ in 0..50 {
        let resolver = server.resolver_with(patient());
        let _answers = crowd(&resolver, CROWD);
        resolver.lookup("www.example", RecordType::A).await.expect("an answer");
    }
    let began = Instant::now();
    while (count("/proc/self/task"), count("/proc/self/fd")) != before {
        assert!(began.elapsed() < SOON, "threads or descriptors are left");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
