//! What went wrong in a script, for a person: the place first, the source line under it, the traceback last.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::task::TaskError;

/// An error of a script, or of what it asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub struct ScriptError {
    message: String,
    place: Option<Place>,
    traceback: Vec<String>,
    incomplete: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    file: String,
    line: usize,
}

impl ScriptError {
    /// An error that names its place itself, or has none.
    pub fn new(message: impl Into<String>) -> Self {
        let message = message.into();
        Self { place: leading_place(&message), message, traceback: Vec::new(), incomplete: false }
    }

    pub(crate) fn from_lua(error: &mlua::Error) -> Self {
        let incomplete = matches!(error, mlua::Error::SyntaxError { incomplete_input: true, .. });
        let text = innermost(error).to_string();
        let (message, own_traceback) = split_traceback(&text);
        let traceback = match error {
            mlua::Error::CallbackError { traceback, .. } => split_traceback(traceback).1,
            _ => own_traceback,
        };
        let message = message.strip_prefix("runtime error: ").unwrap_or(message);
        let message = message.strip_prefix("syntax error: ").unwrap_or(message).to_owned();
        let place =
            leading_place(&message).or_else(|| traceback.iter().find_map(|frame| leading_place(frame)));
        let message = match &place {
            Some(place) if leading_place(&message).is_none() => {
                format!("{}:{}: {message}", place.file, place.line)
            }
            _ => message,
        };
        Self { message, place, traceback, incomplete }
    }

    pub(crate) fn from_task(error: &TaskError) -> Self {
        match error {
            TaskError::Script(error) => Self::from_lua(error),
            TaskError::Cpu(_, error) | TaskError::Memory(error) => {
                let inner = Self::from_lua(error);
                let what = match error_kind(error) {
                    Some(kind) => kind.to_owned(),
                    None => inner.message.clone(),
                };
                Self { message: what, ..inner }
            }
            TaskError::Wall(limit) => Self::new(format!("stopped: it took longer than {limit:?}")),
        }
    }

    /// Whether the statement could become complete with more input: a prompt then asks for another line.
    pub fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// The whole message: the error, the source line it points at (looked up below `base`), the traceback.
    pub fn render(&self, base: &Path) -> String {
        let mut text = self.message.clone();
        if let Some(excerpt) = self.place.as_ref().and_then(|place| excerpt(base, place)) {
            text.push('\n');
            text.push_str(&excerpt);
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
        match self.traceback.as_slice() {
            [] => self.message.clone(),
            frames => format!("{}\n    {}", self.message, frames.join("\n    ")),
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

fn innermost(error: &mlua::Error) -> &mlua::Error {
    match error {
        mlua::Error::CallbackError { cause, .. } | mlua::Error::WithContext { cause, .. } => innermost(cause),
        error => error,
    }
}

/// Luau code of the server's own.
const HOST_CHUNKS: [&str; 5] = ["prelude", "request", "fetch", "json", "websocket"];

/// Splits an error's text from the traceback Luau puts behind it, whose frames of the host are of no use to anyone.
fn split_traceback(text: &str) -> (&str, Vec<String>) {
    let (message, frames) = match text.split_once("\nstack traceback:") {
        Some(split) => split,
        None if text.starts_with("stack traceback:") => ("", text),
        None => return (text.trim_end(), Vec::new()),
    };
    let is_scripts = |frame: &&str| {
        leading_place(frame).is_some_and(|place| {
            !HOST_CHUNKS.contains(&place.file.as_str()) && !place.file.starts_with("__mlua")
        })
    };
    let frames = frames.lines().map(str::trim).filter(is_scripts);
    (message.trim_end(), frames.map(str::to_owned).collect())
}

/// `file:12: ...` or `file:12 function f`.
fn leading_place(text: &str) -> Option<Place> {
    let line = text.lines().next()?;
    for (at, _) in line.match_indices(':') {
        let digits: String = line[at + 1..].chars().take_while(char::is_ascii_digit).collect();
        let after = line[at + 1 + digits.len()..].chars().next();
        let file = &line[..at];
        let is_file = !file.is_empty() && !file.contains(char::is_whitespace) && !file.starts_with('[');
        if is_file && !digits.is_empty() && matches!(after, None | Some(':' | ' ')) {
            return Some(Place { file: file.to_owned(), line: digits.parse().ok()? });
        }
    }
    None
}

/// The line the place names, with its neighbours, as compilers show it.
fn excerpt(base: &Path, place: &Place) -> Option<String> {
    let path: PathBuf = base.join(&place.file);
    let source = std::fs::read_to_string(path).ok()?;
    let first = place.line.saturating_sub(1);
    let width = (place.line + 1).to_string().len();
    let mut text = String::new();
    for (number, line) in source.lines().enumerate().map(|(at, line)| (at + 1, line)) {
        if (first..=place.line + 1).contains(&number) {
            let mark = if number == place.line { '>' } else { ' ' };
            let line: String = line.replace('\t', "    ").chars().take(160).collect();
            text.push_str(format!("  {mark} {number:>width$} | {line}").trim_end());
            text.push('\n');
        }
    }
    (!text.is_empty()).then(|| text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found() {
        let place = |file: &str, line| Some(Place { file: file.into(), line });
        assert_eq!(leading_place("site.luau:12: oops"), place("site.luau", 12));
        assert_eq!(leading_place("handlers/api.luau:3 function f"), place("handlers/api.luau", 3));
        assert_eq!(leading_place("listen 127.0.0.1:8080 is taken"), None);
        assert_eq!(leading_place("[C] in ?"), None);
    }

    #[test]
    fn an_excerpt_shows_the_line_and_its_neighbours() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.luau"), "one\ntwo\n\tthree\nfour\nfive\n").unwrap();
        let rendered = ScriptError::new("a.luau:3: bad").render(dir.path());
        assert_eq!(rendered, "a.luau:3: bad\n    2 | two\n  > 3 |     three\n    4 | four");
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
