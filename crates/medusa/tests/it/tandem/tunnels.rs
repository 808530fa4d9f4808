//! Other protocols behind a 101.

use std::io::{Read as _, Write as _};

use medusa_testkit::http2::{DATA, END_HEADERS, Http2};
use medusa_testkit::websocket::{FIN, TEXT, frame};
use medusa_testkit::{Client, Server, Site, WebSocket, wait};

use super::raw::{Raw, Then, field};
use super::raw_http2::RawHttp2;
use super::{one_worker, proxy, upstream};
use crate::support::{start, web};
use crate::websocket::extended;

/// A server whose sessions send back what comes.
fn echo() -> (Site, Server) {
    let site = web(
        "web:mount('/', function(req) return req:websocket(function(ws) for message in ws do ws:send(message) end end) end)",
    );
    let server = start(&site);
    (site, server)
}

const ASK: &str =
    "GET /x HTTP/1.1\r\nHost: t\r\nConnection: keep-alive, Upgrade\r\nUpgrade: Chat/1, other\r\n\r\n";

#[test]
fn sessions_go_through() {
    let (_upstream_site, behind) = echo();
    let (_site, server) = proxy(&format!("'{}'", behind.url("")), "");
    let mut sessions: Vec<_> = (0..5).map(|_| WebSocket::connect(server.address(), "/")).collect();
    assert_eq!(server.number("handler.proxy", "websockets"), 5);
    assert_eq!(upstream(&server, "active"), 5);
    for session in &mut sessions {
        session.send("hello");
        assert_eq!(session.text(), "hello");
        let long = "x".repeat(300_000);
        session.send(&long);
        assert_eq!(session.text(), long);
    }
    server.reload();
    for mut session in sessions.drain(1..) {
        session.send("after a reload");
        assert_eq!(session.text(), "after a reload");
        session.close(1000, "");
    }
    wait::until("they have ended", || (upstream(&server, "active") == 1).then_some(()));
    // One that goes without a word takes the upstream's along.
    drop(sessions);
    wait::until("it has ended", || (upstream(&server, "active") == 0).then_some(()));
    wait::until("there, too", || (behind.number("listener", "open") == 0).then_some(()));
}

#[test]
fn who_may_not_has_no_session() {
    let (_upstream_site, behind) = echo();
    let site = web(&format!(
        "users = medusa.auth.users {{ alice = '{{SHA}}W6ph5Mm5Pz8GgiULbPgzG37mj9g=' }}
        web:mount('/', medusa.handler.auth(users, medusa.handler.proxy('{}')))",
        behind.url("")
    ));
    let server = one_worker(&site);
    let asked = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    assert_eq!(server.connect().request("GET", "/", &asked).status, 401);
    assert_eq!(behind.number("listener", "accepted"), 0);
    let login = ("Authorization", "Basic YWxpY2U6cGFzc3dvcmQ=");
    let mut session = WebSocket::open(server.connect(), "/", &[login]);
    session.send("hello");
    assert_eq!(session.text(), "hello");
}

/// A session over HTTP/2, which says this back, and one that the upstream does not want and is answered as it says.
pub(super) fn session_on_a_stream(server: &Server) -> Http2 {
    let mut http = Http2::connect(server, &[]);
    http.send(1, END_HEADERS, 1, &extended("websocket", "/", &[("sec-websocket-version", "13")]));
    assert_eq!(http.status(1), 200);
    http.send(DATA, 0, 1, &frame(FIN | TEXT, b"over HTTP/2"));
    assert_eq!(http.expect(DATA).payload, [&[0x81, 11], &b"over HTTP/2"[..]].concat());
    // One that the upstream does not want is answered as it says.
    http.send(1, END_HEADERS, 3, &extended("websocket", "/", &[("sec-websocket-version", "8")]));
    assert_eq!(http.status(3), 426);
    http
}

#[test]
fn a_session_on_a_stream_of_http2_is_one_of_http1_behind() {
    let (_upstream_site, behind) = echo();
    let (_site, server) = proxy(&format!("'{}'", behind.url("")), "");
    let mut http = session_on_a_stream(&server);
    http.get(5, "/");
    assert_eq!(http.status(5), 426);
}

