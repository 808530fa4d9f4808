//! A prompt that is edited: bytes of a terminal in, bytes for a terminal out.
//!
//! It has no terminal, no clock and no threads, so that every front end uses the same one, and tests too. What is at the
//! terminal's end of the bytes may be anything that knows the escape sequences all terminals share, or nothing but
//! printing (`TERM=dumb`).
//!
//! - [`keys`]: what was typed; [`mod@line`]: what it makes of the text; [`history`]: what was typed before;
//! - [`screen`]: rows that are redrawn; [`echo`]: the same where nothing can be; [`cells`]: how wide things are;
//! - [`highlight`], [`complete`], [`pager`]: what they are called.
//!
//! ```text
//! prompt() ──► editing ──Enter──► Submit ──► the statement runs ──► prompt(), or more() if it was not complete
//!                │  ▲ ──Tab──► Complete ──► complete()     │
//!                └──┘                                      └─ print(), page(); Ctrl-C: Interrupt
//! ```
//!
//! **Invariants:** what is typed while nothing is edited waits, in order, so that when bytes arrive changes nothing; but
//! where keys take long, Ctrl-C does not wait for those before it. What is kept is bounded: text by [`mod@line`], keys that
//! wait by [`MAX_KEYS`], rows by the screen; and so is what is done at a time, by [`STEP`]. Nothing shown steers the
//! terminal.

mod cells;
mod complete;
mod echo;
mod highlight;
mod history;
mod keys;
mod line;
mod pager;
mod screen;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use medusa_proto::shown::Escaped;

pub use complete::Candidate;
pub use history::History;
pub use screen::Size;

use echo::Echo;
use keys::{Key, KeyParser};
use line::{Line, MAX_LINE};
use pager::Pager;
use screen::{Screen, View};

/// How many keys wait while a statement runs. Of more, none is taken: half of what was pasted is nobody's wish.
pub const MAX_KEYS: usize = 4 * MAX_LINE;
/// How much is done at a time, as [`weight`](Terminal::weight) has it: a millisecond or two, for others wait meanwhile.
const STEP: usize = 2 * MAX_LINE;
/// What any key weighs.
const KEY: usize = 64;
/// The time within which who is asked what may stand somewhere has to answer: after that it is nothing, and what was typed
/// meanwhile goes on.
pub const COMPLETE_WITHIN: Duration = Duration::from_secs(5);
/// The longest prompt, in bytes.
const MAX_PROMPT: usize = 1024;
/// The longest text that is searched for, in bytes.
const MAX_QUERY: usize = 256;
/// What Tab inserts where no word can be.
const INDENT: &str = "    ";

/// What is known of a terminal.
#[derive(Debug, Clone, Copy)]
pub struct TerminalKind<'a> {
    /// Its `$TERM`.
    pub term: &'a str,
    /// Whether colour is wanted.
    pub colour: bool,
    /// Its size.
    pub size: Size,
}

impl TerminalKind<'_> {
    /// Whether it can do nothing but print.
    pub fn is_dumb(&self) -> bool {
        matches!(self.term, "" | "dumb" | "unknown" | "emacs")
    }

    /// Whether it breaks rows anew when its width changes. Those that do not call themselves by old names; to take one for
    /// the other leaves a row too many, or takes one, where a long line is edited while the screen becomes narrower.
    fn reflows(&self) -> bool {
        let old = ["xterm", "linux", "ansi", "vt", "putty", "rxvt", "cygwin"];
        !old.iter().any(|name| self.term == *name || (self.term.starts_with(name) && *name != "xterm"))
    }
}

/// What the person at the terminal wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// To run this. Answered with [`Terminal::prompt`] when it is done, or [`Terminal::more`] when it is not complete.
    Submit(String),
    /// To end what is running.
    Interrupt,
    /// To leave.
    Leave,
    /// To know what may stand at byte `at` of the text. Answered with [`Terminal::complete`], if only with nothing:
    /// until then, keys wait.
    Complete {
        /// The text.
        line: String,
        /// Where the cursor is.
        at: usize,
    },
    /// That others have their turn: more was typed than is done at a time. Answered with the next [`Terminal::step`].
    Pause,
}

