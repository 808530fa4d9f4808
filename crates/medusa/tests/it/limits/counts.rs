//! Counts: connections, and requests on each.

use medusa_testkit::{Client, Site, wait};

use super::super::support::start;
use super::times::listener;
use super::{expect_faults, expect_service, limited};

#[test]
fn requests_the_last_one_says_so() {
    let (_site, server) = limited("requests = 3", "");
    let mut client = server.connect();
    for _ in 0..2 {
        assert!(!client.get("/ok").says_close());
    }
    let last = client.get("/ok");
    assert_eq!(last.text(), "ok");
    assert!(last.says_close());
    client.expect_close();
    expect_service(&server);
    expect_faults(&server, &[]);
}

#[test]
fn connections_one_too_many_is_answered_503() {
    let (_site, server) = limited("connections = 3", "");
    let mut inside: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    for client in &mut inside {
        assert_eq!(client.get("/ok").status, 200);
    }
    let mut outside = server.connect();
    let answer = outside.response();
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("10"));
    assert!(answer.says_close());
    outside.expect_close();
    // One that has sent its request already hears why, too.
    assert_eq!(server.get("/ok").status, 503);
    for client in &mut inside {
        assert_eq!(client.get("/ok").text(), "ok", "who is inside is served");
    }
    expect_faults(&server, &[("too_many_connections", 2)]);
    inside.pop();
    wait::until("there is room", || (server.number("http", "connections") == 2).then_some(()));
    expect_service(&server);
}

/// Who does not say whose connection it is has it counted all the same.
#[test]
fn connections_count_before_a_balancer_has_said_whose_they_are() {
    let site = Site::script(
        "web = medusa.http.server { listen = {
            '127.0.0.1:0', { address = '127.0.0.1:0', proxy_protocol = true },
        }, limits = { connections = 2 } }
        web:mount('/ok', function(req) return req.client end)",
    );
    let server = start(&site);
    let connect = || Client::connect(listener(&server, 1));
    let mut silent = [connect(), connect()];
    wait::until("both are counted", || (server.number("http", "connections") == 2).then_some(()));
    connect().expect_close();
    expect_faults(&server, &[("too_many_connections", 1)]);
    silent[0].send("PROXY TCP4 192.0.2.1 192.0.2.255 1234 80\r\n");
    assert_eq!(silent[0].get("/ok").text(), "192.0.2.1", "and not twice");
}

#[test]
fn connections_per_address_one_client_cannot_have_them_all() {
    let site = Site::script(
        "web = medusa.http.server { listen = {
            '127.0.0.1:0', { address = '127.0.0.1:0', proxy_protocol = true },
        }, limits = { connections_per_address = 2 } }
        web:mount('/ok', function(req) return req.client end)",
    );
    let server = start(&site);
    let from = |address: &str| {
        let mut client = Client::connect(listener(&server, 1));
        let family = if address.contains(':') { "TCP6" } else { "TCP4" };
        let to = if address.contains(':') { "2001:db8::ffff" } else { "192.0.2.255" };
        client.send(format!("PROXY {family} {address} {to} 1234 80\r\n"));
        client
    };
    let mut greedy = [from("192.0.2.1"), from("192.0.2.1")];
    for client in &mut greedy {
        assert_eq!(client.get("/ok").text(), "192.0.2.1");
    }
    let mut third = from("192.0.2.1");
    assert_eq!(third.response().status, 503);
    third.expect_close();
    assert_eq!(from("192.0.2.2").get("/ok").text(), "192.0.2.2", "another address has its own");
    // One network of IPv6 is one client.
    let mut network = [from("2001:db8::1"), from("2001:db8::2:0:0:1")];
    for client in &mut network {
        assert_eq!(client.get("/ok").status, 200);
    }
    assert_eq!(from("2001:db8::3").response().status, 503);
    assert_eq!(from("2001:db8:0:1::1").get("/ok").text(), "2001:db8:0:1::1");
    // This machine is not counted.
    let mut local: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    for client in &mut local {
        assert_eq!(client.get("/ok").text(), "127.0.0.1");
    }
    expect_faults(&server, &[("too_many_connections", 2)]);
    // A network of networks has eight times as many.
    let mut site: Vec<Client> = (0..16).map(|of| from(&format!("2001:db8:1:{:x}::1", of / 2))).collect();
    for client in &mut site {
        assert_eq!(client.get("/ok").status, 200);
    }
    assert_eq!(from("2001:db8:1:ff::1").response().status, 503);
    assert_eq!(from("2001:db8:2:ff::1").get("/ok").status, 200, "another one");
    drop(greedy);
    wait::until("there is room", || {
        let mut client = from("192.0.2.1");
        // A 503 may come before the request was taken.
        let _refused = client.try_send("GET /ok HTTP/1.1\r\nHost: t\r\n\r\n");
        (client.response().status == 200).then_some(())
    });
}
