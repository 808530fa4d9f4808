//! What was run before, to be found and run again.
//!
//! Kept as text, an entry a line; a line break in one is `\n`, a backslash `\\`.
//!
//! **Invariant:** a line that begins with a space is not kept anywhere: that is for secrets.

use std::collections::VecDeque;
use std::fmt;

/// How many entries are kept, and how many bytes of them; the oldest go first.
const MAX_ENTRIES: usize = 1000;
const MAX_BYTES: usize = 1024 * 1024;
/// The longest entry. What is longer came from a file, and is there.
const MAX_ENTRY: usize = 64 * 1024;

/// The entries, oldest first.
#[derive(Default)]
pub struct History {
    entries: VecDeque<String>,
    bytes: usize,
    /// How many of the last are not saved.
    unsaved: usize,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

impl History {
    /// The history that was saved as `text`.
    pub fn from_text(text: &str) -> Self {
        let mut history = Self::default();
        for line in text.lines() {
            history.add(&unescape(line));
        }
        history.unsaved = 0;
        history
    }

    /// All of it, to be saved.
    pub fn to_text(&self) -> String {
        self.entries.iter().map(|entry| escape(entry)).collect()
    }

    /// What was not taken yet, to be appended to what was saved.
    pub fn take_unsaved(&mut self) -> String {
        let saved = self.entries.len() - std::mem::take(&mut self.unsaved);
        self.entries.iter().skip(saved).map(|entry| escape(entry)).collect()
    }

    /// Adds an entry, unless it is the last one again, blank, secret, or long.
    pub(super) fn add(&mut self, entry: &str) {
        let entry = entry.trim_end();
        let again = self.entries.back().is_some_and(|last| last == entry);
        if again || entry.is_empty() || entry.starts_with(' ') || entry.len() > MAX_ENTRY {
            return;
        }
        self.bytes += entry.len();
        self.entries.push_back(entry.to_owned());
        while self.entries.len() > MAX_ENTRIES || self.bytes > MAX_BYTES {
            self.bytes -= self.entries.pop_front().map_or(0, |entry| entry.len());
        }
        self.unsaved = (self.unsaved + 1).min(self.entries.len());
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How long they are together.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The entry with this number; 0 is the oldest.
    pub(super) fn get(&self, number: usize) -> Option<&str> {
        self.entries.get(number).map(String::as_str)
    }

    /// The newest entry before number `before` that has `text` in it, with its number, and where in it.
    pub(super) fn find(&self, text: &str, before: usize) -> Option<(usize, usize)> {
        let entries = self.entries.iter().enumerate().take(before).rev();
        entries.into_iter().find_map(|(number, entry)| Some((number, entry.find(text)?)))
    }
}

fn escape(entry: &str) -> String {
    let mut line = entry.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
    line.push('\n');
    line
}

fn unescape(line: &str) -> String {
    let mut entry = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, chars.as_str().chars().next()) {
            ('\\', Some(escaped @ ('n' | 'r' | '\\'))) => {
                chars.next();
                entry.push(match escaped {
                    'n' => '\n',
                    'r' => '\r',
                    other => other,
                });
            }
            _ => entry.push(c),
        }
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_comes_back() {
        let mut history = History::default();
        for entry in
            ["a", "a", "for i = 1, 2 do\n\tprint('\\n')\r\nend\n", "", "   ", " secret()", "b\\", "a"]
        {
            history.add(entry);
        }
        assert_eq!(history.len(), 4);
        let again = History::from_text(&history.to_text());
        assert_eq!(again.entries, history.entries);
        assert_eq!(history.take_unsaved(), history.to_text());
        history.add("c");
        assert_eq!(history.take_unsaved(), "c\n");
        assert_eq!(history.take_unsaved(), "");
        assert!(!history.to_text().contains("secret"));
        assert_eq!(unescape(r"\x\"), r"\x\");
    }

    #[test]
    fn it_has_an_end() {
        let mut history = History::default();
        (0..3000).for_each(|n| history.add(&n.to_string()));
        assert_eq!((history.len(), history.get(0)), (MAX_ENTRIES, Some("2000")));
        (0..100).for_each(|n| history.add(&format!("{n}{}", "x".repeat(MAX_ENTRY - 8))));
        assert!(history.bytes <= MAX_BYTES && history.len() < 20);
        history.add(&"y".repeat(MAX_ENTRY + 1));
        assert_eq!(history.find("y", usize::MAX), None);
    }

    #[test]
    fn the_newest_is_found_first() {
        let history = History::from_text("web:mount()\nprint(1)\nweb:mounts()\n");
        assert_eq!(history.find("mount", history.len()), Some((2, 4)));
        assert_eq!(history.find("mount", 2), Some((0, 4)));
        assert_eq!(history.find("mount", 0), None);
    }
}
