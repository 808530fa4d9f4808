//! Logs that are damaged in every way, writers that are killed, disks that are full.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use medusa_proto::access::Timestamp;
use proptest::prelude::*;

use super::check::Check;
use super::files::{HEAD, KEY, LOG, TORN};
use super::*;
use crate::identity::{FrontEnd, Identity, Role};

const SMALL: LogLimits = LogLimits { file: 4096, kept: 3, reserve: 1 << 16 };

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros((1_700_000_000 + second) * 1_000_000)
}

fn statement(text: &str) -> Record {
    let who = Who { name: "uid 0".into(), address: None };
    Record::new(RecordKind::Statement, at(1)).by(who).text(text, record::MAX_STATEMENT)
}

fn open(path: &Path) -> (LogWriter, Option<String>) {
    LogWriter::open(path, SMALL, "a test", at(0)).expect("a log")
}

fn check(path: &Path) -> Findings {
    let files = AuditFiles::new(path);
    files.check(&files.key(None).expect("a key"), &[], |_| {}).expect("readable")
}

fn records(path: &Path) -> Vec<Record> {
    let (files, mut records) = (AuditFiles::new(path), Vec::new());
    let key = files.key(None).expect("a key");
    files.check(&key, &[], |line| records.extend(Record::decode(line.bytes))).expect("readable");
    records
}

/// A log of six records, as its lines, with its key and head.
struct Sample {
    key: ChainKey,
    head: Vec<u8>,
    lines: Vec<Vec<u8>>,
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut writer, damage) = open(folder.path());
    assert_eq!(damage, None);
    for number in 2..=6 {
        writer.append(&mut [statement(&format!("web:mount(\"/{number}\")"))], at(number)).expect("written");
    }
    let log = fs::read(folder.path().join(LOG)).expect("a log");
    let key = AuditFiles::new(folder.path()).key(None).expect("a key");
    let head = fs::read(folder.path().join(HEAD)).expect("a head");
    let sample =
        Sample { key, head, lines: log.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect() };
    assert_eq!((sample.lines.len(), sample.check(&log)), (6, None));
    sample
});

impl Sample {
    /// The first bad record: its line, and which it is or should be.
    fn check(&self, log: &[u8]) -> Option<(u64, u64)> {
        let mut check = Check::new(&self.key, Some(&self.head), &[]);
        check.file(LOG, Cursor::new(log), |_| {}).expect("memory");
        check.finish().faults.first().map(|fault| (fault.line, fault.seq))
    }
}

#[test]
fn any_bit_that_flips_is_found_in_its_record() {
    let sample = &*SAMPLE;
    for line in 0..sample.lines.len() {
        for bit in 0..sample.lines[line].len() * 8 {
            let mut lines = sample.lines.clone();
            lines[line][bit / 8] ^= 1 << (bit % 8);
            let found = sample.check(&lines.concat()).map(|(line, _)| line);
            assert_eq!(found, Some(line as u64 + 1), "bit {bit} of line {line}");
        }
    }
}

#[test]
fn any_length_it_is_cut_to_is_found() {
    let whole = SAMPLE.lines.concat();
    let mut line = 1;
    for length in 0..whole.len() {
        assert_eq!(SAMPLE.check(&whole[..length]), Some((line, line)), "{length} bytes");
        line += u64::from(whole[length] == b'\n');
    }
}

#[test]
fn what_is_removed_doubled_swapped_or_inserted_is_found() {
    let lines = &SAMPLE.lines;
    let check = |lines: &[Vec<u8>]| SAMPLE.check(&lines.concat()).map(|(line, _)| line);
    for one in 0..lines.len() {
        let first_bad = Some(one as u64 + 1);
        let mut removed = lines.clone();
        removed.remove(one);
        assert_eq!(check(&removed), first_bad, "{one} removed");
        for other in one + 1..lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(one, other);
            assert_eq!(check(&swapped), first_bad, "{one} and {other} swapped");
            let mut inserted = lines.clone();
            inserted.insert(one, lines[other].clone());
            assert_eq!(check(&inserted), first_bad, "{other} inserted before {one}");
        }
        let mut doubled = lines.clone();
        doubled.insert(one, lines[one].clone());
        assert_eq!(check(&doubled).map(|line| line - 1), first_bad, "{one} doubled");
    }
}

