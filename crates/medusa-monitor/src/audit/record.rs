//! One record of the audit log, as one line of JSON.
//!
//! ```text
//! {"seq":7,"time":"2026-11-30T09:12:44.120Z","kind":"statement","session":3,"who":{"name":"uid 0 (pid 4711)"},"via":"socket","role":"program","text":"web:mounts()","mac":"6d1e…"}
//! {"seq":8,"time":"2026-11-30T09:12:44.121Z","kind":"result","session":3,"who":{"name":"uid 0 (pid 4711)"},"via":"socket","role":"program","of":7,"duration_us":41,"result":{"ok":"2 mounts"},"mac":"90aa…"}
//! ```
//!
//! The MAC is over the very bytes of the line before `,"mac":`, so there is no second form of a record to disagree with.
//!
//! **Invariant:** whatever a field holds, a record is one line, no field of it is taken for another, and nothing of it
//! steers a terminal: what is hidden is escaped (`\u202e`), which for JSON is the same text.

use std::io;
use std::sync::Arc;

use aws_lc_rs::digest;
use medusa_proto::access::Timestamp;
use medusa_proto::format::utc;
use medusa_proto::hex;
use medusa_proto::shown::is_hidden;
use serde::{Deserialize, Serialize};
use serde_json::ser::Formatter;

use super::chain::{MAC_TEXT, Mac};

/// The longest statement kept exactly, in bytes: as long as one may be.
pub const MAX_STATEMENT: usize = 1024 * 1024;

/// How much is kept of a result or an error, in bytes: its first screen.
pub const MAX_RESULT: usize = 4096;

/// How much is kept of a name or a line of a diff, in bytes.
pub const MAX_NAME: usize = 256;

/// How many lines of a diff are kept.
pub const MAX_DIFF: usize = 256;

/// The longest line, in bytes: a statement all of whose characters are escaped, six bytes for each, and the rest.
pub const MAX_LINE: usize = 6 * MAX_STATEMENT + 1024 * 1024;

/// What stands before the MAC in a line.
const BEFORE_MAC: &[u8] = b",\"mac\":\"";

/// What stands behind it.
const AFTER_MAC: &[u8] = b"\"}";

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordKind {
    /// The log was opened: a server has started. Tells what was found wrong.
    Start,
    /// The server has ended in good order.
    Stop,
    /// A new file begins.
    File,
    /// Records were lost before this one: they found no room.
    Lost,
    /// A session has begun.
    Login,
    /// A session has ended.
    Logout,
    /// A session or a statement was refused.
    Refusal,
    /// A statement is about to run.
    Statement,
    /// Something else is about to be done: `reload`.
    Request,
    /// What became of a statement or a request.
    Result,
}

/// Who acts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// A name for people: the user and process, or the login name with key, comment and address.
    pub name: String,
    /// The address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl Who {
    /// Where somebody is: the address, or this machine.
    pub(super) fn identity(&self) -> String {
        self.address.clone().unwrap_or_else(|| "this machine".into())
    }

    /// The same with no field longer than [`MAX_NAME`].
    fn cut(mut self) -> Self {
        for field in self.address.iter_mut().chain([&mut self.name]) {
            field.truncate(field.floor_char_boundary(MAX_NAME));
        }
        self
    }
}

/// A text, whole or cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Text {
    /// All of it.
    Whole(String),
    /// Its beginning, and what tells the whole of it from others.
    Cut {
        /// The beginning.
        cut: String,
        /// The length of the whole, in bytes.
        bytes: u64,
        /// SHA-256 of the whole.
        sha256: String,
    },
}

impl Text {
    /// At most `limit` bytes of `text`.
    pub fn new(text: impl Into<String>, limit: usize) -> Self {
        let mut text = text.into();
        if text.len() <= limit {
            return Self::Whole(text);
        }
        let sha256 = hex::lower(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
        let bytes = text.len() as u64;
        text.truncate(text.floor_char_boundary(limit));
        Self::Cut { cut: text, bytes, sha256 }
    }

    /// What is kept of it.
    pub fn kept(&self) -> &str {
        match self {
            Self::Whole(text) | Self::Cut { cut: text, .. } => text,
        }
    }
}

/// What a statement did to the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// The generation it published, the last if there were several.
    pub generation: u64,
    /// Those it had published before, the first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<u64>,
    /// What is different in them, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diff: Vec<String>,
}

