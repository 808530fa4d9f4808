//! The one writer of a log's files.
//!
//! In this order: lines, in one write at the end of `audit.log`; these to the disk; the head, in its place. So whenever the
//! process or the machine ends, the log is never behind its head, and a log that is has been cut. On a virtual disk, ext4, an
//! append takes 4 ms, of which the disk's are all but 20 µs. The head is overwritten and not replaced by a new file, as that
//! needs no room, which a full disk would not give, and no wait: a file and a rename take another 7 ms. It is not waited for
//! either: at worst, a machine that loses its power has an older one, behind which more records are no fault.
//!
//! The first room that is needed is taken ahead of the need ([`LogLimits::reserve`]), so that a disk that is full does not
//! stop the log at once.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use medusa_proto::access::Timestamp;
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};

use super::chain::{ChainKey, Head, KEY_LENGTH};
use super::files::{AuditFiles, HEAD, KEY, LOG, ReadError, TORN, present, read_key};
use super::record::{Link, MAX_LINE, MAX_RESULT, Record, RecordKind, Text, seal};

/// The name under which a file is made that is to take another's place.
const NEW: &str = "audit.new";

/// How much of the disk a log may use.
#[derive(Debug, Clone, Copy)]
pub struct LogLimits {
    /// How long a file may become, in bytes, unless one append alone is longer.
    pub file: u64,
    /// How many rotated files are kept.
    pub kept: usize,
    /// How much room is taken on the disk ahead of the need, in bytes.
    pub reserve: u64,
}

impl Default for LogLimits {
    /// 544 MiB: some million records of a usual length.
    fn default() -> Self {
        Self { file: 32 << 20, kept: 16, reserve: 4 << 20 }
    }
}

/// The reason why something is not in the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuditError {
    /// A file of it cannot be used.
    #[error("the audit log cannot {what} {path:?}")]
    File {
        /// What failed.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// It cannot be read.
    #[error(transparent)]
    Read(Arc<ReadError>),
    /// It is not where it was.
    #[error(
        "the audit log {0:?} was removed, moved or cut by somebody else: it is begun anew, and says what is missing"
    )]
    Meddled(PathBuf),
    /// The record has no form.
    #[error("a record of the audit log would be longer than {MAX_LINE} bytes")]
    TooLong,
    /// Somebody has written too much.
    #[error(
        "you have filled your share of the audit log, {bytes} bytes an hour, which comes back bit by bit: it holds every \
         statement, and others' must not be pushed out of it; put long code into a file and `require` it"
    )]
    Quota {
        /// How much they may.
        bytes: u64,
    },
    /// Too many records wait.
    #[error("the audit log is behind: {0} records wait to be written")]
    Busy(usize),
    /// It took too long.
    #[error("the audit log has not answered for {0} s: its disk may hang")]
    Late(u64),
    /// There is no place for it.
    #[error(
        "there is no audit log, as the server has no state directory: start it with `--state` and a directory it can write to"
    )]
    Nowhere,
    /// The server ends.
    #[error("the audit log is closed, as the server is ending")]
    Closed,
}

/// The writer.
#[derive(Debug)]
pub struct LogWriter {
    files: AuditFiles,
    path: PathBuf,
    directory: OwnedFd,
    log: File,
    head: File,
    key: ChainKey,
    limits: LogLimits,
    last: Head,
    /// The oldest record that is kept.
    oldest: u64,
    /// The first record of the current file.
    first: u64,
    /// How long the current file is, and how much of the disk it has.
    length: u64,
    reserved: u64,
    /// Files that are no longer kept.
    surplus: Vec<String>,
    is_synced: bool,
    /// Whether the reserve is known to be smaller than it should be.
    is_short: bool,
    /// Whether what is in the files is not what is said here.
    is_broken: bool,
}

