//! Upstreams of HTTP/2 that refuse, break off, fall silent or say what is none.

use std::io::Write as _;
use std::net::TcpStream;

use medusa_testkit::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, WINDOW_UPDATE, field, frame,
};
use medusa_testkit::wait;

use super::raw::Then;
use super::raw_http2::{AskedStream, INTERNAL_ERROR, NO_ERROR, OK, REFUSED_STREAM, RawHttp2};
use super::{proxy, upstream};

fn post(body: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

type Behaviour = fn(&mut AskedStream<'_>) -> Then;

/// The fields of an answer.
fn answer(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// What is no answer, and what the log says of it.
const BROKEN: &[(&str, Behaviour, &str)] = &[
    ("closed", |_| Then::Close, "ended before the answer"),
    ("reset", |asked| asked.reset(INTERNAL_ERROR), "not proper HTTP"),
    ("reset without an error", |asked| asked.reset(NO_ERROR), "not proper HTTP"),
    (
        "goodbye, looked at, and closed",
        |asked| {
            asked.go_away(asked.stream, INTERNAL_ERROR);
            Then::Close
        },
        "ended before the answer",
    ),
    ("refused", |asked| asked.reset(REFUSED_STREAM), "the request was not taken"),
    ("goodbye", |asked| asked.go_away(0, NO_ERROR), "the request was not taken"),
    (
        "a frame that is too long",
        |asked| {
            asked.say([0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1]);
            Then::Next
        },
        "not proper HTTP",
    ),
    (
        "a body without a head",
        |asked| {
            asked.send(DATA, END_STREAM, b"body");
            Then::Next
        },
        "not proper HTTP",
    ),
    (
        "a head on a stream that nobody asked on",
        |asked| {
            asked.say(frame(HEADERS, END_HEADERS | END_STREAM, asked.stream + 2, OK));
            Then::Next
        },
        "not proper HTTP",
    ),
    (
        "no status",
        |asked| {
            asked.send(HEADERS, END_HEADERS | END_STREAM, &answer(&[("x-a", "1")]));
            Then::Next
        },
        "not proper HTTP",
    ),
    (
        "a 101",
        |asked| {
            asked.send(HEADERS, END_HEADERS | END_STREAM, &answer(&[(":status", "101")]));
            Then::Next
        },
        "not proper HTTP",
    ),
    (
        "a field of a connection",
        |asked| {
            let head = answer(&[(":status", "200"), ("transfer-encoding", "chunked")]);
            asked.send(HEADERS, END_HEADERS | END_STREAM, &head);
            Then::Next
        },
        "not proper HTTP",
    ),
    (
        "a field in capitals",
        |asked| {
            asked.send(HEADERS, END_HEADERS | END_STREAM, &answer(&[(":status", "200"), ("X-A", "1")]));
            Then::Next
        },
        "not proper HTTP",
    ),
    (
        "a length that is too long",
        |asked| {
            asked.send(HEADERS, END_HEADERS, &answer(&[(":status", "200"), ("content-length", "9")]));
            asked.send(DATA, END_STREAM, b"short");
            Then::Next
        },
        "broke off",
    ),
    (
        "a length that is too short",
        |asked| {
            asked.send(HEADERS, END_HEADERS, &answer(&[(":status", "200"), ("content-length", "2")]));
            asked.send(DATA, END_STREAM, b"long");
            Then::Next
        },
        "broke off",
    ),
    (
        "an end without an error, but too early",
        |asked| {
            asked.send(HEADERS, END_HEADERS, &answer(&[(":status", "200"), ("content-length", "9")]));
            asked.send(DATA, 0, b"short");
            asked.reset(NO_ERROR)
        },
        "broke off",
    ),
    (
        "a head that is too long",
        |asked| {
            asked.send(HEADERS, 0, &answer(&[(":status", "200")]));
            for _ in 0..4 {
                asked.send(CONTINUATION, 0, &answer(&[("x-long", &"x".repeat(12_000))]));
            }
            asked.send(CONTINUATION, END_HEADERS, &[]);
            Then::Next
        },
        "not proper HTTP",
    ),
    (
        "a head of many fields",
        |asked| {
            let fields: Vec<_> = (0..300).map(|at| format!("x-{at}")).collect();
            let fields: Vec<u8> = fields.iter().flat_map(|name| field(name, "")).collect();
            asked.send(HEADERS, END_HEADERS | END_STREAM, &[OK, &fields].concat());
            Then::Next
        },
        "too many fields",
    ),
    (
        "a field that the table has over and over",
        |asked| {
            // One that is put into the table, then named by a byte each.
            let long = [vec![0x40, 1, b'a', 127, 0xa1, 0x1e], vec![b'x'; 4000]].concat();
            asked.send(HEADERS, END_HEADERS | END_STREAM, &[OK, &long, &[0xbe; 8000]].concat());
            Then::Next
        },
        "not proper HTTP",
    ),
    (
        "a head without an end",
        |asked| {
            asked.send(HEADERS, 0, OK);
            for _ in 0..10_000 {
                asked.send(CONTINUATION, 0, &[]);
            }
            Then::Next
        },
        "not proper HTTP",
    ),
    (
        "a window that is too large",
        |asked| {
            asked.say(frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()));
            Then::Next
        },
        "not proper HTTP",
    ),
];

#[test]
fn what_is_no_proper_answer_is_a_502_and_the_log_says_why() {
    for (name, behaviour, reason) in BROKEN {
        let raw = RawHttp2::start(*behaviour);
        let (_site, server) = proxy(&format!("'{}'", raw.url()), "timeout = 10");
        let answer = server.send(post(""));
        assert_eq!(answer.status, 502, "{name}");
        assert!(!answer.text().contains("127.0.0.1"), "{name}");
        let line = server.stderr().wait_for(reason);
        for part in [raw.url().as_str(), "path=/x", "status=502"] {
            assert!(line.contains(part), "{name}: {line}");
        }
        assert_eq!((raw.requests(), upstream(&server, "failures")), (1, 1), "{name}");
        assert_eq!(upstream(&server, "active"), 0, "{name}");
        // The next one has a stream of its own, or a connection.
        assert_eq!(server.send(post("")).status, 502, "{name}");
    }
}

#[test]
fn what_is_not_http2_has_no_request_sent_to_it() {
    let http1 = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let said: [(&str, Vec<u8>, &str); 3] = [
        ("HTTP/1.1", http1.into(), "does not speak HTTP/2"),
        ("ssh", "SSH-2.0-OpenSSH_9.2\r\n".into(), "does not speak HTTP/2"),
        ("no streams", frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 0]), "allows 0 at a time"),
    ];
    for (name, first, reason) in said {
        let first = move |stream: &mut TcpStream| drop(stream.write_all(&first));
        let raw = RawHttp2::begin(first, false, |asked| asked.answer("ok"));
        let other = RawHttp2::start(|asked| asked.answer("other"));
        let (_site, server) = proxy(&format!("'{}'", raw.url()), "");
        assert_eq!(server.send(post("")).status, 502, "{name}");
        server.stderr().wait_for(reason);
        // Nothing was sent, so whatever it is may go elsewhere.
        let (_site, server) = proxy(&format!("{{ '{}', '{}' }}", raw.url(), other.url()), "");
        for _ in 0..4 {
            assert_eq!(server.send(post("body")).text(), "other", "{name}");
        }
        assert_eq!((raw.requests(), other.requests()), (0, 4), "{name}");
    }
    // One that says nothing at all is late.
    let raw = RawHttp2::begin(|_| {}, true, |asked| asked.answer("ok"));
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "connect_timeout = 0.3");
    assert_eq!(server.send(post("")).status, 504);
    server.stderr().wait_for("could not connect within 0.3 s");
    assert_eq!(raw.requests(), 0);
}

