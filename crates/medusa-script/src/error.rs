//! What went wrong in a script, for a person: the place first, the source line under it, the traceback last.
//!
//! **Invariant:** a message is text, whatever it looks like. The source line is that of the text which was compiled
//! ([`Sources`]): no file is opened because a message names it.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::path::Path;

use medusa_monitor::protocol::PublishedInfo;
use medusa_proto::shown::push_cut;

use crate::budget::TaskError;
use crate::chunk::STATEMENT;
use crate::require::Sources;

/// The most that is kept of a message, in bytes: as much as is shown of a value.
const MAX_MESSAGE: usize = 64 * 1024;

/// The most of it in the log, in bytes, so that there is room for the traceback, too.
const MAX_LOGGED: usize = 2 * 1024;

/// Frames at each end of a traceback. What is between them, in a recursion without an end, is more of the same.
const FRAMES: usize = 10;

/// The most of a frame, in bytes, and of a message in which its place is looked for. Luau cuts names of files at 256.
const MAX_FRAME: usize = 320;

/// An error of a script, or of what it asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub struct ScriptError {
    message: String,
    place: Option<Location>,
    excerpt: Option<String>,
    traceback: Vec<String>,
    incomplete: bool,
    beside: Option<Box<Beside>>,
}

/// What there is to be told beside an error.
#[derive(Debug, Clone)]
struct Beside {
    /// What had been published before.
    published: Vec<PublishedInfo>,
    /// The statements that had begun what is given up.
    given_up: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Location {
    file: String,
    line: usize,
}

impl ScriptError {
    /// An error that names its place itself, or has none.
    pub fn new(message: impl Into<String>) -> Self {
        let message = message.into();
        let place = leading_place(&message);
        Self {
            message: cut(&message, MAX_MESSAGE),
            place,
            excerpt: None,
            traceback: Vec::new(),
            incomplete: false,
            beside: None,
        }
    }

    pub(crate) fn from_lua(error: &mlua::Error) -> Self {
        let incomplete = matches!(error, mlua::Error::SyntaxError { incomplete_input: true, .. });
        let text = match innermost(error) {
            mlua::Error::RuntimeError(text) => Cow::Borrowed(text.as_str()),
            other => Cow::Owned(wrong_argument(other).unwrap_or_else(|| other.to_string())),
        };
        let (message, mut frames) = split_traceback(&text);
        add_frames(error, &mut frames);
        let traceback = ends(frames.into_iter());
        let message = message.strip_prefix("runtime error: ").unwrap_or(message);
        let message = message.strip_prefix("syntax error: ").unwrap_or(message);
        let message = cut(message, MAX_MESSAGE);
        let place =
            leading_place(&message).or_else(|| traceback.iter().find_map(|frame| leading_place(frame)));
        let message = match &place {
            Some(place) if leading_place(&message).is_none() => {
                format!("{}:{}: {message}", place.file, place.line)
            }
            _ => message,
        };
        Self { message, place, excerpt: None, traceback, incomplete, beside: None }
    }

    pub(crate) fn from_task(error: &TaskError) -> Self {
        match error {
            TaskError::Script(error) => Self::from_lua(error),
            TaskError::Cpu(_, error) | TaskError::Memory(error) | TaskError::Crowded(error) => {
                let inner = Self::from_lua(error);
                let what = match error_kind(error) {
                    Some(kind) => kind.to_owned(),
                    None => inner.message.clone(),
                };
                Self { message: what, ..inner }
            }
            TaskError::Ended(_) => Self::new(error.to_string()),
            TaskError::Wall(limit) => Self::new(format!("stopped: it took longer than {limit:?}")),
        }
    }

    /// The file and the line where it happened, if that is known.
    pub fn place(&self) -> Option<(&str, usize)> {
        self.place.as_ref().map(|place| (place.file.as_str(), place.line))
    }

    /// Whether the statement could become complete with more input: a prompt then asks for another line.
    pub fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// What the statement had published before it failed, the first one first.
    pub fn published(&self) -> &[PublishedInfo] {
        self.beside.as_ref().map_or(&[], |beside| &beside.published)
    }

    /// The same of a statement that had published this before, and has given these statements up.
    #[must_use]
    pub(crate) fn telling(self, published: Vec<PublishedInfo>, given_up: Option<String>) -> Self {
        let is_any = !published.is_empty() || given_up.is_some();
        Self { beside: is_any.then(|| Box::new(Beside { published, given_up })), ..self }
    }

    /// The statements that had begun what could not be committed and is given up, as one.
    pub fn given_up(&self) -> Option<&str> {
        self.beside.as_ref()?.given_up.as_deref()
    }

    /// The same with the source line it points at, if that is one of `sources`.
    #[must_use]
    pub(crate) fn showing(mut self, sources: &Sources) -> Self {
        let place = self.place.as_ref();
        self.excerpt = place.and_then(|place| excerpt(&sources.known(Path::new(&place.file))?, place.line));
        self
    }