impl LogWriter {
    /// Opens the log in the state directory `path`, or makes one, and writes that `program` has started. What is wrong with
    /// it is in that record and returned; the log goes on behind it, where the fault stays to be seen.
    ///
    /// # Errors
    ///
    /// See [`AuditError`].
    pub fn open(
        path: &Path,
        limits: LogLimits,
        program: &str,
        now: Timestamp,
    ) -> Result<(Self, Option<String>), AuditError> {
        let error = |what, name: &str| failed(what, path.join(name));
        let directory = open_directory(path).map_err(error("open", ""))?;
        let files = AuditFiles::new(path);
        let mut log = create(&directory, LOG, OFlags::APPEND).map_err(error("open", LOG))?;
        let torn = cut_torn(&directory, &mut log).map_err(error("mend", LOG))?;
        let length = log.metadata().map_err(error("read", LOG))?.len();

        let mut damage = Vec::new();
        let key = match present(read_key(&path.join(KEY))).map_err(error("read", KEY))? {
            Some(Some(key)) => ChainKey::new(&key),
            Some(None) => return Err(AuditError::Read(Arc::new(ReadError::NotAKey(path.join(KEY))))),
            None => {
                if length > 0 {
                    damage.push(
                        "the key is gone: what was written with it cannot be checked any more".to_owned(),
                    );
                }
                make_key(&directory).map_err(error("make", KEY))?
            }
        };
        let mut first = None;
        let findings = files.check(&key, &[], |line| {
            if line.file == LOG && line.number == 1 {
                first = Record::decode(line.bytes).ok().map(|record| record.seq);
            }
        });
        let findings = findings.map_err(|error| AuditError::Read(Arc::new(error)))?;
        damage.extend(findings.told());
        let head_was = files.head().map_err(error("read", HEAD))?;
        let head_was =
            head_was.and_then(|text| Head::decode(&key, &text)).map_or(Head::NONE, |(head, _)| head);
        let last = findings.last.filter(|last| last.seq >= head_was.seq).unwrap_or(head_was);
        let head = create(&directory, HEAD, OFlags::empty()).map_err(error("open", HEAD))?;
        rustix::fs::fsync(&directory).map_err(|errno| error("save", "")(errno.into()))?;

        let mut writer = Self {
            files,
            path: path.to_owned(),
            directory,
            log,
            head,
            key,
            limits,
            last,
            oldest: findings.oldest,
            first: first.unwrap_or(last.seq.saturating_add(1)),
            length,
            reserved: 0,
            surplus: Vec::new(),
            is_synced: true,
            is_short: false,
            is_broken: false,
        };
        let mut start = Record::new(RecordKind::Start, now).text(program, MAX_RESULT);
        start.damage = (!damage.is_empty()).then(|| Text::new(damage.join("; "), MAX_RESULT));
        start.unfinished = (torn > 0).then_some(torn);
        if torn > 0 {
            damage.push(format!("an unfinished line of {torn} bytes was moved to {TORN}"));
        }
        let damage = (!damage.is_empty()).then(|| damage.join("; "));
        start.link = Some(Link::new(last.mac, writer.oldest));
        writer.append(&mut [start], now)?;
        Ok((writer, damage))
    }

    /// Its end.
    pub fn last(&self) -> Head {
        self.last
    }

    /// Whether it cannot go on, and must be opened anew.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Appends records, and gives them their numbers. They are on the disk when this returns.
    ///
    /// # Errors
    ///
    /// See [`AuditError`]. None of them is in the log, unless the disk may not have kept it.
    pub fn append(&mut self, records: &mut [Record], now: Timestamp) -> Result<(), AuditError> {
        self.write(records, now)?;
        self.sync()
    }

