//! Traces: the next requests, with every handler they pass, shown while they come.

use medusa_testkit::{Server, WebSocket, wait};

use super::support::{Watching, start, web};

const SITE: &str = "
    web:mount('/inline/{name}', function(req) return 'hello' end)
    web:mount('/fails', function() error('oh no') end)
    web:mount('/wrapped', medusa.handler.headers({ set = { a = 'b' } },
        medusa.handler.compress(medusa.handler.script('ok.luau'))))
    web:mount('/ws', function(req) return req:websocket(function(ws) for _ in ws do end end) end)
    web:mount('/api/', function(req) return req.tail end)";

const NO_SERVER: &str =
    "trace: `server` must be the name of an HTTP server that there is, not \"nosuch\"; there are: http";

/// A trace that is on.
#[track_caller]
fn tracing(server: &Server, statement: &str) -> Watching {
    assert_eq!(server.number("site", "traces"), 0);
    Watching::begin(server, "traces", statement)
}

/// A line without its times.
fn timeless(line: &str) -> String {
    let is_time = |word: &str| word.parse::<f64>().is_ok() && word.contains('.');
    let words: Vec<&str> = line.split(' ').collect();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < words.len() {
        if is_time(words[at]) && words.get(at + 1).is_some_and(|unit| unit.starts_with("ms")) {
            kept.push(["N", &words[at + 1][2..]].concat());
            at += 2;
        } else {
            kept.push(words[at].to_owned());
            at += 1;
        }
    }
    kept.join(" ")
}

#[test]
fn each_request_is_shown_when_it_is_over_with_every_handler_it_passed() {
    let site = web(SITE).file("ok.luau", "return function() return 'ok' end");
    let server = start(&site);
    let mut trace = tracing(&server, "trace(nil, 5)");
    assert_eq!(server.get("/inline/x?y=1").text(), "hello");
    assert_eq!(
        timeless(&trace.line()),
        "GET /inline/x from 127.0.0.1 at http: /inline/{name} (site.luau:3): function site.luau:3 N: 200, 5 bytes, N"
    );
    server.get("/wrapped");
    assert_eq!(
        timeless(&trace.line()),
        "GET /wrapped from 127.0.0.1 at http: /wrapped (site.luau:5): handler.headers N → handler.compress N → script \
         ok.luau N: 200, 2 bytes, N"
    );
    assert_eq!(server.get("/fails").status, 500);
    let failed = trace.line();
    assert!(failed.contains(": 500, ") && failed.contains("ms: site.luau:4: oh no"), "{failed}");
    server.get("/nowhere");
    let missing = timeless(&trace.line());
    assert!(missing.starts_with("GET /nowhere from 127.0.0.1 at http: no mount: 404, "), "{missing}");
    let _websocket = WebSocket::connect(server.address(), "/ws");
    let begun = timeless(&trace.line());
    assert!(begun.ends_with("function site.luau:7 N: 101, goes on"), "{begun}");
    assert_eq!(trace.end(), "5 requests");
    assert_eq!(server.number("site", "traces"), 0);
}

#[test]
fn only_what_matches_is_shown() {
    let server = start(&web(SITE).file("ok.luau", "return function() return 'ok' end"));
    for (of, shown) in [
        ("{ path = '/api/' }", "/api/a"),
        ("{ path = '/inline/{x}' }", "/inline/y"),
        ("{ status = 500 }", "/fails"),
        ("{ status = '4xx' }", "/none"),
        ("{ path = '/api/', method = 'get', ip = '127.0.0.0/8', server = 'http', status = 200 }", "/api/a"),
        ("function(record) return record.path == '/wrapped' and record.status == 200 end", "/wrapped"),
        ("function(record) return record.target == '/api/a?token=x' end", "/api/a"),
    ] {
        let mut trace = tracing(&server, &format!("trace({of}, 1)"));
        for path in ["/none", "/inline/y", "/fails", "/wrapped", "/api/a?token=x"] {
            server.get(path);
        }
        let line = trace.line();
        assert!(line.starts_with(&format!("GET {shown} from ")), "{of}: {line}");
        assert_eq!(trace.end(), "1 request", "{of}");
        wait::until("it is off", || (server.number("site", "traces") == 0).then_some(()));
    }
    server.eval("medusa.http.server { listen = '127.0.0.1:0', name = 'other' }");
    let mut others = tracing(&server, "trace({ server = 'other' }, 1, 0.5)");
    server.get("/api/a");
    let end = others.reply();
    assert_eq!((&end["reply"], &end["value"]), (&"done".into(), &"0 requests".into()), "its time is over");
}