proptest! {
    #[test]
    fn reading_ends_whatever_there_is(bytes in prop::collection::vec(any::<u8>(), 0..2000), head in any::<Option<Vec<u8>>>()) {
        let mut check = Check::new(&SAMPLE.key, head.as_deref(), &[]);
        let mut lines = 0;
        check.file(LOG, Cursor::new(&bytes), |_| lines += 1).expect("memory");
        let findings = check.finish();
        prop_assert!(!findings.is_whole(), "nobody without the key writes a log");
        prop_assert!(findings.records <= lines);
    }

    #[test]
    fn any_piece_in_another_place_is_found(from in 0_usize..1500, length in 1_usize..400, to in 0_usize..1500) {
        let whole = SAMPLE.lines.concat();
        let from = from.min(whole.len() - 1);
        let mut moved = whole.clone();
        let piece: Vec<u8> = moved.drain(from..(from + length).min(whole.len())).collect();
        let to = to.min(moved.len());
        moved.splice(to..to, piece);
        prop_assume!(moved != whole);
        let line = whole.iter().zip(&moved).take_while(|(a, b)| a == b).filter(|(byte, _)| **byte == b'\n').count();
        prop_assert_eq!(SAMPLE.check(&moved).map(|(line, _)| line), Some(line as u64 + 1));
    }
}

#[test]
fn an_old_head_with_an_old_log_is_found_by_an_anchor() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut writer, _) = open(folder.path());
    let old = [LOG, HEAD].map(|name| fs::read(folder.path().join(name)).expect("it is there"));
    writer.append(&mut [statement("evil()")], at(1)).expect("written");
    let anchor = writer.last();
    for (name, old) in [LOG, HEAD].iter().zip(old) {
        fs::write(folder.path().join(name), old).expect("written");
    }
    assert!(check(folder.path()).is_whole(), "what only an anchor can show");
    let files = AuditFiles::new(folder.path());
    let key = files.key(None).expect("a key");
    let found = |anchor| files.check(&key, &[anchor], |_| {}).expect("readable").told();
    assert!(found(anchor).expect("a fault").contains("there was a record 2"));
    let other = Head { seq: 1, ..anchor };
    assert!(found(other).expect("a fault").contains("line 1 (record 1): another record"));
}

/// A log of three records, of which only the first `left` are left.
fn cut_to(left: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut writer, _) = open(folder.path());
    writer.append(&mut [statement("a"), statement("b"), statement("c")], at(1)).expect("written");
    drop(writer);
    let path = folder.path().join(LOG);
    let log = fs::read_to_string(&path).expect("a log");
    fs::write(&path, log.split_inclusive('\n').take(left).collect::<String>()).expect("written");
    folder
}

#[test]
fn a_log_goes_on_behind_a_fault_which_stays_to_be_seen() {
    let folder = cut_to(2);
    let (mut writer, damage) = open(folder.path());
    let damage = damage.expect("it is told");
    assert!(damage.contains("audit.log line 3 (record 3)") && damage.contains("record 4"), "{damage}");
    writer.append(&mut [statement("d")], at(2)).expect("written");
    let seqs: Vec<u64> = records(folder.path()).iter().map(|record| record.seq).collect();
    assert_eq!(seqs, [1, 2, 5, 6]);
    let told = records(folder.path())[2].damage.clone().expect("it is in the log");
    assert_eq!(told.kept(), damage);
    let findings = check(folder.path());
    assert_eq!((findings.faults.len(), findings.faults[0].line), (1, 3), "{:?}", findings.faults);
    // Once more: it is told again, as it is still there.
    assert!(open(folder.path()).1.is_some());
}

