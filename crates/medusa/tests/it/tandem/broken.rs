//! Upstreams that answer what is no answer, late, or not at all.

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use super::raw::{Raw, Then};
use super::{one_worker, proxy, upstream};
use crate::support::web;

#[test]
fn what_is_no_proper_answer_is_a_502_and_the_log_says_why() {
    for (said, reason) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "not proper HTTP"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "not proper HTTP"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "not proper HTTP"),
        ("HTTP/1.1 200 OK\r\nno field\r\n\r\n", "not proper HTTP"),
        ("HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", "not proper HTTP"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok", "not proper HTTP"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "not proper HTTP"),
        ("HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", "not proper HTTP"),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "not proper HTTP"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            "framed twice",
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "other than \"chunked\""),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok", "other than \"chunked\""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "broke off"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
            "more came",
        ),
        ("HTTP/1.1 204 No Content\r\n\r\nbody", "more came"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            "without having been asked",
        ),
        ("", "ended before the answer"),
    ] {
        let raw = Raw::start(move |asked| {
            asked.say(said);
            Then::Close
        });
        let (_site, server) = proxy(&format!("'{}'", raw.url()), "");
        let mut client = server.connect();
        let answer = client.request("POST", "/x", &[("Content-Length", "0")]);
        assert_eq!(answer.status, 502, "{said:?}");
        assert!(answer.text().contains("502") && !answer.text().contains("127.0.0.1"), "{}", answer.text());
        let line = server.stderr().wait_for(reason);
        for part in [raw.url().as_str(), "path=/x", "status=502"] {
            assert!(line.contains(part), "{said:?}: {line}");
        }
        assert_eq!(upstream(&server, "failures"), 1, "{said:?}");
        // The client's own connection is as good as before, the upstream's is not used again.
        assert_eq!(client.request("POST", "/y", &[("Content-Length", "0")]).status, 502);
        assert_eq!((raw.accepted(), upstream(&server, "idle")), (2, 0), "{said:?}");
    }
}

#[test]
fn a_head_without_an_end_is_read_only_so_far() {
    let raw = Raw::start(|asked| {
        asked.say("HTTP/1.1 200 OK\r\n");
        for _ in 0..100 {
            asked.say(format!("X-Long: {}\r\n", "x".repeat(8000)));
        }
        Then::Close
    });
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "");
    assert_eq!(server.get("/").status, 502);
    server.stderr().wait_for("not proper HTTP");
}

#[test]
fn a_long_answer_that_breaks_off_breaks_off() {
    for said in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nzz\r\n",
    ] {
        let raw = Raw::start(move |asked| {
            asked.say(said);
            Then::Close
        });
        let (_site, server) = proxy(&format!("'{}'", raw.url()), "");
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        // Either way it cannot be taken for whole.
        let answer = client.try_response("GET");
        assert!(!matches!(&answer, Ok(Some(answer)) if answer.status != 502), "{answer:?}");
        server.stderr().wait_for("broke off");
        assert_eq!(upstream(&server, "failures"), 1);
    }
}

#[test]
fn who_cannot_be_reached_is_a_502_and_who_is_late_a_504() {
    // A port that nobody has.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let (_site, server) = proxy(&format!("'http://{free}'"), "");
    assert_eq!(server.get("/").status, 502);
    let line = server.stderr().wait_for("could not connect");
    assert!(line.contains(&free.to_string()) && line.contains("refused"), "{line}");
    let (_site, server) = proxy("'unix:/nowhere/at/all.sock'", "");
    assert_eq!(server.get("/").status, 502);
    server.stderr().wait_for("unix:/nowhere/at/all.sock: could not connect");
    // A label that no name can have: nobody is asked.
    let (_site, server) = proxy(&format!("'http://{}.invalid'", "a".repeat(64)), "");
    assert_eq!(server.get("/").status, 502);
    server.stderr().wait_for("could not be looked up");

    let raw = Raw::start(|asked| {
        asked.read();
        Then::Close
    });
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "timeout = 0.2");
    let mut client = server.connect();
    assert_eq!(client.get("/").status, 504);
    server.stderr().wait_for("no answer within 0.2 s (`timeout`)");
    assert_eq!(raw.heads().len(), 1, "what takes long once is not asked for twice");
    assert_eq!(upstream(&server, "idle"), 0);
}

