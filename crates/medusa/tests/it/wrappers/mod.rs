//! Wrappers: what holds for all of them ([`matrix`]), and in a module each what they are for.

mod addresses;
mod concurrency;
mod cors;
mod csrf;
mod errors;
mod limit;
mod log;
mod matrix;
mod rewrite;
mod timeout;

use medusa_testkit::{Client, Response, Server};

use super::guide::guide_example;
use super::support::{start, web};

/// A file that answers with a session that sends back what comes.
const SOCKET: &str = "return function(req) return req:websocket(function(ws) for message in ws do ws:send(message) end end) end";

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