#[test]
fn what_was_not_looked_at_is_sent_again_whatever_it_is() {
    for case in 0..3 {
        let raw = RawHttp2::start(move |asked| match (asked.connection, asked.request) {
            (0, 0) => asked.answer("first"),
            (0, _) if case == 0 => asked.reset(REFUSED_STREAM),
            (0, _) if case == 1 => asked.go_away(1, NO_ERROR),
            (0, _) => {
                asked.go_away(1, INTERNAL_ERROR);
                Then::Close
            }
            _ => {
                let length = asked.length.to_string();
                asked.answer(&length)
            }
        });
        let (_site, server) = proxy(&format!("'{}'", raw.url()), "keep_alive = 60");
        assert_eq!(server.get("/").text(), "first");
        let body = "x".repeat(60_000);
        assert_eq!(server.send(post(&body)).text(), "60000", "{case}");
        assert_eq!((raw.requests(), raw.accepted()), (3, 2), "{case}");
        assert_eq!(upstream(&server, "failures"), 0, "{case}");
    }
}

#[test]
fn what_may_have_been_looked_at_is_not() {
    for (request, arrives) in [(post("body"), 1), ("GET / HTTP/1.1\r\nHost: t\r\n\r\n".to_owned(), 2)] {
        let raw = RawHttp2::start(|asked| match asked.request {
            0 if asked.connection == 0 => asked.answer("first"),
            _ => Then::Close,
        });
        let (_site, server) = proxy(&format!("'{}'", raw.url()), "keep_alive = 60");
        assert_eq!(server.get("/").text(), "first");
        assert_eq!(server.send(&request).status, 502, "{request}");
        assert_eq!(raw.requests(), 1 + arrives, "{request}");
        // It says goodbye, and that it has looked at this one.
        let raw = RawHttp2::start(|asked| match asked.request {
            0 if asked.connection == 0 => asked.answer("first"),
            _ => {
                asked.go_away(3, INTERNAL_ERROR);
                Then::Close
            }
        });
        let (_site, server) = proxy(&format!("'{}'", raw.url()), "keep_alive = 60");
        assert_eq!(server.get("/").text(), "first");
        assert_eq!(server.send(&request).status, 502, "{request}");
        assert_eq!(raw.requests(), 1 + arrives, "{request}");
        // What is against HTTP/2 is an answer, if none of use.
        let raw = RawHttp2::start(|asked| {
            if asked.request == 0 {
                asked.answer("first")
            } else {
                asked.send(DATA, END_STREAM, b"body");
                Then::Next
            }
        });
        let (_site, server) = proxy(&format!("'{}'", raw.url()), "keep_alive = 60");
        assert_eq!(server.get("/").text(), "first");
        assert_eq!(server.send(&request).status, 502, "{request}");
        assert_eq!(raw.requests(), 2, "{request}");
    }
}