/// The same over HTTP/2, whatever the session is of.
#[test]
fn who_may_not_has_no_session_on_a_stream_either() {
    let ((_site_a, http1), (_site_b, http2)) = (echo(), echo());
    let site = web(&format!(
        "users = medusa.auth.users {{ alice = '{{SHA}}W6ph5Mm5Pz8GgiULbPgzG37mj9g=' }}
        local inside = {{
            proxy = medusa.handler.proxy('{}'),
            multiplexed = medusa.handler.proxy('{}'),
            ['function'] = function(req) return req:websocket(function(ws) for m in ws do ws:send(m) end end) end,
            file = medusa.handler.script('socket.luau'),
        }}
        for name, handler in inside do web:mount('/' .. name, medusa.handler.auth(users, handler)) end",
        http1.url(""),
        http2.url("").replace("http:", "h2c:"),
    ))
    .file(
        "socket.luau",
        "return function(req) return req:websocket(function(ws) for m in ws do ws:send(m) end end) end",
    );
    let server = one_worker(&site);
    let mut http = Http2::connect(&server, &[]);
    let version = ("sec-websocket-version", "13");
    let mut streams = (1..).step_by(2);
    let mut stream = || streams.next().expect("there are more");
    for path in ["/proxy", "/multiplexed", "/function", "/file"] {
        let (refused, wrong, session) = (stream(), stream(), stream());
        http.send(1, END_HEADERS, refused, &extended("websocket", path, &[version]));
        assert_eq!(http.status(refused), 401, "{path}");
        let login = ("authorization", "Basic YWxpY2U6d3Jvbmc=");
        http.send(1, END_HEADERS, wrong, &extended("websocket", path, &[version, login]));
        assert_eq!(http.status(wrong), 401, "{path}");
        let login = ("authorization", "Basic YWxpY2U6cGFzc3dvcmQ=");
        http.send(1, END_HEADERS, session, &extended("websocket", path, &[version, login]));
        assert_eq!(http.status(session), 200, "{path}");
        http.send(DATA, 0, session, &frame(FIN | TEXT, b"hello"));
        let answer = loop {
            let data = http.expect(DATA);
            if data.stream == session {
                break data.payload;
            }
        };
        assert_eq!(answer, b"\x81\x05hello", "{path}");
    }
    let accepted = [&http1, &http2].map(|behind| behind.number("listener", "accepted"));
    assert_eq!(accepted, [1, 1], "only who may came so far");
}

#[test]
fn bytes_go_through_only_behind_the_101_that_was_asked_for() {
    let raw = Raw::start(|asked| {
        // What comes at once belongs to the other protocol.
        asked.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat/1\r\nX-End: 1\r\n\r\nhello ");
        let came = asked.read_until(b"!");
        asked.say(came);
        Then::Close
    });
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "");
    let mut client = server.connect();
    client.send(ASK);
    let head = client.head();
    assert_eq!((head.status, head.header("x-end")), (101, Some("1")));
    assert_eq!((head.header("upgrade"), head.header("connection")), (Some("chat/1"), Some("upgrade")));
    client.send("you!");
    assert_eq!(client.read(10), b"hello you!");
    client.expect_close();
    let heads = raw.heads();
    assert_eq!(field(&heads[0], "upgrade"), Some("Chat/1, other"));
    assert_eq!(field(&heads[0], "connection"), Some("upgrade"));
}

#[test]
fn who_speaks_http2_alone_is_well_whatever_upgrades_are_asked_for() {
    let [a, b] = [(); 2].map(|()| RawHttp2::start(|asked| asked.answer("well")));
    let upstreams = format!("{{ '{}', '{}' }}", a.url(), b.url());
    let (_site, server) = proxy(&upstreams, "fall = 1, retry_after = 80000");
    let websocket = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let other = [("Connection", "Upgrade"), ("Upgrade", "chat")];
    for _ in 0..4 {
        for asked in [&websocket[..], &other[..]] {
            assert_eq!(server.connect().request("GET", "/", asked).status, 502);
        }
        assert_eq!(server.get("/").text(), "well");
    }
    server.stderr().wait_for("status=502");
    let known = server.documents("upstream");
    assert!(known.iter().all(|one| one["state"] == "up"), "{known:?}");
    assert!(known.iter().any(|one| one["failures"].as_u64() > Some(0)), "{known:?}");
    assert!(!server.stderr().text().contains("is taken for down"));
}

#[test]
fn an_upgrade_that_is_refused_is_a_request_like_others() {
    let raw = Raw::start(|asked| asked.answer("no"));
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "");
    let mut client = server.connect();
    // A request behind it, as of one who counts on a tunnel.
    client.send([ASK, "GET /admin HTTP/1.1\r\nHost: t\r\n\r\n"].concat());
    assert_eq!(client.response().text(), "no");
    assert_eq!(client.response().text(), "no");
    let heads = raw.heads();
    assert!(
        heads[1].starts_with("GET /admin ") && field(&heads[1], "x-request-id").is_some(),
        "it was routed: {heads:?}"
    );
}

