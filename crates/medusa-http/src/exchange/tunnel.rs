//! A session on a stream of HTTP/2 ([RFC 8441](https://www.rfc-editor.org/rfc/rfc8441)): a task of its own, which ends with
//! its stream.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;

use hyper::upgrade::OnUpgrade;
use tokio::sync::Notify;

use super::state::Exchange;
use crate::upgrade::{Io, StreamIo, Upgrade, Upgraded};

/// Runs a session to its end, or its stream's.
pub(super) async fn run(upgrade: Upgrade, mut exchange: Exchange, stream: OnUpgrade) {
    let Ok(io) = stream.await else { return };
    let written = Rc::new(Cell::new(0));
    let io = Io::Stream(StreamIo::new(io, Rc::clone(&written)));
    let finish = Rc::new(Notify::new());
    let connection = exchange.connection();
    connection.finish_early(&finish);
    exchange.finish_by(&finish);
    let (account, limits) = (connection.account.clone(), connection.limits());
    let session = upgrade.begin(Upgraded { io, account, limits, finish });
    exchange.is_whole = tokio::select! {
        () = session => true,
        () = poll_fn(|cx| exchange.poll_cut(cx)) => false,
    };
    exchange.sent = written.get();
}
