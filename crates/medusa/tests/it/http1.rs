//! Persistent connections, versions, methods ([RFC 9112 §9](https://www.rfc-editor.org/rfc/rfc9112#section-9)).

use super::support::{start, web};

const OK: &str = "web:mount('/ok', function(req) return req:arg('n') or 'ok' end)";

#[test]
fn ten_thousand_requests_use_one_connection() {
    let site = web(OK).file("four.bin", vec![7; 4096]);
    let server = start(&site);
    server.eval("web:mount('/', medusa.handler.files('.'))");
    let mut client = server.connect();
    for round in 0..5_000 {
        let answer = client.get(&format!("/ok?n={round}"));
        assert_eq!((answer.status, answer.text()), (200, round.to_string()));
        assert!(!answer.says_close());
        assert_eq!(client.get("/four.bin").body.len(), 4096);
    }
    let listener = server.documents("listener");
    assert_eq!((&listener[0]["accepted"], &listener[0]["open"]), (&1.into(), &1.into()), "{listener:?}");
    assert_eq!(server.number("http", "requests"), 10_000);
}

#[test]
fn http_1_0_is_not_told_two_things_about_the_connection() {
    let site = web("web:mount('/stream', function() return { body = function(write) write('x') end } end)");
    let server = start(&site);
    for path in ["/stream", "/%00"] {
        let mut client = server.connect();
        client.send(format!("GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
        let answer = client.response();
        assert_eq!(answer.header("connection"), Some("close"), "{path}");
        client.expect_close();
    }
}

#[test]
fn http_1_0_closes_unless_asked_not_to() {
    let site = web(OK);
    let server = start(&site);
    let mut client = server.connect();
    client.send("GET /ok HTTP/1.0\r\n\r\n");
    assert_eq!(client.response().text(), "ok");
    client.expect_close();

    let mut client = server.connect();
    for round in 0..3 {
        client.send(format!("GET /ok?n={round} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
        let answer = client.response();
        assert_eq!(answer.text(), round.to_string());
        // An HTTP/1.0 client knows by this alone that the connection stays.
        assert_eq!(answer.header("connection").map(str::to_ascii_lowercase).as_deref(), Some("keep-alive"));
        assert_eq!(answer.header("content-length"), Some("1"));
    }
    client.send("GET /ok HTTP/1.0\r\n\r\n");
    assert_eq!(client.response().text(), "ok");
    client.expect_close();
}

#[test]
fn http_1_1_stays_unless_asked_to_close() {
    let site = web(OK);
    let server = start(&site);
    let mut client = server.connect();
    assert!(!client.get("/ok").says_close());
    let last = client.request("GET", "/ok", &[("Connection", "close")]);
    assert!(last.says_close());
    client.expect_close();
}

#[test]
fn a_pipeline_is_answered_in_its_order() {
    let site = web(OK)
        .file("handler.luau", "return function(req) return req.query end")
        .file("public/file.txt", "file");
    let server = start(&site);
    server.eval("web:mount('/file/', medusa.handler.files('public'))");
    server.eval("web:mount('/script', medusa.handler.script('handler.luau'))");
    let mut client = server.connect();
    for _ in 0..20 {
        // Three handlers, of which one hops to another thread and one to a pool: their speed must not reorder answers.
        let path = |n: usize| ["/ok?n=", "/script?", "/file/file.txt?"][n % 3];
        let pipeline: Vec<String> =
            (0..16).map(|n| format!("GET {}{n} HTTP/1.1\r\nHost: t\r\n\r\n", path(n))).collect();
        client.send(pipeline.concat());
        for n in 0..16 {
            let expected = if n % 3 == 2 { "file".to_owned() } else { n.to_string() };
            assert_eq!(client.response().text(), expected, "answer {n}");
        }
    }
}

#[test]
fn head_is_get_without_the_body() {
    let site = web(OK).file("public/page.html", "<p>page</p>");
    let server = start(&site);
    server.eval("web:mount('/', medusa.handler.files('public'))");
    let mut client = server.connect();
    for path in ["/ok", "/page.html", "/gone"] {
        let (get, head) = (client.get(path), client.request("HEAD", path, &[]));
        assert_eq!(get.status, head.status, "{path}");
        assert_eq!(get.header("content-length"), head.header("content-length"), "{path}");
        assert_eq!(get.header("content-type"), head.header("content-type"), "{path}");
        assert!(head.body.is_empty());
    }
}

#[test]
fn methods_are_told_apart() {
    let site = web("web:mount('GET,PUT /thing', function(req) return req.method end)");
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(client.request("PUT", "/thing", &[]).text(), "PUT");
    let refused = client.request("DELETE", "/thing", &[]);
    assert_eq!(refused.status, 405);
    let allowed = refused.header("allow").expect("RFC 9110 §15.5.6 demands it");
    assert!(["GET", "HEAD", "PUT"].iter().all(|method| allowed.contains(method)), "{allowed}");
    assert_eq!(client.request("BREW", "/thing", &[]).status, 501);
    assert_eq!(client.request("OPTIONS", "/thing", &[]).status, 204);
    client.send("OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.response().status, 204);
    client.send("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n");
    assert!((400..=501).contains(&client.response().status));
}

#[test]
fn a_client_that_has_finished_sending_gets_its_answer() {
    let site = web(OK).file("big.bin", vec![1; 3_000_000]);
    let server = start(&site);
    server.eval("web:mount('/', medusa.handler.files('.'))");
    for (path, length) in [("/ok", 2), ("/big.bin", 3_000_000)] {
        let mut client = server.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n"));
        client.finish_sending();
        assert_eq!(client.response().body.len(), length);
        client.expect_close();
    }
}

#[test]
fn every_answer_says_when_and_by_whom() {
    let site = web(OK);
    let server = start(&site);
    let mut client = server.connect();
    for path in ["/ok", "/gone"] {
        let answer = client.get(path);
        assert!(answer.header("date").is_some_and(|date| date.ends_with(" GMT")), "{answer:?}");
        assert_eq!(answer.header("server"), Some("medusa"));
    }
}

#[test]
fn an_absolute_target_and_its_host_are_routed() {
    let site = web("web:mount('one.example/', function() return 'one' end)
        web:mount('two.example/', function() return 'two' end)");
    let server = start(&site);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: two.example:8080\r\n\r\n");
    assert_eq!(client.response().text(), "two");
    // RFC 9112 §3.2.2: the target's host counts, whatever the field says.
    client.send("GET http://one.example/ HTTP/1.1\r\nHost: two.example\r\n\r\n");
    assert_eq!(client.response().text(), "one");
    client.send("GET / HTTP/1.1\r\nHost: three.example\r\n\r\n");
    assert_eq!(client.response().status, 404);
}
