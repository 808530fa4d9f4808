//! Sessions from end to end, over a real socket, on a server that only says what it would do.

use std::cell::RefCell;
use std::os::unix::net::UnixStream as Plain;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use medusa_proto::progress::TaskProgress;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::audit::{AuditFiles, AuditLog, LogLimits, Record, RecordKind, Text};
use crate::client::{CallError, Client};
use crate::fake::{Fake, OnDrop};
use crate::protocol::{Done, Killed, MAX_REQUEST, Op};
use crate::runs::RunId;
use crate::sessions::{MAX_SESSIONS, RESERVE, Sessions};
use crate::state::StateDir;

/// What the statement `flood` prints, without waiting for anyone to read it.
const LINES: usize = 50_000;

/// What a statement comes to; `cancelled` is sent when `forever` is dropped.
async fn evaluated(
    cancelled: &RefCell<Option<oneshot::Sender<()>>>,
    source: String,
    events: mpsc::Sender<TaskProgress>,
) -> Result<Done, Failure> {
    match source.as_str() {
        "fail" => Err(Failure { incomplete: true, ..Failure::new("statement:1: no") }),
        "forever" => {
            let mut cancelled = cancelled.take();
            let _told = OnDrop(|| {
                let _nobody = cancelled.take().map(|sender| sender.send(()));
            });
            std::future::pending().await
        }
        "flood" => {
            for _ in 0..LINES {
                events.try_send(TaskProgress::Output("x".into())).expect("room for all of them");
            }
            Ok(Done::default())
        }
        _ => {
            for event in [TaskProgress::Waiting("for you".into()), TaskProgress::Output("one".into())] {
                events.send(event).await.expect("the session listens");
            }
            Ok(Done { value: Some(source), generation: Some(2), ..Done::default() })
        }
    }
}

struct Running {
    calls: mpsc::Receiver<String>,
    cancelled: oneshot::Receiver<()>,
    path: PathBuf,
    _serving: JoinHandle<()>,
}

/// A server, and where it keeps its state.
fn start() -> (Running, (StateDir, tempfile::TempDir)) {
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::take(&folder.path().join("state")).expect("free");
    let socket = state.bind().expect("bound");
    let audit =
        AuditLog::start(state.path(), LogLimits::default(), "a test", Box::new(drop)).expect("a thread");
    let (calls, called) = mpsc::channel(64);
    let (sender, cancelled) = oneshot::channel();
    let sender = RefCell::new(Some(sender));
    let control = Rc::new(Fake {
        eval: async move |source, events| evaluated(&sender, source, events).await,
        note: move |author| calls.try_send(author).expect("room"),
    });
    let serving = spawn_local(async move {
        let sessions = Arc::<Sessions>::default();
        socket.serve(Monitor::new(control, sessions, audit)).await.expect("it never ends");
    });
    let path = state.path().to_owned();
    (Running { calls: called, cancelled, path, _serving: serving }, (state, folder))
}

/// Runs `test` beside a server, and `client` on a thread of its own.
fn beside<T, F>(client: impl FnOnce(PathBuf) -> T + Send + 'static, then: impl FnOnce(Running, T) -> F)
where
    T: Send + 'static,
    F: Future<Output = ()>,
{
    let runtime =
        Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).expect("a runtime");
    runtime.block_on(async {
        // Kept to the end: `then` may have no use for all of what is running.
        let (running, _state) = start();
        let path = running.path.clone();
        let (sender, receiver) = oneshot::channel();
        let thread = thread::spawn(move || {
            let _nobody = sender.send(client(path));
        });
        let result = receiver.await.expect("the client does not panic");
        thread.join().expect("the client does not panic");
        then(running, result).await;
    });
}

fn eval(source: &str) -> Op {
    Op::Eval { source: source.into() }
}

#[test]
fn a_session_answers_one_request_after_the_other() {
    let client = |path: PathBuf| {
        let mut client = Client::connect(&path).expect("it runs");
        assert_eq!(client.pid(), Some(std::process::id()));
        assert_eq!(client.call(&Op::Ping, drop).expect("done"), Done::default());

        let mut events = Vec::new();
        let done = client.call(&eval("1 + 1"), |event| events.push(event)).expect("done");
        assert_eq!((done.value.as_deref(), done.generation), (Some("1 + 1"), Some(2)));
        assert_eq!(events, [TaskProgress::Waiting("for you".into()), TaskProgress::Output("one".into())]);

        match client.call(&eval("fail"), drop) {
            Err(CallError::Failed(failure)) => assert!(failure.incomplete && failure.message.contains("no")),
            other => panic!("{other:?}"),
        }
        assert_eq!(client.call(&Op::Reload { confirm: None }, drop).expect("done").generation, Some(3));
        let report = client.call(&Op::Status, drop).expect("done").status.expect("a status");
        assert!(report.tree.starts_with("site x\n"));
        assert_eq!(report.json["generation"], 1);
        let error = client.call(&Op::Reopen, drop).expect_err("fails");
        assert_eq!(error.to_string(), "the disk is gone");
        client.call(&Op::Stop, drop).expect("done");
    };
    beside(client, |mut running, ()| async move {
        let me = format!("by uid {} (pid {})", rustix::process::geteuid().as_raw(), std::process::id());
        for what in ["eval", "eval", "stop"] {
            assert_eq!(running.calls.recv().await, Some(format!("{what} {me}")));
        }
    });
}