    /// The same without waiting for the disk: the process may be killed, but the machine may not lose its power before
    /// [`sync`](Self::sync).
    pub(super) fn write(&mut self, records: &mut [Record], now: Timestamp) -> Result<(), AuditError> {
        if !self.is_in_place().map_err(failed("look at", self.path.join(LOG)))? {
            self.is_broken = true;
            return Err(AuditError::Meddled(self.path.join(LOG)));
        }
        let (mut lines, mut last) = self.encode(records, now)?;
        if self.length > 0 && self.length + lines.len() as u64 > self.limits.file {
            self.rotate()?;
            (lines, last) = self.encode(records, now)?;
        }
        self.reserve(lines.len() as u64);
        self.put(&lines).map_err(failed("write to", self.path.join(LOG)))?;
        if self.length == 0 {
            self.first = self.last.seq.saturating_add(1);
        }
        self.length += lines.len() as u64;
        self.last = last;
        self.is_synced = false;
        Ok(())
    }

    /// Whether all that was written is on the disk.
    pub(super) fn is_synced(&self) -> bool {
        self.is_synced
    }

    /// Waits until all that was written is on the disk, and moves the head there.
    pub(super) fn sync(&mut self) -> Result<(), AuditError> {
        if self.is_synced {
            return Ok(());
        }
        // What a disk has failed to keep it may claim to have at the next attempt.
        let synced = self.log.sync_data().inspect_err(|_| self.is_broken = true);
        synced.map_err(failed("save", self.path.join(LOG)))?;
        self.is_synced = true;
        if let Err(error) = self.head.write_all_at(self.last.encode(self.oldest, &self.key).as_bytes(), 0) {
            // The records are there; it is opened anew before there are more.
            self.is_broken = true;
            tracing::error!(%error, "the head of the audit log cannot be written");
        }
        // After the record that says so.
        for name in self.surplus.drain(..) {
            if let Err(error) = rustix::fs::unlinkat(&self.directory, &name, AtFlags::empty()) {
                tracing::warn!(%error, name, "an old file of the audit log cannot be removed");
            }
        }
        Ok(())
    }

    /// Whether the file is still the one of its name, with all that was written to it: two calls, some 2 µs.
    fn is_in_place(&self) -> io::Result<bool> {
        let named = match rustix::fs::statat(&self.directory, LOG, AtFlags::SYMLINK_NOFOLLOW) {
            Err(rustix::io::Errno::NOENT) => return Ok(false),
            named => named?,
        };
        let ours = rustix::fs::fstat(&self.log)?;
        Ok((named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino) && ours.st_size as u64 == self.length)
    }

    /// The lines of the records, and the last of them.
    fn encode(&self, records: &mut [Record], now: Timestamp) -> Result<(Vec<u8>, Head), AuditError> {
        let (mut lines, mut last) = (Vec::new(), self.last);
        let mut begin = Record::new(RecordKind::File, now);
        begin.link = Some(Link::new(last.mac, self.oldest));
        let is_linked = self.length > 0 || records.first().is_some_and(|record| record.link.is_some());
        let begin = (!is_linked).then_some(&mut begin);
        for record in begin.into_iter().chain(records) {
            record.seq = last.seq.saturating_add(1);
            if record.link.is_some() {
                // A new file may have begun since it was made.
                record.link = Some(Link::new(last.mac, self.oldest));
            }
            let signed = record.signed().ok().filter(|signed| signed.len() < MAX_LINE - 128);
            let signed = signed.ok_or(AuditError::TooLong)?;
            last = Head { seq: record.seq, mac: self.key.record(last.mac, &signed) };
            lines.append(&mut seal(signed, last.mac));
        }
        Ok((lines, last))
    }

    fn put(&mut self, lines: &[u8]) -> io::Result<()> {
        let written = self.log.write_all(lines);
        if written.is_err() {
            // So that no half of a line is in the way of the next.
            self.is_broken |= self.log.set_len(self.length).is_err();
            self.reserved = 0;
        }
        written
    }

    /// Has the file system keep room for what comes. Where it cannot, that is no reason not to write.
    fn reserve(&mut self, more: u64) {
        let needed = self.length + more + self.limits.reserve / 2;
        if self.reserved >= needed {
            return;
        }
        let end = self.length + more + self.limits.reserve;
        match rustix::fs::fallocate(&self.log, FallocateFlags::KEEP_SIZE, 0, end) {
            Ok(()) => (self.reserved, self.is_short) = (end, false),
            Err(rustix::io::Errno::OPNOTSUPP) => self.reserved = u64::MAX,
            Err(error) if !self.is_short => {
                self.is_short = true;
                let path = self.path.display();
                tracing::warn!(%error, "no room can be kept for the audit log in {path}: is its disk full?");
            }
            Err(_told) => {}
        }
    }

