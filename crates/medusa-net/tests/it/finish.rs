//! Closing, draining, and ending for certain.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use medusa_net::{Accept, Conn, Drained, Listener, Stream, shutdown};

use crate::support::{Client, Lines, PATIENCE, Server, parse, tcp, workers};

/// Closes its listener with the first connection it gets.
struct ClosesAtFirst {
    lines: Lines,
    listener: Weak<Listener>,
}

impl Accept for ClosesAtFirst {
    fn accept(&self, stream: Stream, conn: Rc<Conn>) -> Pin<Box<dyn Future<Output = ()>>> {
        if let Some(listener) = self.listener.upgrade() {
            listener.close();
        }
        self.lines.accept(stream, conn)
    }
}

#[tokio::test]
async fn what_the_kernel_had_queued_is_served_after_closing() {
    let workers = workers(1);
    let listener = Listener::bind(&parse("127.0.0.1:0"), 1).expect("binds");
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = Client::connect(listener.local_addr()).await;
        client.send("early").await;
        clients.push(client);
    }
    let accept = ClosesAtFirst { lines: Lines::default(), listener: Arc::downgrade(&listener) };
    listener.prepare(&workers, Arc::new(accept)).await.expect("prepares");
    listener.start();

    listener.closed().await;
    for client in &mut clients {
        assert_eq!(client.answer().await, "early");
        assert_eq!(client.ask("goes on").await, "goes on");
    }
    assert!(std::net::TcpStream::connect(tcp(listener.local_addr())).is_err());
}

#[tokio::test]
async fn what_was_never_started_has_answered_nobody() {
    let (workers, lines) = (workers(1), Lines::default());
    let listener = Listener::bind(&parse("127.0.0.1:0"), 1).expect("binds");
    let mut client = Client::connect(listener.local_addr()).await;
    client.send("early").await;
    listener.prepare(&workers, Arc::new(lines)).await.expect("prepares");
    listener.close();
    listener.closed().await;
    assert_eq!(client.answer().await, "");
    listener.start();
    assert_eq!(listener.stats().accepted, 0);
    assert!(std::net::TcpStream::connect(tcp(listener.local_addr())).is_err());
}

#[tokio::test]
async fn closing_leaves_open_connections_alone() {
    let server = Server::start("127.0.0.1:0", 2).await;
    let mut client = server.connect().await;
    assert_eq!(client.ask("one").await, "one");
    server.listener.close();
    server.listener.closed().await;
    assert_eq!(client.ask("two").await, "two");

    server.listener.drain();
    assert!(client.is_closed().await, "idle, it ends as soon as it is told to finish");
}

#[tokio::test]
async fn a_listener_may_be_dropped_right_after_it_was_told_to_drain() {
    let Server { workers, listener, lines } = Server::start("127.0.0.1:0", 2).await;
    let mut idle = Client::connect(listener.local_addr()).await;
    assert_eq!(idle.ask("hello").await, "hello");
    let mut busy = Client::connect(listener.local_addr()).await;
    busy.send("slow").await;
    lines.slow_began.notified().await;

    listener.drain();
    drop(listener);
    assert!(idle.is_closed().await);
    lines.go.notify_one();
    assert_eq!(busy.answer().await, "slow", "what was under way is answered");
    assert!(busy.is_closed().await);
    workers.stop();
}

#[tokio::test]
async fn finishing_waits_for_the_answer_that_is_under_way() {
    let server = Server::start("127.0.0.1:0", 2).await;
    let mut client = server.connect().await;
    client.send("slow").await;
    server.lines.slow_began.notified().await;

    let (drained, ()) = tokio::join!(server.listener.finish(PATIENCE), async {
        server.listener.closed().await;
        server.lines.go.notify_one();
        assert_eq!(client.answer().await, "slow");
        assert!(client.is_closed().await);
    });
    assert_eq!(drained, Drained { finished: 1, aborted: 0 });
}

#[tokio::test]
async fn shutting_down_ends_the_rest_at_the_deadline() {
    let server = Server::start("127.0.0.1:0", 2).await;
    let mut idle = server.connect().await;
    assert_eq!(idle.ask("hello").await, "hello");
    let mut deaf = server.connect().await;
    assert_eq!(deaf.ask("deaf").await, "deaf");
    let mut stuck = server.connect().await;
    stuck.send("slow").await;
    server.lines.slow_began.notified().await;

    server.listener.close();
    server.listener.closed().await;
    let drained = shutdown::drain(&server.workers, Duration::from_millis(50)).await;
    assert_eq!(drained, Drained { finished: 1, aborted: 2 });
    assert!(idle.is_closed().await && deaf.is_closed().await && stuck.is_closed().await);
    assert_eq!(server.listener.stats().open(), 0);
    server.workers.stop();
}

#[tokio::test]
async fn finishing_one_listener_leaves_the_other_serving() {
    let first = Server::start("127.0.0.1:0", 2).await;
    let second = Listener::bind(&parse("127.0.0.1:0"), 2).expect("binds");
    second.prepare(&first.workers, Arc::new(first.lines.clone())).await.expect("prepares");
    second.start();

    let (mut going, mut staying) = (first.connect().await, Client::connect(second.local_addr()).await);
    assert_eq!(going.ask("a").await, "a");
    assert_eq!(staying.ask("b").await, "b");
    assert_eq!(first.listener.finish(PATIENCE).await, Drained { finished: 1, aborted: 0 });
    assert!(going.is_closed().await);
    assert_eq!(staying.ask("c").await, "c");
}
