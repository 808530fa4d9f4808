//! `medusa.handler.concurrency`: how much may be under way at once.

use medusa_testkit::{Client, Server, Site, WebSocket, wait};

use super::super::support::start;
use super::{SOCKET, counted, expect_errors, refused_session};

const SITE: &str = "
    web = medusa.http.server { listen = '127.0.0.1:0' }
    local two = { most = 2 }
    web:mount('/ticks', medusa.handler.concurrency(two, function()
        return { body = function(write) while true do write('tick\\n') medusa.sleep(0.02) end end }
    end))
    web:mount('/quick', medusa.handler.concurrency(two, function() return 'quick' end))
    web:mount('/socket', medusa.handler.headers({ set = { a = '1' } },
        medusa.handler.concurrency(two, medusa.handler.script('socket.luau'))))";

fn site() -> Site {
    Site::script(SITE).file("socket.luau", SOCKET)
}

/// Asks for what never ends, and reads the head of the answer.
fn stream(server: &Server) -> Client {
    let mut client = server.connect();
    client.send("GET /ticks HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.head().status, 200);
    client
}

#[test]
fn streams_and_sessions_count_until_their_end() {
    let site = site();
    let server = start(&site);
    let first = stream(&server);
    let _second = stream(&server);
    let refused = server.get("/ticks");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("10")));
    let mut sessions = [(); 2].map(|()| WebSocket::connect(server.address(), "/socket"));
    assert_eq!(refused_session(&mut server.connect(), "/socket", &[]).status, 503);
    assert_eq!(counted(&server, "handler.concurrency", "refused"), 2);
    assert_eq!(counted(&server, "handler.concurrency", "under_way"), 4);

    first.reset();
    wait::until("the place of who has left is free", || {
        (counted(&server, "handler.concurrency", "under_way") == 3).then_some(())
    });
    let _third = stream(&server);
    sessions[0].close(1000, "");
    wait::until("the place of a session that has ended is free", || {
        (counted(&server, "handler.concurrency", "under_way") == 3).then_some(())
    });
    drop(WebSocket::connect(server.address(), "/socket"));
}

#[test]
fn what_is_under_way_counts_on_over_a_reload() {
    let site = site();
    let server = start(&site);
    let streams = [(); 2].map(|()| stream(&server));
    server.reload();
    assert_eq!(server.get("/ticks").status, 503);
    site.write("site.luau", SITE.replace("most = 2", "most = 3"));
    server.reload();
    let third = stream(&server);
    assert_eq!(server.get("/ticks").status, 503, "there are three");
    drop((streams, third));
    wait::until("all places are free", || {
        (counted(&server, "handler.concurrency", "under_way") == 0).then_some(())
    });
}

#[test]
fn one_after_the_other_is_one_at_a_time() {
    let site = site();
    let server = start(&site);
    let mut client = server.connect();
    assert!((0..100).all(|_| client.get("/quick").status == 200));
    assert_eq!(counted(&server, "handler.concurrency", "refused"), 0);
}

#[test]
fn refusals_are_a_line_of_the_log() {
    let site = site();
    let server = start(&site);
    let _streams = [(); 2].map(|()| stream(&server));
    let mut client = server.connect();
    assert!((0..50).all(|_| client.get("/ticks").status == 503));
    let told = "2 requests are under way, which is the most";
    server.stderr().wait_for(told);
    let said = server.stderr().text();
    let lines = said.lines().filter(|line| line.contains(told));
    assert_eq!(lines.count(), 1, "{said}");
    expect_errors(
        &server,
        &[
            ("concurrency({}, print)", "`most` says how many"),
            ("concurrency({ most = 0 }, print)", "`most` must be a whole number from 1 to 1000000, not 0"),
            ("concurrency({ most = 2, queue = 5 }, print)", "there is no option \"queue\"; there are: most"),
        ],
    );
}
