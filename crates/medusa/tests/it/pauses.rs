//! Clients that stop in the middle of a response and come back: it is whole, and the next one is itself.

use std::thread::sleep;
use std::time::Duration;

use medusa_testkit::Site;

use super::support::start;

/// Longer than it takes a connection to rest.
const PAUSE: Duration = Duration::from_secs(4);
/// More than the kernel's buffers on both sides take.
const LARGE: usize = 24 * 1024 * 1024;

#[test]
#[expect(clippy::disallowed_methods, reason = "a client's pause is what is tested")]
fn a_response_goes_on_after_a_pause_and_the_next_is_no_other() {
    let first: Vec<u8> = (0..LARGE).map(|n| (n % 251) as u8).collect();
    let second: Vec<u8> = (0..LARGE).map(|n| (n % 241) as u8).collect();
    let site = Site::script(
        "web = medusa.http.server { listen = '127.0.0.1:0' }
         web:mount('/', medusa.handler.files('public'))
         web:mount('/text', function(req) local half = string.rep('text', 3000000) return half .. half end)
         web:mount('/more', medusa.handler.script('more.luau'))",
    )
    .file(
        "more.luau",
        "return function(req) local half = string.rep('more', 3000000) return half .. half end",
    )
    .file("public/first", &first)
    .file("public/second", &second);
    let server = start(&site);
    let expected: [(&str, &[u8]); 4] = [
        ("/first", &first),
        ("/text", &b"text".repeat(6_000_000)),
        ("/second", &second),
        ("/more", &b"more".repeat(6_000_000)),
    ];
    let mut client = server.connect();
    for (path, content) in expected {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n"));
        sleep(PAUSE);
        let response = client.response();
        assert_eq!(response.status, 200, "{path}");
        assert!(response.body == content, "{path}: {} bytes, not as they should be", response.body.len());
    }
}
