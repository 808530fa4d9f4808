//! `medusa.handler.timeout`: how long a handler may take until it answers.

use medusa_testkit::{Site, WebSocket};

use super::super::support::start;
use super::{SOCKET, counted, expect_errors};

const SITE: &str = "
    web = medusa.http.server { listen = '127.0.0.1:0' }
    local function brief(handler) return medusa.handler.timeout(0.2, handler) end
    done = 'never'
    web:mount('/slow', brief(function() medusa.sleep(0.5) done = 'late' return 'late' end))
    web:mount('/stream', brief(function()
        return { body = function(write) write('first') medusa.sleep(0.5) write(' last') end }
    end))
    web:mount('/socket', brief(medusa.handler.script('socket.luau')))";

#[test]
fn a_handler_that_is_late_is_stopped_and_what_goes_on_is_not() {
    let site = Site::script(SITE).file("socket.luau", SOCKET);
    let server = start(&site);
    let mut session = WebSocket::connect(server.address(), "/socket");
    let late = server.get("/slow");
    assert_eq!((late.status, late.header("retry-after")), (503, Some("10")));
    server.stderr().wait_for("the handler took longer than 0.2 s (`medusa.handler.timeout`)");
    let streamed = server.get("/stream");
    assert_eq!((streamed.status, streamed.text().as_str()), (200, "first last"));
    session.send("in time");
    assert_eq!(session.text(), "in time");
    assert_eq!(server.eval("done"), "never", "half a second later, too");
    assert_eq!(counted(&server, "handler.timeout", "timeouts"), 1);
    server.reload();
    assert_eq!(server.get("/slow").status, 503);
    session.send("in time");
    assert_eq!(session.text(), "in time");
}

#[test]
fn a_time_that_is_none_is_an_error() {
    let server = start(&Site::script("web = medusa.http.server { listen = '127.0.0.1:0' }"));
    let expected = "the time must be a number of seconds from 0.001 to 86400";
    let cases = ["0", "-1", "'5'", "0/0", "math.huge", "{}"]
        .map(|time| (format!("timeout({time}, print)"), expected));
    let cases: Vec<_> = cases.iter().map(|(handler, expected)| (handler.as_str(), *expected)).collect();
    expect_errors(&server, &cases);
}
