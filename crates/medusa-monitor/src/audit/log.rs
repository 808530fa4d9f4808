//! The log as the server has it: a queue, and a thread that writes.
//!
//! A thread, as each append waits for the disk, and the sessions' own thread must go on meanwhile: with a disk that hangs,
//! an administrator still sees the status. What comes at one time is written and saved at once.
//!
//! Two promises, of which the caller takes one for each record: [`AuditLog::append`] returns when it is on the disk, so that
//! nothing need be done that is not; [`AuditLog::note`] never waits and never fails: it is on the disk a second later, and
//! what finds no room is counted and told by the next record that does.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use medusa_proto::access::Timestamp;
use medusa_proto::with_causes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::chain::Head;
use super::quota::{Need, Quotas, SHARE, Spender};
use super::record::{Outcome, Record, RecordKind, Text};
use super::writer::{AuditError, LogLimits, LogWriter};

/// How many records may wait: of those that say who looked, of all that nobody waits for, and of all. So whoever looks
/// without end displaces neither a result nor a statement.
const QUEUED_LOOKS: usize = 64;
const QUEUED_NOTES: usize = 192;
const QUEUED: usize = 320;

/// How much is written at once, in bytes.
const BATCH: usize = 1 << 20;

/// How long a record may take to be written.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long what nobody waits for may be on its way to the disk.
const SYNC: Duration = Duration::from_secs(1);

/// How many records there may be, and how much time, before the head is handed out once more.
const ANCHOR_RECORDS: u64 = 256;
const ANCHOR_TIME: Duration = Duration::from_mins(10);

/// What a record needs beside its text, for quotas.
const AROUND: usize = 384;

/// Takes heads to where whoever can write the log's files cannot.
pub type OnAnchor = Box<dyn FnMut(Head) + Send>;

/// Tells a head in the server's own log, which may go to syslog or another machine.
pub fn tell_anchor(head: Head) {
    let Head { seq, mac } = head;
    tracing::info!(target: "medusa_monitor::audit", seq, %mac, "the audit log is here");
}

/// The log of a running server. Clones are the same.
#[derive(Clone)]
pub struct AuditLog {
    queue: SyncSender<Job>,
    shared: Arc<Shared>,
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").finish_non_exhaustive()
    }
}

struct Shared {
    /// Records that found no room.
    lost: AtomicU64,
    /// Records that are queued and nobody waits for.
    notes: AtomicUsize,
    /// Why the last record could not be written, unless it could.
    trouble: Mutex<Option<String>>,
    has_place: bool,
}

impl Shared {
    fn new(trouble: Option<String>) -> Self {
        let (lost, notes) = (AtomicU64::new(0), AtomicUsize::new(0));
        Self { lost, notes, trouble: Mutex::new(trouble), has_place: true }
    }
}

enum Job {
    Write(Box<Record>, Option<Waiter>),
    Close(oneshot::Sender<()>),
}

type Waiter = oneshot::Sender<Result<u64, AuditError>>;

impl AuditLog {
    /// Opens the log in the state directory `path`, in a thread of its own. While it cannot be opened, that is tried again
    /// with each record. `program` is who has started, and `on_anchor` is called with the log's head now and then.
    ///
    /// # Errors
    ///
    /// There is no thread to be had.
    pub fn start(path: &Path, limits: LogLimits, program: &str, on_anchor: OnAnchor) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUED);
        let shared = Arc::new(Shared::new(None));
        let keeper = Keeper {
            path: path.to_owned(),
            limits,
            program: program.to_owned(),
            writer: None,
            quotas: Quotas::default(),
            shared: Arc::clone(&shared),
            on_anchor,
            anchored: (0, Instant::now()),
            due: None,
        };
        thread::Builder::new().name("medusa-audit".into()).spawn(move || keeper.run(&jobs))?;
        Ok(Self { queue, shared })
    }

    /// A log with no place to be in, so that what must be recorded is refused.
    pub fn nowhere() -> Self {
        let (queue, _) = sync_channel(0);
        let trouble = format!("sessions cannot be recorded: {}", AuditError::Nowhere);
        Self { queue, shared: Arc::new(Shared { has_place: false, ..Shared::new(Some(trouble)) }) }
    }

    /// Writes a record, and returns its number when it is on the disk.
    ///
    /// # Errors
    ///
    /// See [`AuditError`]. One that came too late may be written all the same.
    pub async fn append(&self, record: Record) -> Result<u64, AuditError> {
        let (reply, written) = oneshot::channel();
        match self.queue.try_send(Job::Write(record.into(), Some(reply))) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(AuditError::Busy(QUEUED)),
            Err(TrySendError::Disconnected(_)) if !self.shared.has_place => return Err(AuditError::Nowhere),
            Err(TrySendError::Disconnected(_)) => return Err(AuditError::Closed),
        }
        match tokio::time::timeout(PATIENCE, written).await {
            Ok(Ok(result)) => result,
            Ok(Err(_gone)) => Err(AuditError::Closed),
            Err(_elapsed) => Err(AuditError::Late(PATIENCE.as_secs())),
        }
    }

    /// Has a record written, if there is room.
    pub fn note(&self, record: Record) {
        let Shared { lost, notes, .. } = &*self.shared;
        let room = if record.kind == RecordKind::Request { QUEUED_LOOKS } else { QUEUED_NOTES };
        let is_queued = notes.fetch_add(1, Ordering::Relaxed) < room
            && self.queue.try_send(Job::Write(record.into(), None)).is_ok();
        if !is_queued {
            notes.fetch_sub(1, Ordering::Relaxed);
            lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Why nothing can be recorded at present, so that statements are refused.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble.lock().clone()
    }

    /// Writes what is queued and that the server has ended. Nothing is written afterwards.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.queue.try_send(Job::Close(done)).is_ok() {
            let _late = tokio::time::timeout(PATIENCE, closed).await;
        }
    }
}

