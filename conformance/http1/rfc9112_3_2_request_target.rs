//! RFC 9112 §3.2, [Request Target](https://www.rfc-editor.org/rfc/rfc9112#section-3.2), and `Host`: which resource is
//! asked for.
//!
//! Whoever can make two servers in a row disagree about the host gets what is meant for another one.

use crate::support::{Origin, get};

fn with_host(host: &str) -> String {
    format!("GET /n HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

/// §3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that lacks a
/// Host header field and to any request message that contains more than one Host header field line".
#[test]
fn a_host_is_there_once() {
    let origin = Origin::start();
    origin.refuses_all(
        [
            "GET /n HTTP/1.1\r\n\r\n",
            "GET /n HTTP/1.1\r\nX-Host: test\r\n\r\n",
            "GET http://test/n HTTP/1.1\r\n\r\n",
            "GET /n HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET /n HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET /n HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
            "GET /n HTTP/1.1\r\nHost: a\r\nX: y\r\nHOST:\r\n\r\n",
            "GET /n HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\n\r\n",
        ],
        &[400],
    );
    assert_eq!(origin.server.send("GET /n HTTP/1.0\r\n\r\n").status, 200);
}

/// §3.2: 400 "to any request message that contains [...] a Host header field with an invalid field value": `uri-host
/// [ ":" port ]`. Characters that no host has.
#[test]
fn a_host_of_other_characters_is_refused() {
    let origin = Origin::start();
    let hosts = [
        "a b",
        "a/b",
        "/a",
        "user@a",
        "user:password@a",
        "a?b",
        "a#b",
        "<a>",
        "a\\b",
        "a\"b",
        "a\tb",
        "a|b",
        "a^b",
        "{a}",
        "`a`",
        "http://a",
        "a, b",
    ];
    origin.refuses_all(hosts.map(with_host), &[400]);
}

/// As above: characters that hosts have, in an order that no host has.
#[test]
fn a_host_of_another_form_is_refused() {
    let origin = Origin::start();
    let hosts = [
        "a:b", "a:80:80", "a:-1", "::1", "[::1", "::1]", "[::1]a", "[::1]80", "[zz]", "[]", "a[b]", "a]",
        "%", "%z", "a%4", "a:%30",
    ];
    origin.refuses_all(hosts.map(with_host), &[400]);
}

/// The other side of it: what is a host. An empty one is what a client "MUST" send for a target without authority.
#[test]
fn a_host_is_taken_for_one() {
    let origin = Origin::start();
    let hosts = [
        "",
        "a",
        "A.Example",
        "a.example:8080",
        "a.example.",
        "a.example:",
        "127.0.0.1",
        "127.0.0.1:80",
        "[::1]",
        "[::1]:8080",
        "[2001:db8::7]",
        "xn--bcher-kva.example",
        "a_b-c~d",
        "a%20b",
        "!$&'()*+,;=",
    ];
    origin.answers_all(hosts.map(with_host), 200);
}

/// §3.2.1: in origin-form "a client MUST send only the absolute path and query components of the target URI".
#[test]
fn a_path_begins_with_a_slash() {
    let origin = Origin::start();
    let targets = ["n", "n/", "?n=1", "#n", "./n", "../n", "n:80/", "\\n", "%2fn"];
    origin.refuses_all(targets.map(|target| get(target, "")), &[400]);
}

/// What is asked for comes to a handler as it was sent.
#[test]
fn a_path_and_its_query_are_as_sent() {
    let origin = Origin::start();
    for query in ["a=b", "", "a=%2F&b=%00", "?", "a/b?c", "http://other/"] {
        let answer = origin.answers(get(&format!("/target?{query}"), ""), 200);
        assert_eq!(answer.text(), format!("/target?{query}"));
    }
}

/// RFC 3986 §3.3 and §3.4: "pchar = unreserved / pct-encoded / sub-delims / ":" / "@"", and in a query "/" and "?".
#[test]
fn a_path_and_its_query_are_made_of_what_rfc_3986_has() {
    let origin = Origin::with(
        "web = medusa.http.server { listen = '127.0.0.1:0' }
        web:mount('/n', function(req) return req:arg('n') end)
        web:mount('/path/', function(req) return `{req.path}?{req.query}` end)",
    );
    for c in "azAZ09-._~!$&'()*+,;=:@".chars() {
        let target = format!("/path/{c}x{c}?{c}/?{c}");
        assert_eq!(origin.answers(get(&target, ""), 200).text(), target);
    }
}

/// RFC 3986 §2.1: a percent sign stands before two hexadecimal digits.
#[test]
fn a_path_that_cannot_be_decoded_is_refused() {
    let origin = Origin::start();
    origin.answers_all(["/%", "/%2", "/%zz", "/a%", "/%%20", "/%u0041"].map(|target| get(target, "")), 400);
}

/// §3.2.2: "a server MUST accept the absolute-form in requests even though most HTTP/1.1 clients will only send the
/// absolute-form to a proxy", and its host is the one that counts ("MUST ignore the received Host header field").
#[test]
fn an_absolute_target_names_the_host() {
    let origin = Origin::start();
    let asked = |target: &str, host: &str| {
        origin.answers(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"), 200).text()
    };
    assert_eq!(asked("/host", "one.example"), "one: one.example");
    assert_eq!(asked("http://one.example/host", "two.example"), "one: one.example");
    assert_eq!(asked("http://one.example:8080/host", ""), "one: one.example");
    assert_eq!(asked("HTTP://one.example/host", "two.example"), "one: one.example");
    assert_eq!(asked("http://two.example/host", "one.example"), "two.example");
    assert_eq!(asked("http://two.example/target?a=b", "one.example"), "/target?a=b");
    // Hosts have no case (RFC 9110 §4.2.3).
    assert_eq!(asked("http://ONE.example/host", "two.example").to_lowercase(), "one: one.example");
    assert_eq!(asked("/host", "One.Example:80").to_lowercase(), "one: one.example");
}

/// RFC 9110 §4.2.3: "an empty path component is equivalent to an absolute path of "/"".
#[test]
fn an_absolute_target_without_a_path_asks_for_the_root() {
    let origin = Origin::with(
        "web = medusa.http.server { listen = '127.0.0.1:0' }
        web:mount('/{$}', function(req) return `{req.path}?{req.query or ''}` end)
        web:mount('/n', function(req) return req:arg('n') end)",
    );
    assert_eq!(origin.answers(get("http://test", ""), 200).text(), "/?");
    assert_eq!(origin.answers(get("http://test?a=b", ""), 200).text(), "/?a=b");
}

/// RFC 9110 §4.2.1: "A recipient that processes such a URI reference", one with an empty host, "MUST reject it as
/// invalid."
#[test]
fn an_absolute_target_has_a_host() {
    let origin = Origin::start();
    let targets = ["http:///n", "http://?n", "http:/n", "http:n", "http://"];
    origin.refuses_all(targets.map(|target| get(target, "")), &[400]);
}

/// As above: a port is no host.
#[test]
fn an_absolute_target_has_more_than_a_port() {
    let origin = Origin::start();
    origin.refuses_all(["http://:80/n", "http://:/n"].map(|target| get(target, "")), &[400]);
}

/// RFC 9110 §4.2.4: "a recipient SHOULD parse for userinfo and treat its presence as an error; it is likely being
/// used to obscure the authority for the sake of phishing attacks."
#[test]
fn an_absolute_target_names_no_user() {
    let origin = Origin::start();
    let targets =
        ["http://user@test/n", "http://user:password@test/n", "http://@test/n", "http://test@one.example/n"];
    origin.refuses_all(targets.map(|target| get(target, "")), &[400]);
}

/// RFC 9110 §7.4: "a request for an "https" resource MUST be rejected unless it has been received over a connection
/// that has been secured"; §15.5.20 has 421 for it.
#[test]
fn an_https_target_is_not_served_over_a_plain_connection() {
    let origin = Origin::start();
    for target in ["https://test/n", "HTTPS://test/n", "https://test:8443/n"] {
        let status = origin.server.send(get(target, "")).status;
        assert!(matches!(status, 400 | 421), "{target} is answered with {status}");
    }
}

/// §3.2.3: "The authority-form of request-target is only used for CONNECT requests", and §3.2.4: "The asterisk-form
/// of request-target is only used for a server-wide OPTIONS request".
#[test]
fn a_form_belongs_to_its_method() {
    let origin = Origin::start();
    let lines = ["GET test:80", "POST test:80", "OPTIONS test:80"];
    origin.refuses_all(lines.map(|line| format!("{line} HTTP/1.1\r\nHost: test:80\r\n\r\n")), &[400]);
}

/// As above, for the asterisk.
#[test]
fn an_asterisk_belongs_to_options() {
    let origin = Origin::start();
    let lines = ["GET *", "HEAD *", "POST *", "PUT *", "DELETE *"];
    origin.refuses_all(lines.map(|line| format!("{line} HTTP/1.1\r\nHost: test\r\n\r\n")), &[400]);
    origin.refuses("OPTIONS ** HTTP/1.1\r\nHost: test\r\n\r\n", &[400]);
}

/// §3.2.3: "a client MUST send only the host and port of the tunnel destination", both of them; RFC 9110 §9.3.6: "A
/// server MUST reject a CONNECT request that targets an empty or invalid port number, typically by responding with a
/// 400".
#[test]
fn connect_has_a_host_and_a_port() {
    let origin = Origin::start();
    let targets = [
        "/n",
        "http://test/n",
        "http://test:80",
        "*",
        "test",
        "test:",
        ":80",
        "test:http",
        "test:99999",
        "test:0",
    ];
    origin.refuses_all(
        targets.map(|target| format!("CONNECT {target} HTTP/1.1\r\nHost: test\r\n\r\n")),
        &[400],
    );
}
