//! What one task of the main VM (a statement, a timer, the script itself) changes: begun with its first edit, published
//! when it ends well, dropped when it does not.
//!
//! The task a host function is called from is found through a task-local, so that scripts which run interleaved in one
//! VM never see each other's drafts.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, OnceLock};
use std::task::Poll;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use medusa_monitor::protocol::PublishedInfo;
use medusa_proto::author::{Approval, Author};
use medusa_proto::progress::TaskProgress;
use medusa_site::{
    ApprovalError, Busy, Change, Draft, DraftError, Generation, GivenUp, Live, Parts, Proposal, PublishError,
    TrialTerms,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::budget::Waited;
use crate::chunk::statement_name;
use crate::recipe::{Files, Needed, Statements};
use crate::require::Sources;

tokio::task_local! {
    static CURRENT: Rc<Transaction>;
}

/// The length that a statement may print, in bytes.
pub(crate) const MAX_OUTPUT: usize = 256 * 1024;

/// How many generations one task may publish before its end, so that all of them are known to be its own, and none pushes those of
/// others out of the history. A statement publishes one, as a rule.
const MOST_PUBLISHED: usize = 64;

/// It has published too many already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this statement has published {MOST_PUBLISHED} generations, which is the most: what many mounts need is one change, and a loop \
     over changes is a loop over statements"
)]
pub(crate) struct TooManyPublished;

/// The channel that tells how a task goes on; what comes when that is full or closed is dropped.
pub type ProgressSender = mpsc::Sender<TaskProgress>;

type Waiting = Pin<Box<dyn Future<Output = Change>>>;

/// What a session leaves from one of its statements to the next: a change that it has begun and not committed. Values that it
/// leaves are in the VM they are of.
#[derive(Debug)]
pub(crate) struct Block {
    number: u64,
    /// How many statements it has run.
    typed: AtomicU64,
    change: Mutex<Option<Change>>,
    /// The statements that have edited it.
    pub(crate) statements: Mutex<Statements>,
    /// Those that later ones may need.
    pub(crate) needed: Mutex<Needed>,
    /// Who is told of its end.
    ended: OnceLock<Arc<Notify>>,
}

impl Default for Block {
    fn default() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Relaxed) + 1;
        let (typed, change, statements, needed, ended) = Default::default();
        Self { number, typed, change, statements, needed, ended }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.get() {
            ended.notify_one();
        }
    }
}

/// What tells this process from others: when it began, in milliseconds. In a container its number is that of the one before it.
static STARTED: LazyLock<u128> =
    LazyLock::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis());

impl Block {
    /// Its session's number: unlike that of any other of this process.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The same, unlike that of other processes, too: of statements that are kept.
    pub(crate) fn label(&self) -> Arc<str> {
        format!("{}.{}", self.number, *STARTED).into()
    }

    /// What its next statement is called, which `author` runs: by the session's number as all see it.
    pub(crate) fn name_statement(&self, author: &Author) -> Arc<str> {
        let number = self.typed.fetch_add(1, Relaxed) + 1;
        statement_name(author.session.unwrap_or(self.number), number)
    }

    /// Has somebody be told of the session's end.
    pub(crate) fn tell_end(&self, ended: &Arc<Notify>) {
        self.ended.get_or_init(|| Arc::clone(ended));
    }

    /// What the session has begun, as it is now.
    pub(crate) fn propose(&self, live: &Live) -> Result<Arc<Proposal>, ApprovalError> {
        let mut change = self.change.lock();
        let change = change.as_mut().ok_or(ApprovalError::Nothing)?;
        live.propose(change, self.made_by()?)
    }

    /// The statements that have made it.
    fn made_by(&self) -> Result<Vec<Arc<str>>, ApprovalError> {
        self.statements.lock().sources().ok_or(ApprovalError::TooMany)
    }

    /// Whether the session has begun something.
    pub(crate) fn is_open(&self) -> bool {
        self.base().is_some()
    }

    /// The generation on which it has begun something.
    pub(crate) fn base(&self) -> Option<u64> {
        self.change.lock().as_ref().map(|change| change.draft.base().generation)
    }
}

/// What becomes of the edits of a task that ends well.
enum Ending {
    /// They are published.
    Publish,
    /// They are left for the session's next statement: they are published by command. If the task fails, the draft is what it
    /// was before it; none: the task itself has begun it.
    LeaveOpen(Option<Draft>),
    /// They are published with those of others that are run again.
    Replay(Replayed),
}

