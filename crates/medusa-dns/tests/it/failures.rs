//! Servers that are slow, stopped, or say no.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use medusa_dns::{LookupError, Protocol, Rcode, RecordType, Resolver, ServerOptions, Source};
use medusa_proto::status::Value;

use crate::server::{Gate, Server, Step, a, impatient};

#[tokio::test]
async fn a_failure_is_remembered_so_that_it_is_not_repeated() {
    for (code, expected) in
        [(ResponseCode::ServFail, Rcode::SERVFAIL), (ResponseCode::Refused, Rcode::REFUSED)]
    {
        let server = Server::start(move |question| vec![Step::Send(question.code(code))]);
        let resolver = server.resolver();
        for _ in 0..5 {
            let error = resolver.lookup("www.example", RecordType::A).await.expect_err("a failure");
            assert_eq!(error, LookupError::Failed { name: "www.example".into(), code: expected });
        }
        assert_eq!(server.asked().len(), 2, "as often as `attempts` says, and not once more");
    }
}

#[tokio::test]
async fn silence_is_remembered_too() {
    let server = Server::start(|_| vec![]);
    let resolver = server.resolver_with(impatient());
    for _ in 0..5 {
        let error = resolver.lookup("www.example", RecordType::A).await.expect_err("a failure");
        assert_eq!(error, LookupError::Timeout { name: "www.example".into() });
    }
    assert_eq!(server.asked().len(), 1);
    let status = resolver.status();
    assert_eq!(status.children[0].get("timeouts"), Some(&Value::Count(1)));
    assert_eq!(status.get("failures"), Some(&Value::Count(1)));
}

#[tokio::test]
async fn the_next_server_is_asked_after_a_failure() {
    let silent = Server::start(|_| vec![]);
    let failing = Server::start(|question| vec![Step::Send(question.code(ResponseCode::ServFail))]);
    let good = Server::of_one_address(60);
    let servers = vec![silent.address(), failing.address(), good.address()];
    let resolver = Resolver::server(servers, impatient()).expect("a resolver");
    resolver.prepare().expect("started");
    for number in 0..5 {
        resolver.lookup(&format!("{number}.example"), RecordType::A).await.expect("an answer");
    }
    assert_eq!(silent.asked().len(), 3, "then it is taken for down");
    assert_eq!((failing.asked().len(), good.asked().len()), (5, 5));
    let status = resolver.status();
    assert_eq!(status.children[0].get("down"), Some(&Value::Flag(true)));
    assert_eq!(status.children[1].get("servfail"), Some(&Value::Count(5)));
    assert!(matches!(status.children[2].get("mean_latency"), Some(Value::Seconds(time)) if *time > 0.0));
}

#[tokio::test]
async fn that_there_is_no_such_name_is_an_answer() {
    let first = Server::start(|question| vec![Step::Send(question.negative(ResponseCode::NXDomain, 60, 60))]);
    let second = Server::of_one_address(60);
    let resolver =
        Resolver::server(vec![first.address(), second.address()], impatient()).expect("a resolver");
    resolver.prepare().expect("started");
    resolver.lookup("www.example", RecordType::A).await.expect_err("no such name");
    assert!(second.seen().is_empty());
}

#[tokio::test]
async fn servers_in_turn() {
    let servers = [Server::of_one_address(60), Server::of_one_address(60)];
    let options = ServerOptions { rotate: true, ..ServerOptions::default() };
    let addresses = servers.iter().map(Server::address).collect();
    let resolver = Resolver::server(addresses, options).expect("a resolver");
    resolver.prepare().expect("started");
    for number in 0..6 {
        resolver.lookup(&format!("{number}.example"), RecordType::A).await.expect("an answer");
    }
    assert_eq!(servers.map(|server| server.asked().len()), [3, 3]);
}

