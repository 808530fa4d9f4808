//! Connections that obey and others that do not, on a paused clock.

use std::future::poll_fn;
use std::task::Poll;

use super::*;
use crate::conn::{Phase, Signal};
use crate::shutdown::{Drained, finish};
use tokio::runtime::{Builder, LocalOptions};
use tokio::time::Instant;

/// Runs a test on a paused clock: time passes only when every task waits for it.
fn on_a_paused_clock(test: impl Future<Output = ()>) {
    let mut builder = Builder::new_current_thread();
    builder
        .enable_all()
        .start_paused(true)
        .build_local(LocalOptions::default())
        .expect("works")
        .block_on(test);
}

fn a_listener() -> Rc<WorkerListener> {
    add_listener(ListenerId::next(), ListenAddr::Unix("x".into()))
}

fn enter(listener: &Rc<WorkerListener>) -> Entry {
    open(listener, Peer::Unix, Permit::take().expect("works"))
}

/// Spawns a connection that ends at its first signal and returns that signal with the time it took.
fn obedient(listener: &Rc<WorkerListener>) -> tokio::task::JoinHandle<(Signal, Duration)> {
    let (entry, start) = (enter(listener), Instant::now());
    spawn_local(async move {
        let signal = poll_fn(|cx| match entry.poll_signal(cx) {
            Signal::None => Poll::Pending,
            signal => Poll::Ready(signal),
        });
        (signal.await, start.elapsed())
    })
}

/// Spawns a connection that hears no signal.
fn deaf(listener: &Rc<WorkerListener>) -> Rc<Conn> {
    let entry = enter(listener);
    let conn = entry.clone();
    let task = spawn_local(async move {
        std::future::pending::<()>().await;
        drop(entry);
    });
    conn.set_task(task.abort_handle());
    conn
}

#[test]
fn an_entry_is_counted_as_long_as_it_lives() {
    on_a_paused_clock(async {
        let listener = a_listener();
        let (first, second) = (enter(&listener), enter(&listener));
        assert_ne!(first.id(), second.id());
        assert_eq!((len(), listener.live.get()), (2, 2));
        drop(first);
        assert_eq!((len(), listener.live.get()), (1, 1));
        assert_eq!((conns().len(), ended()), (1, 1));
    });
}

#[test]
fn a_silent_connection_expires_after_its_deadline() {
    on_a_paused_clock(async {
        let (signal, after) = obedient(&a_listener()).await.expect("no panic");
        assert_eq!(signal, Signal::Expired(Phase::Idle));
        assert!(after > Duration::from_secs(30) && after <= Duration::from_secs(32), "{after:?}");
    });
}

#[test]
fn the_ticker_sleeps_without_connections_and_comes_back() {
    on_a_paused_clock(async {
        let listener = a_listener();
        drop(enter(&listener));
        sleep(Duration::from_secs(5)).await;
        assert!(!REGISTRY.with(|registry| registry.ticking.get()));

        let (signal, _) = obedient(&listener).await.expect("no panic");
        assert_eq!(signal, Signal::Expired(Phase::Idle));
    });
}

#[test]
fn finishing_a_listener_leaves_the_others_alone() {
    on_a_paused_clock(async {
        let (going, staying) = (a_listener(), a_listener());
        let polite = obedient(&going);
        let rude = deaf(&going);
        let other = deaf(&staying);

        let drained = finish(Some(going.id), Duration::from_secs(10)).await;
        assert_eq!(drained, Drained { finished: 1, aborted: 1 });
        assert_eq!(polite.await.expect("no panic").0, Signal::Drain);
        assert!(rude.is_draining() && !other.is_draining());
        assert_eq!(len(), 1);
    });
}

#[test]
fn finishing_everything_catches_latecomers() {
    on_a_paused_clock(async {
        let listener = a_listener();
        let rude = deaf(&listener);
        let latecomer = async {
            sleep(Duration::from_secs(1)).await;
            obedient(&listener).await.expect("no panic").0
        };
        let (drained, signal) = tokio::join!(finish(None, Duration::from_secs(3)), latecomer);
        assert_eq!(signal, Signal::Drain);
        assert_eq!(drained, Drained { finished: 1, aborted: 1 });
        assert!(rude.is_draining());
        assert_eq!(len(), 0);
    });
}