impl Effect {
    /// What one generation has changed: at most [`MAX_DIFF`] lines, the last of which then says how many there were.
    pub fn new(generation: u64, mut diff: Vec<String>) -> Self {
        let lines = diff.len();
        if lines > MAX_DIFF {
            diff.truncate(MAX_DIFF - 1);
            diff.push(format!("… ({} lines more)", lines - diff.len()));
        }
        for line in &mut diff {
            line.truncate(line.floor_char_boundary(MAX_NAME));
        }
        Self { generation, earlier: Vec::new(), diff }
    }

    /// The same, after these.
    #[must_use]
    pub fn after(self, earlier: Vec<u64>) -> Self {
        Self { earlier, ..self }
    }
}

/// How something ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Well, with this value.
    Ok(Text),
    /// With this error.
    Error(Text),
}

/// What ties a record to those before it where a reader may not have them: at the beginning of a file, and of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The version of this format.
    pub format: u32,
    /// The MAC of the record before.
    pub before: String,
    /// The oldest record that is kept; what was before it has been removed by rotation.
    pub oldest: u64,
}

impl Link {
    pub(super) const FORMAT: u32 = 1;

    pub(super) fn new(before: Mac, oldest: u64) -> Self {
        Self { format: Self::FORMAT, before: before.to_string(), oldest }
    }
}

/// A record. Number and link are the log's to give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its number: one more than that of the record before.
    pub seq: u64,
    /// When, in UTC: `2026-11-30T09:12:44.120Z`.
    pub time: String,
    /// What it is about.
    pub kind: RecordKind,
    /// The number of the session; they begin anew with each start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
    /// Who acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<Who>,
    /// The login it was done by, the same whatever name was given there: whose share of the log it takes. It is not in the line.
    #[serde(skip)]
    pub(super) login: Option<Arc<str>>,
    /// By what way: `socket`, `ssh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// With which rights: `program`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The number of the record whose result this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// The statement; what was asked for; why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text>,
    /// What it did to the site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// How long it took, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_us: Option<u64>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Outcome>,
    /// What was found wrong with the log, at a start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<Text>,
    /// How long the unfinished line was that was moved away, at a start. It is nothing wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<u64>,
    /// What ties it to those before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
}

impl Record {
    /// A record of which nothing more is known.
    pub fn new(kind: RecordKind, time: Timestamp) -> Self {
        Self {
            seq: 0,
            time: utc(time),
            kind,
            session: None,
            who: None,
            login: None,
            via: None,
            role: None,
            of: None,
            text: None,
            effect: None,
            duration_us: None,
            result: None,
            damage: None,
            unfinished: None,
            link: None,
        }
    }

    /// The same about an act of `who`.
    #[must_use]
    pub fn by(self, who: Who) -> Self {
        Self { who: Some(who.cut()), ..self }
    }

    /// The same with a text, of which `limit` bytes are kept.
    #[must_use]
    pub fn text(self, text: impl Into<String>, limit: usize) -> Self {
        Self { text: Some(Text::new(text, limit)), ..self }
    }

    /// The bytes to sign: the line without its MAC.
    pub(super) fn signed(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Harmless))?;
        bytes.pop(); // the brace
        Ok(bytes)
    }

    /// The record of a line, with or without its newline. Its MAC is not looked at.
    ///
    /// # Errors
    ///
    /// It is no record.
    pub fn decode(line: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(line)
    }
}

/// Completes the line that begins with `signed`.
pub(super) fn seal(mut signed: Vec<u8>, mac: Mac) -> Vec<u8> {
    signed.extend_from_slice(BEFORE_MAC);
    signed.extend_from_slice(mac.to_string().as_bytes());
    signed.extend_from_slice(AFTER_MAC);
    signed.push(b'\n');
    signed
}

/// Takes a line without its newline apart: what is signed, and the MAC.
pub(super) fn unseal(line: &[u8]) -> Option<(&[u8], Mac)> {
    let rest = line.strip_suffix(AFTER_MAC)?;
    let (rest, mac) = rest.split_at_checked(rest.len().checked_sub(MAC_TEXT)?)?;
    Some((rest.strip_suffix(BEFORE_MAC)?, Mac::read(mac)?))
}