#[tokio::test]
async fn a_server_that_is_stopped_is_seen_at_once() {
    let server = Server::of_one_address(60);
    let timeout = Duration::from_secs(30);
    let resolver = server.resolver_with(ServerOptions { timeout, ..ServerOptions::default() });
    server.stop();
    let began = Instant::now();
    let error = resolver.lookup("www.example", RecordType::A).await.expect_err("no server");
    let LookupError::Unreachable { cause, .. } = &error else { panic!("{error:?}") };
    assert!(cause.contains("refused"), "{cause}");
    assert!(began.elapsed() < timeout, "not only after the timeout");
}

#[tokio::test]
async fn an_old_answer_serves_while_the_server_is_stopped() {
    let server = Server::of_one_address(0);
    let resolver = server.resolver();
    let answer = resolver.lookup("www.example", RecordType::A).await.expect("an answer");
    server.stop();
    for _ in 0..3 {
        let stale = resolver.lookup("www.example", RecordType::A).await.expect("an answer");
        assert_eq!((stale.source, stale.ttl), (Source::Stale, Duration::from_secs(30)));
        assert_eq!(stale.records, answer.records);
    }
    assert!(
        resolver.cached("www.example", RecordType::A).is_some_and(|stale| stale.is_ok()),
        "known without asking"
    );
    let status = resolver.status();
    assert_eq!(status.get("failures"), Some(&Value::Count(1)), "no one is asked again so soon");
    assert_eq!(status.get("stale"), Some(&Value::Count(4)));
}

#[tokio::test]
async fn an_old_answer_serves_while_the_server_is_slow() {
    let (gate, is_slow) = (Arc::new(Gate::default()), Arc::new(AtomicBool::new(false)));
    let (door, slow) = (Arc::clone(&gate), Arc::clone(&is_slow));
    let server = Server::start(move |question| {
        if slow.load(Ordering::Relaxed) {
            return vec![Step::Wait(Arc::clone(&door)), Step::Send(question.answer(60, &[a("192.0.2.2")]))];
        }
        vec![Step::Send(question.answer(0, &[a("192.0.2.1")]))]
    });
    let resolver =
        server.resolver_with(ServerOptions { timeout: Duration::from_secs(20), ..ServerOptions::default() });
    let first = resolver.lookup("www.example", RecordType::A).await.expect("an answer");
    is_slow.store(true, Ordering::Relaxed);
    let stale = resolver.lookup("www.example", RecordType::A).await.expect("an answer");
    assert_eq!((stale.source, &stale.records), (Source::Stale, &first.records));
    // The question is still open. Who comes now does not wait as long; and its answer is not lost.
    assert_eq!(resolver.status().get("in_flight"), Some(&Value::Count(1)));
    let known = resolver.cached("www.example", RecordType::A).expect("known").expect("an answer");
    assert_eq!(known.source, Source::Stale);
    gate.open();
    while resolver.status().get("in_flight") != Some(&Value::Count(0)) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let fresh = resolver.cached("www.example", RecordType::A).expect("known").expect("an answer");
    assert_eq!((fresh.source, fresh.records[0].to_string()), (Source::Cache, "192.0.2.2".to_owned()));
}

#[tokio::test]
async fn a_server_without_extensions_is_asked_without() {
    let server = Server::start(|question| {
        let answer = match question.message.edns {
            Some(_) => question.code(ResponseCode::FormErr),
            None => question.answer(60, &[a("192.0.2.1")]),
        };
        vec![Step::Send(answer)]
    });
    let resolver = server.resolver();
    for number in 0..3 {
        resolver.lookup(&format!("{number}.example"), RecordType::A).await.expect("an answer");
    }
    let extended: Vec<bool> = server.seen().iter().map(|question| question.message.edns.is_some()).collect();
    assert_eq!(extended, [true, false, false, false], "it is not tried again");
}