#[test]
fn an_end_that_is_cut_off_with_the_head_stays_to_be_seen() {
    let folder = cut_to(1);
    fs::remove_file(folder.path().join(HEAD)).expect("removed");

    let damage = open(folder.path()).1.expect("it is told");
    // Nothing of it is seen any more but what that start has told. The next one has nothing to tell.
    assert_eq!(open(folder.path()).1, None);
    let findings = check(folder.path());
    assert!(findings.faults.is_empty() && !findings.is_whole(), "{findings:?}");
    let [told] = &findings.damage[..] else { panic!("{:?}", findings.damage) };
    assert_eq!((told.line, told.seq, &told.text), (2, 2, &damage));
    assert!(told.to_string().starts_with("audit.log line 2 (record 2): "), "{told}");
    assert!(told.to_string().contains("the log has no head"), "{told}");
}

#[test]
fn a_log_of_which_only_the_key_is_left_says_so() {
    let folder = cut_to(3);
    let remove = |name: &str| fs::remove_file(folder.path().join(name)).expect("removed");
    [LOG, HEAD].into_iter().for_each(remove);
    let damage = open(folder.path()).1.expect("it is told");
    for told in
        ["no record is left, nor the head", "as its key is here", "removed it, or it was lost", "anchor"]
    {
        assert!(damage.contains(told), "{damage}");
    }
    assert!(!damage.contains("line 0"), "{damage}");
    let findings = check(folder.path());
    assert_eq!((findings.faults.len(), findings.damage[0].text == damage), (0, true), "{findings:?}");
    [LOG, HEAD, KEY].into_iter().for_each(remove);
    assert_eq!(open(folder.path()).1, None, "as before a first start");
}

#[test]
fn an_unfinished_line_is_no_fault_but_a_missing_end_is() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(open(folder.path()));
    let path = folder.path().join(LOG);
    let whole = fs::read(&path).expect("a log");
    fs::write(&path, [&whole[..], b"{\"seq\":2,\"ti"].concat()).expect("written");
    let findings = check(folder.path());
    assert_eq!((findings.is_whole(), findings.unfinished), (true, 12));
    let (_, damage) = open(folder.path());
    let damage = damage.expect("it is told");
    assert!(damage.contains("12 bytes") && !damage.contains("record"), "{damage}");
    assert_eq!(fs::read(folder.path().join(TORN)).expect("it is kept"), b"{\"seq\":2,\"ti");
    assert_eq!(records(folder.path())[1].unfinished, Some(12));
    assert!(check(folder.path()).is_whole());

    let whole = fs::read(&path).expect("a log");
    fs::write(&path, &whole[..whole.len() - 5]).expect("written");
    let damage = open(folder.path()).1.expect("it is told");
    assert!(damage.contains("line 2 (record 2): the log ends before it"), "{damage}");
}

#[test]
fn a_log_that_is_not_where_it_was_takes_nothing_more() {
    type Meddle = fn(&Path);
    let meddled: [(&str, Meddle); 4] = [
        ("removed", |log| fs::remove_file(log).expect("removed")),
        ("moved", |log| fs::rename(log, log.with_extension("old")).expect("moved")),
        ("cut", |log| fs::write(log, "").expect("cut")),
        ("replaced", |log| {
            let copy = fs::read(log).expect("a log");
            fs::remove_file(log).expect("removed");
            fs::write(log, copy).expect("another");
        }),
    ];
    for (what, meddle) in meddled {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut writer, _) = open(folder.path());
        writer.append(&mut [statement("before")], at(2)).expect("written");
        meddle(&folder.path().join(LOG));
        let refused = writer.append(&mut [statement("lost")], at(3)).expect_err("it would be in no log");
        assert!(matches!(refused, AuditError::Meddled(_)) && writer.is_broken(), "{what}: {refused}");
        drop(writer);
        let (mut writer, damage) = open(folder.path());
        assert_eq!(damage.is_some(), what != "replaced", "{what}: {damage:?}");
        writer.append(&mut [statement("after")], at(4)).expect("written");
        assert!(!records(folder.path()).is_empty(), "{what}");
    }
}