/// How far what is run again has got, in terms of what it published when it ran first.
#[derive(Debug, Default)]
struct Replayed {
    /// Whether a change is begun.
    begun: bool,
    /// The draft as it was published last, or as it was when the statement began.
    published: Option<Draft>,
    /// The draft as it was before what was then put on trial, until that is decided.
    before_trial: Option<Draft>,
}

impl Replayed {
    /// What is edited is published, on trial or not; if it is nothing, what is on trial has more time.
    fn publish(&mut self, draft: &Draft, on_trial: bool) {
        self.begun = false;
        if self.published.as_ref().is_some_and(|published| published.is_same(draft)) {
            return;
        }
        let before = self.published.replace(draft.clone());
        self.before_trial = before.filter(|_| on_trial);
    }
}

/// Files that were read from disk in the place of what there was.
#[derive(Debug, Default)]
pub(crate) struct FilesRead {
    pub(crate) texts: BTreeMap<PathBuf, Arc<str>>,
    /// What is read when that is loaded, for it asks for more.
    pub(crate) more: Vec<Arc<Sources>>,
}

/// Going back is a change of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this statement goes back to generation {0} at its end: whatever else changes the site is for another"
)]
pub(crate) struct GoesBack(u64);

/// The edits of one task.
pub(crate) struct Transaction {
    live: Arc<Live>,
    author: Author,
    change: RefCell<Option<Change>>,
    /// The wait for the right to change the Site. Kept here and not in the script's future, which Luau may hold on to long
    /// after its task was dropped.
    waiting: RefCell<Option<Waiting>>,
    events: Option<ProgressSender>,
    printed: RefCell<usize>,
    excused: Cell<Waited>,
    /// All that the task has published, going back and taking back what was on trial included: [`MOST_PUBLISHED`], and what its end
    /// has.
    published: RefCell<Vec<Generation>>,
    /// Where the statement goes back to at its end, and why.
    way_back: RefCell<Option<(u64, Option<Arc<str>>)>>,
    /// The numbers of what its edits have published and it has not taken back itself.
    made: RefCell<Vec<u64>>,
    /// Of a statement in a session: where what it leaves open goes to.
    block: Option<Arc<Block>>,
    ending: RefCell<Ending>,
    /// What was read from disk in the place of what there was.
    read: RefCell<FilesRead>,
    /// What the statement that is run again has read so.
    replayed: RefCell<Files>,
}

impl Transaction {
    /// A transaction that begins with the first edit.
    pub(crate) fn lazy(live: Arc<Live>, author: Author, events: Option<ProgressSender>) -> Rc<Self> {
        Self::with(live, author, None, events, None)
    }

    /// The transaction of a statement. It goes on with what the session has begun, and begins with the first edit otherwise.
    pub(crate) fn of_statement(
        live: Arc<Live>,
        author: Author,
        events: Option<ProgressSender>,
        block: Arc<Block>,
    ) -> Rc<Self> {
        let open = block.change.lock().take();
        let before = open.as_ref().map(|change| change.draft.clone());
        let transaction = Self::with(live, author, open, events, Some(block));
        if before.is_some() {
            transaction.ending.replace(Ending::LeaveOpen(before));
        }
        transaction
    }

    /// A transaction that makes the Site anew.
    pub(crate) async fn fresh(live: Arc<Live>, author: Author, events: Option<ProgressSender>) -> Rc<Self> {
        let change = live.begin_fresh(author.clone(), tells(events.clone())).await;
        Self::with(live, author, Some(change), events, None)
    }

    fn with(
        live: Arc<Live>,
        author: Author,
        change: Option<Change>,
        events: Option<ProgressSender>,
        block: Option<Arc<Block>>,
    ) -> Rc<Self> {
        Rc::new(Self {
            live,
            author,
            change: RefCell::new(change),
            waiting: RefCell::default(),
            events,
            printed: RefCell::default(),
            excused: Cell::default(),
            published: RefCell::default(),
            way_back: RefCell::default(),
            made: RefCell::default(),
            block,
            ending: RefCell::new(Ending::Publish),
            read: RefCell::default(),
            replayed: RefCell::default(),
        })
    }

