//! Binding addresses, and what is said when that fails.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use medusa_net::{BindError, ListenAddr, Listener};

use crate::support::{Client, Server, parse, tcp};

fn unix(path: &Path) -> ListenAddr {
    ListenAddr::Unix(path.to_owned())
}

fn refusal(addr: &ListenAddr) -> BindError {
    match Listener::bind(addr, 2) {
        Ok(listener) => panic!("{addr} was bound as {listener:?}"),
        Err(error) => error,
    }
}

#[test]
fn port_0_becomes_a_real_port_that_all_workers_share() {
    let listener = Listener::bind(&parse("127.0.0.1:0"), 4).expect("binds");
    assert_ne!(tcp(listener.local_addr()).port(), 0);
}

#[test]
fn a_port_in_use_is_refused_even_if_both_would_share_it() {
    let ours = Listener::bind(&parse("127.0.0.1:0"), 2).expect("binds");
    let error = refusal(ours.local_addr());
    assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
    let message = error.to_string();
    let port = tcp(ours.local_addr()).port();
    assert!(message.contains(&format!("127.0.0.1:{port}")), "{message}");
    assert!(message.contains(&format!("ss -ltnp 'sport = :{port}'")), "{message}");

    let foreign = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    foreign.set_reuse_port(true).expect("set");
    foreign.bind(&tcp(&parse("127.0.0.1:0")).into()).expect("binds");
    foreign.listen(1).expect("listens");
    let addr = foreign.local_addr().expect("bound").as_socket().expect("IP");
    assert!(matches!(refusal(&ListenAddr::Tcp(addr)), BindError::InUse { .. }));
}

#[test]
fn everywhere_is_refused_when_one_address_is_taken() {
    let one = Listener::bind(&parse("127.0.0.1:0"), 1).expect("binds");
    let everywhere = parse(&format!(":{}", tcp(one.local_addr()).port()));
    assert!(matches!(refusal(&everywhere), BindError::InUse { .. }));
}

#[test]
fn an_address_of_another_machine_is_refused() {
    // TEST-NET-1 of RFC 5737: nobody's.
    let message = refusal(&parse("192.0.2.1:8080")).to_string();
    assert!(message.contains("192.0.2.1 is not an address of this machine"), "{message}");
}

#[tokio::test]
async fn the_address_is_free_again_once_closed() {
    let server = Server::start("127.0.0.1:0", 2).await;
    let addr = server.listener.local_addr().clone();
    // A served connection, so that the port has one in TIME_WAIT.
    let mut client = server.connect().await;
    client.ask("hello").await;
    server.listener.finish(crate::support::PATIENCE).await;
    assert!(client.is_closed().await);

    Listener::bind(&addr, 2).expect("the address is free");
}

#[tokio::test]
async fn dropping_a_listener_closes_it() {
    let Server { workers, listener, .. } = Server::start("127.0.0.1:0", 2).await;
    let addr = listener.local_addr().clone();
    drop(listener);
    // The sockets are closed by their workers, some time after.
    crate::support::until("closing", || Listener::bind(&addr, 1).is_ok()).await;
    drop(workers);
}

#[tokio::test]
async fn ipv6_loopback_and_dual_stack() {
    let Ok(_) = std::net::TcpListener::bind("[::1]:0") else { return }; // a machine without IPv6
    let loopback = Server::start("[::1]:0", 2).await;
    let peer = loopback.connect().await.ask("peer").await;
    assert!(peer.starts_with("[::1]:"), "{peer}");

    let everywhere = Server::start(":0", 2).await;
    let port = tcp(everywhere.listener.local_addr()).port();
    let v4 = Client::connect(&parse(&format!("127.0.0.1:{port}"))).await.ask("peer").await;
    assert!(v4.starts_with("127.0.0.1:"), "an IPv4 peer is shown as such: {v4}");
    let v6 = Client::connect(&parse(&format!("[::1]:{port}"))).await.ask("peer").await;
    assert!(v6.starts_with("[::1]:"), "{v6}");
}

#[tokio::test]
async fn a_unix_socket_serves_and_its_file_goes_with_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s.sock");
    let server = Server::start(&format!("unix:{}", path.display()), 2).await;
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o660);

    let answer = ask_unix(&path).await;
    assert_eq!(answer, "unix\n");

    server.listener.close();
    assert!(!path.exists());
    Listener::bind(&unix(&path), 1).expect("the path is free");
}

async fn ask_unix(path: &Path) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::UnixStream::connect(path).await.expect("connects");
    stream.write_all(b"peer\n").await.expect("writes");
    stream.shutdown().await.expect("shuts down");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("reads");
    answer
}

#[test]
fn the_socket_file_of_a_dead_server_is_replaced() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s.sock");
    drop(UnixListener::bind(&path).expect("binds"));
    assert!(path.exists(), "left behind");

    let _listener = Listener::bind(&unix(&path), 2).expect("replaced");
    UnixStream::connect(&path).expect("connects to the new one");
}

#[test]
fn the_socket_of_a_live_server_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s.sock");
    let _live = UnixListener::bind(&path).expect("binds");
    let error = refusal(&unix(&path));
    assert!(matches!(error, BindError::SocketInUse { .. }), "{error:?}");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    UnixStream::connect(&path).expect("still there");
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("precious");
    fs::write(&path, "data").expect("written");
    assert!(matches!(refusal(&unix(&path)), BindError::NotASocket { .. }));
    assert_eq!(fs::read_to_string(&path).expect("there"), "data");
}

#[test]
fn a_socket_in_a_missing_directory_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let error = refusal(&unix(&dir.path().join("missing/s.sock")));
    assert!(error.to_string().contains("its directory does not exist"), "{error}");
}

#[test]
fn the_file_of_a_successor_is_not_removed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s.sock");
    let listener = Listener::bind(&unix(&path), 1).expect("binds");
    // Renamed over, not removed first: a new file in its place could be given the old one's number.
    let other = dir.path().join("other");
    let _successor = UnixListener::bind(&other).expect("binds");
    fs::rename(&other, &path).expect("renamed");

    drop(listener);
    assert!(path.exists());
}
