//! Is a log whole? Reads it from its oldest record to its head, and names the first record that is not as it was written.
//!
//! It takes bytes, wherever they come from, so that the log at its start, `medusa audit` and a fuzzer ask the same.
//!
//! **Invariant:** whatever the bytes are, this ends, holds no more than one line of them, and goes on behind a fault.

use std::fmt;
use std::io::{self, BufRead, Read};

use medusa_proto::shown::Escaped;
use serde::Deserialize;

use super::chain::{ChainKey, Head, Mac};
use super::files::LOG;
use super::record::{Link, MAX_LINE, Text, unseal};

/// How many faults are told one by one; one is enough to know.
const MAX_FAULTS: usize = 20;

/// A place in a log that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The name of the file.
    pub file: String,
    /// The line in it, from 1.
    pub line: u64,
    /// The number of the record that is there, or should be.
    pub seq: u64,
    /// What is wrong with it.
    pub what: FaultKind,
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// The line is no record, or one that was changed where it could be seen.
    Malformed,
    /// Another record is in its place.
    Misplaced {
        /// The number of the record that is there.
        found: u64,
    },
    /// Its MAC is not that of its bytes and those before.
    Changed,
    /// It begins the log, and has no link to what was before; or it links to what is not before it.
    Unlinked,
    /// It and those after it are missing.
    Cut {
        /// The last one, as the head says.
        last: u64,
    },
    /// Those before it are missing, from this number on, which no rotation has removed.
    Beheaded {
        /// The first that is missing.
        from: u64,
    },
    /// There is no head.
    HeadMissing,
    /// There is neither a record nor a head, and a key of both.
    AllMissing,
    /// The head is not what the log wrote.
    HeadChanged,
    /// It is not the record that the head, or an anchor, is about.
    Other,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, seq, what } = self;
        if *what != FaultKind::AllMissing {
            write!(f, "{file} line {line} (record {seq}): ")?;
        }
        match what {
            FaultKind::Malformed => f.write_str("this is no record, or one that was changed"),
            FaultKind::Misplaced { found } if found > seq => {
                write!(f, "record {found} is here; what was before it is missing or was moved")
            }
            FaultKind::Misplaced { found } => write!(f, "record {found} is here, where it does not belong"),
            FaultKind::Changed => f.write_str("it is not as it was written, or was written with another key"),
            FaultKind::Unlinked => f.write_str("what it says was before it is not there"),
            FaultKind::Cut { last } => write!(f, "the log ends before it, and there was a record {last}"),
            FaultKind::Beheaded { from } => {
                write!(f, "records {from} to {} are missing", seq.saturating_sub(1))
            }
            FaultKind::AllMissing => f.write_str(
                "no record is left, nor the head, and there was a log, as its key is here: either somebody has removed it, or it was \
                 lost, as when a directory is restored from a copy without it. What was recorded before cannot be checked here any \
                 more; where the server's own log is kept, its last anchor tells how many records there were",
            ),
            FaultKind::HeadMissing => {
                f.write_str("the log has no head, so records may be missing behind this")
            }
            FaultKind::HeadChanged => {
                f.write_str("the log's head is not as it was written, so records may be missing behind this")
            }
            FaultKind::Other => {
                f.write_str("another record had this number when the head or the anchor was written")
            }
        }
    }
}

/// What a start has found wrong, as its record tells. Without a head, nothing else may show that records are missing, once
/// others are behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldDamage {
    /// The name of the file.
    pub file: String,
    /// The line in it, from 1.
    pub line: u64,
    /// The number of the record.
    pub seq: u64,
    /// What it tells.
    pub text: String,
}

impl fmt::Display for ToldDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, seq, text } = self;
        let text = Escaped::line(text);
        write!(f, "{file} line {line} (record {seq}): the server that started then found this: {text}")
    }
}