    /// Runs a task under this transaction. If it fails or is dropped, its edits are abandoned.
    pub(crate) async fn scope<T, E>(
        self: &Rc<Self>,
        task: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let guard = AbandonOnDrop(self);
        let result = CURRENT.scope(Rc::clone(self), task).await;
        if result.is_ok() {
            self.waiting.take();
            std::mem::forget(guard);
        }
        result
    }

    /// Gives up what was edited, and the right to edit; of a block, what this statement has edited.
    pub(crate) fn abandon(&self) {
        self.waiting.take();
        let change = self.change.take();
        let ending = self.ending.replace(Ending::Publish);
        if let (Some(mut change), Ending::LeaveOpen(Some(before))) = (change, ending) {
            change.draft = before;
            self.leave_open(change);
        }
    }

    /// Gives up what was left open: the end of its last statement has failed, so that it is none of those that are known.
    pub(crate) fn give_up_block(&self) {
        drop(self.block.as_ref().and_then(|block| block.change.lock().take()));
    }

    fn leave_open(&self, change: Change) {
        if let Some(block) = &self.block {
            *block.change.lock() = Some(change);
        }
    }

    /// Has commands that publish a change do nothing: what they did is done at the end.
    pub(crate) fn set_replays(&self) {
        self.ending.replace(Ending::Replay(Replayed::default()));
    }

    pub(crate) fn replays(&self) -> bool {
        matches!(*self.ending.borrow(), Ending::Replay(_))
    }

    /// Whether the running task is run again: what it did then to others than the Site is done.
    pub(crate) fn current_replays() -> bool {
        Self::current().is_some_and(|current| current.replays())
    }

    /// A statement begins, maybe of several that edit one draft.
    pub(crate) fn begin_statement(&self) {
        let mut change = self.change.borrow_mut();
        let Some(change) = change.as_mut() else { return };
        change.draft.begin_statement();
        if let Ending::Replay(replayed) = &mut *self.ending.borrow_mut()
            && !replayed.begun
        {
            *replayed = Replayed { published: Some(change.draft.clone()), ..Replayed::default() };
        }
    }

    /// Lets `edit` have the draft of what is run again, if this runs it again.
    fn replay_with(&self, edit: impl FnOnce(&mut Replayed, &mut Draft)) -> bool {
        let Ending::Replay(replayed) = &mut *self.ending.borrow_mut() else { return false };
        if let Some(change) = &mut *self.change.borrow_mut() {
            edit(replayed, &mut change.draft);
        }
        true
    }

    /// Keeps what was edited as it did when it ran first, on trial or not, if this runs it again.
    pub(crate) fn commit_replayed(&self, on_trial: bool) -> bool {
        self.replay_with(|replayed, draft| replayed.publish(draft, on_trial))
    }

    /// Keeps what it put on trial, if this runs it again.
    pub(crate) fn confirm_replayed(&self) -> bool {
        self.replay_with(|replayed, _| replayed.before_trial = None)
    }

    /// Gives up what it put on trial, if this runs it again. What others had on trial then is in none of it.
    pub(crate) fn cancel_replayed(&self) -> bool {
        self.replay_with(|replayed, draft| {
            if let Some(before) = replayed.before_trial.take() {
                draft.clone_from(&before);
                replayed.published = Some(before);
            }
        })
    }

    /// Runs a statement again that has read these files.
    pub(crate) fn replay(&self, files: Files) {
        self.replayed.replace(files);
    }

    /// What takes the place of what is on disk, in what is run again: all that is not among it is as it was loaded.
    pub(crate) fn replayed_files(&self) -> Option<Files> {
        self.replays().then(|| Arc::clone(&self.replayed.borrow()))
    }

    /// Notes what was read from disk in the place of what there was.
    pub(crate) fn note_read(&self, read: FilesRead) {
        let mut all = self.read.borrow_mut();
        all.texts.extend(read.texts);
        all.more.extend(read.more);
    }

    /// The files that were read so.
    pub(crate) fn files_read(&self) -> Files {
        let read = self.read.borrow();
        let more = read.more.iter().flat_map(|sources| sources.files_from_disk());
        Arc::new(more.chain(read.texts.clone()).collect())
    }

