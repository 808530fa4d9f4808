//! `medusa.handler.csrf`: what pages of other sites have a browser send.

use medusa_testkit::{Site, WebSocket};

use super::super::support::start;
use super::{SOCKET, counted, expect_errors};

const SITE: &str = "
    web = medusa.http.server { listen = '127.0.0.1:0' }
    web:mount('/', medusa.handler.csrf({ trusted = { 'https://sso.example' } }, function(req) return req.method end))
    web:mount('/socket', medusa.handler.csrf(nil, medusa.handler.script('socket.luau')))";

#[test]
fn what_changes_something_must_come_from_a_page_of_ours() {
    let site = Site::script(SITE).file("socket.luau", SOCKET);
    let server = start(&site);
    let mut session = WebSocket::connect(server.address(), "/socket");
    let mut client = server.connect();
    let cases: [(&[(&str, &str)], u16); 9] = [
        (&[], 200),
        (&[("Sec-Fetch-Site", "same-origin"), ("Origin", "http://test")], 200),
        (&[("Sec-Fetch-Site", "none")], 200),
        (&[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")], 403),
        (&[("Sec-Fetch-Site", "same-site"), ("Origin", "http://other.test")], 403),
        (&[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://sso.example")], 200),
        (&[("Origin", "http://test")], 200),
        (&[("Origin", "http://test:8080")], 403),
        (&[("Origin", "null")], 403),
    ];
    for _ in 0..2 {
        for (fields, status) in cases {
            let answer = client.request("POST", "/", fields);
            assert_eq!(answer.status, status, "{fields:?}");
            let expected = if status == 200 { "POST" } else { "A page of another site sent this request." };
            assert!(answer.text().contains(expected), "{fields:?}: {}", answer.text());
            assert_eq!(client.request("GET", "/", fields).status, 200, "{fields:?}");
        }
        server.reload();
    }
    session.send("after");
    assert_eq!(session.text(), "after");
}

#[test]
fn refusals_are_counted_and_slips_are_errors() {
    let site = Site::script(SITE).file("socket.luau", SOCKET);
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(client.request("DELETE", "/", &[("Sec-Fetch-Site", "cross-site")]).status, 403);
    assert_eq!(counted(&server, "handler.csrf", "refused"), 1);
    expect_errors(
        &server,
        &[
            ("csrf({ trusted = { 'null' } }, print)", "cannot be trusted"),
            ("csrf({ trusted = { 'example.com' } }, print)", "is not an origin like"),
            ("csrf({ trust = {} }, print)", "there is no option \"trust\"; there are: trusted"),
            ("csrf({})", "a handler must be a function(req)"),
        ],
    );
}