/// What the thread has.
struct Keeper {
    path: PathBuf,
    limits: LogLimits,
    program: String,
    writer: Option<LogWriter>,
    quotas: Quotas,
    shared: Arc<Shared>,
    on_anchor: OnAnchor,
    /// The last record that was handed out, and when.
    anchored: (u64, Instant),
    /// When what is written must be on the disk.
    due: Option<Instant>,
}

impl Keeper {
    fn run(mut self, jobs: &Receiver<Job>) {
        let opened = self.writer().map(|_writer| ());
        self.tell(opened.as_ref().err());
        loop {
            self.anchor(false);
            let is_synced = self.writer.as_ref().is_none_or(LogWriter::is_synced);
            self.due = if is_synced { None } else { self.due.or_else(|| Some(Instant::now() + SYNC)) };
            let wait = self.due.map_or(ANCHOR_TIME, |due| due.saturating_duration_since(Instant::now()));
            if wait.is_zero() {
                // However much comes.
                self.sync();
                continue;
            }
            let closed = match jobs.recv_timeout(wait) {
                Ok(Job::Write(record, waiter)) => self.batch(*record, waiter, jobs),
                Ok(Job::Close(done)) => Some(done),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return self.sync(),
            };
            if let Some(done) = closed {
                let _told = self.write(&mut [Record::new(RecordKind::Stop, now())], true);
                self.anchor(true);
                let _left = done.send(());
                return;
            }
        }
    }

    /// Writes a record, and those that are there already.
    fn batch(
        &mut self,
        first: Record,
        reply: Option<Waiter>,
        jobs: &Receiver<Job>,
    ) -> Option<oneshot::Sender<()>> {
        let (mut records, mut replies, mut bytes, mut closed) = (Vec::new(), Vec::new(), 0, None);
        let mut next = Some((first, reply));
        while let Some((record, reply)) = next.take() {
            let length = length(&record);
            if reply.is_none() {
                self.shared.notes.fetch_sub(1, Ordering::Relaxed);
            }
            match self.admit(&record, length, reply.is_some()) {
                Ok(()) => {
                    records.push(record);
                    replies.push(reply);
                    bytes += length;
                }
                Err(error) => self.fail(reply, error),
            }
            if bytes < BATCH {
                match jobs.try_recv() {
                    Ok(Job::Write(record, reply)) => next = Some((*record, reply)),
                    Ok(Job::Close(done)) => closed = Some(done),
                    Err(_none) => {}
                }
            }
        }
        let is_awaited = replies.iter().any(Option::is_some);
        match self.write(&mut records, is_awaited) {
            Ok(()) => records.iter().zip(replies).for_each(|(record, reply)| succeed(record.seq, reply)),
            // On a disk that is nearly full, some may find room.
            Err(_) if records.len() > 1 => {
                for (record, reply) in records.into_iter().zip(replies) {
                    self.single(record, reply);
                }
            }
            Err(error) => replies.into_iter().for_each(|reply| self.fail(reply, error.clone())),
        }
        closed
    }

    fn single(&mut self, record: Record, reply: Option<Waiter>) {
        let mut record = [record];
        match self.write(&mut record, reply.is_some()) {
            Ok(()) => succeed(record[0].seq, reply),
            Err(error) => self.fail(reply, error),
        }
    }

