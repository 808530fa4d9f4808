//! The text that is edited, and where in it.
//!
//! **Invariants:** it has at most [`MAX_LINE`] bytes, and once something was left out for that, it is *cut* until it is
//! empty again: nobody may run half of what was pasted. The cursor is between two characters; it moves by grapheme
//! clusters.

use std::ops::Range;

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

/// The longest text, in bytes. What is longer comes from a file; and at each key all of it may be gone through.
pub(super) const MAX_LINE: usize = 64 * 1024;
/// How many bytes of edits can be undone, and how many edits. Beyond it the oldest are forgotten.
const MAX_UNDO_BYTES: usize = 2 * MAX_LINE;
const MAX_EDITS: usize = 1000;

/// The text.
#[derive(Debug, Default)]
pub(super) struct Line {
    text: String,
    cursor: usize,
    killed: String,
    edits: Vec<Edit>,
    edit_bytes: usize,
    last: Last,
    cut: bool,
}

/// What the key before was: of several in a row one edit, or one text that was killed, is made.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Last {
    Insert,
    Kill,
    #[default]
    Other,
}

#[derive(Debug)]
struct Edit {
    at: usize,
    removed: String,
    /// How many bytes took its place.
    inserted: usize,
    cursor: usize,
}

impl Line {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn cursor(&self) -> usize {
        self.cursor
    }

    /// Whether something had to be left out.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Takes the text away: what follows is a new one. What was killed stays.
    pub(super) fn take(&mut self) -> String {
        let killed = std::mem::take(&mut self.killed);
        let text = std::mem::take(self).text;
        self.killed = killed;
        text
    }

    /// Puts another text in its place, with the cursor at its end. This can be undone.
    pub(super) fn set(&mut self, text: &str) {
        self.replace(0..self.text.len(), text);
        self.last = Last::Other;
    }

    /// Puts text in the place of what is in `range`, with the cursor behind it.
    pub(super) fn put(&mut self, range: Range<usize>, text: &str) {
        self.replace(range, text);
        self.last = Last::Other;
    }

    /// Inserts text at the cursor. What finds no room is left out.
    pub(super) fn insert(&mut self, text: &str) {
        let again = self.last == Last::Insert;
        if self.replace(self.cursor..self.cursor, text) && again && self.edits.len() > 1 {
            let inserted = self.edits.pop().map_or(0, |edit| edit.inserted);
            if let Some(edit) = self.edits.last_mut() {
                edit.inserted += inserted;
            }
            self.edit_bytes -= std::mem::size_of::<Edit>();
        }
        self.last = Last::Insert;
    }

    /// Whether anything changed.
    fn replace(&mut self, range: Range<usize>, text: &str) -> bool {
        let Some(old) = self.text.get(range.clone()) else { return false };
        let room = if self.cut { 0 } else { MAX_LINE - (self.text.len() - old.len()) };
        let fits = text.get(..text.floor_char_boundary(room)).unwrap_or_default();
        self.cut |= fits.len() < text.len();
        if old.is_empty() && fits.is_empty() {
            return false;
        }
        let edit =
            Edit { at: range.start, removed: old.to_owned(), inserted: fits.len(), cursor: self.cursor };
        self.edit_bytes += edit.removed.len() + std::mem::size_of::<Edit>();
        self.edits.push(edit);
        while self.edit_bytes > MAX_UNDO_BYTES || self.edits.len() > MAX_EDITS {
            self.edit_bytes -= self.edits.remove(0).removed.len() + std::mem::size_of::<Edit>();
        }
        self.text.replace_range(range.clone(), fits);
        self.cursor = range.start + fits.len();
        self.settle();
        true
    }

    pub(super) fn undo(&mut self) {
        self.last = Last::Other;
        let Some(edit) = self.edits.pop() else { return };
        self.edit_bytes -= edit.removed.len() + std::mem::size_of::<Edit>();
        self.text.replace_range(edit.at..edit.at + edit.inserted, &edit.removed);
        self.cursor = edit.cursor;
        self.settle();
    }

    /// Once what was cut is gone, nothing brings it back.
    fn settle(&mut self) {
        if self.cut && self.text.is_empty() {
            *self = Self::default();
        }
    }

