//! `medusa attach`: a prompt in a running server; without a terminal, statements from standard input.
//!
//! The editor runs here, and the server sees whole statements: one session of the control socket for all of them, until
//! Ctrl-C ends it with what it was at.
//!
//! - [`keep`]: the history, a file of the user's;
//! - [`raw`]: the terminal while it is ours.

mod keep;
mod raw;

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::thread;

use medusa_monitor::protocol::MAX_REQUEST;
use medusa_monitor::terminal::{Action, Terminal, TerminalKind};
use medusa_monitor::{CallError, Canceller, Client, Done, Op};
use medusa_proto::progress::TaskProgress;
use medusa_proto::with_causes;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::remote::{Remote, show};
use crate::term;
use keep::Keep;
use raw::RawMode;

const PROMPT: &str = "> ";
/// How much of what is typed, and of what a statement says, is on its way at a time.
const QUEUED: usize = 64;
const CHUNK: usize = 16 * 1024;

/// What the environment says of the person at the terminal.
#[derive(Debug)]
pub(crate) struct Person {
    /// `$TERM`.
    pub(crate) term: String,
    /// The folder for what programs remember, if it can be told.
    pub(crate) state: Option<PathBuf>,
}

/// Runs what is typed until the person leaves, or what standard input holds until something fails.
pub(crate) fn attach(remote: &Remote, person: Person) -> Result<(), String> {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return run_all(remote);
    }
    let client = remote.connect()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot begin: {error}"))?;
    runtime.block_on(Attached::run(remote, client, person))
}

/// Runs the statements of standard input, each when it is complete.
fn run_all(remote: &Remote) -> Result<(), String> {
    let mut client = remote.connect()?;
    let (mut stdin, mut source) = (io::stdin().lock(), String::new());
    let mut incomplete = None;
    loop {
        let room = (MAX_REQUEST - source.len().min(MAX_REQUEST)) as u64 + 1;
        let read = stdin.by_ref().take(room).read_line(&mut source);
        if read.map_err(|error| format!("cannot read standard input: {error}"))? == 0 {
            return incomplete.map_or(Ok(()), Err);
        }
        if source.trim().is_empty() {
            source.clear();
            continue;
        }
        incomplete = None;
        match client.call(&Op::Eval { source: source.clone() }, show) {
            Ok(done) => {
                if let Some(value) = done.value {
                    term::answer(value);
                }
                source.clear();
            }
            Err(CallError::Failed(failure)) if failure.incomplete => incomplete = Some(failure.message),
            Err(error) => return Err(with_causes(&error)),
        }
    }
}

/// What a statement comes to.
enum Said {
    Event(TaskProgress),
    End(Box<(Client, Result<Done, CallError>)>),
}

/// A statement at work.
struct Running {
    said: mpsc::Receiver<Said>,
    canceller: Option<Canceller>,
}

/// A person at a terminal, and a server.
struct Attached<'a> {
    remote: &'a Remote,
    terminal: Terminal,
    keep: Keep,
    client: Option<Client>,
    running: Option<Running>,
    out: Vec<u8>,
}

