//! Running out of file descriptors or of allowed connections: waited out, never fatal.
//!
//! These tests lower limits of their whole process: nextest gives each its own.

use medusa_net::limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{Server, until};

#[tokio::test]
async fn without_file_descriptors_accepting_waits_and_goes_on() {
    let server = Server::start("127.0.0.1:0", 2).await;
    // This process is also the client, so its own end takes a descriptor first and the server's finds none.
    let limit = getrlimit(Resource::Nofile);
    let mut first = server.connect().await;
    assert_eq!(first.ask("first").await, "first");
    let mut waiting = server.connect_without_descriptors_left().await;

    let stats = || server.listener.stats();
    until("running out of descriptors", || stats().errors > 0).await;
    assert_eq!(first.ask("open ones go on").await, "open ones go on");
    assert_eq!(stats().accepted, 1);

    setrlimit(Resource::Nofile, limit).expect("raised again");
    assert_eq!(waiting.ask("at last").await, "at last");
}

#[tokio::test]
async fn past_the_limit_of_connections_new_ones_wait_for_a_place() {
    limits::set_max_connections(1);
    let server = Server::start("127.0.0.1:0", 1).await;
    let mut first = server.connect().await;
    assert_eq!(first.ask("first").await, "first");
    let mut second = server.connect().await;
    second.send("second").await;

    assert_eq!(first.ask("alone").await, "alone");
    assert_eq!((server.listener.stats().accepted, limits::open()), (1, 1));

    drop(first);
    assert_eq!(second.answer().await, "second");
    assert_eq!(limits::open(), 1);
}

impl Server {
    /// Connects with the last free descriptor, so that none is left to accept the connection with.
    async fn connect_without_descriptors_left(&self) -> crate::support::Client {
        let free = std::fs::File::open("/dev/null").expect("a descriptor");
        let next = u64::try_from(std::os::fd::AsRawFd::as_raw_fd(&free)).expect("not negative");
        let maximum = getrlimit(Resource::Nofile).maximum;
        drop(free);
        // Descriptors are numbered from the lowest free one: allow exactly that one.
        setrlimit(Resource::Nofile, Rlimit { current: Some(next + 1), maximum }).expect("lowered");
        self.connect().await
    }
}