    fn before(&self) -> usize {
        let mut cursor = GraphemeCursor::new(self.cursor, self.text.len(), true);
        cursor.prev_boundary(&self.text, 0).ok().flatten().unwrap_or(0)
    }

    fn after(&self) -> usize {
        let mut cursor = GraphemeCursor::new(self.cursor, self.text.len(), true);
        cursor.next_boundary(&self.text, 0).ok().flatten().unwrap_or(self.text.len())
    }

    fn head(&self) -> &str {
        self.text.get(..self.cursor).unwrap_or_default()
    }

    fn tail(&self) -> &str {
        self.text.get(self.cursor..).unwrap_or_default()
    }

    /// Where the line that the cursor is in begins.
    pub(super) fn line_start(&self) -> usize {
        self.head().rfind('\n').map_or(0, |at| at + 1)
    }

    fn line_end(&self) -> usize {
        self.tail().find('\n').map_or(self.text.len(), |at| self.cursor + at)
    }

    fn word_before(&self, in_word: impl Fn(char) -> bool + Copy) -> usize {
        self.head().trim_end_matches(|c| !in_word(c)).trim_end_matches(in_word).len()
    }

    fn word_after(&self) -> usize {
        let rest = self.tail().trim_start_matches(|c| !in_word(c)).trim_start_matches(in_word);
        self.text.len() - rest.len()
    }

    /// To byte `to`, which is between two characters.
    pub(super) fn go(&mut self, to: usize) {
        self.cursor = to;
        self.last = Last::Other;
    }

    pub(super) fn left(&mut self) {
        self.go(self.before());
    }

    pub(super) fn right(&mut self) {
        self.go(self.after());
    }

    pub(super) fn word_left(&mut self) {
        self.go(self.word_before(in_word));
    }

    pub(super) fn word_right(&mut self) {
        self.go(self.word_after());
    }

    pub(super) fn home(&mut self) {
        self.go(self.line_start());
    }

    pub(super) fn end(&mut self) {
        self.go(self.line_end());
    }

    /// To the end of the last line.
    pub(super) fn finish(&mut self) {
        self.go(self.text.len());
    }

    /// To the line above; whether there is one.
    pub(super) fn up(&mut self) -> bool {
        let start = self.line_start();
        let Some(end) = start.checked_sub(1) else { return false };
        let above = self.text.get(..end).unwrap_or_default().rfind('\n').map_or(0, |at| at + 1);
        self.go_to_column(above..end, start);
        true
    }

    /// To the line below; whether there is one.
    pub(super) fn down(&mut self) -> bool {
        let start = self.line_end() + 1;
        let Some(below) = self.text.get(start..) else { return false };
        let end = below.find('\n').map_or(self.text.len(), |at| start + at);
        self.go_to_column(start..end, self.line_start());
        true
    }

    /// Goes to as many characters into `line` as the cursor is behind `start`.
    fn go_to_column(&mut self, line: Range<usize>, start: usize) {
        let column = self.text.get(start..self.cursor).unwrap_or_default().graphemes(true).count();
        let text = self.text.get(line.clone()).unwrap_or_default();
        let at = text.grapheme_indices(true).nth(column).map_or(text.len(), |(at, _)| at);
        self.go(line.start + at);
    }

    pub(super) fn backspace(&mut self) {
        self.put(self.before()..self.cursor, "");
    }

    pub(super) fn delete(&mut self) {
        self.put(self.cursor..self.after(), "");
    }

    fn kill(&mut self, range: Range<usize>) {
        let text = self.text.get(range.clone()).unwrap_or_default().to_owned();
        if self.last != Last::Kill {
            self.killed.clear();
        }
        let at = if range.end == self.cursor { 0 } else { self.killed.len() };
        self.killed.insert_str(at, &text);
        self.last = Last::Kill;
        self.replace(range, "");
    }

    /// To the line's beginning; from there, the line break before it.
    pub(super) fn kill_to_start(&mut self) {
        let start = self.line_start();
        self.kill(start.min(self.before())..self.cursor);
    }