#[test]
fn a_key_or_head_that_is_gone_is_told() {
    for (name, told) in [(HEAD, "has no head"), (KEY, "the key is gone")] {
        let folder = tempfile::tempdir().expect("a folder");
        drop(open(folder.path()));
        fs::remove_file(folder.path().join(name)).expect("removed");
        let damage = open(folder.path()).1.expect("it is told");
        assert!(damage.contains(told), "{damage}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    drop(open(folder.path()));
    fs::write(folder.path().join(KEY), "short").expect("written");
    let error = LogWriter::open(folder.path(), SMALL, "a test", at(0)).expect_err("no key");
    assert!(error.to_string().contains("audit.key\" is no key"), "{error}");
}

#[test]
fn files_are_rotated_chained_and_bounded() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let (mut writer, _) = open(folder.path());
    for number in 0..100 {
        writer.append(&mut [statement(&"x".repeat(200))], at(number)).expect("written");
    }
    let findings = check(folder.path());
    assert!(findings.is_whole(), "{:?}", findings.faults);
    assert!(findings.oldest > 1 && findings.first == Some(findings.oldest));
    let names: Vec<_> = AuditFiles::new(folder.path()).names().expect("readable");
    assert_eq!(names.len(), SMALL.kept + 1);
    for name in names.iter().map(|(_, name)| name.as_str()).chain([HEAD, KEY]) {
        let file = fs::metadata(folder.path().join(name)).expect("it is there");
        assert_eq!(file.permissions().mode() & 0o777, 0o600, "{name}");
        assert!(file.len() <= SMALL.file, "{name}");
    }
    // It is the same after a start.
    drop(writer);
    assert_eq!(open(folder.path()).1, None);
    let names = AuditFiles::new(folder.path()).names().expect("readable");
    // A file that is removed, from the front, the middle or the end, is missed.
    for (index, (_, name)) in names.iter().enumerate() {
        let path = folder.path().join(name);
        let content = fs::read(&path).expect("it is there");
        fs::remove_file(&path).expect("removed");
        let findings = check(folder.path());
        let told = findings.told().expect("it is missed");
        assert_eq!(told.contains("are missing"), index == 0, "{told}");
        fs::write(&path, content).expect("written");
    }
    assert!(check(folder.path()).is_whole());
}

#[tokio::test]
async fn whoever_looks_without_end_displaces_no_statement() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = AuditLog::start(folder.path(), SMALL, "a test", Box::new(drop)).expect("a thread");
    let look = || Record { kind: RecordKind::Request, ..statement("status") };
    for _ in 0..20 {
        (0..1000).for_each(|_| log.note(look()));
        let seq = log.append(statement("x = 1")).await.expect("there is room");
        log.note(Record { kind: RecordKind::Result, of: Some(seq), ..statement("") });
    }
    log.close().await;
    assert!(check(folder.path()).is_whole());
    let last = records(folder.path()).pop().expect("records");
    assert_eq!((last.kind, log.trouble()), (RecordKind::Stop, None));
    let error = AuditLog::nowhere().append(statement("x = 1")).await.expect_err("nothing is recorded");
    assert!(error.to_string().contains("no state directory"), "{error}");
}

