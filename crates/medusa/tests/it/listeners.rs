//! Addresses, and what happens when there are too many connections.

use medusa_testkit::{Client, Server, Site, wait};

use super::support::{MEDUSA, start, web};

const OK: &str = "web:mount('/', function(req) return req.peer end)";

/// The address of its listener number `at`.
#[track_caller]
fn address(server: &Server, at: usize) -> std::net::SocketAddr {
    let listeners = server.documents("listener");
    let text = listeners[at]["address"].as_str().expect("text");
    text.parse().unwrap_or_else(|_error| panic!("{text} is no address"))
}

#[test]
fn several_addresses_of_every_kind() {
    let site = Site::script(&format!(
        "web = medusa.http.server {{ listen = {{ '127.0.0.1:0', '[::1]:0', 'unix:web.sock' }} }} {OK}"
    ));
    let server = start(&site);
    assert_eq!(server.get("/").text(), "127.0.0.1");
    assert_eq!(Client::connect(address(&server, 1)).get("/").text(), "::1");
    assert_eq!(Client::connect_unix(&site.at("web.sock")).get("/").text(), "unix");
    let ready = server.stderr().text();
    assert_eq!(ready.lines().filter(|line| line.contains("medusa: ready at ")).count(), 3, "{ready}");
}

#[test]
fn listen_on_the_command_line_counts_more_than_the_script() {
    let site = Site::script(&format!("web = medusa.http.server {{ listen = '192.0.2.1:80' }} {OK}"));
    let socket = format!("unix:{}", site.at("cli.sock").display());
    let server = MEDUSA.serve(site.path()).listen("127.0.0.1:0").listen(&socket).start();
    assert_eq!(server.get("/").text(), "127.0.0.1");
    assert_eq!(Client::connect_unix(&site.at("cli.sock")).get("/").text(), "unix");
}

#[test]
fn the_socket_of_a_dead_server_is_replaced_and_that_of_a_live_one_is_not() {
    let site = Site::script(&format!("web = medusa.http.server {{ listen = 'unix:web.sock' }} {OK}"));
    drop(std::os::unix::net::UnixListener::bind(site.at("web.sock")).expect("bound"));
    let server = start(&site);
    assert_eq!(Client::connect_unix(&site.at("web.sock")).get("/").text(), "unix");
    let error = MEDUSA.serve(site.path()).fail().failure(1);
    assert!(error.contains("web.sock") && error.contains("another process listens there already"), "{error}");
    assert_eq!(Client::connect_unix(&site.at("web.sock")).get("/").text(), "unix");
    drop(server);
}

#[test]
fn a_port_in_use_is_an_error_even_among_servers_of_ours() {
    let site = web(OK);
    let server = start(&site);
    let taken = server.address().to_string();
    let error = MEDUSA.serve(site.path()).listen(&taken).fail().failure(1);
    assert!(error.contains(&format!("cannot listen on {taken}")) && error.contains("ss -ltnp"), "{error}");
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn running_out_of_descriptors_is_waited_out() {
    let site = web(OK);
    let server = start(&site);
    let mut known = server.connect();
    assert_eq!(known.get("/").status, 200);
    server.limit_open_files(64);
    // More than it can take: the kernel queues what it does not accept.
    let mut clients: Vec<Client> = (0..80).map(|_| server.connect()).collect();
    server.stderr().wait_for("file descriptors");
    assert_eq!(known.get("/").status, 200, "those who are in are served");
    clients.truncate(1);
    // The server learns of it bit by bit that there is room again.
    wait::until("when there is room again, everybody is served", || {
        (server.connect().get("/").text() == "127.0.0.1").then_some(())
    });
    wait::until("the others are gone", || {
        // With the status's own connection, which needs a descriptor as well.
        (server.number("listener", "open") <= 3).then_some(())
    });
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let site = Site::script(&format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0', limits = {{ idle = 1 }} }} {OK}"
    ));
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(client.get("/").status, 200);
    client.expect_close();
}