#[test]
fn who_falls_silent_is_found_and_asked_no_more_on_that_connection() {
    let settings = |stream: &mut TcpStream| drop(stream.write_all(&frame(SETTINGS, 0, 0, &[])));
    let silent = |asked: &mut AskedStream<'_>| {
        if asked.connection > 0 { asked.answer("another connection") } else { Then::Next }
    };
    // By a ping, long before the request's time is over.
    let raw = RawHttp2::begin(settings, true, silent);
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "ping = 0.2, timeout = 80000");
    assert_eq!(server.send(post("")).status, 502);
    assert_eq!(server.send(post("")).text(), "another connection");
    assert_eq!((raw.accepted(), raw.requests()), (2, 2));
    // By the request's time.
    let raw = RawHttp2::begin(settings, true, silent);
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "ping = 0, timeout = 0.3");
    assert_eq!(server.send(post("")).status, 504);
    assert_eq!(server.send(post("")).text(), "another connection");
    assert_eq!((raw.accepted(), raw.requests()), (2, 2));
    wait::until("the first is let go", || (upstream(&server, "active") == 0).then_some(()));
    // One that only this request waits for is as good as before.
    let raw = RawHttp2::start(|asked| {
        if asked.request == 0 {
            // It lives.
            asked.say(frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()));
            return Then::Next;
        }
        asked.answer("the same connection")
    });
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "timeout = 0.3");
    assert_eq!(server.send(post("")).status, 504);
    assert_eq!(server.send(post("")).text(), "the same connection");
    assert_eq!(raw.accepted(), 1);
}