#[tokio::test]
async fn who_has_filled_a_share_may_go_back_and_keeps_nobody_else_from_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = LogLimits { file: 1 << 30, ..SMALL };
    let log = AuditLog::start(folder.path(), limits, "a test", Box::new(drop)).expect("a thread");
    let open = |login: &str| {
        let ssh = FrontEnd::Ssh([192, 0, 2, 1].into());
        let identity = Identity::new(login, login, Role::Program, ssh);
        Auditor::open(&log, 1, &identity)
    };
    let (one, other) = (open("one"), open("other"));
    let long = "x".repeat(record::MAX_STATEMENT);
    let mut written = 0;
    let error = loop {
        match one.strict(RecordKind::Statement, &long).await {
            Ok(audited) => audited.end(None, Ok("")),
            Err(error) => break error,
        }
        written += 1;
        assert!(written < 100);
    };
    assert!(matches!(error, AuditError::Quota { .. }), "{error}");
    let reason = format!("save reason={long}");
    for text in ["rollback generation=8", "confirm", "cancel", "reload", &reason] {
        one.strict(RecordKind::Request, text).await.expect(text).end(None, Ok(""));
    }
    other.strict(RecordKind::Statement, &long).await.expect("its own").end(None, Ok(""));
    drop((one, other));
    log.close().await;
    let cut = records(folder.path()).into_iter().filter_map(|record| record.text);
    let cut: Vec<_> = cut.filter(|text| text.kept().starts_with("save")).collect();
    let [Text::Cut { cut, bytes, .. }] = &cut[..] else { panic!("{cut:?}") };
    assert_eq!((cut.len(), *bytes), (record::MAX_RESULT, reason.len() as u64));
}

/// What the log of a folder takes of the disk.
fn size(path: &Path) -> u64 {
    let names = AuditFiles::new(path).names().expect("readable");
    names.iter().map(|(_, name)| fs::metadata(path.join(name)).expect("it is there").len()).sum()
}

/// An identity whose every record takes 2 KiB, as what is hidden in its name is escaped.
fn from_one_address(login: &str, role: Role) -> Identity {
    let who = format!("{login}{}", "\u{1}".repeat(300));
    Identity::new(who, login, role, FrontEnd::Ssh([192, 0, 2, 1].into()))
}

#[tokio::test]
async fn who_opens_sessions_without_end_fills_half_a_share_and_stops_no_statement() {
    const SESSIONS: u64 = 6000;
    let folder = tempfile::tempdir().expect("a folder");
    let limits = LogLimits { file: 1 << 30, ..SMALL };
    let log = AuditLog::start(folder.path(), limits, "a test", Box::new(drop)).expect("a thread");
    let (looks, programs) = (from_one_address("looks", Role::View), from_one_address("me", Role::Program));
    let program = Auditor::open(&log, SESSIONS, &programs);
    let mut before = 0;
    for number in 0..SESSIONS {
        drop(Auditor::open(&log, number, &looks));
        Auditor::refuse_session(&log, &looks, "too many");
        if number % 50 == 0 {
            let audited = program.strict(RecordKind::Statement, "x = 1").await;
            audited.unwrap_or_else(|error| panic!("after {number} sessions: {error}")).end(None, Ok(""));
            before = if number == SESSIONS / 2 { size(folder.path()) } else { before };
        }
    }
    drop(program);
    log.close().await;
    assert!(check(folder.path()).is_whole());
    let (mut logins, mut logouts, mut theirs, mut lost) = (0, 0, 0, 0);
    for record in records(folder.path()) {
        let is_theirs = record.role.as_deref() == Some("view");
        theirs += if is_theirs { record.signed().expect("JSON").len() as u64 } else { 0 };
        logins += u64::from(is_theirs && record.kind == RecordKind::Login);
        logouts += u64::from(is_theirs && record.kind == RecordKind::Logout);
        lost += u64::from(record.kind == RecordKind::Lost);
    }
    let half = 8 << 20;
    // Some of it has run off meanwhile.
    assert!(theirs < half + (1 << 20) && theirs > half / 10 * 9, "{theirs} bytes");
    assert_eq!(logins, logouts, "what began in the log ends there, and nothing else does");
    assert!(lost <= 5, "{lost} records tell of lost ones");
    // All that comes later are statements and their results.
    assert!(size(folder.path()) - before < 1 << 20, "it goes on");
}

