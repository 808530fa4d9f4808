//! RFC 9110 §7, [Routing](https://www.rfc-editor.org/rfc/rfc9110#section-7): fields for this connection alone, and
//! upgrades. (`Host` is in `rfc9112_3_2_request_target`.)

use crate::support::{Origin, get, message, post};

/// §7.6.1: "Connection" names what is for this connection; a handler has no say in it, or it would keep open or close
/// what it does not know.
#[test]
fn a_handler_does_not_decide_about_the_connection() {
    let origin = Origin::start();
    for value in ["close", "keep-alive", "x"] {
        let answer = origin.answers(get(&format!("/set?name=Connection&value={value}"), ""), 200);
        assert_eq!(answer.header("connection"), None, "{value}");
    }
}

/// §7.6.2: `Max-Forwards: 0` makes whoever has it "the final recipient", which we are anyway.
#[test]
fn max_forwards_stops_nothing_here() {
    let origin = Origin::start();
    for forwards in ["0", "1", "x", "-1"] {
        origin.answers(message("OPTIONS", "*", &format!("Max-Forwards: {forwards}")), 204);
        origin.answers(get("/n", &format!("Max-Forwards: {forwards}")), 200);
    }
}

/// §7.8: "A server MAY ignore a received Upgrade header field if it wishes to continue using the current protocol on
/// that connection", and "A server MUST NOT switch to a protocol that was not indicated by the client". `h2c` is
/// obsolete (RFC 9113 §3.1).
#[test]
fn an_upgrade_to_what_we_do_not_speak_is_ignored() {
    let origin = Origin::start();
    for fields in [
        "Connection: upgrade\r\nUpgrade: h2c",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
        "Connection: upgrade\r\nUpgrade: h2",
        "Connection: upgrade\r\nUpgrade: HTTP/2.0",
        "Connection: upgrade\r\nUpgrade: TLS/1.2",
        "Connection: upgrade\r\nUpgrade: x/1, y",
        "Connection: upgrade\r\nUpgrade:",
        "Connection: upgrade",
        "Upgrade: websocket",
        "Connection: upgrade\r\nUpgrade: websocket", // to a handler that does not speak it
    ] {
        let answer = origin.answers(get("/n", fields), 200);
        assert!(!answer.says_close(), "{fields:?}");
        let content = origin.answers(post("/echo", &format!("{fields}\r\nContent-Length: 5"), "hello"), 200);
        assert_eq!(content.text(), "hello", "{fields:?}");
    }
}

/// §7.8: "A server MUST ignore an Upgrade header field that is received in an HTTP/1.0 request."
#[test]
fn http_1_0_upgrades_nothing() {
    let origin = Origin::start();
    for protocol in ["h2c", "websocket", "TLS/1.2"] {
        let mut client = origin.connect();
        client.send(format!(
            "GET /n HTTP/1.0\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ));
        assert_eq!(client.response().status, 200, "{protocol}");
        client.expect_close();
    }
}
