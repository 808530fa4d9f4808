//! What is passed on, and what is not.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use medusa_testkit::{Client, memory, wait};

use super::raw::{Raw, Then, field};
use super::{named, one_worker, proxy, upstream};
use crate::support::web;

#[test]
fn fields_of_a_connection_stay_and_the_client_is_told_of_anew() {
    let raw = Raw::start(|asked| {
        asked.say(
            "HTTP/1.1 201 Created\r\nConnection: x-hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-End: 2\r\n\
             Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok",
        );
        Then::Next
    });
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "");
    let answer = server.send(
        "GET /a%20b/c?q=1&r HTTP/1.1\r\nHost: site.example:8080\r\nConnection: X-Mine, keep-alive\r\nX-Mine: 1\r\n\
         Keep-Alive: 5\r\nTE: trailers\r\nProxy-Connection: keep-alive\r\nProxy: http://evil.example\r\n\
         Upgrade: h2c\r\nX-Forwarded-For: 10.0.0.1\r\nX_Forwarded_For: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Prefix: /x\r\nX-Real-IP: 10.0.0.1\r\nX-Request-Id: forged\r\n\
         Accept: a\r\nCookie: c=d\r\n\r\n",
    );
    assert_eq!((answer.status, answer.text()), (201, "ok".into()));
    assert_eq!(answer.header("x-end"), Some("2"));
    assert_eq!(answer.header("x-hop"), None);
    assert_eq!(answer.header("keep-alive"), None);
    assert_eq!(answer.headers.iter().filter(|(name, _)| name == "set-cookie").count(), 2);
    let heads = raw.heads();
    let head = &heads[0];
    assert!(head.starts_with("GET /a%20b/c?q=1&r HTTP/1.1"), "{head}");
    let mut names: Vec<_> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, _)| name.to_lowercase())
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept",
            "cookie",
            "forwarded",
            "host",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-request-id"
        ]
    );
    assert_eq!(field(head, "host"), Some("site.example:8080"));
    assert_eq!(field(head, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(field(head, "x-forwarded-proto"), Some("http"));
    assert_eq!(field(head, "forwarded"), Some("for=127.0.0.1;host=\"site.example:8080\";proto=http"));
    assert_ne!(field(head, "x-request-id"), Some("forged"));
}

#[test]
fn the_host_is_whose_the_script_says() {
    let raw = Raw::start(|asked| asked.answer("ok"));
    for (options, host) in [
        ("", "test"),
        ("host = 'client'", "test"),
        ("host = 'upstream'", &raw.url()["http://".len()..]),
        ("host = 'inner.example:81'", "inner.example:81"),
    ] {
        let (_site, server) = proxy(&format!("'{}'", raw.url()), options);
        assert_eq!(server.get("/").text(), "ok");
        let heads = raw.heads();
        let head = heads.last().expect("a request");
        assert_eq!(field(head, "host"), Some(host), "{options}");
        assert_eq!(field(head, "x-forwarded-host"), Some("test"), "{options}");
    }
}

#[test]
fn users_and_clients_behind_trusted_proxies_are_told_of() {
    let raw = Raw::start(|asked| asked.answer("ok"));
    let site = medusa_testkit::Site::script(&format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0', trusted_proxies = {{ '127.0.0.1' }} }}
        users = medusa.auth.users {{ alice = '{{SHA}}W6ph5Mm5Pz8GgiULbPgzG37mj9g=' }}
        web:mount('/', medusa.handler.auth(users, medusa.handler.proxy('{}')))",
        raw.url()
    ));
    let server = one_worker(&site);
    let told = [
        ("Authorization", "Basic YWxpY2U6cGFzc3dvcmQ="),
        ("X-Forwarded-For", "2001:db8::7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-User", "root"),
    ];
    assert_eq!(server.connect().request("GET", "/", &told).status, 200);
    let heads = raw.heads();
    assert_eq!(field(&heads[0], "x-forwarded-user"), Some("alice"));
    assert_eq!(field(&heads[0], "authorization"), None, "the handler behind `auth` sees no password");
    assert_eq!(field(&heads[0], "x-forwarded-for"), Some("2001:db8::7, 127.0.0.1"));
    assert_eq!(
        field(&heads[0], "forwarded"),
        Some("for=\"[2001:db8::7]\";host=\"test\";proto=https, for=127.0.0.1")
    );
    assert_eq!(server.connect().request("GET", "/", &told[1..]).status, 401);
    assert_eq!(raw.heads().len(), 1, "who may not is not passed on");
}

#[test]
fn one_connection_has_one_request_after_the_other() {
    let (_upstream_site, behind) = named("a");
    let (_site, server) = proxy(&format!("'{}'", behind.url("")), "");
    let mut client = server.connect();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "a");
        assert_eq!(server.get("/").text(), "a");
    }
    assert_eq!(behind.number("listener", "accepted"), 1);
    assert_eq!(upstream(&server, "requests"), 40);
    assert_eq!(upstream(&server, "connections"), 1);
    assert_eq!(upstream(&server, "idle"), 1);
    assert_eq!(upstream(&server, "active"), 0);
    server.reload();
    assert_eq!(client.get("/").text(), "a");
    assert_eq!(upstream(&server, "requests"), 41, "it is the same handler");
    server.eval(
        "m:replace(medusa.handler.proxy(medusa_url, { timeout = 9 }))"
            .replace("medusa_url", &format!("'{}'", behind.url("")))
            .as_str(),
    );
    assert_eq!(client.get("/").text(), "a");
    assert_eq!(
        behind.number("listener", "accepted"),
        1,
        "another proxy to the same upstream has its connections"
    );
}

