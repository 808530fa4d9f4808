//! `request_bytes` and `answer_bytes`: who asks for more than there is comes again later, and nobody else notices.

use medusa_testkit::http2::{DATA, END_HEADERS, END_STREAM, HEADERS, Http2, WINDOW_UPDATE, field, request};
use medusa_testkit::{Client, Server, Site, WebSocket, wait};

use super::super::support::start;
use super::{expect_end, expect_faults, expect_service, limited};

const SCRIPT: &str = "
let = medusa.shared('let')
web:mount('/keep', function(req)
    local body = req:body()
    while not let:get('go') do medusa.sleep(0.01) end
    return tostring(#body)
end)
web:mount('/form', function(req)
    local form = req:form()
    while not let:get('go') do medusa.sleep(0.01) end
    return tostring(#form.a)
end)
web:mount('/go', function() let:set('go', true) return 'went' end)
web:mount('/big', function() return string.rep('x', 600000) end)
web:mount('/stream', function()
    return { body = function(write) for _ = 1, 100 do write(string.rep('x', 32768)) end end }
end)
";

/// Sends a body of so many bytes, whose answer is to come.
#[track_caller]
fn post(server: &Server, path: &str, kind: &str, length: usize) -> Client {
    let mut client = server.connect();
    let body = [b"a=".to_vec(), vec![b'x'; length - 2]].concat();
    client.send(format!(
        "POST {path} HTTP/1.1\r\nHost: t\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    ));
    // One that is refused need not be read to its end.
    let _refused = client.try_send(body);
    client
}

#[track_caller]
fn held(server: &Server, what: &str) -> u64 {
    server.number("http.memory", what)
}

/// Asserts that so many bytes are held of requests, beside what so many take that are under way.
#[track_caller]
fn expect_held(server: &Server, bytes: u64, requests: u64) {
    let held = held(server, "requests");
    assert!((bytes..bytes + requests * 32 * 1024).contains(&held), "{held} bytes are held");
}

#[test]
fn request_bytes_a_body_that_there_is_no_memory_for_is_answered_503() {
    for (path, kind) in [("/keep", "text/plain"), ("/form", "application/x-www-form-urlencoded")] {
        let (_site, server) = limited("request_bytes = 1500000", SCRIPT);
        let mut first = post(&server, path, kind, 700_000);
        wait::until("the body is held", || (held(&server, "requests") > 700_000).then_some(()));
        let answer = post(&server, path, kind, 700_000).response();
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("10")));
        expect_service(&server);
        // What comes piece by piece and is small needs no room.
        assert_eq!(
            server.send("POST /read HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nfour").text(),
            "4"
        );
        assert_eq!(server.get("/go").text(), "went");
        let length = if path == "/keep" { "700000" } else { "699998" };
        assert_eq!(first.response().text(), length);
        wait::until("nothing is held", || (held(&server, "requests") == 0).then_some(()));
        assert_eq!(post(&server, path, kind, 700_000).response().text(), length);
        expect_faults(&server, &[("no_memory", 1)]);
        assert_eq!(held(&server, "requests_refused"), 1);
    }
}

/// A body that nobody has read yet takes what may come of it before it is read.
#[test]
fn request_bytes_what_comes_before_it_is_read_counts() {
    let (_site, server) = limited("request_bytes = 600000", SCRIPT);
    let mut client = Http2::connect(&server, &[]);
    for stream in [1, 3, 5] {
        client.post(stream, "/sleep");
    }
    assert_eq!(client.status(5), 503);
    expect_held(&server, 2 * 256 * 1024, 3);
    drop(client);
    wait::until("nothing is held", || (held(&server, "requests") == 0).then_some(()));
}

/// However many bodies a connection has under way, no more of them can come before they are read than its window.
#[test]
fn request_bytes_the_bodies_of_a_connection_share_its_window() {
    let (_site, server) = limited("request_bytes = 3000000", SCRIPT);
    let mut client = Http2::connect(&server, &[]);
    for stream in (0..50).map(|number| 2 * number + 1) {
        client.post(stream, "/sleep");
    }
    client.get(101, "/ok");
    assert_eq!(client.status(101), 200);
    expect_held(&server, 1024 * 1024, 51);
    expect_faults(&server, &[]);
    drop(client);
    wait::until("nothing is held", || (held(&server, "requests") == 0).then_some(()));
}

/// A request takes something, however small it is, and so do its fields: many of one client are counted.
#[test]
fn request_bytes_many_small_requests_count() {
    for (path, fields) in [("/sleep", 0), ("/sleep", 7500)] {
        let (_site, server) = limited("request_bytes = 800000", SCRIPT);
        let head = [request("GET", path), field("x", &"x".repeat(fields))].concat();
        let mut client = Http2::connect(&server, &[]);
        for stream in (0..60).map(|number| 2 * number + 1) {
            client.send(HEADERS, END_HEADERS | END_STREAM, stream, &head);
        }
        // Each is a task of its own: which of them there is no room for is nobody's to say. The others sleep.
        assert_eq!(client.next_status(), 503);
        wait::until("as much is held as may be", || {
            (600_000..800_000).contains(&held(&server, "requests")).then_some(())
        });
        expect_service(&server);
        drop(client);
        wait::until("nothing is held", || (held(&server, "requests") == 0).then_some(()));
    }
}

/// What there is of a head counts before it is complete.
#[test]
fn request_bytes_a_head_that_is_not_complete_counts() {
    let (_site, server) = limited("request_bytes = 150000", SCRIPT);
    let half = format!("GET /ok HTTP/1.1\r\nHost: t\r\nX: {}", "x".repeat(60_000));
    let mut halves: Vec<_> = (0..2).map(|_| server.connect()).collect();
    for (at, client) in halves.iter_mut().enumerate() {
        client.send(&half);
        wait::until("it is held", || (held(&server, "requests") > 55_000 * (at as u64 + 1)).then_some(()));
    }
    let mut refused = server.connect();
    let _ended = refused.try_send(&half);
    expect_end(&mut refused);
    expect_faults(&server, &[("no_memory", 1)]);
    expect_service(&server);
    drop(halves);
    wait::until("nothing is held", || (held(&server, "requests") == 0).then_some(()));
}

/// Small answers that a client does not take are in no count of their own, but all of them together are.
#[test]
fn answer_bytes_many_small_answers_count() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let (_site, server) =
        limited("answer_bytes = 100000", "web:mount('/small', function() return string.rep('x', 8000) end)");
    let mut client = Http2::connect(&server, &[(INITIAL_WINDOW_SIZE, 0)]);
    for stream in (0..30).map(|number| 2 * number + 1) {
        client.get(stream, "/small");
    }
    assert!((0..30).any(|_| client.next_status() == 503));
    assert!((80_000..=100_000).contains(&held(&server, "answers")), "{}", held(&server, "answers"));
    expect_service(&server);
    drop(client);
    wait::until("nothing is held", || (held(&server, "answers") == 0).then_some(()));
}

/// The answer that there is no memory for is a response like any other; one without content needs none.
#[test]
fn answer_bytes_who_is_refused_hears_all_the_same() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let site = Site::script(
        "web = medusa.http.server {
            listen = '127.0.0.1:0', limits = { answer_bytes = 1000000, requests = 2 }, security_headers = true,
        }
        web:mount('/big', medusa.handler.script('big.luau'))",
    )
    .file("big.luau", "return function() return string.rep('x', 600000) end");
    let server = start(&site);
    let mut holder = Http2::connect(&server, &[(INITIAL_WINDOW_SIZE, 0)]);
    holder.get(1, "/big");
    assert_eq!(holder.status(1), 200);
    let mut client = server.connect();
    client.send("HEAD /big HTTP/1.1\r\nHost: t\r\n\r\n");
    let head = client.head();
    assert_eq!((head.status, head.header("content-length")), (200, Some("600000")));
    let last = client.get("/big");
    assert_eq!(last.status, 503);
    assert!(last.says_close() && last.header("x-content-type-options").is_some(), "{last:?}");
    client.expect_close();
}

