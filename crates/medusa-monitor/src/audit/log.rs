//! The log as the server has it: a queue, and a thread that writes.
//!
//! A thread, as each append waits for the disk, and the sessions' own thread must go on meanwhile: with a disk that hangs,
//! an administrator still sees the status. What comes at one time is written and saved at once.
//!
//! Two promises, of which the caller takes one for each record: [`AuditLog::append`] returns when it is on the disk, so that
//! nothing need be done that is not; [`AuditLog::note`] never waits and never fails: it is on the disk a second later, and
//! what finds no room is counted and told by the next record that does.

use std::collections::BTreeSet;
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
use super::record::{MAX_LINE, Record, RecordKind};
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

/// What a line has beside what is signed, for quotas: the digits of its number, and the MAC.
const AROUND: usize = 96;

/// How often it is told that records were lost.
const TELLS_LOST: Duration = Duration::from_mins(1);

/// The most sessions that are known to be in the log. Beyond that, ends of sessions were lost.
const MAX_TRACED: usize = 1024;

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
            traced: BTreeSet::new(),
            told_lost: None,
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
    /// The sessions with a record in the log, and no end there yet.
    traced: BTreeSet<u64>,
    /// When it was last told that records were lost.
    told_lost: Option<Instant>,
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
                self.told_lost = None;
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
            match self.admit(&record, length as u64, reply.is_some()) {
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
            Err(error) => {
                for (record, reply) in records.iter().zip(replies) {
                    self.give_up(record, reply, error.clone());
                }
            }
        }
        closed
    }

    fn single(&mut self, record: Record, reply: Option<Waiter>) {
        let mut record = [record];
        match self.write(&mut record, reply.is_some()) {
            Ok(()) => succeed(record[0].seq, reply),
            Err(error) => self.give_up(&record[0], reply, error),
        }
    }

    /// What could not be written takes nobody's share.
    fn give_up(&mut self, record: &Record, reply: Option<Waiter>, error: AuditError) {
        if let Some(spender) = spender(record) {
            self.quotas.refund(&spender, length(record) as u64, Instant::now());
        }
        self.fail(reply, error);
    }

    /// Nobody fills the log with what is theirs to choose: whatever is written was let in, or ends what was.
    fn admit(&mut self, record: &Record, length: u64, is_awaited: bool) -> Result<(), AuditError> {
        let Some(spender) = spender(record) else { return Ok(()) };
        let need = match record.kind {
            // A session of which nothing is in the log leaves no end there either.
            RecordKind::Logout if record.session.is_some_and(|session| self.traced.remove(&session)) => None,
            RecordKind::Logout => return Err(AuditError::Quota { bytes: SHARE }),
            RecordKind::Result => None,
            // There is nothing that strangers need more.
            _ if is_stranger(record) => Some(Need::Request),
            _ if !is_awaited => Some(Need::Look),
            RecordKind::Request => Some(Need::Request),
            _ => Some(Need::Statement),
        };
        let now = Instant::now();
        match need {
            Some(need) if !self.quotas.take(&spender, length, need, now) => {
                return Err(AuditError::Quota { bytes: SHARE });
            }
            Some(_) => {}
            None => self.quotas.charge(&spender, length, now),
        }
        if let Some(session) = record.session.filter(|_| record.kind != RecordKind::Logout) {
            self.traced.insert(session);
            if self.traced.len() > MAX_TRACED {
                self.traced.pop_first();
            }
        }
        Ok(())
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
        // Not with each record that finds room: who has others lost may choose how often.
        let is_due = self.told_lost.is_none_or(|told| told.elapsed() >= TELLS_LOST);
        let lost = if is_due { self.shared.lost.swap(0, Ordering::Relaxed) } else { 0 };
        let result = self.write_with(lost, records, sync);
        if result.is_err() {
            self.shared.lost.fetch_add(lost, Ordering::Relaxed);
        } else if lost > 0 {
            self.told_lost = Some(Instant::now());
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

/// How much of the log a record takes, as it is written.
fn length(record: &Record) -> usize {
    AROUND + record.signed().map_or(MAX_LINE, |signed| signed.len())
}

/// Whether it is about somebody who has not logged in, whoever they claim to be.
fn is_stranger(record: &Record) -> bool {
    record.kind == RecordKind::Refusal && record.session.is_none() && record.login.is_none()
}

/// The one whose share a record takes, if it is about somebody.
fn spender(record: &Record) -> Option<Spender> {
    let who = record.who.as_ref()?;
    Some(if is_stranger(record) {
        Spender::stranger()
    } else {
        Spender::new(record.login.as_deref(), who.identity())
    })
}

fn now() -> Timestamp {
    SystemTime::now().into()
}