/// A prompt on a terminal.
pub struct Terminal {
    face: Face,
    parser: KeyParser,
    keys: VecDeque<Key>,
    /// How many of them are Ctrl-C.
    interrupts: usize,
    /// Whether keys found no room.
    dropped: bool,
    /// Whether keys wait that could be obeyed.
    behind: bool,
    mode: Mode,
    /// Whether the text is what is at work.
    submitted: bool,
    prompt: String,
    line: Line,
    history: History,
    /// What is added to it when what runs is over.
    recalled: Option<String>,
    /// The number of the entry that is shown, and what was typed before.
    browsed: Option<(usize, String)>,
    search: Search,
    /// Rows under the text.
    below: Vec<(String, usize)>,
}

impl fmt::Debug for Terminal {
    /// Without what was typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal").field("mode", &self.mode).finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Face {
    Drawn(Screen),
    Dumb(Echo),
}

#[derive(Debug)]
enum Mode {
    /// Something else is at work.
    Busy,
    Editing,
    Completing,
    Searching,
    /// With the prompt that is to come after it.
    Paging(Pager, Option<String>),
}

#[derive(Debug, Default)]
struct Search {
    query: String,
    /// The number of the entry that is shown, and where in it.
    hit: Option<(usize, usize)>,
    missed: bool,
}

impl Terminal {
    /// A terminal on which nothing is shown, until [`prompt`](Self::prompt).
    pub fn new(kind: TerminalKind<'_>, history: History) -> Self {
        let face = if kind.is_dumb() {
            Face::Dumb(Echo::default())
        } else {
            Face::Drawn(Screen::new(kind.size, kind.colour, kind.reflows()))
        };
        Self {
            face,
            parser: KeyParser::default(),
            keys: VecDeque::new(),
            interrupts: 0,
            dropped: false,
            behind: false,
            mode: Mode::Busy,
            submitted: false,
            prompt: String::new(),
            line: Line::default(),
            history,
            recalled: None,
            browsed: None,
            search: Search::default(),
            below: Vec::new(),
        }
    }

    /// The history, to save it.
    pub fn history(&mut self) -> &mut History {
        &mut self.history
    }

    /// Takes what came from the terminal. What it does is up to [`step`](Self::step).
    pub fn feed(&mut self, bytes: &[u8]) {
        self.parser.feed(bytes, |key| {
            let interrupt = key == Key::Interrupt;
            if self.keys.len() >= MAX_KEYS || (self.dropped && !interrupt) {
                self.dropped = true;
                self.keys.clear();
                self.interrupts = self.interrupts.min(1);
                self.keys.extend((self.interrupts > 0).then_some(Key::Interrupt));
                if !interrupt {
                    return;
                }
            }
            self.interrupts += usize::from(interrupt);
            self.keys.push_back(key);
        });
    }

    /// Does what was typed, up to the next thing that is not this module's to do. Called after everything else here until
    /// it returns none.
    pub fn step(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        let is_busy = matches!(self.mode, Mode::Busy | Mode::Completing);
        if std::mem::take(&mut self.behind)
            && !is_busy
            && self.take_interrupt()
            && let Some(action) = self.press(Key::Interrupt, out)
        {
            return Some(action);
        }
        let mut room = STEP;
        loop {
            match self.mode {
                Mode::Busy => return self.take_interrupt().then_some(Action::Interrupt),
                Mode::Completing => {
                    if !self.take_interrupt() {
                        return None;
                    }
                    self.mode = Mode::Editing;
                }
                _ => {}
            }
            if room == 0 && !self.keys.is_empty() {
                self.behind = true;
                return Some(Action::Pause);
            }
            let Some(key) = self.keys.pop_front() else {
                self.tell_dropped(out);
                self.draw(out);
                return None;
            };
            self.interrupts -= usize::from(key == Key::Interrupt);
            let before = self.weight();
            if let Some(action) = self.press(key, out) {
                return Some(action);
            }
            room = room.saturating_sub(before.max(self.weight()));
        }
    }

    /// How long a key may take, in bytes that it goes through one by one: most go through a row, which may be all of the
    /// text. To search them is faster.
    fn weight(&self) -> usize {
        let searched = if matches!(self.mode, Mode::Searching) { self.history.bytes() / 16 } else { 0 };
        KEY + self.line.text().len() + searched
    }

    /// Whether Ctrl-C waits among what was typed.
    pub fn is_interrupted(&self) -> bool {
        self.interrupts > 0
    }

    /// Whether Ctrl-C was typed. What was typed before it is gone with it.
    fn take_interrupt(&mut self) -> bool {
        if self.interrupts == 0 {
            return false;
        }
        self.interrupts -= 1;
        while self.keys.pop_front().is_some_and(|key| key != Key::Interrupt) {}
        true
    }

