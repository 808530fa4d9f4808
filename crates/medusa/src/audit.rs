//! `medusa audit`: what was done in a server's sessions, and whether the record of it is whole.
//!
//! These read files, and work while no server runs.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use medusa_monitor::audit::{
    AuditFiles, ChainKey, Findings, Head, LogLine, Outcome, ReadError, Record, RecordKind, Text,
};
use medusa_proto::format::utc;
use medusa_proto::shown::Escaped;
use medusa_proto::with_causes;

use crate::term;

/// Behind further lines of a text in a table.
pub(crate) const MARGIN: &str = "        | ";

/// The records that are meant.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// From this time on, as records have it, or its beginning.
    pub(crate) since: Option<String>,
    /// Of sessions with this number.
    pub(crate) session: Option<u64>,
}

impl Wanted {
    fn has(&self, record: &Record) -> bool {
        self.since.as_ref().is_none_or(|since| record.time >= *since)
            && self.session.is_none_or(|session| record.session == Some(session))
    }
}

/// A time as records have it, or the beginning of one: `2026-11-30`, `2026-11-30T09:12`, or `90m`, `12h`, `7d` before `now`.
pub(crate) fn parse_since(text: &str, now: SystemTime) -> Result<String, String> {
    let ago = || {
        let unit = match text.chars().next_back()? {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        let count: u64 = text[..text.len() - 1].parse().ok()?;
        now.checked_sub(Duration::from_secs(count.checked_mul(unit)?)).map(|time| utc(time.into()))
    };
    let is_time = || {
        let form = "0000-00-00T00:00:00.000Z";
        let fits = |(have, want): (u8, u8)| if want == b'0' { have.is_ascii_digit() } else { have == want };
        text.len() >= 4 && text.len() <= form.len() && text.bytes().zip(form.bytes()).all(fits)
    };
    let told = "give a time in UTC, or its beginning, such as `2026-11-30T09:12`, or how long ago: `90m`, `12h`, `7d`";
    ago().or_else(|| is_time().then(|| text.to_owned())).ok_or_else(|| told.to_owned())
}

/// Prints the records of the log in `state`, as they are, or as a table.
pub(crate) fn show(state: &Path, wanted: &Wanted, json: bool) -> Result<(), String> {
    let files = AuditFiles::new(state);
    // Without a key it can be read all the same.
    let key = files.key(None);
    let reading = key.as_ref().cloned().unwrap_or_else(|_| ChainKey::new(&[0; 32]));
    let print = |line: LogLine<'_>| match Record::decode(line.bytes) {
        Ok(record) if !wanted.has(&record) => {}
        Ok(_) if json => term::answer(String::from_utf8_lossy(line.bytes)),
        Ok(record) => term::answer_marked(&row(&record), is_bad(&record)),
        Err(_) => term::note(format_args!("{} line {} is no record", line.file, line.number)),
    };
    let findings = files.check(&reading, &[], print).map_err(|error| with_causes(&error))?;
    match (key, findings.is_whole()) {
        (Err(error), _) => {
            term::note(format_args!("whether this is whole cannot be told: {}", with_causes(&error)));
        }
        // It may have been written meanwhile: `verify` looks twice.
        (Ok(_), false) => term::note("`audit verify` tells whether this is whole"),
        (Ok(_), true) => {}
    }
    Ok(())
}

/// Says whether the log in `state` is whole.
pub(crate) fn verify(state: &Path, key: Option<&Path>, anchors: &[Head]) -> Result<(), String> {
    let files = AuditFiles::new(state);
    let key = files.key(key).map_err(|error| with_causes(&error))?;
    let findings = check(&files, &key, anchors).map_err(|error| with_causes(&error))?;
    if !findings.is_whole() {
        let mut told = "the audit log is not whole:".to_owned();
        for fault in &findings.faults {
            let _ = write!(told, "\n  {fault}");
        }
        if findings.more > 0 {
            let _ = write!(told, "\n  and {} more", findings.more);
        }
        for damage in &findings.damage {
            let _ = write!(told, "\n  {damage}");
        }
        if findings.more_damage > 0 {
            let _ = write!(told, "\n  and so did {} more", findings.more_damage);
        }
        return Err(told);
    }
    let (first, Head { seq, mac }) =
        (findings.first.unwrap_or_default(), findings.last.unwrap_or(Head::NONE));
    term::answer(format_args!("ok: records {first} to {seq} are there and as they were written"));
    term::answer(format_args!("head {seq}={mac}"));
    if findings.unfinished > 0 {
        term::note(
            "the last line is unfinished: the server was killed while it wrote; its next start moves it away",
        );
    }
    Ok(())
}