/// Small messages that a handler does not take are in no count of their own, but all of them together are.
#[test]
fn request_bytes_many_small_messages_count() {
    let (_site, server) = limited(
        "request_bytes = 100000",
        "web:mount('/late', function(req) return req:websocket(function(ws) medusa.sleep(1) end) end)",
    );
    let mut socket = WebSocket::connect(server.address(), "/late");
    for _ in 0..10 {
        socket.send(&"x".repeat(4000));
    }
    wait::until("they are held", || (held(&server, "requests") > 20_000).then_some(()));
    drop(socket);
    wait::until("nothing is held", || (held(&server, "requests") == 0).then_some(()));
}

#[test]
fn answer_bytes_an_answer_that_there_is_no_memory_for_is_503() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let (_site, server) = limited("answer_bytes = 1000000", SCRIPT);
    let mut client = Http2::connect(&server, &[(INITIAL_WINDOW_SIZE, 0)]);
    client.get(1, "/big");
    assert_eq!(client.status(1), 200);
    client.get(3, "/big");
    assert_eq!(client.status(3), 503);
    assert!(held(&server, "answers") >= 600_000);
    client.send(WINDOW_UPDATE, 0, 0, &1_000_000_u32.to_be_bytes());
    client.send(WINDOW_UPDATE, 0, 1, &1_000_000_u32.to_be_bytes());
    let mut read = 0;
    while read < 600_000 {
        read += client.expect(DATA).payload.len();
    }
    wait::until("nothing is held", || (held(&server, "answers") == 0).then_some(()));
    expect_service(&server);
    expect_faults(&server, &[("no_memory", 1)]);
}