    fn tell_dropped(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.dropped) {
            self.print(
                &format!("what was typed meanwhile was more than {MAX_KEYS} characters, and is left out"),
                out,
            );
        }
    }

    /// Has the next prompt have a text for the last that was typed.
    pub fn recall(&mut self, text: String, out: &mut Vec<u8>) {
        self.print(
            "* what was begun is given up: its statements are the last entry of the history, as one",
            out,
        );
        self.recalled = Some(text);
    }

    /// Asks for a statement. One that is asked for already goes on, behind the new prompt.
    pub fn prompt(&mut self, prompt: &str, out: &mut Vec<u8>) {
        let prompt = prompt.get(..prompt.floor_char_boundary(MAX_PROMPT)).unwrap_or_default();
        match &mut self.mode {
            Mode::Paging(_, next) => {
                *next = Some(prompt.to_owned());
                return;
            }
            Mode::Busy => {
                let text = self.line.take();
                if self.submitted {
                    self.history.add(&text);
                }
                self.history.add(&self.recalled.take().unwrap_or_default());
                self.forget();
                self.begin(out);
            }
            _ => {}
        }
        prompt.clone_into(&mut self.prompt);
        self.draw(out);
    }

    /// Has the prompt say something else, where that is no more than drawing it again.
    pub fn reprompt(&mut self, prompt: &str, out: &mut Vec<u8>) {
        if !matches!(self.mode, Mode::Busy | Mode::Paging(_, None)) && matches!(self.face, Face::Drawn(_)) {
            self.prompt(prompt, out);
        }
    }

    /// Asks for another line of what was submitted: all of it is edited again.
    pub fn more(&mut self, out: &mut Vec<u8>) {
        if matches!(self.mode, Mode::Busy) && self.submitted {
            self.line.insert("\n");
            self.begin(out);
            let (prompt, text) = (&self.prompt, self.line.text());
            if let Face::Dumb(echo) = &mut self.face {
                echo.resume(View { prompt, text, cursor: text.len(), below: &[] }, out);
            }
            self.draw(out);
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        self.mode = Mode::Editing;
        self.submitted = false;
        self.browsed = None;
        self.paste_mode(true, out);
    }

    /// Writes lines, above a prompt if there is one.
    pub fn print(&mut self, text: &str, out: &mut Vec<u8>) {
        let lines = Escaped::lines(text.strip_suffix('\n').unwrap_or(text), "").to_string();
        self.write(&lines.replace('\n', "\r\n"), out);
        if !matches!(self.mode, Mode::Busy) {
            self.draw(out);
        }
    }

    fn write(&mut self, lines: &str, out: &mut Vec<u8>) {
        let busy = matches!(self.mode, Mode::Busy);
        match &mut self.face {
            Face::Drawn(screen) if busy => screen.forget(),
            Face::Drawn(screen) => screen.erase(out),
            Face::Dumb(echo) => echo.leave(out),
        }
        out.extend_from_slice(lines.as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    /// Writes what may be long: where it does not fit the screen, a screen at a time.
    pub fn page(&mut self, text: &str, out: &mut Vec<u8>) {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let pager = Pager::new(text.to_owned());
        match &mut self.face {
            Face::Drawn(screen)
                if matches!(self.mode, Mode::Busy) && !pager.fits(screen.rows(), screen.columns()) =>
            {
                screen.forget();
                self.mode = Mode::Paging(pager, None);
                self.turn(usize::MAX, out);
            }
            _ => self.print(text, out),
        }
    }

    /// Shows up to `rows` more rows, at most a screen; ends paging when there are no more, or none are wanted.
    fn turn(&mut self, rows: usize, out: &mut Vec<u8>) {
        let (Face::Drawn(screen), Mode::Paging(pager, next)) = (&mut self.face, &mut self.mode) else {
            return;
        };
        screen.erase(out);
        let screenful = screen.rows().saturating_sub(1).max(1);
        for row in pager.rows(rows.min(screenful), screen.columns()) {
            out.extend_from_slice(row.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        if pager.is_done() || rows == 0 {
            let next = next.take();
            self.mode = Mode::Busy;
            if let Some(prompt) = next {
                self.prompt(&prompt, out);
            }
        }
    }

    /// Says what may stand in the place of the text from byte `from` to the cursor.
    pub fn complete(&mut self, from: usize, candidates: &[Candidate], out: &mut Vec<u8>) {
        if !matches!(self.mode, Mode::Completing) {
            return;
        }
        self.mode = Mode::Editing;
        let common = complete::common(candidates);
        if let Some(word) = self.line.text().get(from..self.line.cursor())
            && (common.len() > word.len() || (candidates.len() == 1 && common != word))
        {
            self.line.put(from..self.line.cursor(), common);
        }
        if let (Face::Drawn(screen), [_, ..]) = (&self.face, candidates) {
            let room = screen.room_below(&self.prompt, self.line.text());
            self.below = complete::list(candidates, screen.columns(), room);
        }
        self.draw(out);
    }

    /// Takes the terminal's new size.
    pub fn resize(&mut self, size: Size, out: &mut Vec<u8>) {
        self.below.clear();
        if let Face::Drawn(screen) = &mut self.face {
            if matches!(self.mode, Mode::Busy) {
                screen.forget();
            }
            screen.resize(size, out);
        }
        self.draw(out);
    }

    /// Leaves the terminal as it was found, with the cursor at the beginning of a row.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if !matches!(self.mode, Mode::Busy) {
            self.below.clear();
            self.draw(out);
            self.leave(out);
        }
    }

    /// Ends editing, below the text.
    fn leave(&mut self, out: &mut Vec<u8>) {
        match &mut self.face {
            Face::Drawn(screen) => screen.leave(out),
            Face::Dumb(echo) => echo.leave(out),
        }
        self.paste_mode(false, out);
        self.mode = Mode::Busy;
    }

    fn paste_mode(&self, on: bool, out: &mut Vec<u8>) {
        if let Face::Drawn(_) = self.face {
            out.extend_from_slice(if on { b"\x1b[?2004h" } else { b"\x1b[?2004l" });
        }
    }

    fn forget(&mut self) {
        if let Face::Drawn(screen) = &mut self.face {
            screen.forget();
        }
    }

    fn draw(&mut self, out: &mut Vec<u8>) {
        let found = self.search.hit.and_then(|(number, at)| Some((self.history.get(number)?, at)));
        let (text, cursor) = match self.mode {
            Mode::Busy => return,
            Mode::Paging(..) => ("", 0),
            Mode::Searching => found.unwrap_or((self.line.text(), self.line.cursor())),
            Mode::Editing | Mode::Completing => (self.line.text(), self.line.cursor()),
        };
        let asked;
        let prompt = match self.mode {
            Mode::Paging(..) => pager::STATUS,
            Mode::Searching => {
                let word = if self.search.missed { "no more" } else { "search" };
                asked = format!("({word}) `{}': ", self.search.query);
                &asked
            }
            _ => &self.prompt,
        };
        let view = View { prompt, text, cursor, below: &self.below };
        match &mut self.face {
            Face::Drawn(screen) => screen.show(view, out),
            Face::Dumb(echo) => echo.show(view, out),
        }
    }

    fn press(&mut self, key: Key, out: &mut Vec<u8>) -> Option<Action> {
        self.below.clear();
        match self.mode {
            Mode::Paging(..) => {
                match key {
                    Key::Enter | Key::Down | Key::Next => self.turn(1, out),
                    Key::Char('q' | 'Q') | Key::Interrupt | Key::EndOfInput | Key::Cancel => {
                        self.turn(0, out);
                    }
                    Key::Char(' ') => self.turn(usize::MAX, out),
                    _ => {}
                }
                None
            }
            Mode::Searching => {
                if self.seek(key) {
                    return None;
                }
                self.edit(key, out)
            }
            _ => self.edit(key, out),
        }
    }

    /// What a key means in a search; false if it ends it and is to be obeyed itself.
    fn seek(&mut self, key: Key) -> bool {
        let newest = self.history.len();
        let current = self.search.hit.map_or(newest, |(number, _)| number);
        let before = match key {
            Key::Search => current,
            Key::Char(c) if self.search.query.len() < MAX_QUERY => {
                self.search.query.push(c);
                current + 1
            }
            Key::Char(_) => return true,
            Key::Backspace => {
                self.search.query.pop();
                newest
            }
            Key::Interrupt | Key::Cancel => {
                self.mode = Mode::Editing;
                return true;
            }
            _ => {
                self.mode = Mode::Editing;
                if let Some((number, at)) = self.search.hit.take()
                    && let Some(entry) = self.history.get(number)
                {
                    self.line.set(entry);
                    self.line.go(at);
                }
                return false;
            }
        };
        if self.search.query.is_empty() {
            self.search.hit = None;
            self.search.missed = false;
            return true;
        }
        let hit = self.history.find(&self.search.query, before);
        self.search.missed = hit.is_none();
        self.search.hit = hit.or(self.search.hit);
        true
    }

    fn edit(&mut self, key: Key, out: &mut Vec<u8>) -> Option<Action> {
        if matches!(self.face, Face::Dumb(_)) && self.line.cursor() < self.line.text().len() {
            self.line.finish();
        }
        match key {
            Key::Char(c) => self.insert(c),
            Key::Enter => return self.submit(out),
            Key::Tab => return self.ask(out),
            Key::Interrupt => self.abandon(out),
            Key::EndOfInput if self.line.text().is_empty() => {
                self.draw(out);
                self.leave(out);
                return Some(Action::Leave);
            }
            Key::Search if self.line.is_cut() => {}
            Key::Search => {
                self.search = Search::default();
                self.mode = Mode::Searching;
            }
            Key::Clear => {
                if let Face::Drawn(screen) = &mut self.face {
                    screen.clear(out);
                }
            }
            Key::Up | Key::Previous => {
                if !self.line.up() {
                    self.browse(false);
                }
            }
            Key::Down | Key::Next => {
                if !self.line.down() {
                    self.browse(true);
                }
            }
            Key::Left => self.line.left(),
            Key::Right => self.line.right(),
            Key::WordLeft => self.line.word_left(),
            Key::WordRight => self.line.word_right(),
            Key::Home => self.line.home(),
            Key::End => self.line.end(),
            Key::Backspace => self.line.backspace(),
            Key::Delete | Key::EndOfInput => self.line.delete(),
            Key::KillToStart => self.line.kill_to_start(),
            Key::KillToEnd => self.line.kill_to_end(),
            Key::KillWordLeft => self.line.kill_word_left(),
            Key::KillBlankWordLeft => self.line.kill_blank_word_left(),
            Key::KillWordRight => self.line.kill_word_right(),
            Key::Yank => self.line.yank(),
            Key::Undo => self.line.undo(),
            Key::Transpose => self.line.transpose(),
            Key::Cancel => {}
        }
        None
    }

    /// Inserts a character, and those that wait behind it: one by one, a paste would take its time.
    fn insert(&mut self, first: char) {
        let mut text = String::from(first);
        while let Some(&Key::Char(c)) = self.keys.front() {
            text.push(c);
            self.keys.pop_front();
        }
        self.line.insert(&text);
    }

    fn submit(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        if self.line.is_cut() {
            let most =
                format!("a statement may have {MAX_LINE} bytes: what is here is not all that was typed");
            self.print(&format!("{most}; Ctrl-C throws it away"), out);
            return None;
        }
        self.line.finish();
        self.draw(out);
        self.leave(out);
        if self.line.text().trim().is_empty() {
            self.line.take();
            self.forget();
            self.begin(out);
            return None;
        }
        self.submitted = true;
        Some(Action::Submit(self.line.text().to_owned()))
    }

    fn abandon(&mut self, out: &mut Vec<u8>) {
        self.line.finish();
        self.draw(out);
        out.extend_from_slice(b"^C");
        self.leave(out);
        self.line.take();
        self.forget();
        self.begin(out);
    }

    fn ask(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        let (start, at) = (self.line.line_start(), self.line.cursor());
        if start > 0 && self.line.text().get(start..at).is_some_and(|text| text.trim().is_empty()) {
            self.line.insert(INDENT);
            return None;
        }
        self.draw(out);
        self.mode = Mode::Completing;
        Some(Action::Complete { line: self.line.text().to_owned(), at })
    }

    /// Shows the entry before or after the one that is shown; after the newest, what was typed.
    fn browse(&mut self, newer: bool) {
        let number = self.browsed.as_ref().map_or(self.history.len(), |(number, _)| *number);
        let wanted = if newer { number.checked_add(1) } else { number.checked_sub(1) };
        let (Some(wanted), false) = (wanted, self.line.is_cut()) else { return };
        if let Some(entry) = self.history.get(wanted) {
            let typed = self.browsed.take().map_or_else(|| self.line.text().to_owned(), |(_, typed)| typed);
            self.browsed = Some((wanted, typed));
            self.line.set(entry);
        } else if let Some((_, typed)) = self.browsed.take() {
            self.line.set(&typed);
        }
    }
}
