//! A prompt on a channel: the editor of all front ends, for a terminal at the client's end.

use std::future::ready;
use std::pin::pin;
use std::time::Duration;

use medusa_proto::progress::TaskProgress;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::connection::ClientTerminal;
use super::inbox::{Inbox, Input};
use super::outlet::Outlet;
use crate::news::{News, PromptState, Subscription};
use crate::protocol::{Done, Failure, Op};
use crate::session::{Control, QUEUED_EVENTS, Session};
use crate::statement::Left;
use crate::terminal::{Action, COMPLETE_WITHIN, History, Size, Terminal, TerminalKind};

/// What Ctrl-C sends.
const INTERRUPT: &[u8] = b"\x03";

/// What is asked first of those who have to say what their session is for.
const WHY: &str = "reason for this session: ";

/// What somebody is told whose session was ended.
const ENDED: &str = "the session was ended";

/// A terminal at the client's end, and what it is shown.
pub(super) struct Prompt<'a, C: Control> {
    session: &'a Session<C>,
    inbox: &'a mut Inbox,
    outlet: &'a Outlet,
    idle: Duration,
    /// When something was typed last.
    typed: Instant,
    terminal: Terminal,
    state: PromptState,
    news: Subscription,
    out: Vec<u8>,
    /// Whether nothing more is typed.
    at_end: bool,
}

/// The end of a wait.
enum Came {
    Input(Input),
    News(News),
    /// It is time to draw the prompt again.
    Redraw,
    /// Nothing, for too long.
    Silence,
    /// The session was ended.
    Ended,
}

impl<'a, C: Control> Prompt<'a, C> {
    pub(super) fn new(
        session: &'a Session<C>,
        inbox: &'a mut Inbox,
        outlet: &'a Outlet,
        idle: Duration,
        client: &ClientTerminal,
    ) -> Self {
        let size = Size { columns: client.columns, rows: client.rows };
        let kind = TerminalKind { term: &client.term, colour: true, size };
        let terminal = Terminal::new(kind, History::default());
        let (typed, news) = (Instant::now(), session.seat().news());
        let (state, out, at_end) = Default::default();
        Self { session, inbox, outlet, idle, typed, terminal, state, news, out, at_end }
    }

    /// Runs what is typed, until the person leaves.
    pub(super) async fn run(mut self) -> Result<u32, Left> {
        self.ask();
        loop {
            if self.session.wants_reason() && self.terminal.is_interrupted() {
                return self.leave(None).await;
            }
            while let Some(action) = self.terminal.step(&mut self.out) {
                match action {
                    Action::Submit(reason) if self.session.wants_reason() => self.explain(&reason),
                    Action::Submit(source) => self.submit(source).await?,
                    // Nothing runs.
                    Action::Interrupt => {}
                    Action::Complete { line, at } => self.complete(line, at).await?,
                    Action::Leave => return self.leave(None).await,
                    Action::Pause => {
                        if self.pause().await? {
                            return self.leave(Some(ENDED)).await;
                        }
                    }
                }
            }
            if self.at_end {
                return self.leave(None).await;
            }
            self.flush().await?;
            match self.wait().await? {
                Came::Input(input) => {
                    self.redraw();
                    self.take(&input);
                }
                Came::News(news) => self.hear_news(&news),
                Came::Redraw => self.redraw(),
                Came::Silence => return self.leave(Some("nothing was typed for too long")).await,
                Came::Ended => return self.leave(Some(ENDED)).await,
            }
        }
    }

    /// Lets others have their turn, and hears what came meanwhile, as it may be Ctrl-C; whether the session was ended.
    async fn pause(&mut self) -> Result<bool, Left> {
        self.flush().await?;
        yield_now().await;
        tokio::select! {
            biased;
            _who = self.session.seat().ended() => Ok(true),
            input = self.inbox.next() => {
                self.take(&input.ok_or(Left)?);
                Ok(false)
            }
            () = ready(()) => Ok(false),
        }
    }

    async fn wait(&mut self) -> Result<Came, Left> {
        tokio::select! {
            _who = self.session.seat().ended() => Ok(Came::Ended),
            input = timeout_at(self.typed + self.idle, self.inbox.next()) => match input {
                Ok(input) => input.map(Came::Input).ok_or(Left),
                Err(_silent) => Ok(Came::Silence),
            },
            news = self.news.next() => Ok(Came::News(news)),
            () = passed(self.state.next_drawing(std::time::Instant::now())) => Ok(Came::Redraw),
        }
    }