    /// To the line's end; from there, the line break.
    pub(super) fn kill_to_end(&mut self) {
        let end = self.line_end();
        self.kill(self.cursor..end.max(self.after()));
    }

    pub(super) fn kill_word_left(&mut self) {
        self.kill(self.word_before(in_word)..self.cursor);
    }

    pub(super) fn kill_blank_word_left(&mut self) {
        self.kill(self.word_before(|c| !c.is_whitespace())..self.cursor);
    }

    pub(super) fn kill_word_right(&mut self) {
        self.kill(self.cursor..self.word_after());
    }

    pub(super) fn yank(&mut self) {
        let text = std::mem::take(&mut self.killed);
        self.put(self.cursor..self.cursor, &text);
        self.killed = text;
    }

    /// Swaps the two characters before the cursor, or at the end of a line around it.
    pub(super) fn transpose(&mut self) {
        let cursor = self.cursor;
        if cursor != self.line_end() {
            self.right();
        }
        let end = self.cursor;
        self.left();
        let middle = self.cursor;
        self.left();
        let start = self.cursor;
        let part = |range: Range<usize>| self.text.get(range).unwrap_or_default();
        let swapped = format!("{}{}", part(middle..end), part(start..middle));
        self.cursor = cursor;
        if start < middle && !swapped.contains('\n') {
            self.put(start..end, &swapped);
        }
    }
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        let mut line = Line::default();
        line.insert(text);
        line
    }

    #[test]
    fn characters_are_what_people_call_so() {
        let mut line = line("e\u{301}👨\u{200d}👩\u{200d}👧世");
        for left in ["e\u{301}👨\u{200d}👩\u{200d}👧", "e\u{301}", "", ""] {
            line.backspace();
            assert_eq!(line.text(), left);
        }
        line.undo();
        assert_eq!(line.text(), "e\u{301}");
        line.left();
        assert_eq!(line.cursor(), 0);
        line.delete();
        assert_eq!(line.text(), "");
    }

    #[test]
    fn words_are_killed_together_and_come_back_together() {
        let mut line = line("web:mount f)");
        line.kill_blank_word_left();
        line.kill_word_left();
        assert_eq!(line.text(), "web:");
        line.home();
        line.yank();
        assert_eq!(line.text(), "mount f)web:");
        line.home();
        line.kill_word_right();
        line.kill_to_end();
        line.yank();
        line.yank();
        assert_eq!(line.text(), "mount f)web:mount f)web:");
    }

    #[test]
    fn lines_are_moved_through_and_joined() {
        let mut line = line("one\ntwo three\n4");
        assert!(line.up() && line.up() && !line.up());
        assert_eq!(line.cursor(), 1);
        assert!(line.down() && line.down() && !line.down());
        line.kill_to_start();
        line.kill_to_start();
        assert_eq!(line.text(), "one\ntwo three");
        line.up();
        line.kill_to_end();
        assert_eq!(line.text(), "onetwo three");
    }

    #[test]
    fn what_was_typed_in_one_go_is_undone_in_one() {
        let mut line = line("a");
        line.insert("b");
        line.left();
        line.insert("x");
        line.transpose();
        assert_eq!(line.text(), "axb".chars().rev().collect::<String>().replace("bxa", "abx"));
        for text in ["axb", "ab", "", ""] {
            line.undo();
            assert_eq!(line.text(), text);
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_stays_so_until_it_is_gone() {
        let mut line = line(&"x".repeat(MAX_LINE - 1));
        line.insert("é");
        assert!(line.is_cut() && line.text().len() == MAX_LINE - 1);
        line.insert("y");
        assert!(line.text().len() == MAX_LINE - 1, "what comes behind a gap is not taken either");
        line.backspace();
        assert!(line.is_cut());
        line.kill_to_start();
        assert!(!line.is_cut() && line.text().is_empty());
        line.yank();
        (0..4).for_each(|_| line.undo());
        assert_eq!(line.text(), "");
        (0..5000).for_each(|n| line.put(0..line.text().len(), &n.to_string()));
        assert!(line.edits.len() <= MAX_EDITS && line.edit_bytes <= MAX_UNDO_BYTES);
    }
}