/// What was found in a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// The faults, as they come in the log, so the first is that of the first bad record.
    pub faults: Vec<Fault>,
    /// How many more there are.
    pub more: u64,
    /// What starts have found wrong before.
    pub damage: Vec<ToldDamage>,
    /// How many more starts have.
    pub more_damage: u64,
    /// The number of the first record.
    pub first: Option<u64>,
    /// The oldest record that should be there.
    pub oldest: u64,
    /// The number of the last record, and its MAC.
    pub last: Option<Head>,
    /// How many records there are.
    pub records: u64,
    /// How long the unfinished line at the end is, in bytes, of which the log was interrupted, not robbed.
    pub unfinished: u64,
}

impl Findings {
    /// Whether the log is whole, and always was when a server started.
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty() && self.damage.is_empty()
    }

    /// The first fault that there is now, and how many there are, for a person.
    pub fn told(&self) -> Option<String> {
        let others = self.faults.len() as u64 + self.more;
        Some(match (self.faults.first()?, others) {
            (first, 1) => first.to_string(),
            (first, others) => format!("{first}; and {} more", others - 1),
        })
    }

    fn push(&mut self, fault: Fault) {
        if self.faults.len() < MAX_FAULTS { self.faults.push(fault) } else { self.more += 1 }
    }

    fn push_damage(&mut self, damage: ToldDamage) {
        if self.damage.len() < MAX_FAULTS { self.damage.push(damage) } else { self.more_damage += 1 }
    }
}

/// A line of a log, as it is read.
#[derive(Debug, Clone, Copy)]
pub struct LogLine<'a> {
    /// The name of the file.
    pub file: &'a str,
    /// Its number in the file, from 1.
    pub number: u64,
    /// Without its newline.
    pub bytes: &'a [u8],
}

/// A check that is under way.
#[derive(Debug)]
pub struct Check<'k> {
    key: &'k ChainKey,
    findings: Findings,
    /// The record that comes next, as far as it can be told.
    next: u64,
    /// The MAC of the one before, if that can be told.
    before: Option<Mac>,
    /// What is known from elsewhere.
    anchors: Vec<Head>,
    head: Result<Head, FaultKind>,
    /// Where the last line was.
    file: String,
    line: u64,
    /// Where the first record was, if nothing was before it.
    begins: Option<(String, u64)>,
}

/// Of a record, what ties it to the others.
#[derive(Deserialize)]
struct Outline {
    seq: u64,
    #[serde(default)]
    link: Option<Link>,
    #[serde(default)]
    damage: Option<Text>,
}

impl<'k> Check<'k> {
    /// Begins with the head, as it is in its file, if that is there, and other anchors.
    pub fn new(key: &'k ChainKey, head: Option<&[u8]>, anchors: &[Head]) -> Self {
        let head = match head {
            None => Err(FaultKind::HeadMissing),
            Some(text) => Head::decode(key, text).ok_or(FaultKind::HeadChanged),
        };
        let oldest = head.as_ref().map_or(1, |(_, oldest)| *oldest);
        let head = head.map(|(head, _)| head);
        let anchors = anchors.iter().copied().chain(head.iter().copied()).filter(|anchor| anchor.seq > 0);
        let anchors = anchors.collect();
        let findings = Findings { oldest, ..Findings::default() };
        Self {
            key,
            findings,
            next: 1,
            before: None,
            anchors,
            head,
            file: LOG.to_owned(),
            line: 0,
            begins: None,
        }
    }

