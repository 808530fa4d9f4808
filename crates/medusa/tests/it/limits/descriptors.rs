//! Descriptors: whatever clients do, they leave some for each other and for whoever looks after the server.

use std::fs::File;
use std::net::SocketAddr;
use std::time::Duration;

use medusa_testkit::http2::Http2;
use medusa_testkit::{Client, Server, Site, wait};

use super::super::support::start;

/// `SETTINGS_INITIAL_WINDOW_SIZE`: how much of an answer may be sent unasked.
const INITIAL_WINDOW: u16 = 4;

/// The number of descriptors that the server may have, in these tests.
const LIMIT: usize = 1024;

/// A server with large files `public/0` to `public/{count - 1}`, a second address for those who begin with a header of
/// the PROXY protocol, and few descriptors.
#[track_caller]
fn with_files(count: usize) -> (Site, Server) {
    let site = Site::script(
        "web = medusa.http.server { listen = {
            '127.0.0.1:0', { address = '127.0.0.1:0', proxy_protocol = true },
        } }
        web:mount('/', medusa.handler.files('public'))
        web:mount('/ok', function() return 'ok' end)
        web:mount('POST /form', function(req) req:form() while not go do medusa.sleep(0.1) end return 'late' end)",
    )
    .file("public/small.txt", "small");
    for n in 0..count {
        File::create(site.at(&format!("public/{n}"))).and_then(|file| file.set_len(1 << 20)).expect("a file");
    }
    let server = start(&site);
    limit_to(&server, LIMIT);
    (site, server)
}

/// Limits the server's descriptors, and waits until it knows.
#[track_caller]
fn limit_to(server: &Server, limit: usize) {
    server.limit_open_files(limit as u64);
    assert_eq!(number(server, "descriptors_limit"), limit);
}

#[track_caller]
fn number(server: &Server, field: &str) -> usize {
    server.number("medusa", field).try_into().expect("a small number")
}

fn descriptors(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("its descriptors").count()
}

/// A client whose address is said to be this one.
#[track_caller]
fn from(server: &Server, address: &str) -> Client {
    let mut client = Client::connect(proxied(server));
    client.send(format!("PROXY TCP4 {address} 192.0.2.254 4000 80\r\n"));
    client
}

fn proxied(server: &Server) -> SocketAddr {
    server.address_of(1)
}

/// Asks for files `first..first + count`, none of which it ever takes.
#[track_caller]
fn take_none(client: Client, first: usize, count: usize, files: usize) -> Http2 {
    let mut client = Http2::begin(client, &[(INITIAL_WINDOW, 0)]);
    for n in 0..count {
        client.get(stream(n), &format!("/{}", (first + n) % files));
    }
    client
}

fn stream(n: usize) -> u32 {
    u32::try_from(2 * n + 1).expect("a small number")
}

#[test]
fn a_file_has_one_descriptor_however_many_want_it() {
    let (_site, server) = with_files(1);
    let before = descriptors(&server);
    let mut held: Vec<Http2> = (0..10).map(|_| take_none(server.connect(), 0, 100, 1)).collect();
    for client in &mut held {
        for n in 0..100 {
            assert_eq!(client.status(stream(n)), 200);
        }
    }
    let taken = descriptors(&server) - before;
    assert!((10..=13).contains(&taken), "{taken} descriptors for 10 connections and one file");
    assert_eq!(number(&server, "descriptors_of_files"), 1);
    assert_eq!(server.get("/0").body.len(), 1 << 20, "it can be had");
    drop(held);
    wait::until("it is closed", || (number(&server, "descriptors_of_files") == 0).then_some(()));
}