#[tokio::test]
async fn what_is_escaped_counts_as_it_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = LogLimits { file: 1 << 30, ..SMALL };
    let log = AuditLog::start(folder.path(), limits, "a test", Box::new(drop)).expect("a thread");
    let program = Auditor::open(&log, 1, &from_one_address("me", Role::Program));
    let hidden = "\u{1}".repeat(record::MAX_STATEMENT);
    let mut written = 0;
    while program.strict(RecordKind::Statement, &hidden).await.is_ok() {
        written += 1;
        assert!(written < 20, "{written} statements of 6 MiB as they are written");
    }
    drop(program);
    log.close().await;
    assert!(size(folder.path()) <= 16 << 20);
}

/// Writes into the current directory until it is killed: what the next test starts.
#[test]
#[ignore = "it is a process that the test of kill -9 starts"]
fn writes_until_it_is_killed() {
    let Ok(path) = std::env::current_dir() else { return };
    if !path.join("go").exists() {
        return; // somebody runs all that is ignored
    }
    let (mut writer, _) = open(&path);
    for number in 0_usize.. {
        let text = "x".repeat([10, 3000, 100, 70_000][number % 4]);
        writer.append(&mut [statement(&text)], at(1)).expect("written");
    }
}

#[test]
fn a_writer_killed_at_any_moment_leaves_a_log_that_is_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("go"), "").expect("written");
    drop(open(folder.path()));
    let (mut most, mut torn) = (0, 0);
    for round in 0..50_u32 {
        let before = fs::read(folder.path().join(HEAD)).unwrap_or_default();
        let mut writer = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "audit::tests::writes_until_it_is_killed", "--ignored"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("started");
        let deadline = Instant::now() + Duration::from_mins(1);
        while fs::read(folder.path().join(HEAD)).unwrap_or_default() == before {
            assert!(Instant::now() < deadline, "it does not begin");
            std::thread::park_timeout(Duration::from_millis(1));
        }
        std::thread::park_timeout(Duration::from_micros(u64::from(round * 7919 % 5000)));
        writer.kill().expect("killed");
        writer.wait().expect("it has ended");
        let findings = check(folder.path());
        assert!(findings.is_whole(), "round {round}: {:?}", findings.faults);
        let last = findings.last.expect("records").seq;
        assert!(last > most, "round {round}: {last} after {most}");
        most = last;
        torn += u32::from(findings.unfinished > 0);
    }
    println!("{most} records, {torn} times torn");
}

/// A file system of its own, which can be full; `None` without the right to mount one.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let options = format!("size={size}");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(folder.path()).output();
        mount.is_ok_and(|mount| mount.status.success()).then_some(Self(folder))
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let mut file = fs::File::create(self.0.path().join("filler")).expect("made");
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _left = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn on_a_full_disk_the_reserve_is_used_and_then_nothing_is_half_written() {
    let Some(disk) = Disk::new("1M") else { return eprintln!("skipped: only root may mount a disk to fill") };
    let path = disk.0.path();
    let (mut writer, _) =
        LogWriter::open(path, LogLimits { file: 1 << 20, ..SMALL }, "a test", at(0)).expect("a log");
    disk.fill();
    let mut written = 0;
    let error = loop {
        match writer.append(&mut [statement(&"x".repeat(1000))], at(1)) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 1000);
    };
    assert!(written >= 40, "{written} records in a reserve of 64 KiB");
    assert!(medusa_proto::with_causes(&error).contains("No space left"), "{error}");
    assert!(check(path).is_whole() && check(path).unfinished == 0);
    fs::remove_file(path.join("filler")).expect("removed");
    writer.append(&mut [statement("again")], at(2)).expect("there is room");
    let findings = check(path);
    assert_eq!((findings.is_whole(), findings.records), (true, written + 2), "{:?}", findings.faults);
}
