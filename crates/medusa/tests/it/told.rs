//! What logs and the status say of a request that fails, that is refused, or that asks in an unusual way: enough to find it.

use medusa_testkit::{Server, Site, wait};
use serde_json::Value;

use super::support::start;

/// A site that logs requests and the server's own events to one file, as JSON.
fn site(mounts: &str) -> Site {
    Site::script(&format!(
        "log = medusa.log.file('a.log', {{ format = 'json' }})
        web = medusa.http.server {{ listen = '127.0.0.1:0', log = log }}
        medusa.log.events(log, {{ level = 'warn' }})
        {mounts}"
    ))
}

/// The first lines of the log for which `is` holds: so many of them.
#[track_caller]
fn lines(site: &Site, count: usize, is: impl Fn(&Value) -> bool) -> Vec<Value> {
    wait::until("the lines are written", || {
        let text = site.read("a.log");
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let lines = whole.lines().map(|line| serde_json::from_str(line).expect(line));
        let found: Vec<Value> = lines.filter(|line| is(line)).collect();
        (found.len() >= count).then_some(found)
    })
}

fn is_event(line: &Value) -> bool {
    line["log"]["level"].is_string()
}

/// The target and the host logged, of a request that is sent as this.
#[track_caller]
fn logged(server: &Server, site: &Site, request: &str) -> (String, Option<String>) {
    let before = lines(site, 0, |line| !is_event(line)).len();
    server.send(request);
    let line = lines(site, before + 1, |line| !is_event(line)).remove(before);
    let target = line["url"]["original"].as_str().expect("a target").to_owned();
    (target, line["url"]["domain"].as_str().map(str::to_owned))
}

#[test]
fn a_request_is_logged_by_its_target_also_one_that_is_refused() {
    let site = site("web:mount('/', function() return 'hello' end)");
    let server = start(&site);
    for (line, target, host) in [
        ("GET http://target.example/a?b HTTP/1.1", "/a?b", Some("target.example")),
        ("GET /a?b HTTP/1.1", "/a?b", Some("host.example")),
        ("GET ftp://target.example/a HTTP/1.1", "ftp://target.example/a", Some("target.example")),
        (
            "GET http://me:secret@target.example/a HTTP/1.1",
            "http://***@target.example/a",
            Some("target.example"),
        ),
        ("CONNECT target.example:1 HTTP/1.1", "target.example:1", Some("target.example")),
        ("GET target.example HTTP/1.1", "target.example", Some("target.example")),
        ("GET /a b HTTP/1.1", "/a b", None),
        ("GET /a#b HTTP/1.1", "/a#b", None),
        ("GET /a\u{7f} HTTP/1.1", "/a\u{7f}", None),
    ] {
        let request = format!("{line}\r\nHost: host.example\r\nConnection: close\r\n\r\n");
        let found = logged(&server, &site, &request);
        assert_eq!((found.0.as_str(), found.1.as_deref()), (target, host), "{line}");
    }
    assert!(!site.read("a.log").contains("secret"));
}

/// What the operator may change is the operator's to read.
#[test]
fn a_client_is_not_told_the_names_of_options() {
    let site = site(
        "web:mount('/body', function(req) return req:body() end, { body = 10 })
        web:mount('/form', function(req) return req:form().a end, { body = 10 })
        web:mount('/file', medusa.handler.script('reads.luau'), { body = 10 })",
    )
    .file("reads.luau", "return function(req) return req:body() end");
    let server = start(&site);
    for path in ["/body", "/form", "/file"] {
        let answer = server.send(format!(
            "POST {path} HTTP/1.1\r\nHost: t\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: 20\r\nConnection: close\r\n\r\na=234567890123456789"
        ));
        assert_eq!(answer.status, 413, "{path}");
        let page = answer.text();
        assert!(page.contains("the limit of 10 bytes") && !page.contains("limits"), "{path}: {page}");
        let line = server.stderr().wait_for(&format!("path={path}"));
        assert!(line.contains("refused: ") && line.contains("(`limits.body`)"), "{line}");
    }
}

#[test]
fn what_fails_is_told_with_its_request() {
    let site = site(
        "web:mount('/handler', function() error('it failed') end)
        web:mount('/stream', function()
            return { body = function(write) write('begun') medusa.sleep(0.01) error('it failed') end }
        end)
        web:mount('/events', function()
            return medusa.http.events(function(stream) stream:send('begun') medusa.sleep(0.01) error('it failed') end)
        end)
        web:mount('/ws', function(req) return req:websocket(function() error('it failed') end) end)",
    );
    let server = start(&site);
    for (at, (path, upgrade)) in [
        ("/handler", ""),
        ("/stream", ""),
        ("/events", ""),
        (
            "/ws",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = server.connect();
        client.send(format!("GET {path}?secret HTTP/1.1\r\nHost: t\r\n{upgrade}\r\n"));
        client.head();
        let event = lines(&site, at + 1, is_event).remove(at);
        drop(client);
        let id = event["http"]["request"]["id"].as_str().unwrap_or_else(|| panic!("no id in {event}"));
        let message = event["message"].as_str().expect("a message");
        assert!(message.contains("it failed") && message.contains(&format!("path={path} ")), "{message}");
        assert!(!message.contains("secret"), "{message}");
        let record = lines(&site, at + 1, |line| !is_event(line)).remove(at);
        assert_eq!(record["http"]["request"]["id"], id, "{record}");
    }
}

#[test]
fn a_stream_that_fails_is_told_with_its_request_though_there_is_no_access_log() {
    let site = super::support::web(
        "web:mount('/s/{rest...}', function()
            return { body = function(write) write('begun') medusa.sleep(0.01) error('it failed') end }
        end)",
    );
    let server = start(&site);
    let mut client = server.connect();
    client.send("GET /s/one HTTP/1.1\r\nHost: t\r\n\r\n");
    let line = server.stderr().wait_for("a response broke off");
    for part in ["request=", "method=GET", "path=/s/one", "mount=/s/"] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[test]
fn a_log_that_is_used_often_is_shown_once_and_written_once() {
    let site = Site::script(
        "log = medusa.log.file('a.log', { format = 'json' })
        web = medusa.http.server { listen = '127.0.0.1:0', log = medusa.log.multi { log, log } }
        medusa.http.server { listen = '127.0.0.2:0', log = medusa.log.filter({ status = '5xx' }, log) }
        medusa.log.events(log)
        web:mount('/', function() return 'hello' end)",
    );
    let server = start(&site);
    server.get("/");
    let records = lines(&site, 1, |line| !is_event(line));
    assert_eq!((records.len(), server.documents("log.file").len()), (1, 1));
    let named = server.documents("see");
    assert_eq!(named.len(), 2, "{named:?}");
    assert!(named.iter().all(|part| part["name"].as_str().is_some_and(|name| name.ends_with("a.log"))));
}
