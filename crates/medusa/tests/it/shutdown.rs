//! The end: what is under way is finished, what idles is closed, what was logged is written.

use std::net::TcpStream;

use medusa_testkit::{Client, Server, Signal, Site, wait};

use super::support::{WEB, start};

/// A server with a request under way that waits for the rest of its body, and an idle connection.
#[track_caller]
fn busy() -> (Site, Server, Client, Client) {
    let site = Site::script(
        "web = medusa.http.server { listen = '127.0.0.1:0', log = medusa.log.file('access.log') }
        web:mount('/', function(req) return 'got ' .. req:body() end)",
    );
    let server = start(&site);
    let mut idle = server.connect();
    assert_eq!(idle.get("/").status, 200);
    let mut busy = server.connect();
    busy.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\n");
    wait::until("the request is under way", || (server.number("vm", "requests") == 1).then_some(()));
    (site, server, idle, busy)
}

#[test]
fn what_is_under_way_is_finished() {
    for signal in [Signal::TERM, Signal::INT] {
        let (site, mut server, mut idle, mut busy) = busy();
        server.signal(signal);
        idle.expect_close();
        drop(idle);
        let address = server.address();
        wait::until("nobody new is let in", || TcpStream::connect(address).is_err().then_some(()));
        busy.send("done");
        let answer = busy.response();
        assert_eq!(answer.text(), "got done");
        busy.expect_close();
        drop(busy);
        assert_eq!(server.wait().code(), Some(0));
        assert_eq!(site.read("access.log").lines().count(), 2, "the log was written to its end");
        // Two, and those of ours that were let in before the listener closed.
        let line = server.stderr().wait_for("medusa: stopped: ");
        assert!(line.ends_with("connections finished, 0 cut off"), "{line}");
    }
}

#[test]
fn a_download_is_finished() {
    const LENGTH: usize = 24 << 20;
    let site = Site::script(&format!("{WEB} web:mount('/', medusa.handler.files('.'))"))
        .file("large", vec![7; LENGTH]);
    let mut server = start(&site);
    let mut client = server.connect();
    client.send("GET /large HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.head().status, 200);
    server.signal(Signal::TERM);
    server.stderr().wait_for("finishing what is under way");
    let mut length = 0;
    while length < LENGTH {
        let some = client.read_some(1 << 20);
        assert!(!some.is_empty(), "cut off after {length} bytes");
        length += some.len();
    }
    drop(client);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (site, mut server, idle, mut busy) = busy();
    drop(idle);
    server.signal(Signal::TERM);
    server.stderr().wait_for("finishing what is under way");
    server.signal(Signal::TERM);
    // The request could take half a minute yet, which is longer than we wait here.
    assert_eq!(server.wait().code(), Some(0));
    server.stderr().wait_for("cut off");
    assert!(busy.read_some(1).is_empty());
    assert!(site.read("access.log").lines().count() >= 1, "the log was written all the same");
}

#[test]
fn stop_waits_for_the_end() {
    let (_site, mut server, mut idle, mut busy) = busy();
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| {
            let stopped = server.command(["stop"]);
            (stopped.status.code(), stopped.stderr)
        });
        idle.expect_close();
        assert!(!stopping.is_finished(), "a request is under way");
        busy.send("done");
        assert_eq!(busy.response().text(), "got done");
        drop((idle, busy));
        let (code, text) = stopping.join().expect("it has ended");
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("stopped"), "{text}");
    });
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn every_record_of_a_busy_server_is_written() {
    let site = Site::script(
        "web = medusa.http.server { listen = '127.0.0.1:0', log = medusa.log.file('access.log') }
        web:mount('/', function() return 'x' end)",
    );
    let server = start(&site);
    let mut clients: Vec<Client> = (0..8).map(|_| server.connect()).collect();
    let pipeline = "GET / HTTP/1.1\r\nHost: t\r\n\r\n".repeat(50);
    for client in &mut clients {
        client.send(&pipeline);
    }
    for client in &mut clients {
        for _ in 0..50 {
            assert_eq!(client.response().status, 200);
        }
    }
    drop(clients);
    server.terminate();
    assert_eq!(site.read("access.log").lines().count(), 400);
}

#[test]
fn nothing_is_left_behind() {
    let site = Site::script("web = medusa.http.server { listen = 'unix:web.sock' }");
    let mut server = start(&site);
    assert!(site.at("web.sock").exists() && server.state().join("control").exists());
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(!site.at("web.sock").exists() && !server.state().join("control").exists());
}