#[tokio::test]
async fn a_server_that_refuses_extensions_by_a_header_alone_is_asked_without() {
    let server = Server::start(|question| {
        let mut answer = question.answer(60, &[a("192.0.2.1")]);
        if question.message.edns.is_some() {
            // An answer, FORMERR, and no sections.
            answer.truncate(12);
            answer[3] = 1;
            answer[4..].fill(0);
        }
        vec![Step::Send(answer)]
    });
    server.resolver().lookup("www.example", RecordType::A).await.expect("an answer");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_connection_that_was_closed_is_made_again() {
    let server = Server::of_one_address(60);
    let address = server.address();
    let resolver =
        server.resolver_with(ServerOptions { protocol: Protocol::Tcp, ..ServerOptions::default() });
    resolver.lookup("a.example", RecordType::A).await.expect("an answer");
    server.stop();
    let error = resolver.lookup("b.example", RecordType::A).await.expect_err("no server");
    assert!(matches!(error, LookupError::Unreachable { .. }), "{error:?}");
    let again =
        Server::start_at(address, |question| vec![Step::Send(question.answer(60, &[a("192.0.2.1")]))]);
    resolver.lookup("c.example", RecordType::A).await.expect("an answer");
    assert_eq!(again.asked(), ["c.example. A"]);
}

#[tokio::test]
async fn who_waits_for_a_resolver_that_ends_is_told() {
    let server = Server::start(|_| vec![]);
    let resolver = server.resolver();
    let (answer, wait) = std::sync::mpsc::sync_channel(1);
    resolver
        .ask_lookup("www.example", RecordType::A, move |outcome| answer.send(outcome).expect("waited for"));
    drop(resolver);
    let outcome = wait.recv_timeout(Duration::from_secs(10)).expect("called back");
    assert_eq!(outcome, Err(LookupError::Closed));
}

#[tokio::test]
async fn the_wire_takes_so_many_at_once() {
    const ON_WIRE: usize = 192; // by callback, as a log asks: three quarters of 256
    let (gate, server) = {
        let is_open = Arc::new(AtomicBool::new(false));
        let door = Arc::clone(&is_open);
        let server = Server::start(move |question| {
            let answer = door.load(Ordering::Relaxed).then(|| question.answer(60, &[a("192.0.2.1")]));
            answer.map(Step::Send).into_iter().collect()
        });
        (is_open, server)
    };
    let resolver =
        server.resolver_with(ServerOptions { timeout: Duration::from_secs(20), ..ServerOptions::default() });
    let (answer, answers) = std::sync::mpsc::sync_channel(2 * ON_WIRE);
    for number in 0..2 * ON_WIRE {
        let answer = answer.clone();
        let name = format!("{number}.example");
        resolver
            .ask_lookup(&name, RecordType::A, move |outcome| answer.send(outcome).expect("there is room"));
    }
    assert_eq!(resolver.status().get("in_flight"), Some(&Value::from(2 * ON_WIRE)));
    // All that may be on the wire are, and have been long enough to be repeated.
    while server.seen().len() < 2 * ON_WIRE {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(server.asked().len(), ON_WIRE);
    gate.store(true, Ordering::Relaxed);
    for _ in 0..2 * ON_WIRE {
        answers.recv_timeout(Duration::from_secs(20)).expect("called back").expect("an answer");
    }
}

#[tokio::test]
async fn a_connection_that_has_died_without_a_word_is_made_again() {
    let first = std::sync::Mutex::new(None);
    // The first connection answers once, and is dead from then on, as when a firewall has forgotten it.
    let server = Server::start(move |question| {
        let mut first = first.lock().expect("a lock");
        let is_dead = *first == Some(question.from);
        first.get_or_insert(question.from);
        if is_dead { vec![] } else { vec![Step::Send(question.answer(60, &[a("192.0.2.1")]))] }
    });
    let resolver = server.resolver_with(ServerOptions { protocol: Protocol::Tcp, ..impatient() });
    resolver.lookup("a.example", RecordType::A).await.expect("an answer");
    let error = resolver.lookup("c.example", RecordType::A).await.expect_err("it was asked by the dead one");
    assert!(matches!(error, LookupError::Timeout { .. }), "{error:?}");
    resolver.lookup("b.example", RecordType::A).await.expect("by another connection");
}

#[tokio::test]
async fn many_questions_share_one_connection() {
    let server = Server::of_one_address(60);
    let timeout = Duration::from_secs(20);
    let options = ServerOptions { protocol: Protocol::Tcp, timeout, ..ServerOptions::default() };
    let resolver = server.resolver_with(options);
    let mut lookups = tokio::task::JoinSet::new();
    for number in 0..200 {
        let resolver = Arc::clone(&resolver);
        lookups.spawn(async move { resolver.lookup(&format!("{number}.example"), RecordType::A).await });
    }
    for answer in lookups.join_all().await {
        answer.expect("an answer");
    }
    let connections: HashSet<_> = server.seen().iter().map(|question| question.from).collect();
    assert_eq!(connections.len(), 1);
}

/// A burst of questions that meets a burst of answers: both lie ready when the resolver's thread goes on.
#[tokio::test]
async fn a_burst_of_questions_loses_none_when_many_answers_have_come() {
    const BURST: usize = 100;
    let [held, answered, ready] = std::array::from_fn(|_| Arc::new(Gate::default()));
    let server = {
        let (held, answered) = (Arc::clone(&held), Arc::clone(&answered));
        let kept = std::sync::Mutex::new(Vec::new());
        Server::start(move |question| {
            let answer = Step::Send(question.answer(60, &[a("192.0.2.1")]));
            let mut kept = kept.lock().expect("a lock");
            match question.name.split_once('.') {
                Some(("first", _)) if kept.len() < BURST => {
                    kept.push(answer);
                    vec![]
                }
                Some(("hold", _)) => {
                    let mut steps = vec![answer, Step::Wait(Arc::clone(&held))];
                    steps.append(&mut kept);
                    steps.push(Step::Open(Arc::clone(&answered)));
                    steps
                }
                _ => vec![answer],
            }
        })
    };
    let options = ServerOptions {
        protocol: Protocol::Tcp,
        attempts: 1,
        timeout: Duration::from_secs(20),
        ..ServerOptions::default()
    };
    let resolver = server.resolver_with(options);
    let (answer, answers) = std::sync::mpsc::sync_channel(2 * BURST);
    let burst = |kind: &str| {
        for number in 0..BURST {
            let answer = answer.clone();
            resolver.ask_lookup(&format!("{kind}.{number}.example"), RecordType::A, move |outcome| {
                answer.send(outcome).expect("there is room");
            });
        }
    };
    burst("first");
    while server.seen().len() < BURST {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Its caller holds up the resolver's thread until all is ready.
    let go_on = Arc::clone(&ready);
    resolver.ask_lookup("hold.example", RecordType::A, move |_| {
        held.open();
        go_on.wait();
    });
    answered.wait();
    burst("second");
    ready.open();
    for _ in 0..2 * BURST {
        answers.recv_timeout(Duration::from_secs(30)).expect("called back").expect("an answer");
    }
    let connections: HashSet<_> = server.seen().iter().map(|question| question.from).collect();
    assert_eq!(connections.len(), 1);
}

#[tokio::test]
async fn a_question_without_an_answer_does_not_cost_the_connection() {
    let server = Server::start(|question| match &*question.name {
        "slow.example." => vec![],
        _ => vec![Step::Send(question.answer(60, &[a("192.0.2.1")]))],
    });
    let options = ServerOptions { protocol: Protocol::Tcp, ..impatient() };
    let resolver = server.resolver_with(options);
    resolver.lookup("first.example", RecordType::A).await.expect("an answer");
    let slow = resolver.lookup("slow.example", RecordType::A);
    let others = async {
        // Until the other has run out of time, and one more.
        for number in 0.. {
            let is_over = resolver.status().get("failures") == Some(&Value::Count(1));
            resolver.lookup(&format!("{number}.example"), RecordType::A).await.expect("an answer");
            if is_over {
                break;
            }
        }
    };
    let (outcome, ()) = tokio::join!(slow, others);
    assert!(matches!(outcome, Err(LookupError::Timeout { .. })), "{outcome:?}");
    let connections: HashSet<_> = server.seen().iter().map(|question| question.from).collect();
    assert_eq!(connections.len(), 1);
}
