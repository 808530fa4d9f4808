//! Answers that nobody reads, to requests that come on and on: the connection is not read any further, and ends by `write`.

use medusa_testkit::wait;

use super::super::support::MEDUSA;
use super::super::tls::Encrypted;
use super::{MOST, limited, press};

const GET: &str = "GET /ok HTTP/1.1\r\nHost: t\r\n\r\n";

#[test]
fn requests_that_follow_one_another() {
    let (_site, server) =
        limited("write = 2", "web:mount('/long', function() return string.rep('x', 300000) end)");
    for (what, request) in [
        ("short answers", GET.repeat(100)),
        ("long answers", GET.replace("/ok", "/long")),
        ("errors", GET.replace("/ok", "/none").repeat(100)),
        ("bodies", "POST /read HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello".repeat(100)),
        (
            "bodies that wait for a 100",
            "POST /read HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"
                .repeat(100),
        ),
        ("whole servers", "OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n".repeat(100)),
    ] {
        let mut client = server.connect();
        let sent = press(&server, &mut client, request.as_bytes());
        assert!(sent < MOST, "{what}: it was read on and on");
    }
    wait::until("they are gone", || (server.number("http", "connections") == 0).then_some(()));
}

#[test]
fn requests_that_follow_one_another_encrypted() {
    let it = Encrypted::new("limits = { write = 2 }", "web:mount('/ok', function() return 'ok' end)");
    let server = MEDUSA.serve(it.site.path()).start();
    let mut client = it.connect(&server);
    client.give_up_after(std::time::Duration::from_millis(500));
    let mut sent = 0;
    let before = medusa_testkit::memory::resident(server.pid());
    while sent < MOST && client.try_send(GET.repeat(100)).is_ok() {
        sent += GET.len() * 100;
    }
    let grown = medusa_testkit::memory::peak(server.pid()).saturating_sub(before);
    assert!(sent < MOST && grown < super::MEMORY, "{grown} bytes for {sent} that were sent");
}
