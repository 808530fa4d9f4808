//! The examples of the guide for sessions, as they stand there.

use medusa_testkit::websocket::{BINARY, FIN};
use medusa_testkit::{WebSocket, wait};

use super::support::{start, web};

/// The example of the guide that follows this text.
pub(crate) fn guide_example(before: &str) -> &'static str {
    guide_example_of(include_str!("../../../../docs/scripting.md"), before)
}

/// The same of another guide.
pub(crate) fn guide_example_of(guide: &'static str, before: &str) -> &'static str {
    let rest = guide.split_once(before).expect("the text").1;
    rest.split("```lua\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example")
}

#[test]
fn the_room_of_the_guide_is_left_by_all_who_go() {
    let room = guide_example("A room where everybody hears everybody");
    let site = web(&format!(
        "{room}
        web:mount('/count', function() local n = 0 for _ in room do n += 1 end return tostring(n) end)"
    ));
    let server = start(&site);
    let count = |expected: &str| {
        wait::until("so many are in the room", || (server.get("/count").text() == expected).then_some(()));
    };
    assert_eq!(server.get("/room?name=%FF").status, 400);
    let mut ann = WebSocket::connect(server.address(), "/room?name=Ann");
    let mut other = WebSocket::connect(server.address(), "/room");
    count("2");
    ann.send_frame(FIN | BINARY, b"\xff");
    ann.send("h\u{e9}");
    assert_eq!((ann.text(), other.text()), ("Ann: h\u{e9}".into(), "Ann: h\u{e9}".into()));
    other.close(1000, "");
    count("1");
    ann.close(1000, "");
    count("0");
    // Half of a surrogate pair, which only the sending refuses, or the length already.
    if server.get("/room?name=%ED%A0%80").status != 400 {
        let mut odd = WebSocket::connect(server.address(), "/room?name=%ED%A0%80");
        odd.send("hello");
        odd.expect_close(1011);
        count("0");
    }
}

#[test]
fn the_echo_of_the_guide_takes_both_kinds() {
    let site = web(guide_example("## WebSockets\n"));
    let server = start(&site);
    let mut ws = WebSocket::connect(server.address(), "/echo");
    ws.send("text");
    assert_eq!(ws.text(), "text");
    ws.send_frame(FIN | BINARY, b"\xff");
    assert_eq!(ws.message(), (BINARY, vec![0xff]));
    ws.close(1000, "");
}