    /// Begins what is to be committed by command, in this statement or one of the session's next.
    pub(crate) fn begin_block(&self) -> Result<(), &'static str> {
        match &mut *self.ending.borrow_mut() {
            Ending::Replay(replayed) => {
                replayed.begun = true;
                return Ok(());
            }
            Ending::LeaveOpen(_) => {
                return Err("a change is begun already: `commit()` or `abort()` it first");
            }
            Ending::Publish => {}
        }
        if self.block.is_none() {
            return Err("only a statement can begin a change for others to go on with");
        }
        let mut change = self.change.borrow_mut();
        if change.is_some() {
            return Err("this statement has changed the site already: begin() comes before the first change");
        }
        *change = Some(self.live.begin_apart(self.author.clone()));
        self.ending.replace(Ending::LeaveOpen(None));
        Ok(())
    }

    /// Gives up what the session has begun; false if it has not.
    pub(crate) fn abort_block(&self) -> bool {
        let gives_up = |replayed: &mut Replayed, draft: &mut Draft| {
            if std::mem::take(&mut replayed.begun)
                && let Some(before) = &replayed.published
            {
                draft.clone_from(before);
            }
        };
        if self.replay_with(gives_up) {
            return true;
        }
        let ending = self.ending.replace(Ending::Publish);
        matches!(ending, Ending::LeaveOpen(_)) && self.change.take().is_some()
    }

    /// Whether what was edited may be committed; as the change that is named `asked`, if one is. If not, it goes on as it was.
    pub(crate) fn check_approval(&self, asked: Option<&str>) -> Result<(), ApprovalError> {
        let mut change = self.change.borrow_mut();
        let Some(change) = change.as_mut() else { return Ok(()) };
        if asked.is_none() && self.author.approval != Approval::Needed {
            return Ok(());
        }
        match (&*self.ending.borrow(), &self.block) {
            // It is told that it is too late.
            _ if change.draft.base().generation != self.live.site().generation => Ok(()),
            (Ending::LeaveOpen(Some(before)), Some(block)) if change.draft.is_same(before) => {
                change.check_approval(&self.live, block.made_by()?, asked)
            }
            (Ending::LeaveOpen(_), _) => Err(ApprovalError::Unseen),
            _ => Err(ApprovalError::NotBegun),
        }
    }

    /// Publishes what was edited, on trial if a time is given; nothing if nothing was. Returns the generation.
    pub(crate) async fn commit_now(
        &self,
        trial: Option<TrialTerms>,
        reason: Option<Arc<str>>,
    ) -> Result<Option<Generation>, PublishError> {
        self.ending.replace(Ending::Publish);
        if let Some(change) = &mut *self.change.borrow_mut() {
            change.trial = trial;
            change.reason = reason;
        }
        Ok(if self.commit().await? { self.published() } else { None })
    }

    /// What the task has published, last.
    pub(crate) fn published(&self) -> Option<Generation> {
        self.published.borrow().last().cloned()
    }

    /// All that it has published.
    pub(crate) fn all_published(&self) -> Vec<PublishedInfo> {
        let info = |generation: &Generation| PublishedInfo {
            generation: generation.number,
            report: self.live.report(generation),
        };
        self.published.borrow().iter().map(info).collect()
    }

    /// The numbers of what its edits have published, but for what it has taken back itself.
    pub(crate) fn made(&self) -> Vec<u64> {
        self.made.borrow().clone()
    }

    /// Notes what it has published by going back.
    pub(crate) fn note_back(&self, back: Option<Generation>) {
        self.published.borrow_mut().extend(back);
    }

    /// Notes that it has taken back what was on trial, and what that has published.
    pub(crate) fn note_cancelled(&self, on_trial: Option<u64>, back: Option<Generation>) {
        self.made.borrow_mut().retain(|made| Some(*made) != on_trial);
        self.note_back(back);
    }

    /// Has it go back to a generation at its end, and publish nothing else from now on.
    pub(crate) fn go_back_at_end(&self, number: u64, reason: Option<Arc<str>>) {
        self.way_back.replace(Some((number, reason)));
    }

    /// Fails if it goes back at its end.
    pub(crate) fn check_way(&self) -> Result<(), GoesBack> {
        match &*self.way_back.borrow() {
            Some((number, _)) => Err(GoesBack(*number)),
            None => Ok(()),
        }
    }

    /// Fails if it has published as many generations as it may before its end.
    pub(crate) fn check_published(&self) -> Result<(), TooManyPublished> {
        if self.published.borrow().len() < MOST_PUBLISHED { Ok(()) } else { Err(TooManyPublished) }
    }

    /// Where it goes back to, and why; it is done now.
    pub(crate) fn take_way_back(&self) -> Option<(u64, Option<Arc<str>>)> {
        self.way_back.take()
    }

    /// The author of what it changes.
    pub(crate) fn author(&self) -> &Author {
        &self.author
    }

    /// Where whoever asked for it is told how it goes on.
    pub(crate) fn events(&self) -> Option<ProgressSender> {
        self.events.clone()
    }

    /// Whether anything would be changed.
    pub(crate) fn has_edits(&self) -> bool {
        self.change.borrow().is_some()
    }

    /// The transaction of the running task, if it is one that may change the Site.
    pub(crate) fn current() -> Option<Rc<Self>> {
        CURRENT.try_with(Rc::clone).ok()
    }

    /// Waits for what comes when it comes, and may be long in coming: of a statement, this does not count against its time.
    pub(crate) async fn excuse<T>(coming: impl Future<Output = T>) -> T {
        let _excused = Self::current().map(Excused::begin);
        coming.await
    }

    /// The time that the task has waited so.
    pub(crate) fn excused(&self) -> Waited {
        self.excused.get()
    }

    /// Edits as part of what the running task changes; outside of such a task, as a change of its own.
    pub(crate) async fn current_or(
        live: Arc<Live>,
        author: impl FnOnce() -> Author,
        edit: impl Future<Output = mlua::Result<()>>,
    ) -> mlua::Result<()> {
        if Self::current().is_some() {
            return edit.await;
        }
        let transaction = Self::lazy(live, author(), None);
        transaction.scope(edit).await?;
        transaction.commit().await.map(drop).map_err(mlua::Error::external)
    }

    /// Edits the draft of the running task.
    pub(crate) async fn edit<R>(edit: impl FnOnce(&mut Draft) -> Result<R, DraftError>) -> mlua::Result<R> {
        let Some(transaction) = Self::current() else {
            return Err(mlua::Error::runtime("the site can only be changed from the main script"));
        };
        transaction.check_way().map_err(mlua::Error::external)?;
        transaction.live.check_trial().map_err(mlua::Error::external)?;
        transaction.begin().await;
        let mut change = transaction.change.borrow_mut();
        match change.as_mut() {
            Some(change) if change.is_given_up() => Err(mlua::Error::external(GivenUp)),
            Some(change) => edit(&mut change.draft).map_err(mlua::Error::external),
            None => Err(mlua::Error::runtime("this change has ended already")),
        }
    }

    async fn begin(&self) {
        if self.change.borrow().is_none() {
            self.waiting.borrow_mut().get_or_insert_with(|| {
                let (live, author) = (Arc::clone(&self.live), self.author.clone());
                let progress = tells(self.events.clone());
                Box::pin(async move { live.begin(author, progress).await })
            });
            let change = poll_fn(|cx| match self.waiting.borrow_mut().as_mut() {
                Some(waiting) => waiting.as_mut().poll(cx).map(Some),
                None => Poll::Ready(None), // abandoned, or another coroutine of the task has got it
            });
            if let Some(change) = change.await {
                self.waiting.take();
                *self.change.borrow_mut() = Some(change);
            }
        }
    }

    /// The parts of the Site as this task sees them: its draft's, if it has edited, or that of what it has left open; else the
    /// running ones.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Parts) -> R) -> R {
        if let Some(change) = &*self.change.borrow() {
            return look(change.draft.parts());
        }
        let left = self.block.as_ref().map(|block| block.change.lock());
        match left.as_deref() {
            Some(Some(change)) => look(change.draft.parts()),
            _ => look(&self.live.site().parts),
        }
    }

    /// Looks at something as this task sees it, after its end.
    pub(crate) fn afterwards<R>(self: &Rc<Self>, look: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(Rc::clone(self), look)
    }

    /// Hands a printed line to whoever runs the statement; false if nobody listens.
    pub(crate) fn print(&self, line: &str) -> bool {
        let Some(events) = &self.events else { return false };
        let mut printed = self.printed.borrow_mut();
        let before = *printed;
        *printed = before.saturating_add(line.len() + 1);
        let text = match (before <= MAX_OUTPUT, *printed <= MAX_OUTPUT) {
            (_, true) => line.to_owned(),
            (true, false) => format!("(the rest is cut off: a statement may print {MAX_OUTPUT} bytes)"),
            (false, false) => return true,
        };
        // Dropped when the reader does not keep up: output must not hold up a statement.
        let _full = events.try_send(TaskProgress::Output(text));
        true
    }

    /// Takes the change out, to be looked at and dropped.
    pub(crate) fn take_change(&self) -> Option<Change> {
        self.change.borrow_mut().take()
    }

    pub(crate) fn edit_change<R>(&self, edit: impl FnOnce(&mut Change) -> R) -> Option<R> {
        self.change.borrow_mut().as_mut().map(edit)
    }

    /// Publishes what was edited unless the task's VM was `replaced` meanwhile: what it does has no effect any more.
    /// What was begun to be committed by command is left for the session's next statement.
    pub(crate) async fn commit_unless(&self, replaced: bool) -> Result<(), CommitError> {
        if self.replays() {
            return Ok(());
        }
        let ending = self.ending.replace(Ending::Publish);
        if replaced && self.has_edits() {
            self.abandon();
            return Err(CommitError::Replaced);
        }
        if matches!(ending, Ending::Publish) {
            self.commit().await?;
        } else if let Some(mut change) = self.change.take() {
            // It has one more statement now.
            change.withdraw();
            self.leave_open(change);
        }
        Ok(())
    }

    /// Publishes what was edited; false if nothing was.
    pub(crate) async fn commit(&self) -> Result<bool, PublishError> {
        let change = self.change.borrow_mut().take();
        let Some(change) = change else { return Ok(false) };
        let published = self.live.publish(change).await?;
        self.made.borrow_mut().extend(published.generation.as_ref().map(|generation| generation.number));
        self.note_back(published.generation);
        Ok(true)
    }
}

