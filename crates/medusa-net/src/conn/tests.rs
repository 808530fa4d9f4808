//! A connection's deadlines, by the coarse times that the registry looks at.

use super::multiplexed::{TASKS_TURN, TASKS_WOKEN, TURN};
use super::*;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Wake};
use std::time::Instant;

fn conn() -> Conn {
    Conn::new(1, WorkerListener::new(ListenerId::next(), ListenAddr::Unix("x".into())), Peer::Unix)
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn signal(conn: &Conn) -> Signal {
    conn.poll_signal(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn drain_is_told_once_and_wakes() {
    let (conn, wakes) = (conn(), Arc::new(Wakes::default()));
    let waker = Waker::from(wakes.clone());
    assert_eq!(conn.poll_signal(&mut Context::from_waker(&waker)), Signal::None);

    conn.drain();
    conn.drain();
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert_eq!(signal(&conn), Signal::Drain);
    assert_eq!(signal(&conn), Signal::None);
    assert!(conn.is_draining());
}

/// Polls a task of this connection that takes as long.
fn task(conn: &Conn, place: &mut Option<u64>, takes: Duration, wakes: &Arc<Wakes>) -> bool {
    let waker = Waker::from(Arc::clone(wakes));
    let done = conn.poll_in_turn(place, &mut Context::from_waker(&waker), |_| {
        let begun = Instant::now();
        while begun.elapsed() < takes {}
        Poll::Ready(())
    });
    done.is_ready()
}

#[test]
fn tasks_that_take_long_wait_for_the_next_turn_of_their_driver() {
    let (conn, driver, wakes) = (conn(), Arc::new(Wakes::default()), Arc::new(Wakes::default()));
    let waker = Waker::from(Arc::clone(&driver));
    let mut cx = Context::from_waker(&waker);
    let turn = |conn: &Conn, cx: &mut Context<'_>| {
        conn.begin_turn(cx);
        assert_eq!(conn.poll_signal(cx), Signal::None);
    };
    turn(&conn, &mut cx);
    assert!(task(&conn, &mut None, TASKS_TURN, &wakes));
    let mut places = [None; TASKS_WOKEN + 1];
    let poll = |conn: &Conn, places: &mut [Option<u64>]| {
        let done = places.iter_mut().map(|place| task(conn, place, Duration::ZERO, &Arc::default()));
        done.filter(|done| *done).count()
    };
    for place in &mut places {
        assert!(!task(&conn, place, Duration::ZERO, &wakes));
    }
    assert_eq!(driver.0.load(Ordering::Relaxed), 1, "it is to have a turn");
    assert_eq!(poll(&conn, &mut places), 0, "who is polled for something else goes on waiting");
    turn(&conn, &mut cx);
    assert_eq!(wakes.0.load(Ordering::Relaxed), TASKS_WOKEN);
    assert_eq!(driver.0.load(Ordering::Relaxed), 2, "and another");
    let [called @ .., last] = &mut places;
    assert!(!task(&conn, last, Duration::ZERO, &wakes));
    assert!(task(&conn, &mut called[0], TASKS_TURN, &wakes));
    assert_eq!(poll(&conn, &mut called[1..]), 0, "the turn is over again");
    conn.end_turns();
    assert_eq!(poll(&conn, &mut places[1..]), TASKS_WOKEN, "nobody is left behind");
}

#[test]
fn a_deadline_never_passes_early() {
    let conn = conn();
    assert!(!conn.check(30));
    assert!(conn.check(31));
    assert_eq!(signal(&conn), Signal::Expired(Phase::Idle));
    assert_eq!(signal(&conn), Signal::Expired(Phase::Idle));
}

#[test]
fn a_connection_rests_once_when_it_is_kept_alive_for_nothing() {
    let conn = conn();
    assert!(!conn.check(REST), "before its first request it holds no buffers");
    conn.count_request();
    conn.enter(Phase::Idle);
    assert!(!conn.check(REST - 1));
    assert!(conn.check(REST));
    assert_eq!(signal(&conn), Signal::Rest);
    assert!(!conn.check(REST + 1));
    assert_eq!(signal(&conn), Signal::None);
    conn.enter(Phase::Idle);
    conn.check(REST + 1);
    conn.on_received(1);
    assert_eq!(signal(&conn), Signal::None, "a request that arrives takes it back");
}

#[test]
fn a_connection_does_not_rest_before_its_peer_has_taken_everything() {
    let conn = conn();
    conn.count_request();
    conn.enter(Phase::Idle);
    conn.on_send_blocked();
    assert!(!conn.check(REST + 5));
    conn.on_sent(1, true);
    assert!(conn.check(REST + 5));
    assert_eq!(signal(&conn), Signal::Rest);
}

#[test]
fn a_long_request_is_looked_after() {
    let conn = conn();
    conn.enter(Phase::Busy);
    assert!(!conn.check(CHECK_PEER - 1));
    assert!(conn.check(CHECK_PEER));
    assert_eq!(signal(&conn), Signal::CheckPeer);
    assert!(!conn.check(CHECK_PEER + 1));
    assert!(conn.check(2 * CHECK_PEER));
    conn.enter(Phase::Idle);
    assert_eq!(signal(&conn), Signal::None, "it has been answered");
}

#[test]
fn a_long_life_ends_politely() {
    let conn = conn();
    conn.set_deadlines(Deadlines { life: Duration::from_secs(100), ..Deadlines::default() });
    conn.enter(Phase::Closing);
    conn.set_deadlines(Deadlines {
        closing: Duration::MAX,
        life: Duration::from_secs(100),
        ..Deadlines::default()
    });
    conn.check(100);
    assert_eq!(signal(&conn), Signal::None);
    conn.check(101);
    assert_eq!(signal(&conn), Signal::Drain);
}

#[test]
fn a_long_life_does_not_end_right_before_the_next_request() {
    let conn = conn();
    conn.set_deadlines(Deadlines { life: Duration::ZERO, idle: Duration::MAX, ..Deadlines::default() });
    conn.count_request();
    conn.enter(Phase::Idle);
    conn.check(REST - 1);
    assert_eq!(signal(&conn), Signal::None, "it was busy a moment ago");
    conn.check(REST);
    assert_eq!(signal(&conn), Signal::Drain);
}

#[test]
fn a_peer_that_makes_no_room_stalls_whatever_is_sent_meanwhile() {
    let conn = Rc::new(conn());
    conn.set_deadlines(Deadlines { write: Duration::from_secs(5), ..Deadlines::default() });
    conn.enter(Phase::Busy);
    let (guards, other) = (conn.guard_write(), conn.guard_write());
    conn.on_sent(17, true);
    assert!(!conn.check(5));
    assert!(conn.check(6));
    assert_eq!(signal(&conn), Signal::Stalled);
    drop(guards);
    assert!(conn.check(6), "it has not made room for the other");
    other.progressed();
    drop(other);
    assert!(!conn.check(6));
    assert_eq!(signal(&conn), Signal::None);
}

#[test]
fn an_answer_that_the_peer_leaves_alone_is_given_up_alone() {
    let conn = Rc::new(conn());
    conn.set_deadlines(Deadlines { write: Duration::from_secs(5), ..Deadlines::default() });
    conn.enter(Phase::Busy);
    let (mut guards, mut keys) = (Vec::new(), [None, None]);
    let cx = &mut Context::from_waker(Waker::noop());
    for key in &mut keys {
        let polled = conn.poll_guarded(key, cx, |_| {
            guards.push(conn.guard_write());
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
    }
    conn.multiplex().guarded.borrow_mut()[1].since = 3;
    assert!(!conn.check(6), "the connection goes on");
    let [left, right] = &mut keys;
    assert!(conn.poll_guarded(left, cx, |_| Poll::<()>::Pending).is_pending(), "its turn may come");
    conn.on_sent(2 * TURN as usize, true);
    assert!(!conn.check(6));
    assert_eq!(conn.poll_guarded(left, cx, |_| Poll::<()>::Pending), Poll::Ready(None));
    guards[0].progressed();
    assert!(conn.poll_guarded(left, cx, |_| Poll::<()>::Pending).is_pending(), "it came at the last moment");
    conn.multiplex().guarded.borrow_mut()[0].since = 3;
    assert!(conn.poll_guarded(right, cx, |_| Poll::<()>::Pending).is_pending());
    assert!(conn.check(9), "until it makes room for none");
    assert_eq!(signal(&conn), Signal::Stalled);
    drop(guards);
    assert!(conn.multiplex().guarded.borrow().is_empty());
}

#[test]
fn a_peer_that_is_slow_with_many_answers_is_not_slow_for_ever() {
    let conn = Rc::new(conn());
    conn.set_deadlines(Deadlines { write: Duration::from_secs(5), ..Deadlines::default() });
    conn.enter(Phase::Busy);
    let guards: Vec<_> = (0..50).map(|_| conn.guard_write()).collect();
    let expired = || conn.multiplex().guarded.borrow().iter().filter(|(_, guarded)| guarded.expired).count();
    // Each has its turn, one in a second.
    for (key, now) in (0..50).zip(1..) {
        conn.on_sent(64 * 1024, false);
        conn.check(now);
        conn.multiplex().guarded.borrow_mut()[key].since = now;
    }
    assert_eq!((signal(&conn), expired()), (Signal::CheckPeer, 0));
    // From now on, only the last.
    conn.multiplex().guarded.borrow_mut()[49].since = 100;
    conn.check(80);
    assert_eq!(expired(), 29);
    conn.check(100);
    assert_eq!(expired(), 49);
    assert_ne!(signal(&conn), Signal::Stalled, "the connection goes on");
    drop(guards);
}

#[test]
fn a_peer_that_trickles_is_stalled_and_one_that_takes_all_is_not() {
    let conn = conn();
    conn.enter(Phase::Busy);
    conn.on_send_blocked();
    conn.on_sent(LEAST_TAKEN - 1, false);
    assert!(conn.check(61));
    assert_eq!(signal(&conn), Signal::Stalled);
    conn.on_sent(1, false);
    assert_ne!(signal(&conn), Signal::Stalled, "that is enough");
    conn.on_send_blocked();
    conn.on_sent(1, false);
    conn.on_sent(1, true);
    conn.check(1000);
    assert_ne!(signal(&conn), Signal::Stalled);
}

#[test]
fn each_phase_has_its_own_limit() {
    let conn = conn();
    conn.count_request();
    assert!(conn.check(75));
    assert_eq!(signal(&conn), Signal::Rest, "kept alive, it may be idle for longer");
    assert!(conn.check(76));
    assert_eq!(signal(&conn), Signal::Expired(Phase::Idle));

    conn.enter(Phase::Head);
    assert_eq!(signal(&conn), Signal::None, "a new phase takes back an expired deadline");
    assert!(!conn.check(10));
    assert!(conn.check(11), "a head may pause for 10 seconds");
    conn.set_deadlines(Deadlines { head_read: Duration::MAX, ..Deadlines::default() });
    assert!(!conn.check(30));
    assert!(conn.check(31), "and take 30 in all");

    conn.enter(Phase::Busy);
    conn.check(u32::MAX);
    assert_eq!(signal(&conn), Signal::CheckPeer, "no deadline of ours");

    conn.enter(Phase::Closing);
    assert!(conn.check(6));

    conn.set_deadlines(Deadlines { closing: Duration::MAX, ..Deadlines::default() });
    assert!(!conn.check(u32::MAX));
}

#[test]
fn the_first_bytes_begin_a_head_and_later_ones_do_not_restart_it() {
    let multiplex = self::conn();
    multiplex.set_multiplexed();
    multiplex.on_received(9);
    assert_eq!(multiplex.phase(), Phase::Idle, "frames are not yet a request");
    let conn = conn();
    conn.on_received(0);
    assert_eq!(conn.phase(), Phase::Idle);
    conn.on_received(1);
    assert_eq!(conn.phase(), Phase::Head);
    conn.enter(Phase::Busy);
    conn.on_received(9);
    assert_eq!((conn.phase(), conn.received()), (Phase::Busy, 10));
}

#[test]
fn a_peer_that_takes_nothing_is_stalled_until_it_does() {
    let conn = conn();
    conn.enter(Phase::Busy);
    conn.on_send_blocked();
    conn.check(60);
    assert_eq!(signal(&conn), Signal::CheckPeer);
    assert!(conn.check(61));
    assert_eq!(signal(&conn), Signal::Stalled);

    conn.on_sent(1, true);
    assert_eq!(signal(&conn), Signal::None);
    conn.check(1000);
    assert_eq!(signal(&conn), Signal::CheckPeer);
}

#[test]
fn an_ipv4_peer_of_a_dual_stack_listener_is_ipv4() {
    let mapped: SocketAddr = "[::ffff:192.0.2.1]:7".parse().expect("an address");
    assert_eq!(Peer::from(mapped).to_string(), "192.0.2.1:7");
}
