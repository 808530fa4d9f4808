//! `medusa attach`: a prompt in a running server; without a terminal, statements from standard input.
//!
//! The editor runs here, and the server sees whole statements, and what Tab asks: one session of the control socket for all
//! of them. Its replies are read on a thread of their own, so that the server is heard whether it was asked or not. Ctrl-C
//! ends what runs; said again, the session.
//!
//! - [`keep`]: the history, a file of the user's;
//! - [`raw`]: the terminal while it is ours.

mod keep;
pub(crate) mod raw;

use std::collections::VecDeque;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use medusa_monitor::protocol::{MAX_REQUEST, Reply};
use medusa_monitor::terminal::{Action, COMPLETE_WITHIN, Terminal, TerminalKind};
use medusa_monitor::{CallError, Client, Completion, Done, Failure, OnTrial, Op, PromptState, Requests};
use medusa_proto::with_causes;
use medusa_script::{OpenText, incomplete};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::yield_now;

use crate::remote::{Remote, note_open, show, tell};
use crate::term;
use keep::Keep;
use raw::RawMode;

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
    let (mut lines, mut looks_at, mut is_open) = (OpenText::default(), 0, false);
    loop {
        let (before, room) = (source.len(), (MAX_REQUEST - source.len().min(MAX_REQUEST)) as u64 + 1);
        let read = stdin.by_ref().take(room).read_line(&mut source);
        let is_end = read.map_err(|error| format!("cannot read standard input: {error}"))? == 0;
        if source.trim().is_empty() {
            if is_end {
                note_open(is_open);
                return Ok(());
            }
            source.clear();
            continue;
        }
        // The compiler need not see each line of a long one, and the server none. But what is wrong may look as if it was open.
        let is_whole = is_end || source.len() >= MAX_REQUEST;
        let has_more = lines.take(source.get(before..).unwrap_or_default()) && source.len() < looks_at;
        if has_more && !is_whole {
            continue;
        }
        looks_at = 2 * source.len();
        match incomplete(&source) {
            Some(error) if is_end => return Err(error.render()),
            Some(_) if !is_whole => continue,
            _ => {}
        }
        match client.call(&Op::Eval { source: source.clone() }, show) {
            Err(CallError::Failed(failure)) if failure.incomplete && !is_whole => {}
            result => {
                is_open = tell(result)?;
                source.clear();
                (lines, looks_at) = (OpenText::default(), 0);
            }
        }
    }
}

/// What the server has said.
type Said = Result<Reply, CallError>;

/// A session, and what it was asked and has not answered.
struct Link {
    requests: Requests,
    said: mpsc::Receiver<Said>,
    asked: VecDeque<Asked>,
}

/// What the session was asked.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Statement,
    /// To be told what others do.
    News,
    /// What may stand somewhere. Of old ones nobody wants to know any more.
    Completion {
        old: bool,
    },
}

impl Link {
    /// A session whose replies are read on a thread of their own.
    fn new(client: Client) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot speak with the server: {error}");
        let (requests, mut replies) = client.split().map_err(failed)?;
        let (sender, said) = mpsc::channel(QUEUED);
        let read = move || {
            loop {
                let said = replies.next_reply();
                let ends = said.is_err();
                if sender.blocking_send(said).is_err() || ends {
                    return;
                }
            }
        };
        thread::Builder::new().name("replies".into()).spawn(read).map_err(failed)?;
        let mut this = Self { requests, said, asked: VecDeque::new() };
        this.ask(&Op::Watch, Asked::News).map_err(|error| with_causes(&error))?;
        Ok(this)
    }

    fn ask(&mut self, op: &Op, asked: Asked) -> Result<(), CallError> {
        self.requests.send(op)?;
        self.asked.push_back(asked);
        Ok(())
    }
}

/// How far what was typed is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acted {
    /// There is nothing to do before something comes.
    Waits,
    /// There is more, once it is seen what else has come.
    Pauses,
    /// The person leaves.
    Leaves,
}