#[test]
fn a_slow_upload_is_no_late_answer() {
    let raw = Raw::start(|asked| {
        asked.read_until(b"end");
        asked.answer("ok")
    });
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "timeout = 3");
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 43\r\n\r\n");
    for _ in 0..40 {
        client.send("x");
        thread::park_timeout(Duration::from_millis(100));
    }
    client.send("end");
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn silence_in_an_answer_ends_it() {
    let raw = Raw::start(|asked| {
        asked.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        asked.read();
        Then::Close
    });
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "idle_timeout = 0.2");
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    client.head();
    assert_eq!(client.read(10), b"5\r\nfirst\r\n");
    client.expect_close();
    server.stderr().wait_for("silent for 0.2 s within the answer's body (`idle_timeout`)");
}

#[test]
fn a_client_that_breaks_off_is_to_blame() {
    let raw = Raw::start(|asked| {
        while !asked.read().is_empty() {}
        Then::Close
    });
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "");
    let answer =
        server.send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\nzz\r\n");
    assert_eq!(answer.status, 400);
    assert_eq!(upstream(&server, "failures"), 0);
}

#[test]
fn options_and_upstreams_that_make_no_sense_are_named() {
    let server = one_worker(&web(""));
    for (arguments, expected) in [
        ("", "the upstreams must be a string or a list of strings, not nil"),
        ("{}", "the list of upstreams is empty"),
        ("'127.0.0.1:9000'", "\"127.0.0.1:9000\" is no upstream: give one like"),
        ("'ftp://a'", "is no upstream"),
        ("'http://user:pass@a'", "is no upstream"),
        ("'http://a/path'", "medusa.handler.rewrite"),
        ("'unix:app.sock'", "must be absolute"),
        ("{ 'http://a', 5 }", "every entry must be a string, not 5"),
        ("{ 'http://a', 'http://a/' }", "http://a is in the list twice"),
        ("'http://a', { balance = 'random' }", "`balance` must be \"round_robin\", \"least_connections\""),
        ("'http://a', { host = 'a b' }", "`host` must be \"client\", \"upstream\" or a host, not \"a b\""),
        ("'http://a', { http = '3' }", "`http` must be \"1.1\", \"2\" or \"auto\", not \"3\""),
        ("'h2c://a', { http = '1.1' }", "\"h2c://a\" is asked by HTTP/2: leave out `http = \"1.1\"`"),
        ("'http://a', { ping = 0.01 }", "`ping` must be 0, or a number of seconds from 0.1"),
        ("'http://a', { timeout = 0 }", "`timeout` must be a number of seconds from 0.001 to 86400, not 0"),
        ("'http://a', { fall = 0 }", "`fall` must be a whole number from 1 to 1000, not 0"),
        ("'http://a', { keep = 5 }", "`keep` says for how long where `on_reload` is \"keep\""),
        ("'http://a', { health = {} }", "health: `path` must be what to ask for, like \"/health\""),
        ("'http://a', { health = { path = 'x' } }", "`path` must be what to ask for"),
        ("'http://a', { health = { path = '/', often = true } }", "there is no option \"often\""),
        ("'http://a', { retries = 5 }", "there is no option \"retries\"; there are: balance, host,"),
        ("'https://a', { server_name = 'a b' }", "\"a b\" is no name that a certificate can be for"),
    ] {
        let error = server.command(["eval", &format!("medusa.handler.proxy({arguments})")]).failure(1);
        assert!(error.contains(expected) && error.contains("statement:1"), "{arguments}: {error}");
    }
    let many =
        "local l = {} for i = 1, 65 do l[i] = `http://127.0.0.1:{9000 + i}` end medusa.handler.proxy(l)";
    let error = server.command(["eval", many]).failure(1);
    assert!(error.contains("the list has 65 entries; at most 64 are allowed"), "{error}");
    let error = server
        .command(["eval", "web:mount('/', medusa.handler.proxy('https://a', { ca = 'none.pem' }))"])
        .failure(1);
    assert!(error.contains("none.pem"), "{error}");
}
