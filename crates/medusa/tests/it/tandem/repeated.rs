//! Requests that are sent again, and those that never are.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use medusa_testkit::{Numbered, Server, Signal, wait};

use super::raw::{Raw, Then};
use super::{named, proxy, upstream};
use crate::tls::{Encrypted, TLS};

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
        "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
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

/// Kills the first of two upstreams while requests come: none is lost.
pub(super) fn killed_under_load(server: &Server, mut first: Server) {
    let load = Numbered::start(server.address(), 8);
    let goes_on = |load: &Numbered| {
        let answered = load.answered();
        wait::until("the load goes on", || (load.answered() > answered + 500).then_some(()));
    };
    goes_on(&load);
    first.signal(Signal::KILL);
    first.wait();
    goes_on(&load);
    let made = load.stop();
    made.expect_clean();
    let known = server.documents("upstream");
    assert_eq!(known[0]["state"], "down", "{known:?}");
    assert_eq!(known[1]["failures"], 0, "{known:?}");
}

#[test]
fn who_is_killed_under_load_loses_no_request_while_another_is_well() {
    let ((_site_a, a), (_site_b, b)) = (named("a"), named("b"));
    let (_site, server) = proxy(&format!("{{ '{}', '{}' }}", a.url(""), b.url("")), "");
    killed_under_load(&server, a);
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

/// Answers the first request of a connection, and of others the head and the body.
fn one_each_with_a_body() -> Raw {
    Raw::start(|asked| {
        if asked.head.starts_with("GET") {
            return asked.answer("ok");
        }
        let is_chunked = asked.field("transfer-encoding").is_some();
        let length: usize =
            asked.field("content-length").map_or(0, |length| length.parse().expect("a number"));
        let body = if is_chunked {
            asked.read_until(b"0\r\n\r\n")
        } else {
            let mut body = Vec::new();
            while body.len() < length {
                body.extend(asked.read());
            }
            body
        };
        if asked.request > 0 {
            return Then::Close;
        }
        asked.answer(&format!("{} {}", body.len(), body.iter().map(|&byte| u64::from(byte)).sum::<u64>()))
    })
}

#[test]
fn a_body_of_64_kib_is_sent_again_and_a_longer_one_is_not() {
    const MOST: usize = 64 * 1024;
    let body =
        |length: usize| (0..length).map(|at| b'a' + u8::try_from(at % 26).expect("a letter")).collect();
    let sum = |body: &[u8]| body.iter().map(|&byte| u64::from(byte)).sum::<u64>();
    for (method, length, is_repeated) in [
        ("PUT", 4, true),
        ("PUT", MOST, true),
        ("DELETE", 9, true),
        ("PUT", MOST + 1, false),
        ("POST", 4, false),
    ] {
        let raw = one_each_with_a_body();
        let (_site, server) = proxy(&format!("'{}'", raw.url()), "keep_alive = 60");
        assert_eq!(server.get("/").status, 200);
        let body: Vec<u8> = body(length);
        let head = format!("{method} / HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n");
        let answer = server.send([head.as_bytes(), &body].concat());
        let arrived = raw.heads().len() - 1;
        if is_repeated {
            assert_eq!(
                (answer.status, answer.text()),
                (200, format!("{length} {}", sum(&body))),
                "{method} {length}"
            );
            assert_eq!((arrived, upstream(&server, "repeated")), (2, 1), "{method} {length}");
        } else {
            assert_eq!(
                (answer.status, arrived, upstream(&server, "repeated")),
                (502, 1, 0),
                "{method} {length}"
            );
        }
    }
    // Of one that comes in chunks, as much is kept.
    let raw = one_each_with_a_body();
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "keep_alive = 60");
    for (length, status) in [(9, 200), (MOST + 1, 502)] {
        assert_eq!(server.get("/").status, 200);
        let body: Vec<u8> = body(length);
        let head = "PUT / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = [format!("{length:x}\r\n").as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
        assert_eq!(server.send([head.as_bytes(), &chunk].concat()).status, status, "{length}");
    }
}

#[test]
fn a_fifth_of_all_requests_is_sent_again_at_most() {
    let raw = one_each();
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "");
    let mut client = server.connect();
    let mut asked = 0;
    let refused = wait::until("there have been too many", || {
        asked += 1;
        (client.get("/").status == 502).then_some(asked)
    });
    assert!(refused > 10, "some are, whatever came before: {refused}");
    let line = server.stderr().wait_for("of late too many requests were sent again");
    assert!(line.contains(&raw.url()), "{line}");
}

/// Whoever has no good certificate is not who was meant: nobody else is asked in its place, so that somebody hears of it.
#[test]
fn a_bad_certificate_is_no_reason_to_ask_another() {
    let it = Encrypted::script(&format!(
        "web = medusa.http.server {{ {TLS} }} web:mount('/', function() return '' end)"
    ));
    let (bad, (_site_b, b)) = (crate::support::start(&it.site), named("b"));
    let upstreams = format!("{{ 'https://127.0.0.1:{}', '{}' }}", bad.address().port(), b.url(""));
    let (_site, server) = proxy(&upstreams, "fall = 2, retry_after = 80000");
    let statuses: Vec<_> = (0..8).map(|_| server.get("/").status).collect();
    assert_eq!(statuses.iter().filter(|&&status| status == 502).count(), 2, "then it is down: {statuses:?}");
    server.stderr().wait_for("the TLS handshake failed");
}

#[test]
fn where_no_connection_came_about_anything_may_go_elsewhere() {
    let raw = one_each_with_a_body();
    let upstreams = format!("{{ 'http://127.0.0.1:1', '{}' }}", raw.url());
    let (_site, server) = proxy(&upstreams, "fall = 1000, idle_connections = 0");
    for sent in 1..=6 {
        // Longer than anything that is kept.
        let head = "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 500000\r\n\r\n";
        let answer = server.send([head.as_bytes(), &b"x".repeat(500_000)].concat());
        assert_eq!((answer.status, answer.text()), (200, format!("500000 {}", 500_000 * u64::from(b'x'))));
        assert_eq!(raw.heads().len(), sent);
    }
    let failures = server.documents("upstream")[0]["failures"].as_u64();
    assert!(failures.is_some_and(|failures| failures > 0), "{failures:?}");
}
