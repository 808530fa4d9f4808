//! Accepting and serving connections.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use medusa_net::{Accept, Conn, Listener, StartError, Stream, registry};

use crate::support::{Client, Lines, Server, parse, until, workers};

#[tokio::test]
async fn connections_spread_over_the_workers() {
    let server = Server::start("127.0.0.1:0", 2).await;
    let mut seen = BTreeSet::new();
    // Which worker gets a connection is the kernel's hash of its port: 64 on one of two has odds of 1 in 2^63.
    let mut clients = Vec::new();
    for _ in 0..64 {
        let mut client = server.connect().await;
        seen.insert(client.ask("worker").await);
        clients.push(client);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["0", "1"]);
    assert_eq!(server.listener.stats().open(), 64);

    let open = server.workers.run_on_each(|_| async { registry::len() }).await;
    assert_eq!(open.into_iter().flatten().sum::<usize>(), 64);

    drop(clients);
    until("the end of all connections", || server.listener.stats().open() == 0).await;
    assert_eq!(server.listener.stats().accepted, 64);
}

#[tokio::test]
async fn a_panic_in_a_connection_ends_that_connection_alone() {
    let server = Server::start("127.0.0.1:0", 1).await;
    let (mut unlucky, mut other) = (server.connect().await, server.connect().await);
    assert_eq!(other.ask("before").await, "before");

    unlucky.send("panic").await;
    assert!(unlucky.is_closed().await);

    assert_eq!(other.ask("after").await, "after");
    assert_eq!(server.connect().await.ask("new").await, "new");
    assert_eq!(server.listener.stats().panicked, 1);
    let left = server
        .workers
        .run(0, || async { registry::conns().iter().filter(|conn| conn.requests() == 2).count() });
    assert_eq!(left.await, Ok(1), "the other one is still there, with its two requests");
}

#[tokio::test]
async fn a_panic_before_there_is_a_future_is_no_different() {
    struct Refuses;
    impl Accept for Refuses {
        fn accept(&self, _: Stream, _: Rc<Conn>) -> Pin<Box<dyn Future<Output = ()>>> {
            panic!("no")
        }
    }
    let workers = workers(1);
    let listener = Listener::bind(&parse("127.0.0.1:0"), 1).expect("binds");
    listener.prepare(&workers, Arc::new(Refuses)).await.expect("prepares");
    listener.start();
    for _ in 0..2 {
        assert!(Client::connect(listener.local_addr()).await.is_closed().await);
    }
    until("both to be counted", || listener.stats().panicked == 2).await;
}

#[tokio::test]
async fn accepted_sockets_inherit_nodelay_and_know_their_ends() {
    #[derive(Default, Clone)]
    struct Inspects(Arc<Mutex<Vec<(bool, bool, bool)>>>);
    impl Accept for Inspects {
        fn accept(&self, stream: Stream, conn: Rc<Conn>) -> Pin<Box<dyn Future<Output = ()>>> {
            let same_peer = stream.peer().is_ok_and(|peer| peer == conn.peer());
            let same_local = stream.local().is_ok_and(|local| local == *conn.listen_addr());
            let Stream::Tcp(tcp) = &stream else { panic!("not TCP") };
            let seen = (tcp.nodelay().is_ok_and(|nodelay| nodelay), same_peer, same_local);
            self.0.lock().expect("not poisoned").push(seen);
            Box::pin(async {})
        }
    }
    let (workers, inspects) = (workers(1), Inspects::default());
    let listener = Listener::bind(&parse("127.0.0.1:0"), 1).expect("binds");
    listener.prepare(&workers, Arc::new(inspects.clone())).await.expect("prepares");
    listener.start();
    assert!(Client::connect(listener.local_addr()).await.is_closed().await);
    assert_eq!(*inspects.0.lock().expect("not poisoned"), [(true, true, true)]);
}

#[tokio::test]
async fn a_listener_starts_once() {
    let server = Server::start("127.0.0.1:0", 1).await;
    let again = server.listener.prepare(&server.workers, Arc::new(Lines::default())).await;
    assert!(matches!(again, Err(StartError::Started { .. })), "{again:?}");
    assert_eq!(server.connect().await.ask("still").await, "still");
}

#[tokio::test]
async fn stopped_workers_cannot_accept() {
    let workers = workers(1);
    let listener = Listener::bind(&parse("127.0.0.1:0"), 1).expect("binds");
    workers.stop();
    let error = listener.prepare(&workers, Arc::new(Lines::default())).await;
    assert!(matches!(error, Err(StartError::Worker { .. })), "{error:?}");
}
