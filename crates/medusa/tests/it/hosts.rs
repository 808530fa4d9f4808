//! Several sites on one server: which mount a host leads to.

use medusa_testkit::{Response, Server};

use super::guide::guide_example;
use super::support::{start, web};

fn ask(server: &Server, host: &str, path: &str) -> Response {
    server.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

#[test]
fn the_sites_of_the_guide_are_told_apart_by_their_hosts() {
    let site = web(guide_example("**Several sites on one server**"))
        .file("sites/main/a", "main")
        .file("sites/customers/a", "customers");
    let server = start(&site);
    for (host, path, status, text) in [
        ("example.com", "/a", 200, "main"),
        ("EXAMPLE.com.:8080", "/a", 200, "main"),
        ("shop.example.com", "/a", 200, "customers"),
        ("a.shop.example.com", "/a", 200, "customers"),
        ("example.com.evil.example", "/a", 421, "not served here\n"),
        ("192.0.2.1", "/a", 421, "not served here\n"),
        ("[::1]:80", "/alive", 200, "yes\n"),
        ("t", "/alive", 200, "yes\n"),
    ] {
        for _ in 0..2 {
            let answer = ask(&server, host, path);
            assert_eq!((answer.status, answer.text().as_str()), (status, text), "{host}{path}");
        }
    }
    assert_eq!(ask(&server, "example.com", "/alive").status, 404, "the host counts before the path");
    let moved = ask(&server, "www.example.com", "/a?b=c");
    assert_eq!((moved.status, moved.header("location")), (301, Some("https://example.com/a?b=c")));
    let told = server.command(["explain", "GET", "http://unknown.example/a"]).success();
    assert!(told.contains("*/"), "{told}");
    server.reload();
    assert_eq!(ask(&server, "192.0.2.1", "/a").status, 421);
}

#[test]
fn a_default_that_clashes_is_refused_with_both_places() {
    let server = start(&web("web:mount('*/{a}/b', print)"));
    let error = server.command(["eval", "web:mount('*/a/{b}', print)"]).failure(1);
    assert!(error.contains("both match GET other.invalid/a/b"), "{error}");
}