/// Checks the log, twice if need be: a server may have begun a new file meanwhile.
pub(crate) fn check(files: &AuditFiles, key: &ChainKey, anchors: &[Head]) -> Result<Findings, ReadError> {
    match files.check(key, anchors, |_| {}) {
        Ok(findings) if findings.is_whole() => Ok(findings),
        _ => files.check(key, anchors, |_| {}),
    }
}

/// A record for people: a line, and more for what has several.
fn row(record: &Record) -> [String; 3] {
    let Record { seq, time, session, who, via, of, text, effect, duration_us, result, .. } = record;
    let Record { damage, unfinished, .. } = record;
    let mut before = format!("{seq:>6}  {}  ", Escaped::line(time));
    if let Some(session) = session {
        let _ = write!(before, "#{session} ");
    }
    if let Some(who) = who {
        let _ = write!(before, "{}", Escaped::line(&who.name));
        // Those who have logged in are called by it already; what somebody else calls themselves ends in no bracket.
        if let Some(address) = who.address.as_ref().filter(|at| !who.name.ends_with(&format!("from {at})"))) {
            let _ = write!(before, " from {}", Escaped::line(address));
        }
        if let Some(via) = via {
            let _ = write!(before, " by {}", Escaped::line(via));
        }
        before.push_str("  ");
    }
    let mut after = String::new();
    if let Some(of) = of {
        let _ = write!(after, " of {of}");
    }
    if let Some(duration) = duration_us {
        let _ = write!(after, " in {:?}", Duration::from_micros(*duration));
    }
    if let Some(effect) = effect {
        let all: Vec<_> = effect.earlier.iter().chain([&effect.generation]).map(u64::to_string).collect();
        let _ = write!(after, ", generation {}", all.join(", "));
        for line in &effect.diff {
            let _ = write!(after, " {}", Escaped::line(line));
        }
    }
    let outcome = result.as_ref().map(|result| match result {
        Outcome::Ok(text) => ("ok", text),
        Outcome::Error(text) => ("error", text),
    });
    if let Some(bytes) = unfinished {
        let _ = write!(after, ", an unfinished line of {bytes} bytes was moved away");
    }
    if let Some(("error", _)) = outcome {
        after.push_str(", failed");
    }
    for text in
        text.iter().chain(outcome.map(|(_, text)| text)).chain(damage).filter(|text| !text.kept().is_empty())
    {
        let _ = write!(after, ": {}", Escaped::lines(text.kept(), MARGIN));
        if let Text::Cut { bytes, .. } = text {
            let _ = write!(after, "… ({bytes} bytes in all)");
        }
    }
    [before, format!("{:?}", record.kind).to_lowercase(), after]
}

/// Whether it should stand out.
fn is_bad(record: &Record) -> bool {
    let is_failed = matches!(record.result, Some(Outcome::Error(_)));
    is_failed || record.damage.is_some() || matches!(record.kind, RecordKind::Refusal | RecordKind::Lost)
}

#[cfg(test)]
mod tests {
    use medusa_monitor::audit::Who;

    use super::*;

    #[test]
    fn a_time_is_one_or_how_long_ago() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(parse_since("2026-11-30", now).as_deref(), Ok("2026-11-30"));
        assert_eq!(parse_since("2h", now).as_deref(), Ok("2023-11-14T20:13:20.000Z"));
        for wrong in ["", "x", "h", "yesterday", "2026-11-30 09:12", "99999999999999999999d", "30.11.2026"] {
            assert!(parse_since(wrong, now).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_row_tells_once_from_where_somebody_came() {
        let shown = |name: &str| {
            let who = Who { name: name.into(), address: Some("192.0.2.7".into()) };
            let [before, ..] = row(&Record::new(RecordKind::Refusal, SystemTime::UNIX_EPOCH.into()).by(who));
            before.trim_end().rsplit_once("  ").expect("columns").1.to_owned()
        };
        assert_eq!(shown("root"), "root from 192.0.2.7");
        assert_eq!(shown("me (password, from 192.0.2.7)"), "me (password, from 192.0.2.7)");
        // As a client may call itself.
        assert_eq!(shown("\"me, from 192.0.2.7\""), "\"me, from 192.0.2.7\" from 192.0.2.7");
        assert_eq!(shown("me (password, from ::1)"), "me (password, from ::1) from 192.0.2.7");
    }

    #[test]
    fn a_row_shows_no_more_lines_than_it_marks() {
        let time = SystemTime::UNIX_EPOCH.into();
        let who = Who { name: "x\n     9  2026 root\u{1b}[2J".into(), ..Who::default() };
        let record = Record::new(RecordKind::Statement, time).by(who).text("a()\nb()\u{202e}", 100);
        let text = row(&record).concat();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].ends_with("statement: a()") && lines[1].starts_with(MARGIN), "{text}");
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    }
}