/// The reason why what a task has edited was not published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    /// A reload has replaced its VM.
    #[error("the script was reloaded meanwhile, so this has changed nothing")]
    Replaced,
    /// Something about it is wrong.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// A wait that does not count, until it is dropped.
struct Excused {
    transaction: Rc<Transaction>,
    since: Instant,
}

impl Excused {
    fn begin(transaction: Rc<Transaction>) -> Self {
        transaction.excused.set(Waited { now: true, ..transaction.excused.get() });
        Self { transaction, since: Instant::now() }
    }
}

impl Drop for Excused {
    fn drop(&mut self) {
        let total = self.transaction.excused.get().total + self.since.elapsed();
        self.transaction.excused.set(Waited { total, now: false });
    }
}

struct AbandonOnDrop<'a>(&'a Transaction);

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("author", &self.author)
            .field("change", &self.change)
            .finish_non_exhaustive()
    }
}

/// Tells whoever asked for a change whom it waits for.
pub(crate) fn tells(events: Option<ProgressSender>) -> impl FnMut(Busy) {
    move |busy| {
        if let Some(events) = &events {
            let _full = events.try_send(TaskProgress::Waiting(busy.to_string()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use medusa_proto::author::Via;

    use super::*;
    use crate::budget::{Budget, TaskError};
    use crate::runs::RunNote;
    use crate::vm::Vm;

    #[test]
    fn only_what_is_excused_does_not_count() {
        const SHORT: Budget = Budget { cpu: Duration::from_secs(1), wall: Duration::from_millis(500) };
        let sleep = || tokio::time::sleep(2 * SHORT.wall);
        crate::engine::runtime().unwrap().block_on(async {
            let vm = Vm::new(|_, _| Ok(())).unwrap();
            for (excused, counts, passes) in [(true, false, true), (false, true, false), (true, true, false)]
            {
                let transaction =
                    Transaction::lazy(Live::rehearsal(), Author::new(Via::Control, "test"), None);
                let task = async {
                    if excused {
                        Transaction::excuse(sleep()).await;
                    }
                    if counts {
                        // Who waits for what counts is asked again after a second.
                        tokio::time::sleep(Duration::from_secs(20)).await;
                    }
                    Ok(())
                };
                let run = vm.run_excusing(RunNote::default, SHORT, || transaction.excused(), task);
                let result = transaction.scope(run).await;
                assert!(result.is_ok() == passes, "{excused} {counts}: {result:?}");
                assert!(passes || matches!(result, Err(TaskError::Wall(_))), "{result:?}");
            }
        });
    }
}
