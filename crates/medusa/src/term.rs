//! Writing to people: answers to stdout, notes to stderr, colour only where somebody sees it.
//!
//! **Invariants:** writing never fails for the caller. A closed pipe (`medusa status | head -1`) is nobody listening any
//! more, not an error; an answer that cannot be written for another reason is told at the end, by [`written`]. And nothing but our own colours steers a terminal, whatever a server or a script has to say: what
//! is hidden in a text is escaped in notes and errors, and in answers where a person sees them; a program gets them as
//! they are.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use medusa_proto::shown::Escaped;

/// Whether colour is wanted where there is a terminal. On until [`no_colour`].
static COLOUR: AtomicBool = AtomicBool::new(true);

/// Why an answer could not be written, the first time that was so.
static UNWRITTEN: OnceLock<io::Error> = OnceLock::new();

/// Forbids colour everywhere, for users that have set `NO_COLOR`.
pub(crate) fn no_colour() {
    COLOUR.store(false, Ordering::Relaxed);
}

/// Whether a person watches standard error.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether standard error takes colour.
pub(crate) fn stderr_has_colour() -> bool {
    stderr_is_terminal() && COLOUR.load(Ordering::Relaxed)
}

/// Whether standard output takes colour.
pub(crate) fn stdout_has_colour() -> bool {
    io::stdout().is_terminal() && COLOUR.load(Ordering::Relaxed)
}

/// The columns and rows of the terminal that standard output is.
pub(crate) fn stdout_size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// Writes what draws on the terminal that standard output is, or lines for a program. The texts in it have been escaped. Whether
/// anybody still listens.
pub(crate) fn draw(steps: &str) -> bool {
    write_answer(steps)
}

/// Writes a line to standard output.
pub(crate) fn answer(line: impl Display) {
    answer_text(&format!("{line}\n"));
}

/// Writes text that has its own newlines to standard output.
pub(crate) fn answer_text(text: &str) {
    if io::stdout().is_terminal() {
        write_answer(&escaped(text).to_string())
    } else {
        write_answer(text)
    };
}

/// Whether anybody still listens.
fn write_answer(text: &str) -> bool {
    let mut stdout = io::stdout().lock();
    note_written(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// Notes whether an answer could be written. Whether anybody still listens.
pub(crate) fn note_written(result: io::Result<()>) -> bool {
    let listens = result.is_ok();
    if let Err(error) = result
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        UNWRITTEN.get_or_init(|| error);
    }
    listens
}

/// Whether all answers could be written, as far as there was somebody to read them.
pub(crate) fn written() -> Result<(), String> {
    UNWRITTEN.get().map_or(Ok(()), |error| Err(format!("cannot write to standard output: {error}")))
}

/// Writes a line to standard output in three pieces, of which the middle one stands out. They have been escaped.
pub(crate) fn answer_marked([before, word, after]: &[String; 3], is_bad: bool) {
    let code = if is_bad { "1;31" } else { "1;36" };
    let word = Paint { code, text: word, on: stdout_has_colour() };
    write_answer(&format!("{before}{word}{after}\n"));
}

/// Writes a line to standard error, as a script's: what it prints beside an answer.
pub(crate) fn aside(line: &str) {
    let line = format!("{}\n", escaped(line));
    let _closed = io::stderr().lock().write_all(line.as_bytes());
}

/// Writes a line to standard error, as this program's: `medusa: ...`.
pub(crate) fn note(line: impl Display) {
    write_note(escaped(&line.to_string()));
}

/// The same with `painted` standing out in it.
pub(crate) fn note_bold(before: &str, painted: &str, after: &str) {
    let painted = Paint { code: "1", text: painted, on: stderr_has_colour() };
    write_note(format_args!("{}{painted}{}", escaped(before), escaped(after)));
}

fn write_note(line: impl Display) {
    let name = Paint { code: "2", text: "medusa:", on: stderr_has_colour() };
    // In one piece: the log writes there, too.
    let _closed = io::stderr().lock().write_all(format!("{name} {line}\n").as_bytes());
}

/// Writes an error to standard error: `medusa: ...`, its first line standing out.
pub(crate) fn error(message: impl Display) {
    let message = message.to_string();
    let (first, rest) = message.split_at(message.find('\n').unwrap_or(message.len()));
    let first = Paint { code: "1;31", text: first, on: stderr_has_colour() };
    write_note(format_args!("{first}{}", escaped(rest)));
}

const fn escaped(text: &str) -> Escaped<'_> {
    Escaped::lines(text, "")
}

struct Paint<'a> {
    code: &'static str,
    text: &'a str,
    on: bool,
}

impl Display for Paint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = escaped(self.text);
        if self.on { write!(f, "\x1b[{}m{text}\x1b[0m", self.code) } else { text.fmt(f) }
    }
}

/// Writes a status, shown as a tree, to standard output.
pub(crate) fn answer_tree(tree: &str) {
    if stdout_has_colour() {
        write_answer(&coloured_tree(tree));
    } else {
        answer_text(tree);
    }
}

/// The tree with its branches faint and the kinds of its objects bold.
fn coloured_tree(tree: &str) -> String {
    let mut text = String::with_capacity(tree.len() * 2);
    for line in tree.lines() {
        let (branches, rest) = line.split_at(line.find(|c| !"│├└─ ".contains(c)).unwrap_or(0));
        let is_object = branches.is_empty() || branches.ends_with("─ ");
        let (word, value) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
        let code = if is_object { "1;36" } else { "2" };
        if !branches.is_empty() {
            text.push_str(&Paint { code: "2", text: branches, on: true }.to_string());
        }
        text.push_str(&Paint { code, text: word, on: true }.to_string());
        text.push_str(&escaped(value).to_string());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_colours_reach_a_terminal() {
        let tree = "site\u{1b}[2J a\u{1b}b\n\u{9b}31m c\n";
        let coloured = coloured_tree(tree);
        for code in ["\x1b[1;36m", "\x1b[2m", "\x1b[0m"] {
            assert!(!coloured.replace(code, "").contains("\x1b[2J"), "{coloured:?}");
        }
        assert!(coloured.contains(r"\u{1b}[2J") && coloured.contains(r" a\u{1b}b"), "{coloured:?}");
        assert!(!coloured.contains('\u{9b}'));
    }

    #[test]
    fn a_coloured_tree_is_the_same_text() {
        let tree = "site\n│  by  me\n└─ http web\n      listen  127.0.0.1:80\n";
        let coloured = coloured_tree(tree);
        assert!(coloured.starts_with("\x1b[1;36msite\x1b[0m\n"));
        assert!(coloured.contains("\x1b[2m└─ \x1b[0m\x1b[1;36mhttp\x1b[0m web\n"), "{coloured:?}");
        let mut plain = coloured;
        for code in ["\x1b[1;36m", "\x1b[2m", "\x1b[0m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, tree);
    }
}