/// A person at a terminal, and a server.
struct Attached<'a> {
    remote: &'a Remote,
    terminal: Terminal,
    keep: Keep,
    link: Option<Link>,
    /// What the prompt says.
    state: PromptState,
    /// Whether what runs was interrupted.
    interrupted: bool,
    /// When who is asked what may stand somewhere is not waited for any more.
    complete_until: Option<Instant>,
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
        let link = Some(Link::new(client)?);
        let _raw = RawMode::begin().map_err(failed)?;
        let mut typed = typed();
        let (state, interrupted, complete_until, out) = Default::default();
        let mut this = Self { remote, terminal, keep, link, state, interrupted, complete_until, out };
        this.ask();
        loop {
            let acted = this.act();
            if acted == Acted::Leaves {
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
                    Some(bytes) => {
                        this.redraw();
                        this.terminal.feed(&bytes);
                    }
                    None => break,
                },
                said = said(&mut this.link) => this.hear(said),
                () = passed(this.state.next_drawing(Instant::now())) => this.redraw(),
                () = passed(this.complete_until) => this.complete(Completion::default()),
                () = yield_now(), if acted == Acted::Pauses => {}
            }
        }
        this.terminal.end(&mut this.out);
        this.flush();
        Ok(())
    }

    /// Asks for a statement.
    fn ask(&mut self) {
        self.terminal.prompt(&self.state.text(Instant::now()), &mut self.out);
    }

    /// Has the prompt say what is so now.
    fn redraw(&mut self) {
        self.terminal.reprompt(&self.state.text(Instant::now()), &mut self.out);
    }

    /// Does what was asked for by now, or a piece of it.
    fn act(&mut self) -> Acted {
        let mut acted = Acted::Waits;
        while let Some(action) = self.terminal.step(&mut self.out) {
            match action {
                Action::Submit(source) => self.submit(source),
                Action::Interrupt => self.interrupt(),
                Action::Complete { line, at } => self.ask_completion(line, at),
                Action::Leave => {
                    acted = Acted::Leaves;
                    break;
                }
                Action::Pause => {
                    acted = Acted::Pauses;
                    break;
                }
            }
        }
        self.keep.append(&self.terminal.history().take_unsaved());
        self.flush();
        acted
    }

    /// Asks the session; another one, if that has ended.
    fn request(&mut self, op: &Op, asked: Asked) -> Result<(), String> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => Link::new(self.remote.connect()?)?,
        };
        let sent = link.ask(op, asked);
        // What is too long was not sent.
        if matches!(sent, Ok(()) | Err(CallError::Request(_))) {
            self.link = Some(link);
        }
        sent.map_err(|error| with_causes(&error))
    }

    fn submit(&mut self, source: String) {
        self.interrupted = false;
        self.forget_completion();
        if let Err(message) = self.request(&Op::Eval { source }, Asked::Statement) {
            self.fail(&message);
        }
    }

    fn interrupt(&mut self) {
        // Somebody who says it again does not wait for the server.
        let told = !self.interrupted
            && self.link.as_mut().is_some_and(|link| link.requests.send(&Op::Interrupt).is_ok());
        if !told {
            self.link = None;
            self.fail("interrupted; the session is over");
        }
        self.interrupted = told;
    }

    /// Nobody waits any more for what may stand somewhere.
    fn forget_completion(&mut self) {
        self.complete_until = None;
        for asked in self.link.iter_mut().flat_map(|link| &mut link.asked) {
            if let Asked::Completion { old } = asked {
                *old = true;
            }
        }
    }

    fn ask_completion(&mut self, source: String, at: usize) {
        self.forget_completion();
        match self.request(&Op::Complete { source, at }, Asked::Completion { old: false }) {
            Ok(()) => self.complete_until = Some(Instant::now() + COMPLETE_WITHIN),
            Err(_gone) => self.complete(Completion::default()),
        }
    }

    fn complete(&mut self, Completion { from, candidates }: Completion) {
        self.forget_completion();
        self.terminal.complete(from, &candidates, &mut self.out);
    }

    fn hear(&mut self, said: Said) {
        match said {
            Ok(Reply::Output { text } | Reply::Waiting { text }) => {
                self.terminal.print(&text, &mut self.out);
            }
            Ok(Reply::Top(sample)) => self.terminal.print(&sample.to_string(), &mut self.out),
            Ok(Reply::News { text }) => self.terminal.print(&format!("* {text}"), &mut self.out),
            Ok(Reply::Trial { trial }) => {
                self.state.trial = trial.map(OnTrial::told);
                self.redraw();
            }
            Ok(Reply::Done(done)) => self.finish(Ok(done)),
            Ok(Reply::Failed(failure)) => self.finish(Err(failure)),
            Err(error) => self.lose(&error),
        }
    }

    /// The session has ended.
    fn lose(&mut self, error: &CallError) {
        let asked = self.link.take().map(|link| link.asked).unwrap_or_default();
        self.state = PromptState::default();
        self.redraw();
        if asked.contains(&Asked::Statement) {
            self.fail(&with_causes(error));
        } else {
            self.terminal
                .print("* the session is over: the server has ended, or has ended it", &mut self.out);
        }
        if self.complete_until.is_some() {
            self.complete(Completion::default());
        }
    }

    fn finish(&mut self, result: Result<Done, Failure>) {
        match self.link.as_mut().and_then(|link| link.asked.pop_front()) {
            Some(Asked::Statement) => self.finish_statement(result),
            Some(Asked::Completion { old: false }) => {
                self.complete(
                    result
                        .ok()
                        .and_then(|done| done.completion)
                        .map(|completion| *completion)
                        .unwrap_or_default(),
                );
            }
            Some(Asked::Completion { old: true } | Asked::News) => {}
            // It is no answer: the session was refused, or is ended.
            None => {
                if let Err(failure) = result {
                    self.terminal.print(&failure.message, &mut self.out);
                }
            }
        }
    }

    fn finish_statement(&mut self, result: Result<Done, Failure>) {
        match result {
            Err(failure) if failure.incomplete => {
                self.terminal.more(&mut self.out);
                return;
            }
            Ok(done) => self.tell(done),
            Err(failure) => {
                self.state.is_open = failure.open;
                self.terminal.print(&failure.message, &mut self.out);
                if let Some(statements) = failure.statements {
                    self.terminal.recall(statements, &mut self.out);
                }
            }
        }
        self.ask();
    }

    fn tell(&mut self, done: Done) {
        self.state.is_open = done.open;
        for report in done.reports_beside_value() {
            self.terminal.print(report, &mut self.out);
        }
        if let Some(value) = done.value {
            self.terminal.page(&value, &mut self.out);
        }
    }

    fn fail(&mut self, message: &str) {
        self.terminal.print(message, &mut self.out);
        self.ask();
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

/// The next thing the server says; never, where there is none.
async fn said(link: &mut Option<Link>) -> Said {
    match link {
        Some(link) => link.said.recv().await.unwrap_or(Err(CallError::Closed)),
        None => std::future::pending().await,
    }
}

/// Returns when a time has passed; never, where there is none.
async fn passed(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
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
