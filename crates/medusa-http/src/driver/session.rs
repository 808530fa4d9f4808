//! A session over a connection after its 101, as part of the connection's task: it ends with it, and everything that is
//! written during one poll goes out in one write, as HTTP's does.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use medusa_net::Signal;
use tokio::sync::Notify;

use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::upgrade::{Io, Upgrade, Upgraded};

/// Runs a session to its end, or the connection's.
pub(super) async fn run(upgrade: Box<(Upgrade, Exchange)>, context: &Connection) {
    let (upgrade, mut exchange) = *upgrade;
    let (conn, handle) = (&context.conn, &context.handle);
    // The 101 may still be on its way.
    let sent = || conn.sent() + handle.buffered() as u64;
    let before = sent();
    let finish = Rc::new(Notify::new());
    let (account, limits) = (context.account.clone(), context.limits());
    let upgraded = Upgraded { io: Io::Connection(handle.io()), account, limits, finish: Rc::clone(&finish) };
    exchange.finish_by(&upgraded.finish);
    let mut session = upgrade.begin(upgraded);
    if conn.is_draining() {
        finish.notify_one();
    }
    let mut ended = false;
    poll_fn(|cx| {
        ended = session.as_mut().poll(cx).is_ready();
        if !ended && exchange.poll_cut(cx).is_ready() {
            return Poll::Ready(());
        }
        match conn.poll_signal(cx) {
            Signal::Stalled => {
                context.count(Fault::WriteStall);
                return Poll::Ready(());
            }
            Signal::Drain => {
                finish.notify_one();
                cx.waker().wake_by_ref();
            }
            Signal::None | Signal::Rest | Signal::CheckPeer | Signal::Expired(_) => {}
        }
        let may_go_on = context.end_turn(cx).is_some();
        if ended || !may_go_on { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    exchange.sent = sent().saturating_sub(before);
    exchange.is_whole = ended;
}