    /// Nobody fills the log with what is theirs to choose.
    fn admit(&mut self, record: &Record, length: usize, is_awaited: bool) -> Result<(), AuditError> {
        let Some(who) = &record.who else { return Ok(()) };
        // Those who are refused a session are one, and not the one they may claim to be.
        let is_stranger = record.kind == RecordKind::Refusal && record.session.is_none();
        let (spender, need) = match (is_stranger, is_awaited) {
            // There is nothing that they need more.
            (true, _) => (Spender::stranger(), Need::Request),
            (false, is_awaited) => {
                let spender = Spender::new(record.login.as_deref(), who.identity());
                let need = match record.kind {
                    _ if !is_awaited => Need::Look,
                    RecordKind::Request => Need::Request,
                    _ => Need::Statement,
                };
                (spender, need)
            }
        };
        let length = length as u64;
        match record.kind {
            RecordKind::Login | RecordKind::Refusal | RecordKind::Statement | RecordKind::Request => {
                let fits = self.quotas.take(&spender, length, need, Instant::now());
                if fits { Ok(()) } else { Err(AuditError::Quota { bytes: SHARE }) }
            }
            _ => {
                self.quotas.charge(&spender, length, Instant::now());
                Ok(())
            }
        }
    }

    fn fail(&self, reply: Option<Waiter>, error: AuditError) {
        match reply {
            Some(reply) => drop(reply.send(Err(error))),
            None => drop(self.shared.lost.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// The writer, opened anew if need be.
    fn writer(&mut self) -> Result<&mut LogWriter, AuditError> {
        if self.writer.as_ref().is_some_and(LogWriter::is_broken) {
            self.writer = None;
        }
        let writer = if let Some(writer) = self.writer.take() {
            writer
        } else {
            let (writer, damage) = LogWriter::open(&self.path, self.limits, &self.program, now())?;
            if let Some(damage) = damage {
                tracing::error!("the audit log is not as it was left: {damage}");
            }
            writer
        };
        Ok(self.writer.insert(writer))
    }

    /// Writes records, and with `sync` sees to it that they are on the disk.
    fn write(&mut self, records: &mut [Record], sync: bool) -> Result<(), AuditError> {
        if records.is_empty() {
            return Ok(());
        }
        let lost = self.shared.lost.swap(0, Ordering::Relaxed);
        let result = self.write_with(lost, records, sync);
        if result.is_err() {
            self.shared.lost.fetch_add(lost, Ordering::Relaxed);
        }
        self.tell(result.as_ref().err());
        result
    }

    fn tell(&self, error: Option<&AuditError>) {
        let told = error.map(|error| format!("sessions cannot be recorded: {}", with_causes(error)));
        if let Some(told) = &told {
            tracing::error!("{told}; statements are refused");
        }
        *self.shared.trouble.lock() = told;
    }

    fn write_with(&mut self, lost: u64, records: &mut [Record], sync: bool) -> Result<(), AuditError> {
        let writer = self.writer()?;
        if lost > 0 {
            let told = format!("{lost} records that nothing depended on");
            writer.write(&mut [Record::new(RecordKind::Lost, now()).text(told, usize::MAX)], now())?;
        }
        if sync { writer.append(records, now()) } else { writer.write(records, now()) }
    }

    fn sync(&mut self) {
        let synced = self.writer.as_mut().map_or(Ok(()), LogWriter::sync);
        if let Err(error) = synced {
            self.tell(Some(&error));
            self.writer = None; // to be opened anew
        }
    }

    /// Hands the head out when it is time, or at the end.
    fn anchor(&mut self, is_end: bool) {
        let Some(last) = self.writer.as_ref().map(LogWriter::last) else { return };
        let (seq, when) = self.anchored;
        if seq == 0 {
            // That the log was opened is not worth a line.
            self.anchored.0 = last.seq;
            return;
        }
        let new = last.seq.saturating_sub(seq);
        let is_time = new > 0 && when.elapsed() >= ANCHOR_TIME;
        // At the end, there is one that says so.
        if new >= ANCHOR_RECORDS || is_time || (is_end && new > 1) {
            self.sync();
            (self.on_anchor)(last);
            self.anchored = (last.seq, Instant::now());
        }
    }
}

fn succeed(seq: u64, reply: Option<Waiter>) {
    if let Some(reply) = reply {
        let _left = reply.send(Ok(seq));
    }
}

fn length(record: &Record) -> usize {
    let Record { text, effect, result, .. } = record;
    let kept = |text: &Text| text.kept().len();
    let diff = effect.iter().flat_map(|effect| &effect.diff).map(String::len).sum::<usize>();
    let result = result.as_ref().map_or(0, |(Outcome::Ok(text) | Outcome::Error(text))| kept(text));
    AROUND + text.as_ref().map_or(0, kept) + diff + result
}

fn now() -> Timestamp {
    SystemTime::now().into()
}