    /// The same for whoever has just typed the statement of this name: to them it is the statement.
    #[must_use]
    pub(crate) fn of_own(mut self, statement: &str) -> Self {
        let [name, told] = [statement, STATEMENT].map(|name| format!("{name}:"));
        self.message = self.message.replace(&name, &told);
        for frame in &mut self.traceback {
            *frame = frame.replace(&name, &told);
        }
        if let Some(place) = self.place.as_mut().filter(|place| place.file == statement) {
            STATEMENT.clone_into(&mut place.file);
        }
        self
    }

    /// The whole message: the error, the source line it points at, the traceback.
    pub fn render(&self) -> String {
        let mut text = self.message.clone();
        if let Some(excerpt) = &self.excerpt {
            text.push('\n');
            text.push_str(excerpt);
        }
        if self.traceback.len() > 1 {
            text.push_str("\ntraceback, innermost first:");
            for frame in &self.traceback {
                text.push_str("\n    ");
                text.push_str(frame);
            }
        }
        text
    }

    /// Message and traceback, for the log.
    pub(crate) fn with_traceback(&self) -> String {
        let message = cut(&self.message, MAX_LOGGED);
        match self.traceback.as_slice() {
            [] => message,
            frames => format!("{message}\n    {}", frames.join("\n    ")),
        }
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Out of memory says nothing of its own worth telling.
fn error_kind(error: &mlua::Error) -> Option<&'static str> {
    matches!(innermost(error), mlua::Error::MemoryError(_))
        .then_some("stopped: its VM is at its memory limit")
}

/// Says in a script's words which argument of a function is of a wrong kind. `None`: it is not that.
fn wrong_argument(error: &mlua::Error) -> Option<String> {
    let mlua::Error::BadArgument { to, pos, cause, .. } = error else { return None };
    let mlua::Error::FromLuaConversionError { from, to: wanted, .. } = &**cause else { return None };
    let wanted = match wanted.to_ascii_lowercase().as_str() {
        "string" => "a string",
        "bool" => "a boolean",
        "table" => "a table",
        "function" => "a function",
        "f64" | "i64" | "u64" | "i32" | "u32" | "usize" => "a number",
        _ => return None,
    };
    let given = match *from {
        "nil" => "nil".to_owned(),
        "integer" => "a number".to_owned(),
        other => format!("a {other}"),
    };
    // Of a method, the first is what it is called on.
    let (function, pos) = match to.as_deref().and_then(|to| to.rsplit_once('.')) {
        Some((_, method)) => (format!("{method}: "), pos.saturating_sub(1)),
        None => (String::new(), *pos),
    };
    Some(format!("{function}argument {pos} must be {wanted}, not {given}"))
}

fn innermost(error: &mlua::Error) -> &mlua::Error {
    match error {
        mlua::Error::CallbackError { cause, .. } | mlua::Error::WithContext { cause, .. } => innermost(cause),
        error => error,
    }
}

/// Adds the frames of an error that has come through several coroutines (a module is loaded in one of its own), those of
/// the innermost first. Where two of them are of one coroutine, the inner has the outer's frames, too.
fn add_frames<'a>(error: &'a mlua::Error, frames: &mut Vec<&'a str>) {
    match error {
        mlua::Error::CallbackError { traceback, cause } => {
            add_frames(cause, frames);
            let outer = split_traceback(traceback).1;
            if !frames.ends_with(&outer) {
                frames.extend(outer);
            }
        }
        mlua::Error::WithContext { cause, .. } => add_frames(cause, frames),
        _ => {}
    }
}

/// Luau code of the server's own.
const HOST_CHUNKS: [&str; 10] =
    ["prelude", "names", "natives", "request", "fetch", "dns", "json", "print", "websocket", "handover"];

/// Cuts `text` off after `limit` bytes.
fn cut(text: &str, limit: usize) -> String {
    let mut cut = String::new();
    push_cut(&mut cut, limit, format_args!("{text}"));
    cut
}

/// Splits an error's text from the traceback Luau puts behind it, whose frames of the host are of no use to anyone.
fn split_traceback(text: &str) -> (&str, Vec<&str>) {
    // From behind: a message may hold the same words.
    let (message, frames) = match text.rsplit_once("\nstack traceback:") {
        Some(split) => split,
        None if text.starts_with("stack traceback:") => ("", text),
        None => return (text.trim_end(), Vec::new()),
    };
    let is_scripts = |frame: &&str| {
        leading_place(frame).is_some_and(|place| {
            !HOST_CHUNKS.contains(&place.file.as_str()) && !place.file.starts_with("__mlua")
        })
    };
    (message.trim_end(), frames.lines().map(str::trim).filter(is_scripts).collect())
}

/// The first and the last [`FRAMES`], and how many there are between: all of a recursion's are of no use to anyone.
fn ends<'a>(mut frames: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut ends: Vec<String> = frames.by_ref().take(FRAMES).map(|frame| cut(frame, MAX_FRAME)).collect();
    let (mut last, mut between) = (VecDeque::with_capacity(FRAMES), 0_usize);
    for frame in frames {
        if last.len() == FRAMES {
            last.pop_front();
            between += 1;
        }
        last.push_back(frame);
    }
    if between > 0 {
        ends.push(format!("… {between} more frames"));
    }
    ends.extend(last.into_iter().map(|frame| cut(frame, MAX_FRAME)));
    ends
}