    /// Asks for a statement.
    fn ask(&mut self) {
        self.state.trial = self.session.on_trial();
        self.terminal.prompt(&self.text(), &mut self.out);
    }

    fn text(&self) -> String {
        if self.session.wants_reason() { WHY.to_owned() } else { self.state.text(std::time::Instant::now()) }
    }

    /// It is said what the session is for; or it is asked again.
    fn explain(&mut self, reason: &str) {
        if let Err(failure) = self.session.explain(reason) {
            self.terminal.print(&failure.message, &mut self.out);
        }
        self.ask();
    }

    /// Has the prompt say what is so now.
    fn redraw(&mut self) {
        self.state.trial = self.session.on_trial();
        self.terminal.reprompt(&self.text(), &mut self.out);
    }

    fn hear_news(&mut self, news: &News) {
        if let News::Said { text, .. } = news
            && !self.session.wants_reason()
        {
            self.terminal.print(&format!("* {text}"), &mut self.out);
        }
        self.redraw();
    }

    fn take(&mut self, input: &Input) {
        self.typed = Instant::now();
        match input {
            Input::Data(bytes) => self.terminal.feed(bytes),
            Input::Interrupt => self.terminal.feed(INTERRUPT),
            Input::Resize(columns, rows) => {
                self.terminal.resize(Size { columns: *columns, rows: *rows }, &mut self.out);
            }
            Input::End => self.at_end = true,
        }
    }

    async fn leave(mut self, why: Option<&str>) -> Result<u32, Left> {
        self.terminal.end(&mut self.out);
        if let Some(why) = why {
            self.terminal.print(why, &mut self.out);
        }
        self.flush().await?;
        Ok(u32::from(why.is_some()))
    }

    async fn submit(&mut self, source: String) -> Result<(), Left> {
        let result = self.perform(source).await?;
        match result {
            Some(Ok(done)) => self.tell(done),
            Some(Err(failure)) if failure.incomplete => {
                self.terminal.more(&mut self.out);
                return Ok(());
            }
            Some(Err(failure)) => {
                self.state.is_open = failure.open;
                self.terminal.print(&failure.message, &mut self.out);
                if let Some(statements) = failure.statements {
                    self.terminal.recall(statements, &mut self.out);
                }
            }
            None => self.terminal.print("interrupted", &mut self.out),
        }
        self.ask();
        self.typed = Instant::now();
        let shown = self.flush().await;
        self.session.told();
        shown
    }

    /// Asks what may stand at byte `at` of a text. What is typed meanwhile waits; Ctrl-C ends the wait, and so does
    /// [`COMPLETE_WITHIN`].
    async fn complete(&mut self, line: String, at: usize) -> Result<(), Left> {
        let session = self.session;
        let mut asked = pin!(timeout(COMPLETE_WITHIN, session.complete(line, at)));
        self.flush().await?;
        let completion = loop {
            tokio::select! {
                biased;
                input = self.inbox.next() => {
                    self.take(&input.ok_or(Left)?);
                    if self.terminal.is_interrupted() {
                        return Ok(());
                    }
                }
                answer = &mut asked => break answer.ok().and_then(Result::ok).unwrap_or_default(),
            }
        };
        self.terminal.complete(completion.from, &completion.candidates, &mut self.out);
        Ok(())
    }

    /// Runs a statement, and shows what it says meanwhile. None if it was interrupted.
    async fn perform(&mut self, source: String) -> Result<Option<Result<Done, Failure>>, Left> {
        let (sender, mut events) = mpsc::channel(QUEUED_EVENTS);
        let session = self.session;
        let mut task = Box::pin(session.run(Op::Eval { source }, sender));
        let result = loop {
            self.flush().await?;
            tokio::select! {
                biased;
                input = self.inbox.next() => {
                    self.take(&input.ok_or(Left)?);
                    if self.terminal.step(&mut self.out) == Some(Action::Interrupt) {
                        return Ok(None);
                    }
                }
                Some(event) = events.recv() => self.hear(&event),
                news = self.news.next() => self.hear_news(&news),
                result = &mut task => break result,
            }
        };
        while let Ok(event) = events.try_recv() {
            self.hear(&event);
            self.flush().await?;
        }
        Ok(Some(result))
    }

    fn hear(&mut self, event: &TaskProgress) {
        self.terminal.print(&event.to_string(), &mut self.out);
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

    async fn flush(&mut self) -> Result<(), Left> {
        let out = std::mem::take(&mut self.out);
        if out.is_empty() { Ok(()) } else { self.outlet.stdout(out).await }
    }
}

/// Returns when a time has passed; never, where there is none.
async fn passed(time: Option<std::time::Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