#[test]
fn what_only_wants_more_lines_is_not_recorded() {
    let client = |path: PathBuf| {
        let mut client = Client::connect(&path).expect("it runs");
        for source in ["t = {", "t = {\n1,\n{"] {
            match client.call(&eval(source), drop) {
                Err(CallError::Failed(failure)) => assert!(failure.incomplete, "{failure}"),
                other => panic!("{other:?}"),
            }
        }
        client.call(&eval("t = {}"), drop).expect("done");
        let (files, mut records) = (AuditFiles::new(&path), Vec::new());
        let key = files.key(None).expect("a key");
        files.check(&key, &[], |line| records.extend(Record::decode(line.bytes))).expect("readable");
        records.retain(|record| record.kind == RecordKind::Statement);
        records
    };
    beside(client, |mut running, records| async move {
        let [record] = &records[..] else { panic!("{records:?}") };
        assert_eq!(record.text.as_ref().map(Text::kept), Some("t = {}"));
        assert!(running.calls.recv().await.is_some() && running.calls.try_recv().is_err(), "one was run");
    });
}

#[test]
fn a_client_that_leaves_cancels_its_statement() {
    let client = |path: PathBuf| {
        use std::io::Write;
        let mut stream = Plain::connect(path.join("control")).expect("it runs");
        stream.write_all(b"{\"version\":1,\"op\":\"eval\",\"source\":\"forever\"}\n").expect("sent");
        stream
    };
    beside(client, |mut running, stream| async move {
        running.calls.recv().await.expect("it runs");
        drop(stream);
        (&mut running.cancelled).await.expect("cancelled");
    });
}

#[test]
fn a_client_that_sends_no_more_is_answered() {
    let client = |path: PathBuf| {
        use std::io::{Read, Write};
        let mut stream = Plain::connect(path.join("control")).expect("it runs");
        let statements =
            ["1", "2"].map(|source| format!("{{\"version\":1,\"op\":\"eval\",\"source\":\"{source}\"}}\n"));
        stream.write_all(statements.concat().as_bytes()).expect("sent");
        stream.shutdown(std::net::Shutdown::Write).expect("works");
        let mut replies = String::new();
        stream.read_to_string(&mut replies).expect("replies");
        assert_eq!(replies.matches("\"reply\":\"done\"").count(), 2, "{replies}");

        // But it may still leave.
        let mut stream = Plain::connect(path.join("control")).expect("it runs");
        stream.write_all(b"{\"version\":1,\"op\":\"eval\",\"source\":\"forever\"}\n").expect("sent");
        stream.shutdown(std::net::Shutdown::Write).expect("works");
        stream
    };
    beside(client, |mut running, stream| async move {
        for _ in 0..3 {
            running.calls.recv().await.expect("it runs");
        }
        assert!(running.cancelled.try_recv().is_err(), "it waits for the answer");
        drop(stream);
        (&mut running.cancelled).await.expect("cancelled");
    });
}

#[test]
fn what_runs_is_interrupted_and_the_session_goes_on() {
    let client = |path: PathBuf| {
        let (mut requests, mut replies) = Client::connect(&path).expect("it runs").split().expect("works");
        requests.send(&Op::Interrupt).expect("sent"); // of nothing
        requests.send(&eval("forever")).expect("sent");
        let mut other = Client::connect(&path).expect("it runs");
        let mut runs = || {
            let sessions = other.call(&Op::Sessions, drop).expect("done").sessions.expect("a list");
            sessions.iter().any(|session| session.running.as_deref() == Some("forever"))
        };
        while !runs() {}
        requests.send(&Op::Interrupt).expect("sent");
        requests.send(&Op::Complete { source: "x mo".into(), at: 4 }).expect("sent");
        let failed = replies.next_reply().expect("a reply");
        assert_eq!(failed, Reply::Failed(Failure::new("interrupted")));
        let Reply::Done(Done { completion: Some(completion), .. }) = replies.next_reply().expect("a reply")
        else {
            panic!("a completion")
        };
        assert_eq!((completion.from, &*completion.candidates[0].text), (2, "mount"));
    };
    beside(client, |mut running, ()| async move {
        (&mut running.cancelled).await.expect("cancelled");
    });
}