    /// Reads the next file. Its lines go to `each`.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn file(
        &mut self,
        name: &str,
        mut from: impl BufRead,
        mut each: impl FnMut(LogLine<'_>),
    ) -> io::Result<()> {
        if self.findings.unfinished > 0 {
            self.unfinished(FaultKind::Malformed); // of the file before, which is behind that whole
        }
        (self.file, self.line) = (name.to_owned(), 0);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = from.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(());
            }
            self.line += 1;
            let Some(bytes) = line.strip_suffix(b"\n") else {
                if read <= MAX_LINE {
                    self.findings.unfinished = read as u64;
                    return Ok(());
                }
                from.skip_until(b'\n')?;
                self.malformed();
                continue;
            };
            self.record(bytes);
            each(LogLine { file: name, number: self.line, bytes });
        }
    }

    /// Says what was found.
    pub fn finish(mut self) -> Findings {
        let last = self.findings.last.unwrap_or(Head::NONE);
        let Findings { records, unfinished, .. } = self.findings;
        let is_nothing = records == 0 && unfinished == 0 && self.findings.faults.is_empty();
        let cut = self.anchors.iter().map(|anchor| anchor.seq).max().filter(|seq| *seq > last.seq);
        match (cut, &self.head) {
            (Some(seq), _) if self.findings.unfinished > 0 => self.unfinished(FaultKind::Cut { last: seq }),
            (Some(seq), _) => {
                self.line += 1;
                self.fault(self.next, FaultKind::Cut { last: seq });
            }
            (None, Err(FaultKind::HeadMissing)) if is_nothing => self.fault(0, FaultKind::AllMissing),
            (None, Err(what)) => {
                let what = what.clone();
                self.fault(last.seq, what);
            }
            (None, Ok(_)) => {}
        }
        let Findings { oldest, first, .. } = self.findings;
        if let (Some(seq), Some((file, line))) = (first.filter(|first| *first > oldest), self.begins) {
            let what = FaultKind::Beheaded { from: oldest };
            self.findings.faults.insert(0, Fault { file, line, seq, what });
        }
        self.findings
    }

    fn fault(&mut self, seq: u64, what: FaultKind) {
        self.findings.push(Fault { file: self.file.clone(), line: self.line, seq, what });
    }

    fn unfinished(&mut self, what: FaultKind) {
        self.findings.unfinished = 0;
        self.fault(self.next, what);
    }

    /// Nothing is known of this line, so neither of what the next one follows.
    fn malformed(&mut self) {
        self.fault(self.next, FaultKind::Malformed);
        self.next += 1;
        self.before = None;
    }

    fn record(&mut self, line: &[u8]) {
        if self.findings.first.is_none() && self.findings.faults.is_empty() {
            self.begins = Some((self.file.clone(), self.line));
        }
        let parts = unseal(line).zip(serde_json::from_slice::<Outline>(line).ok());
        let Some(((signed, mac), Outline { seq, link, damage })) = parts else { return self.malformed() };
        match (self.wrong(seq, link.as_ref(), signed, mac), link) {
            (Some(what), _) => {
                let seq = if matches!(what, FaultKind::Misplaced { .. }) { self.next } else { seq };
                self.fault(seq, what);
            }
            (None, link) => {
                // The head is older than these if the machine has lost its power.
                let oldest = link.map_or(0, |link| link.oldest);
                self.findings.oldest = self.findings.oldest.max(oldest);
                if let Some(damage) = damage {
                    let (file, line, text) = (self.file.clone(), self.line, damage.kept().to_owned());
                    self.findings.push_damage(ToldDamage { file, line, seq, text });
                }
            }
        }
        self.findings.first.get_or_insert(seq);
        self.findings.records += 1;
        self.findings.last = Some(Head { seq, mac });
        self.next = seq.saturating_add(1);
        self.before = Some(mac);
    }

    /// What is wrong with a record, if anything is.
    fn wrong(&self, seq: u64, link: Option<&Link>, signed: &[u8], mac: Mac) -> Option<FaultKind> {
        let is_first = self.findings.first.is_none() && self.findings.faults.is_empty();
        if !is_first && seq != self.next {
            return Some(FaultKind::Misplaced { found: seq });
        }
        let linked = link.map(|link| Mac::read(link.before.as_bytes()).ok_or(FaultKind::Unlinked));
        let before = match (linked, self.before) {
            (Some(Err(what)), _) => return Some(what),
            (Some(Ok(linked)), Some(before)) if linked != before => return Some(FaultKind::Unlinked),
            (Some(Ok(linked)), _) => linked,
            (None, Some(before)) => before,
            (None, None) if is_first => return Some(FaultKind::Unlinked),
            // Behind a line that cannot be read there is nothing to hold it against.
            (None, None) => return None,
        };
        if self.key.record(before, signed) != mac {
            return Some(FaultKind::Changed);
        }
        let other = self.anchors.iter().any(|anchor| anchor.seq == seq && anchor.mac != mac);
        other.then_some(FaultKind::Other)
    }
}