#[test]
fn idle_connections_are_closed_after_a_while() {
    let (_upstream_site, behind) = named("a");
    let (_site, server) = proxy(&format!("'{}'", behind.url("")), "keep_alive = 0.2");
    assert_eq!(server.get("/").text(), "a");
    wait::until("the connection is closed", || (behind.number("listener", "open") == 0).then_some(()));
    assert_eq!(upstream(&server, "idle"), 0);
    let (_site, server) = proxy(&format!("'{}'", behind.url("")), "idle_connections = 0");
    assert_eq!(server.get("/").text(), "a");
    assert_eq!(upstream(&server, "idle"), 0);
}

#[test]
fn an_answer_goes_on_piece_by_piece() {
    let (release, released) = mpsc::sync_channel::<()>(1);
    let released = Mutex::new(released);
    let raw = Raw::start(move |asked| {
        asked.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n5\r\nfirst\r\n");
        released.lock().expect("no panic").recv().expect("the test goes on");
        asked.say("6\r\nsecond\r\n0\r\nX-T: 1\r\n\r\n");
        Then::Next
    });
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "");
    for _ in 0..2 {
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        let head = client.head();
        assert_eq!(head.header("transfer-encoding"), Some("chunked"));
        assert_eq!(head.header("trailer"), None);
        assert_eq!(client.read(10), b"5\r\nfirst\r\n");
        release.send(()).expect("it waits");
        assert_eq!(client.read(16), b"6\r\nsecond\r\n0\r\n\r\n");
    }
    assert_eq!(raw.accepted(), 1, "behind the trailers there is another answer");
}

#[test]
fn a_request_goes_on_piece_by_piece() {
    let (seen, sees) = mpsc::sync_channel(9);
    let raw = Raw::start(move |asked| {
        let is_chunked = asked.field("transfer-encoding") == Some("chunked");
        let ends: [&[u8]; 2] =
            if is_chunked { [b"5\r\nfirst\r\n", b"6\r\nsecond\r\n0\r\n\r\n"] } else { [b"first", b"second"] };
        for end in ends {
            asked.read_until(end);
            seen.send(is_chunked).expect("the test goes on");
        }
        asked.answer("ok")
    });
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "");
    for (head, pieces, is_chunked) in [
        ("Content-Length: 11", ["first", "second"], false),
        (
            "Transfer-Encoding: chunked",
            ["5\r\nfirst\r\n", "6\r\nsecond\r\n0\r\nX-Real-IP: 10.0.0.1\r\n\r\n"],
            true,
        ),
    ] {
        let mut client = server.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: t\r\n{head}\r\n\r\n"));
        for piece in pieces {
            client.send(piece);
            assert_eq!(sees.recv_timeout(medusa_testkit::PATIENCE), Ok(is_chunked), "{head}");
        }
        assert_eq!(client.response().text(), "ok");
    }
    assert!(raw.heads().iter().all(|head| field(head, "x-real-ip").is_none()));
}

#[test]
fn lengths_are_what_they_were() {
    let raw = Raw::start(|asked| {
        let path = asked.head.split(' ').nth(1).unwrap_or_default().to_owned();
        match path.as_str() {
            "/304" => asked.say("HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\nETag: \"x\"\r\n\r\n"),
            "/204" => asked.say("HTTP/1.1 204 No Content\r\n\r\n"),
            "/none" => asked.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            "/100" => asked.say("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            "/long" => {
                asked.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
                if !asked.head.starts_with("HEAD") {
                    asked.say("x".repeat(1_000_000));
                }
            }
            "/close" => {
                asked.say("HTTP/1.0 200 OK\r\n\r\nto the end");
                return Then::Close;
            }
            _ => return asked.answer("four"),
        }
        Then::Next
    });
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "");
    let mut client = server.connect();
    let mut asked = |method: &str, path: &str| {
        let answer = client.request(method, path, &[]);
        let length = answer.header("content-length").map(str::to_owned);
        (answer.status, length, answer.body.len())
    };
    let length = |length: &str| Some(length.to_owned());
    assert_eq!(asked("GET", "/"), (200, length("4"), 4));
    assert_eq!(asked("HEAD", "/long"), (200, length("1000000"), 0));
    assert_eq!(asked("GET", "/long"), (200, length("1000000"), 1_000_000));
    assert_eq!(asked("GET", "/304"), (304, None, 0));
    assert_eq!(asked("GET", "/204"), (204, None, 0));
    assert_eq!(asked("GET", "/none"), (200, length("0"), 0));
    assert_eq!(asked("GET", "/100"), (200, length("2"), 2));
    assert_eq!(raw.accepted(), 1);
    assert_eq!(asked("GET", "/close"), (200, None, 10));
    assert_eq!(asked("GET", "/"), (200, length("4"), 4));
    assert_eq!(raw.accepted(), 2);
}