/// What a script streams is counted as soon as it is made, whichever VM makes it.
#[test]
fn answer_bytes_a_chunk_that_is_not_taken_counts() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let stream = "return { body = function(write) while true do write(string.rep('x', 32768)) end end }";
    let site = Site::script(&format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0' }}
        web:mount('/main', function() {stream} end)
        web:mount('/worker', medusa.handler.script('stream.luau'))",
    ))
    .file("stream.luau", format!("return function() {stream} end"));
    let server = start(&site);
    for path in ["/main", "/worker"] {
        let mut client = Http2::connect(&server, &[(INITIAL_WINDOW_SIZE, 1000)]);
        client.get(1, path);
        assert_eq!(client.status(1), 200);
        wait::until("a chunk is held", || (held(&server, "answers") >= 32_768).then_some(()));
        drop(client);
        wait::until("nothing is held", || (held(&server, "answers") == 0).then_some(()));
    }
}

/// A stream has begun: it waits, and goes on.
#[test]
fn answer_bytes_a_stream_waits_for_memory() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let (_site, server) = limited("answer_bytes = 600000", SCRIPT);
    let mut holder = Http2::connect(&server, &[(INITIAL_WINDOW_SIZE, 0)]);
    holder.get(1, "/big");
    assert_eq!(holder.status(1), 200);
    let mut waiter = server.connect();
    waiter.send("GET /stream HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    assert_eq!(waiter.head().status, 200);
    assert!(!waiter.is_readable_within(std::time::Duration::from_millis(300)), "there is no memory for it");
    drop(holder);
    let mut read = 0;
    loop {
        match waiter.read_some(1 << 20).len() {
            0 => break,
            more => read += more,
        }
    }
    assert!(read > 100 * 32_768, "{read} bytes");
    expect_faults(&server, &[]);
}

#[test]
fn requests_per_address_one_too_many_is_answered_503() {
    let (_site, server) = limited(
        "requests_per_address = 2",
        "proxied = medusa.http.server {
            name = 'proxied', listen = '127.0.0.2:0', proxy_protocol = true, limits = { requests_per_address = 2 }
        }
        let = medusa.shared('let')
        proxied:mount('/wait', function()
            while not let:get('go') do medusa.sleep(0.01) end
            return 'waited'
        end)
        proxied:mount('/ok', function() return 'ok' end)
        web:mount('/go', function() let:set('go', true) return 'went' end)",
    );
    let address = server.address_of(1);
    let ask = |from: &str, path: &str| {
        let mut client = Client::connect(address);
        client.send(format!("PROXY TCP4 {from} 192.0.2.9 5555 80\r\nGET {path} HTTP/1.1\r\nHost: t\r\n\r\n"));
        client
    };
    let waiting = [ask("192.0.2.1", "/wait"), ask("192.0.2.1", "/wait")];
    wait::until("both are under way", || (server.number("vm", "requests") == 2).then_some(()));
    let answer = ask("192.0.2.1", "/ok").response();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("10")));
    assert_eq!(ask("192.0.2.2", "/ok").response().text(), "ok", "for another address");
    // This machine's own have no such limit.
    let _sleeping: Vec<_> = (0..3)
        .map(|_| {
            let mut client = server.connect();
            client.send("GET /sleep HTTP/1.1\r\nHost: t\r\n\r\n");
            client
        })
        .collect();
    assert_eq!(server.get("/go").text(), "went");
    for mut client in waiting {
        assert_eq!(client.response().text(), "waited");
    }
    assert_eq!(ask("192.0.2.1", "/ok").response().text(), "ok");
}
