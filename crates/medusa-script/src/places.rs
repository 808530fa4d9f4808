//! Where functions are from: their file and line, their parameters, their text.

use std::path::Path;
use std::sync::Arc;

use mlua::Function;

use crate::chunk::file_of;
use crate::require::Sources;
use crate::syntax::{last_line, parameters};

/// The field of a statement's surroundings, which no script can reach, that has its text.
pub(crate) const STATEMENT_TEXT: &str = "__text";

/// The longest parameters that are shown, in bytes.
const MAX_PARAMETERS: usize = 60;

/// The places of functions of a VM.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    pub(crate) sources: &'a Sources,
}

/// The place of a function, and the text it stands in.
#[derive(Debug)]
pub(crate) struct Place {
    /// `site.luau`, `statement-3/12`.
    pub(crate) file: String,
    /// The line it begins in.
    pub(crate) line: usize,
    text: Option<Arc<str>>,
}

impl Places<'_> {
    /// The place of a function that a script has written; none for the host's.
    pub(crate) fn of(&self, function: &Function) -> Option<Place> {
        let (file, line) = place(function)?;
        let text = self.sources.known(Path::new(&file));
        Some(Place { file, line, text: text.or_else(|| statement_text(function)) })
    }

    /// A function in a few words: `function(req)  site.luau:12`.
    pub(crate) fn about(&self, function: &Function) -> String {
        let Some(place) = self.of(function) else { return "function".to_owned() };
        let Place { file, line, text } = &place;
        let parameters = text.as_deref().and_then(|text| parameters(text, *line));
        let parameters = parameters.filter(|shown| shown.len() <= MAX_PARAMETERS && !shown.contains('\n'));
        format!("function{}  {file}:{line}", parameters.unwrap_or_default())
    }
}

impl Place {
    /// The lines of the function; none if its text is not known.
    pub(crate) fn lines(&self) -> Option<Vec<(usize, &str)>> {
        let text = self.text.as_deref()?;
        let last = last_line(text, self.line);
        let lines = (1..).zip(text.lines()).skip(self.line.saturating_sub(1));
        Some(lines.take_while(|(number, _)| *number <= last).collect())
    }

    /// The comment right above the function, without its dashes.
    pub(crate) fn comment(&self) -> Option<String> {
        let text = self.text.as_deref()?;
        let above: Vec<_> = text.lines().take(self.line.saturating_sub(1)).collect();
        let comment = above.iter().rev().map_while(|line| line.trim().strip_prefix("--"));
        let mut comment: Vec<_> = comment.map(str::trim).collect();
        comment.reverse();
        (!comment.is_empty()).then(|| comment.join("\n"))
    }
}

/// The file and the line where a function of a script begins; none of the host's.
pub(crate) fn place(function: &Function) -> Option<(String, usize)> {
    let info = function.info();
    let source = info.source?;
    let file = file_of(source.as_bytes())?;
    Some((String::from_utf8_lossy(file).into_owned(), info.line_defined?))
}

/// The same in a word: `site.luau:12`.
pub(crate) fn origin_of(function: &Function) -> Option<Arc<str>> {
    place(function).map(|(file, line)| format!("{file}:{line}").into())
}

fn statement_text(function: &Function) -> Option<Arc<str>> {
    let surroundings = function.environment()?.metatable()?;
    let text = surroundings.raw_get::<mlua::LuaString>(STATEMENT_TEXT).ok()?;
    Some(text.to_string_lossy().into())
}