/// JSON in one line in which nothing is hidden.
struct Harmless;

impl Formatter for Harmless {
    /// Called with what JSON itself would not escape.
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_hidden) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let hidden = rest[at..].chars().next().unwrap_or_default();
            for unit in hidden.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + hidden.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(record: &Record) -> Vec<u8> {
        seal(record.signed().expect("JSON"), Mac::NONE)
    }

    fn statement(text: &str) -> Record {
        Record::new(RecordKind::Statement, Timestamp::from_micros(1_700_000_000_123_456))
            .text(text, MAX_STATEMENT)
    }

    #[test]
    fn a_record_is_a_line_that_people_can_read() {
        let mut record = statement("web:mounts()");
        record.seq = 7;
        record.session = Some(3);
        record = record.by(Who { name: "uid 0 (pid 4711)".into(), address: None });
        let mac = "0".repeat(64);
        let text = String::from_utf8(line(&record)).expect("UTF-8");
        assert_eq!(
            text,
            format!(
                "{{\"seq\":7,\"time\":\"2023-11-14T22:13:20.123Z\",\"kind\":\"statement\",\"session\":3,\
            \"who\":{{\"name\":\"uid 0 (pid 4711)\"}},\"text\":\"web:mounts()\",\"mac\":\"{mac}\"}}\n"
            )
        );
        assert_eq!(Record::decode(text.as_bytes()).expect("a record"), record);
    }

    #[test]
    fn no_field_is_taken_for_another() {
        let forged = "x\",\"who\":{\"name\":\"root\"},\"mac\":\"00\"}\n{\"seq\":9,\u{202e}\u{2066}\u{1b}[2J\u{9b}\u{7f}\u{2028}\0";
        let who = Who { name: forged.into(), address: Some(forged.into()) };
        let mut record = statement(forged).by(who.clone());
        record.result = Some(Outcome::Error(Text::new(forged, MAX_RESULT)));
        record.effect = Some(Effect::new(8, vec![forged.into()]));
        let bytes = line(&record);
        let text = std::str::from_utf8(&bytes).expect("UTF-8").strip_suffix('\n').expect("a line");
        assert!(!text.contains(is_hidden), "{text:?}");
        assert!(text.contains(r"\u202e\u2066\u001b[2J\u009b\u007f\u2028\u0000"), "{text}");
        let read = Record::decode(text.as_bytes()).expect("a record");
        assert_eq!((read.who.as_ref(), &read), (Some(&who), &record));
    }

    #[test]
    fn what_is_too_long_is_cut_and_can_be_told_from_others() {
        let exact = "x".repeat(MAX_STATEMENT);
        assert_eq!(Text::new(exact.as_str(), MAX_STATEMENT), Text::Whole(exact));
        let Text::Cut { cut, bytes, sha256 } = Text::new("aßc", 2) else { panic!("whole") };
        assert_eq!((cut.as_str(), bytes), ("a", 4));
        assert_eq!(sha256, hex::lower(digest::digest(&digest::SHA256, "aßc".as_bytes()).as_ref()));
        let effect = Effect::new(1, vec!["é".repeat(MAX_NAME); MAX_DIFF + 5]);
        assert_eq!(effect.diff.len(), MAX_DIFF);
        assert_eq!(effect.diff[MAX_DIFF - 1], "… (6 lines more)");
        assert!(effect.diff.iter().all(|line| line.len() <= MAX_NAME));
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in any::<String>(), name in any::<String>()) {
            let record = statement(&text).by(Who { name, ..Who::default() });
            let bytes = line(&record);
            prop_assert_eq!(bytes.iter().position(|byte| *byte == b'\n'), Some(bytes.len() - 1));
            let (signed, mac) = unseal(&bytes[..bytes.len() - 1]).expect("sealed");
            prop_assert_eq!((signed, mac), (&record.signed().expect("JSON")[..], Mac::NONE));
            prop_assert_eq!(Record::decode(&bytes).expect("a record"), record);
        }
    }
}
