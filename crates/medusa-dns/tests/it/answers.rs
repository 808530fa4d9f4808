//! What is asked, and what comes back.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use medusa_dns::{Answer, LookupError, Protocol, RecordType, ServerOptions, Source};

use crate::server::{Server, Step, a, aaaa, cname, ptr, txt};

fn texts(answer: &Answer) -> Vec<String> {
    answer.records.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn an_answer_and_then_from_the_cache() {
    let server =
        Server::start(|question| vec![Step::Send(question.answer(60, &[a("192.0.2.1"), a("192.0.2.2")]))]);
    let resolver = server.resolver();
    assert_eq!(resolver.cached("www.example", RecordType::A), None);
    let answer = resolver.lookup("WWW.example.", RecordType::A).await.expect("an answer");
    assert_eq!(texts(&answer), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!((answer.source, answer.ttl), (Source::Server, Duration::from_mins(1)));

    let again = resolver.lookup("www.EXAMPLE", RecordType::A).await.expect("an answer");
    assert_eq!((again.source, again.records), (Source::Cache, answer.records));
    assert!(again.ttl <= Duration::from_mins(1) && again.ttl > Duration::from_secs(50));
    assert!(resolver.cached("www.example", RecordType::A).is_some());
    assert_eq!(server.asked(), ["www.example. A"]);
}

#[tokio::test]
async fn names_of_addresses_of_both_families() {
    let server = Server::start(|question| vec![Step::Send(question.answer(60, &[ptr("Host.example.")]))]);
    let resolver = server.resolver();
    for (ip, asked) in [
        ("192.0.2.7", "7.2.0.192.in-addr.arpa. PTR"),
        ("2001:db8::7", "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR"),
    ] {
        let ip: IpAddr = ip.parse().expect("an address");
        assert_eq!(resolver.cached_ptr(ip), None);
        let answer = resolver.ptr(ip).await.expect("a name");
        assert_eq!(answer.name(), Some("Host.example"));
        assert_eq!(server.asked().last().map(String::as_str), Some(asked));
        assert!(resolver.cached_ptr(ip).is_some());
    }
    // An IPv4 client of a socket for both families is the same client.
    assert!(resolver.cached_ptr("::ffff:192.0.2.7".parse().expect("an address")).is_some());
}

#[test]
fn a_thread_without_a_runtime_is_called_back() {
    let server = Server::start(|question| vec![Step::Send(question.answer(60, &[ptr("host.example.")]))]);
    let resolver = server.resolver();
    let ip: IpAddr = "192.0.2.7".parse().expect("an address");
    let (answer, wait) = std::sync::mpsc::sync_channel(1);
    for source in [Source::Server, Source::Cache] {
        let answer = answer.clone();
        resolver.ask_ptr(ip, move |outcome| answer.send(outcome).expect("waited for"));
        let outcome = wait.recv_timeout(Duration::from_secs(10)).expect("called back").expect("a name");
        assert_eq!((outcome.name(), outcome.source), (Some("host.example"), source));
    }
}

#[tokio::test]
async fn aliases_are_followed_in_the_answer() {
    let server = Server::start(|question| {
        vec![Step::Send(question.records(&[
            ("www.example.", 300, cname("web.example.")),
            ("other.example.", 300, a("192.0.2.66")), // no one asked
            ("WEB.example.", 60, cname("host.example.")),
            ("host.example.", 600, a("192.0.2.1")),
        ]))]
    });
    let resolver = server.resolver();
    let answer = resolver.lookup("www.example", RecordType::A).await.expect("an answer");
    assert_eq!(texts(&answer), ["192.0.2.1"]);
    assert_eq!(answer.ttl, Duration::from_mins(1), "the shortest of the way");
    assert_eq!(
        resolver.cached("other.example", RecordType::A),
        None,
        "what no one asked for is not believed"
    );
}

#[tokio::test]
async fn aliases_in_a_circle_lead_nowhere() {
    let server = Server::start(|question| {
        let records = [("a.example.", 60, cname("b.example.")), ("b.example.", 60, cname("a.example."))];
        vec![Step::Send(question.records(&records))]
    });
    let error = server.resolver().lookup("a.example", RecordType::A).await.expect_err("no address");
    assert!(matches!(error, LookupError::Malformed { .. } | LookupError::NoData { .. }), "{error:?}");
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_by_tcp() {
    let server = Server::start(|question| {
        let answer =
            if question.tcp { question.answer(60, &[txt(&"x".repeat(200))]) } else { question.truncated() };
        vec![Step::Send(answer)]
    });
    let answer = server.resolver().lookup("www.example", RecordType::Txt).await.expect("an answer");
    assert_eq!(texts(&answer), ["x".repeat(200)]);
    let by: Vec<bool> = server.seen().iter().map(|question| question.tcp).collect();
    assert_eq!(by, [false, true]);
}

#[tokio::test]
async fn an_answer_cut_in_the_middle_of_a_record_is_a_truncated_one() {
    let server = Server::start(|question| {
        if question.tcp {
            return vec![Step::Send(question.answer(60, &[txt("whole")]))];
        }
        let mut datagram = question.answer(60, &[txt(&"x".repeat(200))]);
        datagram.truncate(100);
        datagram[2] |= 0b10;
        vec![Step::Send(datagram)]
    });
    let answer = server.resolver().lookup("www.example", RecordType::Txt).await.expect("an answer");
    assert_eq!(texts(&answer), ["whole"]);
}

#[tokio::test]
async fn by_tcp_alone() {
    let server = Server::of_one_address(60);
    let resolver =
        server.resolver_with(ServerOptions { protocol: Protocol::Tcp, ..ServerOptions::default() });
    for number in 0..3 {
        resolver.lookup(&format!("{number}.example"), RecordType::A).await.expect("an answer");
    }
    let seen = server.seen();
    assert!(seen.iter().all(|question| question.tcp));
    assert!(seen.iter().all(|question| question.from == seen[0].from), "one connection serves all");
}

#[tokio::test]
async fn hosts_have_addresses_of_both_families_in_turn() {
    let server = Server::start(|question| {
        let addresses = [a("192.0.2.1"), a("192.0.2.2"), a("192.0.2.3"), aaaa("::1"), aaaa("2001:db8::2")];
        vec![Step::Send(question.answer(60, &addresses))]
    });
    let found = server.resolver().addresses("www.example").await.expect("addresses");
    let mut shown: Vec<String> = found.addresses.iter().map(ToString::to_string).collect();
    if shown[0] == "192.0.2.1" {
        shown.swap(0, 1); // a machine without IPv6 begins with the other family
        shown.swap(2, 3);
    }
    assert_eq!(shown, ["::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "192.0.2.3"]);
    assert_eq!((&*found.name, found.source), ("www.example", Source::Server));
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn one_family_is_enough() {
    let server = Server::start(|question| {
        let answer = match &*question.kind {
            "A" => question.answer(60, &[a("192.0.2.1")]),
            _ => question.code(ResponseCode::ServFail),
        };
        vec![Step::Send(answer)]
    });
    let found = server.resolver().addresses("www.example").await.expect("addresses");
    assert_eq!(found.addresses, ["192.0.2.1".parse::<IpAddr>().expect("an address")]);
}

#[tokio::test]
async fn what_needs_no_server_asks_none() {
    let server = Server::of_one_address(60);
    let resolver = server.resolver();
    let literal = resolver.addresses("[2001:db8::1]").await.expect("an address");
    assert_eq!(
        (literal.addresses, literal.source),
        (vec!["2001:db8::1".parse().expect("an address")], Source::Literal)
    );
    assert_eq!(resolver.addresses("192.0.2.9").await.expect("an address").source, Source::Literal);

    let local = resolver.addresses("db.localhost").await.expect("this machine");
    assert!(local.addresses.iter().all(IpAddr::is_loopback) && local.addresses.len() == 2);
    let error = resolver.lookup("localhost", RecordType::Mx).await.expect_err("no mail");
    assert!(matches!(error, LookupError::NoData { .. }));
    for never in ["a.invalid", "service.onion"] {
        let error = resolver.addresses(never).await.expect_err("no such name");
        assert!(matches!(error, LookupError::NxDomain { .. }), "{error:?}");
    }
    for bad in ["", "a..b", "a b", &"a".repeat(300)] {
        let error = resolver.addresses(bad).await.expect_err("no name");
        assert!(matches!(error, LookupError::BadName { .. }), "{error:?}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn before_it_is_prepared_it_says_so() {
    let server = Server::of_one_address(60);
    let resolver =
        medusa_dns::Resolver::server(vec![server.address()], ServerOptions::default()).expect("a resolver");
    assert_eq!(resolver.lookup("a.example", RecordType::A).await, Err(LookupError::NotPrepared));
    assert_eq!(resolver.cached("a.example", RecordType::A), None);
    resolver.prepare().expect("started");
    resolver.prepare().expect("started already");
    resolver.lookup("a.example", RecordType::A).await.expect("an answer");
}

#[tokio::test]
async fn one_family_that_is_never_answered_does_not_hold_up_the_other() {
    for (answered, address) in [("A", a("192.0.2.1")), ("AAAA", aaaa("2001:db8::1"))] {
        let address = address.clone();
        let (shown, known) = (address.to_string(), address);
        let server = Server::start(move |question| {
            let answer = || Step::Send(question.answer(60, std::slice::from_ref(&known)));
            (question.kind == answered).then(answer).into_iter().collect()
        });
        let options = ServerOptions { timeout: Duration::from_secs(30), ..ServerOptions::default() };
        let resolver = server.resolver_with(options);
        let found = resolver.addresses("www.example").await.expect("what is known");
        assert_eq!(found.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), [shown]);
        // It is still being asked for, and will be for half a minute.
        let other = if answered == "A" { RecordType::Aaaa } else { RecordType::A };
        assert_eq!(resolver.cached("www.example", other), None);
    }
}
