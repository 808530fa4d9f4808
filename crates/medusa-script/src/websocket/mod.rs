//! `req:websocket`: a session with a client, as a script has it.
//!
//! - [`method`](mod@method): the handshake, and what a handler returns in its place ([`Opening`]);
//! - `socket` and `websocket.luau`: `ws`, what the script talks to;
//! - [`Session`]: the script's function, run until it ends.
//!
//! The function runs in the VM its handler is of, beside the connection and not within it: when the client has left, it
//! may still put its things in order. It has no limit in time, and its CPU budget starts anew with every message it
//! receives and whenever it waited to send one.
//!
//! Invariant: a session's function never outlives its client by more than [`GRACE`], and a client is never left with a
//! session whose function has ended.

mod docs;
mod method;
mod options;
mod socket;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use medusa_http::Head;
use medusa_http::websocket::{Accepted, Close, Closed, HandshakeRefusal, WebSocket};
use mlua::{Function, Table, UserData};
use tracing::field;

pub(crate) use self::docs::{CLASS, OPTIONS};
pub(crate) use self::method::method;
use self::socket::Socket;
use crate::budget::{Budget, TaskError};
use crate::error::ScriptError;
use crate::places::origin_of;
use crate::runs::RunNote;
use crate::task::{finished, metered};
use crate::vm::Vm;

/// The time that a function may go on after its client has left. Enough to note it anywhere; the client's memory is
/// freed before.
const GRACE: Duration = Duration::from_secs(30);

/// The value that `req:websocket` gives, to be returned by the handler.
#[derive(Debug)]
pub(crate) struct Opening(RefCell<Option<HandshakeOutcome>>);

impl UserData for Opening {}

/// The outcome of a handshake for the response.
#[derive(Debug)]
pub(crate) enum HandshakeOutcome {
    /// There will be a session.
    Accepted(Box<PendingSession>),
    /// There will be none.
    Refused(HandshakeRefusal),
}

impl Opening {
    fn new(outcome: HandshakeOutcome) -> Self {
        Self(RefCell::new(Some(outcome)))
    }

    /// Takes its outcome. It can be answered with once.
    pub(crate) fn take(&self) -> Option<HandshakeOutcome> {
        self.0.take()
    }
}

/// A session about to begin.
#[derive(Debug)]
pub(crate) struct PendingSession {
    /// The connection's side of it.
    pub(crate) accepted: Accepted,
    /// The script's.
    pub(crate) session: Session,
}

/// The script's side of a session.
#[derive(Debug)]
pub(crate) struct Session {
    socket: Rc<WebSocket>,
    /// `function(ws)`
    function: Function,
    request: Table,
    /// Makes a `ws`.
    maker: Function,
}

impl Session {
    /// Runs the function to its end. `head` is the request's, which `keep` keeps readable until then.
    pub(crate) async fn run(self, vm: Rc<Vm>, head: Option<Arc<Head>>, keep: impl Sized) {
        let _keep = keep;
        let Self { socket, function, request, maker } = self;
        let _end = EndOnDrop(Rc::clone(&socket));
        let meter = vm.meter(Budget::REQUEST);
        let given = Socket::new(Rc::clone(&socket), Rc::clone(&meter));
        let protocol = socket.protocol().map(str::to_owned);
        let running = async {
            let ws: Table = maker.call((given, request, protocol))?;
            function.call_async::<()>(ws).await
        };
        let note = || RunNote::of_request("websocket", head.clone(), origin_of(&function));
        let result = tokio::select! {
            result = metered(&vm, &meter, note, running) => finished(&vm, result, &meter),
            // Whatever it still waits for, nobody waits for it.
            () = left_for(&socket, GRACE) => return,
        };
        let code = match &result {
            Ok(()) => Close::NORMAL,
            Err(error) => {
                log_failure(&vm, &function, head.as_deref(), error);
                Close::FAILED
            }
        };
        if let Ok(close) = Close::new(code, "") {
            socket.close(&close);
        }
    }
}

/// Waits until the session has been over for so long.
async fn left_for(socket: &WebSocket, grace: Duration) {
    socket.closed().await;
    tokio::time::sleep(grace).await;
}

/// Logs why a function failed, unless it was that the client left while it had something to say.
fn log_failure(vm: &Vm, function: &Function, head: Option<&Head>, error: &TaskError) {
    if let TaskError::Script(error) = error
        && error.downcast_ref::<Closed>().is_some()
    {
        return;
    }
    let traced = ScriptError::from_task(error).with_traceback();
    let info = function.info();
    let source = info.source.unwrap_or_default();
    let origin =
        format!("{}:{}", source.trim_start_matches(['@', '=']), info.line_defined.unwrap_or_default());
    vm.memory().note(error, || format!("websocket of {origin}"));
    let request = head.map(|head| field::display(&head.id));
    let path = head.map(|head| field::display(head.uri.path()));
    tracing::warn!(request, path, %origin, "a websocket's function failed: {traced}");
}

/// The script may keep a `ws`, but not the session.
struct EndOnDrop(Rc<WebSocket>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if let Ok(close) = Close::new(Close::FAILED, "") {
            self.0.close(&close);
        }
        self.0.discard();
    }
}