#[test]
fn another_protocol_than_was_asked_for_is_none() {
    for (ask, answer, expected) in [
        (ASK, "Connection: Upgrade\r\nUpgrade: chat/2", 502),
        (ASK, "Connection: Upgrade\r\nUpgrade: chat/1, h2c", 502),
        (ASK, "Upgrade: chat/1", 502),
        (ASK, "Connection: Upgrade", 502),
        (&ASK.replace("Chat/1, other", "h2c"), "Connection: Upgrade\r\nUpgrade: h2c", 502),
        (&ASK.replace("keep-alive, Upgrade", "keep-alive"), "Connection: Upgrade\r\nUpgrade: chat/1", 502),
        (
            &ASK.replace("\r\n\r\n", "\r\nContent-Length: 1\r\n\r\nx"),
            "Connection: Upgrade\r\nUpgrade: chat/1",
            502,
        ),
        (&ASK.replace("HTTP/1.1", "HTTP/1.0"), "Connection: Upgrade\r\nUpgrade: chat/1", 502),
        (ASK, "Connection: Upgrade\r\nUpgrade: other", 101),
    ] {
        let said = format!("HTTP/1.1 101 Switching Protocols\r\n{answer}\r\n\r\n");
        let raw = Raw::start(move |asked| {
            asked.say(&said);
            Then::Close
        });
        let (_site, server) = proxy(&format!("'{}'", raw.url()), "");
        let mut client = server.connect();
        client.send(ask);
        assert_eq!(client.head().status, expected, "{ask} {answer}");
        if expected == 502 {
            server.stderr().wait_for("switches protocols (101) without having been asked to");
        }
    }
}

#[test]
fn one_side_may_end_before_the_other() {
    let raw = Raw::start(|asked| {
        asked.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n");
        // To the end, and only then an answer.
        let mut all = Vec::new();
        loop {
            let more = asked.read();
            if more.is_empty() {
                break;
            }
            all.extend(more);
        }
        asked.say(format!("{} bytes", all.len()));
        Then::Close
    });
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "");
    let mut client = server.connect();
    client.send(ASK);
    assert_eq!(client.head().status, 101);
    client.send(vec![b'x'; 1_000_000]);
    client.finish_sending();
    assert_eq!(client.read(13), b"1000000 bytes");
    client.expect_close();
}

#[test]
fn a_handler_that_is_gone_ends_its_sessions_unless_they_are_kept() {
    let (_upstream_site, behind) = echo();
    let site = web(&format!(
        "ends = web:mount('/ends', medusa.handler.proxy('{0}'))
        keeps = web:mount('/keeps', medusa.handler.proxy('{0}', {{ on_reload = 'keep' }}))",
        behind.url("")
    ));
    let server = one_worker(&site);
    let mut ends = WebSocket::connect(server.address(), "/ends");
    let mut keeps = WebSocket::connect(server.address(), "/keeps");
    server.eval("ends:remove() keeps:remove()");
    ends.client().expect_close();
    keeps.send("still here");
    assert_eq!(keeps.text(), "still here");
}

/// A peer that takes nothing holds the other one back.
#[test]
fn a_tunnel_holds_no_more_than_it_passes_on_under_load() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let flood = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the proxy");
        let mut head = [0; 4096];
        let _some = stream.read(&mut head).expect("a request");
        stream.set_write_timeout(Some(std::time::Duration::from_secs(1))).expect("our own socket");
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
            .expect("it is read");
        let mut sent = 0;
        let piece = vec![0; 1 << 20];
        while sent < 1 << 10 && stream.write_all(&piece).is_ok() {
            sent += 1;
        }
        sent
    });
    let (_site, server) = proxy(&format!("'http://{address}'"), "");
    let before = medusa_testkit::memory::resident(server.pid());
    let mut client: Client = server.connect();
    client.send(ASK);
    assert_eq!(client.head().status, 101);
    let sent = flood.join().expect("no panic");
    let grown = medusa_testkit::memory::peak(server.pid()).saturating_sub(before);
    assert!(sent < 100, "{sent} MiB were taken");
    assert!(grown < 8 << 20, "{grown} bytes for {sent} MiB");
}