#[test]
fn requests_without_content_say_so() {
    let raw = Raw::start(|asked| asked.answer("ok"));
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "");
    for (sent, length) in [
        ("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n", Some("0")),
        ("POST / HTTP/1.0\r\nHost: t\r\n\r\n", Some("0")),
        ("DELETE / HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n", None),
        ("GET / HTTP/1.1\r\nHost: t\r\n\r\n", None),
        ("OPTIONS / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\n\r\n", None),
    ] {
        let mut client = server.connect();
        client.send(sent);
        client.head();
        let heads = raw.heads();
        let head = heads.last().expect("a request");
        assert_eq!(field(head, "content-length"), length, "{head}");
        assert_eq!(field(head, "transfer-encoding"), None, "{head}");
        assert_eq!(field(head, "expect"), None, "{head}");
    }
}

#[test]
fn an_upload_is_as_long_as_the_mount_takes() {
    let upstream_site =
        web("web:mount('/', function(req) return tostring(#req:body()) end, { body = 10000000 })");
    let behind = crate::support::start(&upstream_site);
    let site =
        web(&format!("web:mount('/', medusa.handler.proxy('{}'), {{ body = 6000000 }})", behind.url("")));
    let server = one_worker(&site);
    let sent = |length: usize| {
        let mut client = server.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n"));
        let _refused = client.try_send(vec![b'x'; length]);
        client.response()
    };
    assert_eq!(sent(5_000_000).text(), "5000000");
    assert_eq!(sent(6_000_001).status, 413);
    assert_eq!(sent(5).text(), "5");
}

#[test]
fn who_leaves_takes_the_request_along() {
    let (began, begun) = mpsc::sync_channel(9);
    let (ended, end) = mpsc::sync_channel(9);
    let raw = Raw::start(move |asked| {
        began.send(()).expect("the test goes on");
        // Until the proxy closes the connection.
        ended.send(asked.read().is_empty()).expect("the test goes on");
        Then::Close
    });
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "");
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    begun.recv_timeout(medusa_testkit::PATIENCE).expect("it was asked");
    client.reset();
    assert_eq!(end.recv_timeout(medusa_testkit::PATIENCE), Ok(true));
    wait::until("nothing is under way", || (upstream(&server, "active") == 0).then_some(()));
}

#[test]
fn events_go_on_and_end_with_their_handler() {
    let upstream_site = web("web:mount('/', function() return medusa.http.events(function(stream)
            while true do stream:send { data = 'tick' } medusa.sleep(0.01) end
        end) end)");
    let behind = crate::support::start(&upstream_site);
    let (_site, server) = proxy(&format!("'{}'", behind.url("")), "idle_timeout = 0.001");
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.head().header("content-type"), Some("text/event-stream"));
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("tick\n\n") {
        seen.extend(client.read_some(1000));
    }
    assert_eq!(server.number("handler.proxy", "event_streams"), 1);
    server.eval("m:remove()");
    let end = wait::until("the stream ends", || {
        seen.extend(client.read_some(1000));
        seen.ends_with(b"0\r\n\r\n").then(|| String::from_utf8_lossy(&seen).into_owned())
    });
    assert!(end.contains("retry:"), "the client is told when to come again: {end}");
    wait::until("the upstream is let go", || (behind.number("listener", "open") == 0).then_some(()));
}

/// Clients that do not read hold an upstream back, not its answer in memory.
#[test]
fn slow_readers_of_a_long_answer_take_no_memory_under_load() {
    const CLIENTS: usize = 200;
    /// A piece that is read, one that is being written, and what is collected for the socket; twice that for what the
    /// allocator keeps.
    const EACH: u64 = 512 * 1024;
    let written = Arc::new(Mutex::new(0_u64));
    let count = Arc::clone(&written);
    let raw = Raw::start(move |asked| {
        asked.say("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        let piece = vec![0; 1_000_000];
        for _ in 0..100 {
            asked.say(&piece);
            *count.lock().expect("no panic") += 1;
        }
        Then::Next
    });
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "");
    let before = memory::resident(server.pid());
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(client.head().header("content-length"), Some("100000000"));
    }
    // Until nothing moves any more, and then some that is read by all.
    let settled = || {
        let (mut last, mut still) = (u64::MAX, 0);
        wait::until("the upstream is held back", || {
            let now = *written.lock().expect("no panic");
            still = if now == last { still + 1 } else { 0 };
            last = now;
            (still == 40).then_some(())
        });
    };
    settled();
    let first = memory::resident(server.pid()).saturating_sub(before);
    assert!(first < CLIENTS as u64 * EACH, "{first} bytes for {CLIENTS} clients");
    for client in &mut clients {
        for _ in 0..20 {
            client.read(100_000);
        }
    }
    settled();
    let grown = memory::resident(server.pid()).saturating_sub(before);
    assert!(grown < first + CLIENTS as u64 * EACH / 4, "{first} bytes before, {grown} after 2 MB to each");
}
