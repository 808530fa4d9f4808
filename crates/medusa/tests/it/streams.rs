//! What a slow client costs: whoever produces faster than a client takes waits, and nothing piles up.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use medusa_testkit::websocket::{BINARY, FIN, frame};
use medusa_testkit::{Client, Server, Site, WebSocket, memory, wait};

use super::support::{MEDUSA, web};

/// What is sent in all: far more than any buffer on the way.
const TOTAL: usize = 1 << 30;

/// What is sent at a time.
const CHUNK: usize = 64 << 10;

/// What the server may hold more for a slow client than for a fast one, in bytes: a few chunks, and what an allocator
/// finds to keep while it waits for its turn.
const MOST: u64 = 4 << 20;

/// `/main` in the main VM and `/file` in a worker's: a stream of `TOTAL` bytes, and with `?ws` a session that sends as
/// much. How many chunks were given away is in `medusa.shared('given')`.
fn server() -> (Site, Server) {
    let function = format!(
        "function(req)
            local chunk, given = string.rep('x', {CHUNK}), medusa.shared('given')
            local total = tonumber(req:arg('mb')) * 16
            local function give(write)
                given:set('chunks', 0)
                for _ = 1, total do
                    write(chunk)
                    given:incr('chunks')
                end
            end
            if req:arg('ws') then
                return req:websocket(function(ws)
                    give(function(chunk) ws:send_binary(chunk) end)
                end)
            end
            return {{ body = give }}
        end"
    );
    let site = web(&format!(
        "web:mount('/main', {function})
        web:mount('/file', medusa.handler.script('handler.luau'))"
    ))
    .file("handler.luau", format!("return {function}"));
    // One worker: what the first stream has warmed up, the second finds warm.
    let server = MEDUSA.serve(site.path()).arg("--workers").arg("1").start();
    (site, server)
}

/// Waits until the producer has come to a halt as its client does not read.
#[track_caller]
fn halted(server: &Server) {
    let mut last = 0;
    wait::until("the producer waits for its client", || {
        let given = server.eval("return medusa.shared('given'):get('chunks')").parse().unwrap_or(0);
        let halted = given > 0 && given == last;
        last = given;
        halted.then_some(())
    });
    assert!(last < TOTAL / CHUNK / 2, "{last} chunks are somewhere");
}

/// Reads `TOTAL` bytes with `read`, slower than they are made, while the server must not hold more than it did `before`.
#[track_caller]
fn take(server: &Server, before: u64, mut read: impl FnMut() -> usize) {
    let (mut taken, mut sampled, mut most) = (0, 0, 0);
    while taken < TOTAL {
        let read = read();
        assert!(read > 0, "the stream ended after {taken} bytes");
        taken += read;
        if taken - sampled >= 32 << 20 {
            sampled = taken;
            most = most.max(memory::resident(server.pid()));
        }
    }
    eprintln!("{before} bytes before, {most} at the most");
    assert!(most < before + MOST, "{} bytes more", most.saturating_sub(before));
}

const FULL: &str = "mb=1024";

/// The most that the server holds while a client takes a stream as fast as it comes: what making it costs.
#[track_caller]
fn while_warming(server: &Server, path: &str) -> u64 {
    let mut client = Client::connect(server.address());
    // Long enough for the allocator to have found its size.
    client.send(format!("GET {path}?mb=512 HTTP/1.0\r\nHost: t\r\n\r\n"));
    assert_eq!(client.head().status, 200);
    let (mut taken, mut most) = (0, 0);
    while taken < 512 << 20 {
        taken += client.read(CHUNK).len();
        if taken % (1 << 20) == 0 {
            most = most.max(memory::resident(server.pid()));
        }
    }
    client.expect_close();
    most
}

/// The same of a session.
#[track_caller]
fn while_warming_session(server: &Server, path: &str) -> u64 {
    let mut ws = WebSocket::connect(server.address(), &format!("{path}?ws=1&mb=512"));
    let (mut taken, mut most) = (0, 0);
    while taken < 512 << 20 {
        taken += ws.message().1.len();
        if taken % (1 << 20) == 0 {
            most = most.max(memory::resident(server.pid()));
        }
    }
    ws.expect_close(1000);
    most
}

#[test]
fn a_gigabyte_for_a_slow_client_takes_no_memory_under_load() {
    for path in ["/main", "/file"] {
        let (_site, server) = server();
        let before = while_warming(&server, path);
        let mut client = Client::connect(server.address());
        client.send(format!("GET {path}?{FULL} HTTP/1.0\r\nHost: t\r\n\r\n"));
        assert_eq!(client.head().status, 200);
        halted(&server);
        take(&server, before, || client.read(CHUNK).len());
        client.expect_close();
    }
}

#[test]
fn a_session_that_sends_a_gigabyte_to_a_slow_client_takes_no_memory_under_load() {
    for path in ["/main", "/file"] {
        let (_site, server) = server();
        let before = while_warming_session(&server, path);
        let mut ws = WebSocket::connect(server.address(), &format!("{path}?ws=1&{FULL}"));
        halted(&server);
        take(&server, before, || ws.message().1.len());
        ws.expect_close(1000);
    }
}

/// The other way: a client that sends faster than a session receives is held back.
#[test]
fn a_session_that_does_not_receive_holds_its_client_back_under_load() {
    let function = "function(req)
        return req:websocket(function(ws)
            ws:send('ready')
            repeat medusa.sleep(0.01) until medusa.shared('go'):get(req.path)
            local count, bytes = 0, 0
            for message in ws do
                count += 1
                bytes += #message
                if message == 'last' then ws:send(`{count} {bytes}`) end
            end
        end)
    end";
    let site = web(&format!(
        "web:mount('/main', {function})
        web:mount('/file', medusa.handler.script('handler.luau'))"
    ))
    .file("handler.luau", format!("return {function}"));
    let server = MEDUSA.serve(site.path()).arg("--workers").arg("1").start();
    for path in ["/main", "/file"] {
        let mut ws = WebSocket::connect(server.address(), path);
        assert_eq!(ws.text(), "ready");
        let before = memory::resident(server.pid());
        let (message, count) = (frame(FIN | BINARY, &vec![7; CHUNK]), 1024);
        let sent = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                for _ in 0..count {
                    ws.client().send(&message);
                    sent.fetch_add(1, Relaxed);
                }
                ws.send("last");
                ws.text()
            });
            // The kernel takes a few MiB, the server its share: the rest stays with the client.
            let mut last = 0;
            wait::until("the client is held back", || {
                // Asking takes the server some milliseconds.
                server.eval("return 1");
                let now = sent.load(Relaxed);
                (now > 0 && std::mem::replace(&mut last, now) == now).then_some(())
            });
            assert!(last < count / 2, "{last} messages were taken");
            let more = memory::resident(server.pid()).saturating_sub(before);
            eprintln!("{more} bytes more");
            assert!(more < MOST, "{more} bytes more");
            server.eval(&format!("medusa.shared('go'):set('{path}', true)"));
            let counts = sender.join().expect("the sender");
            assert_eq!(counts, format!("{} {}", count + 1, count * CHUNK + 4));
        });
    }
}
