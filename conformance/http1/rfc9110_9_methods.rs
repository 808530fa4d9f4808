//! RFC 9110 §9, [Methods](https://www.rfc-editor.org/rfc/rfc9110#section-9): what each is answered with, mounted or
//! not.

use medusa_testkit::Response;

use crate::support::{Origin, get, message};

/// §10.2.1: "An origin server MUST generate an Allow header field in a 405 (Method Not Allowed) response".
#[track_caller]
fn allowed(answer: &Response) -> Vec<&str> {
    let allow = answer.header("allow").unwrap_or_else(|| panic!("without Allow: {answer:?}"));
    let mut methods: Vec<&str> = allow.split(',').map(str::trim).collect();
    methods.sort_unstable();
    methods
}

/// §9.1: "All general-purpose servers MUST support the methods GET and HEAD."
#[test]
fn get_and_head_are_there() {
    let origin = Origin::start();
    for target in ["/n", "/some", "/stream", "/files/ten.txt"] {
        origin.answers(get(target, ""), 200);
        origin.answers(message("HEAD", target, ""), 200);
    }
}

/// §9.1: "An origin server that receives a request method that is recognized and implemented, but not allowed for the
/// target resource, SHOULD respond with the 405 (Method Not Allowed) status code."
#[test]
fn a_method_that_is_not_mounted_is_answered_405() {
    let origin = Origin::start();
    for method in ["POST", "DELETE", "PATCH"] {
        let answer = origin.answers(message(method, "/some", ""), 405);
        assert_eq!(allowed(&answer), ["GET", "HEAD", "PUT"], "{method}");
        assert!(!answer.says_close(), "{method}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let answer = origin.answers(message(method, "/files/ten.txt", ""), 405);
        assert_eq!(allowed(&answer), ["GET", "HEAD"], "{method}");
    }
}

/// §9.1: "An origin server that receives a request method that is unrecognized or not implemented SHOULD respond with
/// the 501 (Not Implemented) status code."
#[test]
fn a_method_nobody_knows_is_answered_501() {
    let origin = Origin::start();
    for method in ["BREW", "X", "GETT", "GE", "M-SEARCH", "!#$%&'*+-.^_`|~"] {
        origin.answers(message(method, "/some", ""), 501);
        // A handler that was mounted for any method has the last word.
        let answer = origin.server.send(message(method, "/files/ten.txt", ""));
        assert!(matches!(answer.status, 405 | 501), "{method}: {answer:?}");
    }
}

/// §9.3.1: "content received in a GET request has no generally defined semantics": it changes nothing.
#[test]
fn content_of_a_get_changes_nothing() {
    let origin = Origin::start();
    for target in ["/n", "/files/ten.txt", "/some"] {
        let plain = origin.server.get(target).text();
        assert_eq!(origin.answers(message("GET", target, "Content-Length: 5") + "hello", 200).text(), plain);
        let chunks = message("GET", target, "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n";
        assert_eq!(origin.answers(chunks, 200).text(), plain);
        origin.answers(message("HEAD", target, "Content-Length: 5") + "hello", 200);
    }
}

/// §9.3.2: "The server SHOULD send the same header fields in response to a HEAD request as it would have sent if the
/// request method had been GET"; "The HEAD method is identical to GET except that the server MUST NOT send content in
/// the response."
#[test]
fn head_is_get_without_content() {
    let origin = Origin::with_settled_files();
    for target in [
        "/n",
        "/some",
        "/files/ten.txt",
        "/files/page.html",
        "/files/gone",
        "/files",
        "/gone",
        "/fails",
        "/status/302",
    ] {
        let get = origin.server.get(target);
        let head = origin.answers(message("HEAD", target, ""), get.status);
        let fields = |answer: &Response| {
            let mut fields = answer.headers.clone();
            fields.retain(|(name, _)| name != "date");
            fields.sort_unstable();
            fields
        };
        if target != "/some" {
            // A handler that is told the method may say something else; this one has its name for content.
            assert_eq!(fields(&head), fields(&get), "{target}");
        }
    }
}

/// §9.3.6: CONNECT is for proxies; "An origin server MAY accept a CONNECT request, but most origin servers do not
/// implement CONNECT."
#[test]
fn connect_is_answered_501() {
    let origin = Origin::start();
    for target in ["test:80", "example.org:443", "[::1]:443", "127.0.0.1:22"] {
        let answer = origin.server.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
        assert_eq!(answer.status, 501, "{target}");
    }
}

/// §9.3.7: "A server generating a successful response to OPTIONS SHOULD send any header that might indicate optional
/// features implemented by the server and applicable to the target resource (e.g., Allow)"; `*` "applies to the
/// server in general".
#[test]
fn options_of_the_server() {
    let origin = Origin::start();
    let answer = origin.answers(message("OPTIONS", "*", ""), 204);
    for method in ["GET", "HEAD", "OPTIONS"] {
        assert!(allowed(&answer).contains(&method), "{answer:?}");
    }
    assert!(!allowed(&answer).contains(&"TRACE"), "{answer:?}");
}

/// As above: whatever else comes with it, `OPTIONS *` is answered, and takes its content along.
#[test]
fn options_of_the_server_is_answered() {
    let origin = Origin::start();
    origin.answers(message("OPTIONS", "*", ""), 204);
    origin.answers(message("OPTIONS", "*", "Content-Length: 5") + "hello", 204);
    origin.answers("OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n", 204);
}

/// §9.3.7, of one resource: a mount that does not take OPTIONS says what it takes.
#[test]
fn options_of_a_resource_tells_its_methods() {
    let origin = Origin::start();
    for (target, methods) in
        [("/some", ["GET", "HEAD", "PUT"].as_slice()), ("/files/ten.txt", &["GET", "HEAD"])]
    {
        let answer = origin.server.send(message("OPTIONS", target, ""));
        assert!(matches!(answer.status, 200 | 204 | 405), "{target}: {answer:?}");
        assert!(methods.iter().all(|method| allowed(&answer).contains(method)), "{target}: {answer:?}");
    }
}

/// §9.3.8: TRACE would give back what a script in a page must not read (cookies, credentials). It is never served,
/// also where a mount takes any method.
#[test]
fn trace_is_answered_405() {
    let origin = Origin::start();
    for target in ["/some", "/n", "/echo", "/files/ten.txt"] {
        let answer = origin.answers(message("TRACE", target, "Cookie: secret"), 405);
        assert!(!allowed(&answer).contains(&"TRACE"), "{target}: {answer:?}");
    }
}

/// §15.5.6: "The origin server MUST generate an Allow header field in a 405 response containing a list of the target
/// resource's currently supported methods", also where the method is TRACE.
#[test]
fn trace_is_answered_with_what_the_resource_has() {
    let origin = Origin::start();
    assert_eq!(allowed(&origin.answers(message("TRACE", "/some", ""), 405)), ["GET", "HEAD", "PUT"]);
}

/// The least of the above: nothing of the request is in the answer.
#[test]
fn trace_gives_nothing_back() {
    let origin = Origin::start();
    for target in ["/some", "/n", "/echo", "/files/ten.txt", "/gone"] {
        let answer = origin.server.send(message("TRACE", target, "Cookie: secret"));
        assert_ne!(answer.header("content-type"), Some("message/http"), "{target}");
        assert!(!answer.text().contains("secret"), "{target}");
    }
}