impl<'a> Attached<'a> {
    async fn run(remote: &'a Remote, client: Client, person: Person) -> Result<(), String> {
        let failed = |error: io::Error| format!("cannot use the terminal: {error}");
        let mut signals = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()]
            .map(signal)
            .into_iter()
            .collect::<io::Result<Vec<_>>>()
            .map_err(failed)?;
        let mut resized = signal(SignalKind::window_change()).map_err(failed)?;
        let (keep, history) = Keep::open(person.state.as_deref());
        let kind = TerminalKind {
            term: &person.term,
            colour: term::stdout_has_colour(),
            size: raw::size().map_err(failed)?,
        };
        let terminal = Terminal::new(kind, history);
        let _raw = RawMode::begin().map_err(failed)?;
        let mut typed = typed();
        let mut this = Self { remote, terminal, keep, client: Some(client), running: None, out: Vec::new() };
        this.terminal.prompt(PROMPT, &mut this.out);
        loop {
            if this.act() {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = any(&mut signals) => break,
                _ = resized.recv() => {
                    if let Ok(size) = raw::size() {
                        this.terminal.resize(size, &mut this.out);
                    }
                }
                bytes = typed.recv() => match bytes {
                    Some(bytes) => this.terminal.feed(&bytes),
                    None => break,
                },
                said = said(&mut this.running) => this.hear(said),
            }
        }
        this.terminal.end(&mut this.out);
        this.flush();
        Ok(())
    }

    /// Does what was asked for by now; whether that was to leave.
    fn act(&mut self) -> bool {
        let mut leaves = false;
        while let Some(action) = self.terminal.step(&mut self.out) {
            match action {
                Action::Submit(source) => self.submit(source),
                Action::Interrupt => {
                    if let Some(canceller) =
                        self.running.as_mut().and_then(|running| running.canceller.take())
                    {
                        canceller.cancel();
                    }
                }
                // The server is not asked yet.
                Action::Complete { at, .. } => self.terminal.complete(at, &[], &mut self.out),
                Action::Leave => {
                    leaves = true;
                    break;
                }
            }
        }
        self.keep.append(&self.terminal.history().take_unsaved());
        self.flush();
        leaves
    }

    fn submit(&mut self, source: String) {
        let client = self.client.take().map_or_else(|| self.remote.connect(), Ok);
        let begun = client.and_then(|mut client| {
            let canceller = client.canceller().map_err(|error| error.to_string())?;
            let (sender, said) = mpsc::channel(QUEUED);
            let work = move || {
                let on_event = |event| {
                    let _left = sender.blocking_send(Said::Event(event));
                };
                let result = client.call(&Op::Eval { source }, on_event);
                let _left = sender.blocking_send(Said::End(Box::new((client, result))));
            };
            let thread = thread::Builder::new().name("statement".into()).spawn(work);
            thread.map_err(|error| format!("cannot start a thread: {error}"))?;
            Ok(Running { said, canceller: Some(canceller) })
        });
        match begun {
            Ok(running) => self.running = Some(running),
            Err(message) => self.fail(&message),
        }
    }

    fn hear(&mut self, said: Option<Said>) {
        match said {
            Some(Said::Event(TaskProgress::Output(text) | TaskProgress::Waiting(text))) => {
                self.terminal.print(&text, &mut self.out);
            }
            Some(Said::End(ended)) => {
                let (client, result) = *ended;
                self.finish(client, result);
            }
            None => {
                self.running = None;
                self.fail("what ran the statement has failed");
            }
        }
    }

    fn finish(&mut self, client: Client, result: Result<Done, CallError>) {
        let cancelled = self.running.take().is_some_and(|running| running.canceller.is_none());
        match result {
            Err(CallError::Failed(failure)) if failure.incomplete => {
                self.client = (!cancelled).then_some(client);
                self.terminal.more(&mut self.out);
                return;
            }
            Ok(done) => {
                self.client = (!cancelled).then_some(client);
                self.tell(done);
            }
            Err(CallError::Failed(failure)) => {
                self.client = (!cancelled).then_some(client);
                self.terminal.print(&failure.message, &mut self.out);
            }
            Err(_) if cancelled => self.terminal.print("interrupted", &mut self.out),
            Err(error) => self.terminal.print(&with_causes(&error), &mut self.out),
        }
        self.terminal.prompt(PROMPT, &mut self.out);
    }

    fn tell(&mut self, done: Done) {
        if let Some(report) = &done.report {
            self.terminal.print(report, &mut self.out);
        }
        if let Some(value) = done.value {
            self.terminal.page(&value, &mut self.out);
        }
    }

    fn fail(&mut self, message: &str) {
        self.terminal.print(message, &mut self.out);
        self.terminal.prompt(PROMPT, &mut self.out);
    }

    fn flush(&mut self) {
        let mut stdout = io::stdout().lock();
        let _gone = stdout.write_all(&self.out).and_then(|()| stdout.flush());
        self.out.clear();
    }
}

/// What is typed, as it comes; nothing more when the terminal is gone.
fn typed() -> mpsc::Receiver<Vec<u8>> {
    let (sender, typed) = mpsc::channel(QUEUED);
    let read = move || {
        let (mut stdin, mut chunk) = (io::stdin().lock(), vec![0; CHUNK]);
        loop {
            let bytes = match stdin.read(&mut chunk) {
                Ok(length @ 1..) => chunk.get(..length).unwrap_or_default().to_vec(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                _ => return,
            };
            if sender.blocking_send(bytes).is_err() {
                return;
            }
        }
    };
    // Without it the channel is closed at once, and there is nothing to type into.
    let _ended = thread::Builder::new().name("keyboard".into()).spawn(read);
    typed
}

/// The next thing a statement says; never, where none is at work.
async fn said(running: &mut Option<Running>) -> Option<Said> {
    match running {
        Some(running) => running.said.recv().await,
        None => std::future::pending().await,
    }
}

async fn any(signals: &mut [Signal]) {
    std::future::poll_fn(|context| {
        let came = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
        if came { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