#[test]
fn a_session_sees_others_and_ends_them() {
    let client = |path: PathBuf| {
        let mut other = Client::connect(&path).expect("it runs");
        let thread = thread::spawn(move || other.call(&eval("forever"), drop));
        let mut me = Client::connect(&path).expect("it runs");
        let number = loop {
            let sessions = me.call(&Op::Sessions, drop).expect("done").sessions.expect("a list");
            if let Some(running) =
                sessions.iter().find(|session| session.running.as_deref() == Some("forever"))
            {
                break running.number;
            }
        };
        assert!(me.call(&Op::Ps, drop).expect("done").runs.is_some());
        me.call(&Op::Kill(Killed::Run { run: RunId(1) }), drop).expect("there is one");
        let error = me.call(&Op::Kill(Killed::Run { run: RunId(99) }), drop).expect_err("nothing");
        assert!(error.to_string().contains("the number r99"), "{error}");
        let error = me.call(&Op::Kill(Killed::Session { session: 99 }), drop).expect_err("nobody's");
        assert!(error.to_string().contains("no session 99"), "{error}");
        me.call(&Op::Kill(Killed::Session { session: number }), drop).expect("done");
        let error = thread.join().expect("no panic").expect_err("it was ended");
        assert!(error.to_string().contains("ended by uid"), "{error}");
        let left = me.call(&Op::Sessions, drop).expect("done").sessions.expect("a list");
        assert_eq!(left.iter().filter(|session| session.running.is_some()).count(), 1, "{left:?}");
    };
    beside(client, |mut running, ()| async move {
        (&mut running.cancelled).await.expect("cancelled");
    });
}

#[test]
fn what_is_no_request_does_not_end_the_session_but_a_line_without_end_does() {
    let client = |path: PathBuf| {
        use std::io::{BufRead, BufReader, Read, Write};
        let mut stream = Plain::connect(path.join("control")).expect("it runs");
        stream.write_all(b"hello\n{\"version\":1,\"op\":\"ping\"}\n").expect("sent");
        let mut lines = BufReader::new(stream.try_clone().expect("works"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("a line");
        assert!(line.contains("not a request"), "{line}");
        line.clear();
        lines.read_line(&mut line).expect("a line");
        assert_eq!(line, "{\"reply\":\"done\"}\n");

        // The server closes while there is more to come, so the end of this may fail.
        let _closed = stream.write_all(&vec![b'x'; MAX_REQUEST + 1]);
        line.clear();
        let _reset = lines.read_to_string(&mut line);
        assert!(line.contains("too long"), "{line}");
    };
    beside(client, |_, ()| async {});
}

#[test]
fn one_session_too_many_is_told_so() {
    let client = |path: PathBuf| {
        let mut clients: Vec<Client> =
            (0..MAX_SESSIONS).map(|_| Client::connect(&path).expect("it runs")).collect();
        for client in &mut clients {
            client.call(&Op::Ping, drop).expect("a seat");
        }
        // The operator is heard all the same, if not with a statement.
        let operator = || Client::connect(&path).expect("accepted");
        let error = operator().call(&eval("return 1"), drop).expect_err("no seat");
        assert!(error.to_string().contains("16 sessions"), "{error}");
        operator().call(&Op::Reload { confirm: None }, drop).expect("reloaded");
        // Those before are over as soon as the server has seen it.
        let heard = || {
            std::iter::repeat_with(operator)
                .find_map(|mut client| client.call(&Op::Status, drop).ok().map(|_| client))
        };
        let short: Vec<_> = (0..RESERVE).map(|_| heard()).collect();
        let error = operator().call(&Op::Ping, drop).expect_err("no seat");
        assert!(error.to_string().contains("16 sessions"), "{error}");
        drop(short);
    };
    beside(client, |_, ()| async {});
}

#[test]
fn without_a_server_there_is_no_session() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = Client::connect(&folder.path().join("state")).expect_err("nobody");
    assert!(error.to_string().contains("no server is running"), "{error}");
    let _state = StateDir::take(folder.path()).expect("free");
    let error = Client::connect(folder.path()).expect_err("not bound");
    assert!(error.to_string().contains("no server is running"), "{error}");
}

#[test]
fn only_the_owner_and_root_may_act() {
    let peer = |uid| Peer { uid, pid: Some(7) };
    assert!(peer(1000).may_act_for(1000));
    assert!(peer(0).may_act_for(1000));
    assert!(!peer(1001).may_act_for(1000));
    assert!(!peer(1000).may_act_for(0));
    assert_eq!(peer(0).identity().doing("eval").to_string(), "eval by uid 0 (pid 7)");
    assert_eq!(Peer { uid: 5, pid: None }.identity().doing("stop").to_string(), "stop by uid 5");
}

#[test]
fn a_statement_may_print_more_lines_than_are_read_at_once() {
    let client = |path: PathBuf| {
        let mut client = Client::connect(&path).expect("it runs");
        let mut lines = 0;
        client.call(&eval("flood"), |_| lines += 1).expect("done");
        assert_eq!(lines, LINES);
    };
    beside(client, |_, ()| async {});
}