/// `file:12: ...` or `file:12 function f`.
fn leading_place(text: &str) -> Option<Location> {
    let start = &text[..text.floor_char_boundary(MAX_FRAME)];
    let word = start.split(char::is_whitespace).next()?;
    for (at, _) in word.match_indices(':') {
        let (file, behind) = (&word[..at], &word[at + 1..]);
        let digits = behind.len() - behind.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (digits, after) = behind.split_at(digits);
        let is_file = !file.is_empty() && !file.starts_with('[');
        if is_file && !digits.is_empty() && (after.is_empty() || after.starts_with(':')) {
            return Some(Location { file: file.to_owned(), line: digits.parse().ok()? });
        }
    }
    None
}

/// The line with its neighbours, as compilers show it.
fn excerpt(source: &str, at: usize) -> Option<String> {
    let first = at.saturating_sub(1);
    let after = at.saturating_add(1);
    let width = after.to_string().len();
    let mut text = String::new();
    for (number, line) in (1..).zip(source.lines()).skip_while(|(number, _)| *number < first) {
        if number > after {
            break;
        }
        let mark = if number == at { '>' } else { ' ' };
        let line: String = line.replace('\t', "    ").chars().take(160).collect();
        text.push_str(format!("  {mark} {number:>width$} | {line}").trim_end());
        text.push('\n');
    }
    (!text.is_empty()).then(|| text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found() {
        let place = |file: &str, line| Some(Location { file: file.into(), line });
        assert_eq!(leading_place("site.luau:12: oops"), place("site.luau", 12));
        assert_eq!(leading_place("handlers/api.luau:3 function f"), place("handlers/api.luau", 3));
        assert_eq!(leading_place("listen 127.0.0.1:8080 is taken"), None);
        assert_eq!(leading_place("[C] in ?"), None);
    }

    /// Each colon of a message was the end of a path once, and the whole path looked at for spaces.
    #[test]
    fn a_place_is_not_looked_for_without_end() {
        assert_eq!(leading_place(&":".repeat(10_000_000)), None);
        assert_eq!(leading_place(&format!("{}:1: x", "a".repeat(10_000_000))), None);
        assert_eq!(leading_place("a.luau:99999999999999999999999: x"), None);
    }

    #[test]
    fn an_excerpt_shows_the_line_and_its_neighbours() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::write(root.join("a.luau"), "one\ntwo\n\tthree\nfour\nfive\n").unwrap();
        let sources = Sources::new(root);
        let rendered = || ScriptError::new("a.luau:3: bad").showing(&sources).render();
        assert_eq!(rendered(), "a.luau:3: bad", "it was never compiled");
        sources.read(Path::new("a.luau")).unwrap();
        std::fs::write(dir.path().join("a.luau"), "other text").unwrap();
        assert_eq!(rendered(), "a.luau:3: bad\n    2 | two\n  > 3 |     three\n    4 | four");
        let far = ScriptError::new(format!("a.luau:{}: bad", usize::MAX)).showing(&sources);
        assert_eq!(far.render(), far.to_string());
    }

    #[test]
    fn a_traceback_has_two_ends() {
        let frames: Vec<String> = (1..=50).map(|line| format!("x.luau:{line} function f")).collect();
        let text = format!("deep\nstack traceback:\nforged\nstack traceback:\n{}", frames.join("\n"));
        let (message, split) = split_traceback(&text);
        let ends = ends(split.into_iter());
        assert_eq!(message, "deep\nstack traceback:\nforged");
        assert_eq!(ends.len(), 2 * FRAMES + 1);
        assert_eq!(ends[FRAMES], "… 30 more frames");
        assert_eq!((&ends[FRAMES - 1], &ends[FRAMES + 1]), (&frames[9], &frames[40]));
    }

    #[test]
    fn a_lua_error_keeps_its_traceback_without_the_hosts_frames() {
        let lua = mlua::Lua::new();
        let chunk = lua
            .load("local function f() error('deep') end\nf()")
            .set_name("@x.luau")
            .into_function()
            .unwrap();
        let error = ScriptError::from_lua(&chunk.call::<()>(()).unwrap_err());
        assert_eq!(error.to_string(), "x.luau:1: deep");
        assert!(error.traceback.iter().any(|frame| frame.starts_with("x.luau:2")), "{:?}", error.traceback);
    }
}