    /// Begins a new file. Those that are too many then are removed when that is on the disk.
    fn rotate(&mut self) -> Result<(), AuditError> {
        self.sync()?;
        let rotated = self.begin_file();
        rotated.inspect_err(|_| self.is_broken = true).map_err(failed("rotate", self.path.join(LOG)))
    }

    fn begin_file(&mut self) -> io::Result<()> {
        self.log.set_len(self.length)?; // gives back the reserve
        let new = create(&self.directory, NEW, OFlags::APPEND | OFlags::TRUNC)?;
        let rotated = self.files.names()?.into_iter().filter_map(|(number, _)| number).next_back();
        let number = rotated.map_or(self.first, |newest| self.first.max(newest.saturating_add(1)));
        rustix::fs::renameat(&self.directory, LOG, &self.directory, format!("{LOG}.{number}"))?;
        rustix::fs::renameat(&self.directory, NEW, &self.directory, LOG)?;
        rustix::fs::fsync(&self.directory)?;
        (self.log, self.length, self.reserved) = (new, 0, 0);

        let mut names: Vec<_> =
            self.files.names()?.into_iter().filter(|(number, _)| number.is_some()).collect();
        let surplus = names.len().saturating_sub(self.limits.kept);
        let kept = names.split_off(surplus);
        if surplus > 0 {
            self.oldest =
                kept.first().and_then(|(number, _)| *number).unwrap_or(self.last.seq.saturating_add(1));
        }
        self.surplus = names.into_iter().map(|(_, name)| name).collect();
        Ok(())
    }
}

/// What an error of the system means here.
fn failed(what: &'static str, path: PathBuf) -> impl FnOnce(io::Error) -> AuditError {
    move |source| AuditError::File { what, path, source: Arc::new(source) }
}

/// To be synchronised, it must be open for reading.
fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn create(directory: &OwnedFd, name: &str, more: OFlags) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | more;
    Ok(rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?.into())
}

/// Makes a key, and before it the head: with a key there has been a head.
fn make_key(directory: &OwnedFd) -> io::Result<ChainKey> {
    let mut bytes = [0; KEY_LENGTH];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_unspecified| io::Error::other("there are no random numbers"))?;
    let key = ChainKey::new(&bytes);
    let put = |name: &str, content: &[u8]| {
        let mut file = create(directory, NEW, OFlags::TRUNC)?;
        file.write_all(content)?;
        file.sync_all()?;
        rustix::fs::renameat(directory, NEW, directory, name)?;
        io::Result::Ok(rustix::fs::fsync(directory)?)
    };
    put(HEAD, Head::NONE.encode(1, &key).as_bytes())?;
    put(KEY, &bytes)?;
    Ok(key)
}

/// Moves an unfinished last line to a file of its own. Returns how long it was.
fn cut_torn(directory: &OwnedFd, log: &mut File) -> io::Result<u64> {
    let end = log.seek(SeekFrom::End(0))?;
    let (mut start, mut piece) = (end, vec![0; 64 * 1024]);
    let start = loop {
        if start == 0 {
            break 0;
        }
        let length = start.min(piece.len() as u64);
        start -= length;
        let piece = &mut piece[..length as usize];
        log.read_exact_at(piece, start)?;
        if let Some(at) = piece.iter().rposition(|&byte| byte == b'\n') {
            break start + at as u64 + 1;
        }
    };
    if start < end {
        log.seek(SeekFrom::Start(start))?;
        let mut torn = create(directory, TORN, OFlags::TRUNC)?;
        io::copy(&mut log.take(end - start), &mut torn)?;
        log.set_len(start)?;
    }
    Ok(end - start)
}
