//! `limits`, one by one: what the client sees, what is counted, and that nobody else notices.

mod attacks;
mod counts;
mod descriptors;
mod http2;
mod memory;
mod sizes;
mod targets;
mod times;
mod unread;
mod websocket;
mod worst;

use std::time::{Duration, Instant};

use medusa_testkit::{Client, Server, Site};

use super::support::start;

/// More than a limit of a second takes on a busy machine, less than the least default of any (10 s): what ends sooner
/// was not ended by another limit.
const SOONER_THAN_DEFAULTS: Duration = Duration::from_secs(9);

/// A server with these `limits`, a handler at `/ok`, one at `/read` that takes all of a body, and what `script` adds.
#[track_caller]
fn limited(limits: &str, script: &str) -> (Site, Server) {
    let site = Site::script(&format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0', limits = {{ {limits} }} }}
        web:mount('/ok', function() return 'ok' end)
        web:mount('POST /read', function(req) return tostring(#req:body()) end)
        web:mount('/sleep', function() medusa.sleep(25) return 'late' end)
        {script}"
    ));
    let server = start(&site);
    (site, server)
}

/// Asserts which faults were counted, by name, and how often; no others were.
#[track_caller]
fn expect_faults(server: &Server, expected: &[(&str, u64)]) {
    let parts = server.documents("http.faults");
    let [faults] = parts.as_slice() else { panic!("one server was expected: {parts:?}") };
    let mut counted: Vec<_> = faults
        .as_object()
        .expect("a table")
        .iter()
        .filter_map(|(name, count)| Some((name.as_str(), count.as_u64()?)))
        .collect();
    counted.sort_unstable();
    assert_eq!(counted, expected, "the faults that were counted");
}

/// Asserts that another client is served, before it has had enough of waiting: sooner than anything here ends by itself.
#[track_caller]
fn expect_service(server: &Server) {
    assert_eq!(server.get("/ok").text(), "ok");
}

/// Waits in `see` for what a limit of one second does, and asserts that it was done in its time: never before, and by
/// this limit. Another client is served meanwhile.
#[track_caller]
fn after_a_second<T>(server: &Server, see: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    expect_service(server);
    let seen = see();
    let took = begun.elapsed();
    // It began before this clock did, by however long this test was held up between.
    assert!(took > Duration::from_millis(100), "acted on after {took:?}");
    assert!(took < SOONER_THAN_DEFAULTS, "acted on after {took:?} only");
    expect_service(server);
    seen
}

/// Asserts that the server ends the connection, in order or not.
#[track_caller]
fn expect_end(client: &mut Client) {
    let mut read = 0;
    while client.try_read_some(1 << 20).is_ok_and(|bytes| {
        read += bytes.len();
        !bytes.is_empty()
    }) {
        assert!(read < 64 << 20, "the server goes on and on");
    }
}

/// What one connection may cost whose client reads nothing, in bytes: its queues and buffers, many times over.
const MEMORY: u64 = 16 << 20;

/// How much of an attack is sent, in bytes, before the server must have had enough or stopped reading.
const MOST: usize = 512 << 20;

/// The time that a client that is not read goes on trying.
const PATIENCE: Duration = Duration::from_millis(500);

/// Sends `bytes` again and again, reading nothing, until the server reads no more or has ended the session. Returns how
/// much was sent.
#[track_caller]
fn press(server: &Server, client: &mut Client, bytes: &[u8]) -> usize {
    medusa_testkit::memory::forget_peak(server.pid());
    let before = medusa_testkit::memory::resident(server.pid());
    client.give_up_after(PATIENCE);
    let mut sent = 0;
    while sent < MOST && client.try_send(bytes).is_ok() {
        sent += bytes.len();
    }
    expect_service(server);
    let grown = medusa_testkit::memory::peak(server.pid()).saturating_sub(before);
    eprintln!("{sent} bytes were sent for {grown} bytes of memory");
    assert!(grown < MEMORY, "{grown} bytes more for {sent} that were sent");
    sent
}
