//! Wrappers: what holds for all of them, and in a module each what they are for.

mod addresses;
mod concurrency;
mod cors;
mod csrf;
mod errors;
mod limit;
mod log;
mod rewrite;
mod timeout;

use std::fmt::Write as _;

use medusa_testkit::{Client, Response, Server, Site, WebSocket};

use super::guide::guide_example;
use super::support::{WEB, start, web};

/// A file that answers with a session that sends back what comes.
const SOCKET: &str = "return function(req) return req:websocket(function(ws) for message in ws do ws:send(message) end end) end";

/// All of them, around `H`, so that they let everything pass.
const WRAPPERS: &[(&str, &str)] = &[
    ("allow", "medusa.handler.allow({ 'private' }, H)"),
    ("deny", "medusa.handler.deny({ '192.0.2.0/24', '2001:db8::/32' }, H)"),
    ("limit", "medusa.handler.limit({ rate = 1000 }, H)"),
    ("concurrency", "medusa.handler.concurrency({ most = 100 }, H)"),
    ("timeout", "medusa.handler.timeout(30, H)"),
    ("cors", "medusa.handler.cors({ origins = { 'https://app.example' }, credentials = true }, H)"),
    ("csrf", "medusa.handler.csrf({ trusted = { 'https://app.example' } }, H)"),
    (
        "errors",
        "medusa.handler.errors({ [404] = '404.html', ['5xx'] = medusa.handler.script('5xx.luau') }, H)",
    ),
    ("rewrite", "medusa.handler.rewrite({ add_prefix = '/v1' }, H)"),
    ("log", "medusa.handler.log(medusa.log.tail(10), H)"),
    ("headers", "medusa.handler.headers({ set = { a = '1' } }, H)"),
    ("compress", "medusa.handler.compress(H)"),
];

const TEXT: &str = "function(req) return string.rep('text ', 500) end";

/// Each around a function, around and in another wrapper, and around a `WebSocket`.
fn all() -> Site {
    let mut script = WEB.to_owned();
    for &(name, wrapper) in WRAPPERS {
        let around = |handler: &str| wrapper.replace('H', handler);
        let compressed = format!("medusa.handler.compress({TEXT})");
        for (path, handler) in [
            ("function", around(TEXT)),
            ("outside", around(&compressed)),
            ("inside", format!("medusa.handler.compress({})", around(TEXT))),
            ("socket", around("medusa.handler.script('socket.luau')")),
        ] {
            writeln!(script, "web:mount('/{name}/{path}', {handler})").expect("memory");
        }
    }
    let page = "return function(req) return `{req.status}` end";
    Site::script(&script).file("socket.luau", SOCKET).file("404.html", "lost").file("5xx.luau", page)
}

/// The answer to a client that asks for a `WebSocket` and does not get one.
fn refused_session(client: &mut Client, path: &str, fields: &[(&str, &str)]) -> Response {
    let asked = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    client.request("GET", path, &[&asked[..], fields].concat())
}

/// The sum of a counter over all handlers of a kind.
fn counted(server: &Server, kind: &str, counter: &str) -> u64 {
    server.documents(kind).iter().filter_map(|document| document[counter].as_u64()).sum()
}

/// What a statement fails with, for each of these handlers.
fn expect_errors(server: &Server, cases: &[(&str, &str)]) {
    for (handler, expected) in cases {
        let error = server.command(["eval", &format!("medusa.handler.{handler}")]).failure(1);
        assert!(error.contains(expected) && error.contains("statement:1"), "{handler}: {error}");
    }
}

#[test]
fn each_stands_before_functions_and_other_wrappers() {
    let site = all();
    let server = start(&site);
    for &(name, _) in WRAPPERS {
        for path in ["function", "outside", "inside"] {
            let path = format!("/{name}/{path}");
            let answer = server.connect().request("GET", &path, &[("Accept-Encoding", "gzip")]);
            let is_compressed = name == "compress" || !path.ends_with("function");
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(answer.header("content-encoding"), is_compressed.then_some("gzip"), "{path}");
            assert!(is_compressed || answer.text().len() == 2500, "{path}");
        }
        let kind = format!("handler.{name}");
        let shown = server.documents(&kind).len();
        let beside = if name == "compress" { 2 * (WRAPPERS.len() - 1) } else { 0 };
        assert_eq!(shown, 4 + beside, "{kind}");
    }
}

#[test]
fn a_session_in_each_outlives_a_reload() {
    let site = all();
    let server = start(&site);
    let mut sessions: Vec<_> = WRAPPERS
        .iter()
        .map(|(name, _)| (name, WebSocket::connect(server.address(), &format!("/{name}/socket"))))
        .collect();
    let mut expect_echo = |message: &str| {
        for (name, session) in &mut sessions {
            session.send(message);
            assert_eq!(session.text(), message, "{name}");
        }
    };
    expect_echo("before");
    server.reload();
    expect_echo("after");
    server.reload();
    expect_echo("after another");
    // Another wrapper stands before the same handler.
    let script = site.read("site.luau").replace("rate = 1000", "rate = 1001");
    site.write("site.luau", script);
    server.reload();
    expect_echo("behind another limit");
}

#[test]
fn the_examples_of_the_guide_can_be_mounted() {
    let example = guide_example("The others decide what gets to the handler at all");
    let server = start(&web(&format!(
        "local function path(req) return req.path end
        local admin, api, report, search, account, data, app = path, path, path, path, path, path, path
        {example}"
    )));
    for (path, status) in
        [("/admin/", 403), ("/api/", 200), ("/report", 200), ("/search", 200), ("/app/x", 200)]
    {
        assert_eq!(server.get(path).status, status, "{path}");
    }
    assert_eq!(server.get("/app/x").text(), "/x");
}
