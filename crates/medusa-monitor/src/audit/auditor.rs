//! What a session tells the log: that it began, what it does and what becomes of that, and that it ended.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use medusa_proto::access::Timestamp;

use super::log::AuditLog;
use super::record::{Effect, MAX_RESULT, MAX_STATEMENT, Outcome, Record, RecordKind, Text, Who};
use super::writer::AuditError;
use crate::identity::{FrontEnd, Identity, Role};

/// A session, for the log. Dropping it is its end.
#[derive(Debug)]
pub struct Auditor {
    log: AuditLog,
    session: u64,
    identity: Identity,
}

/// Something that was begun, for the log. Dropping it says that it was given up.
#[derive(Debug)]
pub struct Audited<'a> {
    auditor: &'a Auditor,
    /// What is to be written when it ends.
    result: Option<Record>,
    started: Instant,
}

impl Auditor {
    /// Records that the session of this number begins. That it cannot be recorded refuses nobody: see
    /// [`strict`](Self::strict).
    pub fn open(log: &AuditLog, session: u64, identity: &Identity) -> Self {
        let auditor = Self { log: log.clone(), session, identity: identity.clone() };
        auditor.begin(identity);
        auditor
    }

    /// Records that the session begins, with what that is for; once more if that was said later.
    pub fn begin(&self, identity: &Identity) {
        let record = self.record(RecordKind::Login);
        self.log.note(match identity.reason() {
            Some(reason) => record.text(reason, MAX_RESULT),
            None => record,
        });
    }

    /// Records that somebody has shown to be it on a connection, which may then have sessions.
    pub fn login(log: &AuditLog, identity: &Identity) {
        log.note(record_of(RecordKind::Login, identity));
    }

    /// Records that `who`, as they call themselves, was refused.
    pub fn refuse_login(log: &AuditLog, who: &str, front_end: FrontEnd, why: &str) {
        log.note(record(RecordKind::Refusal, who, front_end, None).text(why, MAX_RESULT));
    }

    /// Records that somebody who has logged in was refused a session.
    pub fn refuse_session(log: &AuditLog, identity: &Identity, why: &str) {
        log.note(record_of(RecordKind::Refusal, identity).text(why, MAX_RESULT));
    }

    /// Records what is about to be done, and only then lets it be done: for what changes the server.
    ///
    /// # Errors
    ///
    /// It could not be recorded, so it must not be done.
    pub async fn strict(&self, kind: RecordKind, text: &str) -> Result<Audited<'_>, AuditError> {
        // A request is small, or it is refused when it is looked at.
        let most = if kind == RecordKind::Statement { MAX_STATEMENT } else { MAX_RESULT };
        let record = self.record(kind).text(text, most);
        match self.log.append(record).await {
            Ok(seq) => {
                let result = Record { of: Some(seq), ..self.record(RecordKind::Result) };
                Ok(self.audited(result))
            }
            Err(error) => {
                self.refuse(&error.to_string());
                Err(error)
            }
        }
    }

    /// Records it when it has been done: for what only looks, or ends what runs, which a full disk must not prevent.
    pub fn lenient(&self, what: &str) -> Audited<'_> {
        self.audited(self.record(RecordKind::Request).text(what, MAX_RESULT))
    }

    /// Records that the session was refused something.
    pub fn refuse(&self, why: &str) {
        self.log.note(self.record(RecordKind::Refusal).text(why, MAX_RESULT));
    }

    fn audited(&self, result: Record) -> Audited<'_> {
        Audited { auditor: self, result: Some(result), started: Instant::now() }
    }

    fn record(&self, kind: RecordKind) -> Record {
        Record { session: Some(self.session), ..record_of(kind, &self.identity) }
    }
}

fn record_of(kind: RecordKind, identity: &Identity) -> Record {
    let Identity { who, login, rights, front_end, .. } = identity;
    Record { login: Some(Arc::clone(login)), ..record(kind, who, *front_end, Some(rights.role)) }
}

fn record(kind: RecordKind, who: &str, front_end: FrontEnd, role: Option<Role>) -> Record {
    let address = front_end.address().map(|address| address.to_string());
    Record {
        via: Some(front_end.name().to_owned()),
        role: role.map(|role| role.name().to_owned()),
        ..Record::new(kind, now()).by(Who { name: who.to_owned(), address })
    }
}

impl Drop for Auditor {
    fn drop(&mut self) {
        self.log.note(self.record(RecordKind::Logout));
    }
}

impl Audited<'_> {
    /// It has ended: well, with a value, or with an error.
    pub fn end(mut self, effect: Option<Effect>, result: Result<&str, &str>) {
        self.write(effect, result);
    }

    fn write(&mut self, effect: Option<Effect>, result: Result<&str, &str>) {
        let Some(record) = self.result.take() else { return };
        let text = |text| Text::new(text, MAX_RESULT);
        let result = match result {
            Ok(value) => Outcome::Ok(text(value)),
            Err(error) => Outcome::Error(text(error)),
        };
        let fresh = Record::new(record.kind, now()).time;
        let duration = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let record =
            Record { time: fresh, effect, duration_us: Some(duration), result: Some(result), ..record };
        self.auditor.log.note(record);
    }
}

impl Drop for Audited<'_> {
    fn drop(&mut self) {
        self.write(None, Err("given up: the client left, or the session or the server was ended"));
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}