#[test]
fn it_ends_with_its_session_and_nothing_is_noted_then() {
    let server = start(&web(SITE).file("ok.luau", "return function() return 'ok' end"));
    drop(tracing(&server, "trace()"));
    wait::until("it is off", || (server.number("site", "traces") == 0).then_some(()));
    assert_eq!(server.get("/wrapped").status, 200);
}

#[test]
fn requests_that_come_faster_than_they_are_shown_are_counted() {
    let server = start(&web(SITE).file("ok.luau", "return function() return 'ok' end"));
    // The function keeps the session busy until it is told: meanwhile more come than are queued.
    let mut trace = tracing(
        &server,
        "return trace(function() while not go do medusa.sleep(0.02) end return true end, 256)",
    );
    let mut client = server.connect();
    for _ in 0..400 {
        assert_eq!(client.get("/wrapped").status, 200);
    }
    server.eval("go = true");
    for _ in 0..256 {
        assert!(trace.line().starts_with("GET /wrapped"));
    }
    let end = trace.end();
    // One of them may be in the function.
    let missed =
        end.strip_prefix("256 requests; ").and_then(|end| end.split(' ').next()?.parse::<u64>().ok());
    assert!(missed.is_some_and(|missed| (143..=144).contains(&missed)), "{end}");
}

#[test]
fn what_cannot_be_traced_is_told() {
    let server = start(&web(SITE).file("ok.luau", "return function() return 'ok' end"));
    for (statement, why) in [
        ("trace({ path = 'api' })", "`path` must be a pattern, as mounts have them, not \"api\""),
        ("trace({ status = 5 })", "`status` must be from 100 to 599, or a class like \"5xx\", not \"5\""),
        (
            "trace({ ip = 'here' })",
            "`ip` must be an address, a network like \"10.0.0.0/8\" or \"unix\", not \"here\"",
        ),
        ("trace({ host = 'x' })", "there is no option \"host\"; there are: path, method, status, ip, server"),
        ("trace(nil, 1001)", "n must be a whole number from 1 to 1000, not 1001"),
        ("trace(nil, 1, 0)", "seconds must be a number above 0, at most 3600, not 0"),
        ("trace('/api/')", "the options must be a table, not a string"),
        ("return trace({ server = 'nosuch' })", NO_SERVER),
        ("trace({ server = 'nosuch' })", NO_SERVER),
    ] {
        let failed = server.command(["eval", statement]).failure(1);
        assert!(failed.contains(why), "{statement}: {failed}");
    }
    let failed = server.command(["trace", "--server", "nosuch"]).failure(1);
    assert!(failed.contains(NO_SERVER), "{failed}");
}

#[test]
fn the_command_shows_them_too() {
    let server = start(&web(SITE).file("ok.luau", "return function() return 'ok' end"));
    let shown = std::thread::scope(|scope| {
        let trace = scope.spawn(|| server.command(["trace", "--path", "/api/", "-n", "1"]).success());
        wait::until("it is on", || (server.number("site", "traces") == 1).then_some(()));
        server.get("/api/x");
        trace.join().expect("it ends")
    });
    assert!(
        shown.starts_with("GET /api/x from 127.0.0.1 at http: /api/ (site.luau:8): function "),
        "{shown}"
    );
    assert!(shown.trim_end().ends_with("\n1 request"), "{shown}");
}
