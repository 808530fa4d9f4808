//! Requests that are sent again, and those that never are.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use medusa_testkit::{Numbered, Signal, wait};

use super::raw::{Raw, Then};
use super::{named, proxy, upstream};

/// Answers the first request of a connection, and ends it when the second has come.
fn one_each() -> Raw {
    Raw::start(|asked| if asked.request == 0 { asked.answer("ok") } else { Then::Close })
}

#[test]
fn what_may_be_repeated_is_sent_once_more_over_a_new_connection() {
    for (method, length) in [
        ("GET", None),
        ("HEAD", None),
        ("OPTIONS", None),
        ("DELETE", None),
        ("PUT", Some("0")),
        ("DELETE", Some("0")),
    ] {
        let raw = one_each();
        let (_site, server) = proxy(&format!("'{}'", raw.url()), "");
        let fields: Vec<_> = length.map(|length| ("Content-Length", length)).into_iter().collect();
        for _ in 0..2 {
            assert_eq!(server.connect().request(method, "/", &fields).status, 200, "{method}");
        }
        assert_eq!((raw.heads().len(), raw.accepted()), (3, 2), "{method}");
        assert_eq!((upstream(&server, "repeated"), upstream(&server, "failures")), (1, 0), "{method}");
    }
}

#[test]
fn what_may_not_be_repeated_is_sent_once() {
    for request in [
        "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody",
        "PATCH / HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n",
        "LOCK / HTTP/1.1\r\nHost: t\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody",
        "DELETE / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ] {
        let raw =
            Raw::start(|asked| if asked.head.starts_with("GET") { asked.answer("ok") } else { Then::Close });
        let (_site, server) = proxy(&format!("'{}'", raw.url()), "keep_alive = 60");
        assert_eq!(server.get("/").status, 200);
        assert_eq!(server.send(request).status, 502, "{request}");
        assert_eq!((raw.heads().len(), raw.accepted()), (2, 1), "{request}");
        assert_eq!(upstream(&server, "repeated"), 0, "{request}");
    }
}

#[test]
fn nothing_is_repeated_twice_or_once_an_answer_has_begun() {
    // The second connection fares no better.
    let raw = Raw::start(|asked| {
        if asked.connection == 0 && asked.request == 0 { asked.answer("ok") } else { Then::Close }
    });
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "");
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.get("/").status, 502);
    assert_eq!(raw.heads().len(), 3);
    // A byte of an answer is an answer.
    let raw = Raw::start(|asked| {
        if asked.request == 0 {
            return asked.answer("ok");
        }
        asked.say("H");
        Then::Close
    });
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "");
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.get("/").status, 502);
    assert_eq!(raw.heads().len(), 2);
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_not_used() {
    let raw = Raw::start(|asked| {
        asked.answer("ok");
        Then::Close
    });
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "keep_alive = 60");
    for request in 1..=20 {
        let answer = server.connect().request("POST", "/", &[("Content-Length", "0")]);
        assert_eq!(answer.status, 200, "{request}");
        // The upstream's end has arrived.
        wait::until("the connection is closed", || (raw.ended() == request).then_some(()));
    }
    assert_eq!(upstream(&server, "repeated"), 0);
}

/// Upstreams that come and go beneath POSTs: each arrives once at most, and who has an answer has it of one that arrived.
#[test]
fn no_post_ever_arrives_twice() {
    let raw: Vec<_> = (0..2)
        .map(|upstream| {
            Raw::start(move |asked| match (asked.connection * 7 + asked.request * 3 + upstream) % 5 {
                0 => Then::Close,
                1 => {
                    asked.answer("ok");
                    Then::Close
                }
                _ => asked.answer("ok"),
            })
        })
        .collect();
    let (_site, server) =
        proxy(&format!("{{ '{}', '{}' }}", raw[0].url(), raw[1].url()), "retry_after = 0.1");
    let mut answered = 0;
    for number in 0..300 {
        let path = format!("/{number}");
        let answer = server.connect().request("POST", &path, &[("Content-Length", "0")]);
        answered += usize::from(answer.status == 200);
    }
    let mut arrived = HashMap::<String, usize>::new();
    for head in raw.iter().flat_map(Raw::heads) {
        *arrived.entry(head.split(' ').nth(1).unwrap_or_default().to_owned()).or_default() += 1;
    }
    assert_eq!(arrived.values().filter(|&&times| times > 1).count(), 0, "{arrived:?}");
    assert!(answered > 100 && answered <= arrived.len(), "{answered} of {}", arrived.len());
}

#[test]
fn who_is_killed_under_load_loses_no_request_while_another_is_well() {
    let ((_site_a, a), (_site_b, b)) = (named("a"), named("b"));
    let (_site, server) = proxy(&format!("{{ '{}', '{}' }}", a.url(""), b.url("")), "");
    let load = Numbered::start(server.address(), 8);
    let goes_on = |load: &Numbered| {
        let answered = load.answered();
        wait::until("the load goes on", || (load.answered() > answered + 500).then_some(()));
    };
    goes_on(&load);
    let mut a = a;
    a.signal(Signal::KILL);
    a.wait();
    goes_on(&load);
    let made = load.stop();
    made.expect_clean();
    let known = server.documents("upstream");
    assert_eq!(known[0]["state"], "down", "{known:?}");
    assert_eq!(known[1]["failures"], 0, "{known:?}");
    server.stderr().wait_for("is taken for down after 3 failures in a row");
}

/// The same with an upstream that takes a request on a new connection and dies over it.
#[test]
fn who_dies_over_a_first_request_has_it_asked_elsewhere() {
    let is_dying = Arc::new(AtomicBool::new(true));
    let dying = Arc::clone(&is_dying);
    let raw = Raw::start(move |asked| if dying.load(SeqCst) { Then::Close } else { asked.answer("raw") });
    let (_site_b, b) = named("b");
    let (_site, server) =
        proxy(&format!("{{ '{}', '{}' }}", raw.url(), b.url("")), "fall = 2, retry_after = 3");
    for _ in 0..6 {
        assert_eq!(server.get("/").text(), "b");
    }
    assert_eq!(raw.heads().len(), 2, "then it is down");
    is_dying.store(false, SeqCst);
    wait::until("it is asked again", || (server.get("/").text() == "raw").then_some(()));
    server.stderr().wait_for("answers again");
}