#[test]
fn an_address_at_its_worst_takes_a_quarter_of_the_descriptors() {
    const FILES: usize = 400;
    let (_site, server) = with_files(FILES);
    let before = descriptors(&server);
    // As many connections as it may have, and twice as many files as it may have.
    let mut held: Vec<Http2> = (0..LIMIT / 8)
        .map(|at| take_none(from(&server, "192.0.2.1"), at * 100, if at < 4 { 100 } else { 1 }, FILES))
        .collect();
    let statuses: Vec<u16> = (0..4)
        .flat_map(|at| (0..100).map(move |n| (at, n)))
        .map(|(at, n)| held[at].status(stream(n)))
        .collect();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), LIMIT / 16, "its share of files");
    let mut outside = from(&server, "192.0.2.1");
    assert_eq!(outside.response().status, 503, "its share of connections");
    let taken = descriptors(&server) - before;
    assert!(taken <= LIMIT / 4 + 4, "{taken} descriptors for one address");
    // Everybody else has files of their own, and the operator an ear.
    let mut other = from(&server, "192.0.2.2");
    assert_eq!(other.get(&format!("/{}", FILES - 1)).body.len(), 1 << 20);
    assert_eq!(server.eval("'heard'"), "heard");
    held.clear();
    wait::until("all is given back", || (descriptors(&server) <= before + 4).then_some(()));
    assert_eq!(from(&server, "192.0.2.1").get("/0").status, 200, "and can be had again");
}

#[test]
fn files_of_many_addresses_leave_room_for_connections() {
    const FILES: usize = 400;
    let (_site, server) = with_files(FILES);
    let mut held: Vec<Http2> = (0..4)
        .map(|at| take_none(from(&server, &format!("192.0.2.{}", at + 1)), at * 100, 100, FILES))
        .collect();
    let mut sent = 0;
    for client in &mut held {
        sent += (0..100).filter(|n| client.status(stream(*n)) == 200).count();
    }
    assert_eq!(sent, LIMIT / 8, "their share");
    let refused = server.get("/399");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("10")));
    assert_eq!(server.get("/small.txt").text(), "small", "what is in memory needs none");
    assert_eq!(server.get("/ok").text(), "ok");
}

#[test]
fn connections_leave_the_last_descriptors_alone() {
    let (_site, server) = with_files(1);
    // More than there are descriptors: each is served, told why not, or closed.
    let mut clients: Vec<Client> = (0..LIMIT + 64).map(|_| server.connect()).collect();
    assert_eq!(clients[0].get("/ok").text(), "ok", "who is in is served");
    assert_eq!(clients[0].get("/0").body.len(), 1 << 20, "files included");
    assert!(descriptors(&server) <= LIMIT * 15 / 16, "the last are kept");
    // Whom it is told makes room for another a second later: which ones they are depends on how fast all came.
    let answer = |client: &mut Client| {
        let is_told = client.is_readable_within(Duration::from_millis(20));
        if is_told { client.try_response("GET").ok().flatten() } else { None }
    };
    let refusal = clients[LIMIT / 2..].iter_mut().find_map(answer).expect("somebody is told");
    assert_eq!((refusal.status, refusal.header("retry-after")), (503, Some("10")));
    assert_eq!(server.eval("'heard'"), "heard", "the control socket has a descriptor");
    let trouble = server.status()["trouble"].as_str().expect("it is told").to_owned();
    assert!(trouble.contains("descriptors are open"), "{trouble}");
    clients.truncate(1);
    wait::until("the others are gone", || (server.number("http", "connections") <= 1).then_some(()));
    assert_eq!(server.get("/ok").text(), "ok");
}

#[test]
fn forms_on_disk_are_counted_like_files() {
    const FEW: usize = 160;
    let (_site, server) = with_files(0);
    limit_to(&server, FEW);
    let send = |address: &str| {
        let mut client = from(&server, address);
        let form = format!(
            "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n{}\r\n--b--\r\n",
            "x".repeat(100_000)
        );
        client.send(format!(
            "POST /form HTTP/1.1\r\nHost: t\r\nContent-Type: multipart/form-data; boundary=b\r\n\
             Content-Length: {}\r\n\r\n{form}",
            form.len()
        ));
        client
    };
    let held: Vec<Client> =
        (0..FEW / 8).map(|at| send(if at % 2 == 0 { "192.0.2.1" } else { "192.0.2.2" })).collect();
    let on_disk = || number(&server, "descriptors_of_files");
    wait::until("all are on disk", || (on_disk() == FEW / 8).then_some(()));
    let refused = send("192.0.2.3").response();
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("10")));
    server.eval("go = true");
    for mut client in held {
        assert_eq!(client.response().text(), "late");
    }
    wait::until("they are gone with their requests", || (on_disk() == 0).then_some(()));
}
