//! What a process says, line by line, as it comes.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::PATIENCE;

/// The number of lines that are kept, and of how many bytes together; older ones go.
const KEPT: usize = 20_000;
const KEPT_BYTES: usize = 64 << 20;

/// The longest line, in bytes. A longer one becomes several.
const LONGEST: u64 = 64 * 1024;

/// The lines of a pipe, read by a thread of their own, so that whoever writes never waits.
#[derive(Debug, Clone)]
pub struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    said: Mutex<Said>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Said {
    kept: VecDeque<String>,
    /// Bytes of those kept.
    bytes: usize,
    /// How many there were before those kept.
    gone: usize,
    /// There will be no more.
    ended: bool,
}

impl Said {
    fn count(&self) -> usize {
        self.gone + self.kept.len()
    }

    /// The kept lines from number `first` on.
    fn from(&self, first: usize) -> impl Iterator<Item = &str> {
        self.kept.iter().skip(first.saturating_sub(self.gone)).map(String::as_str)
    }
}

impl Lines {
    pub(crate) fn read(from: impl Read + Send + 'static) -> Self {
        let lines = Self(Arc::default());
        let reader = lines.clone();
        thread::spawn(move || reader.listen(from));
        lines
    }

    /// The number of lines so far. Lines are numbered from 0, so this is the number of the next.
    pub fn count(&self) -> usize {
        self.0.said.lock().count()
    }

    /// All that are kept, each with a newline.
    pub fn text(&self) -> String {
        self.0.said.lock().from(0).flat_map(|line| [line, "\n"]).collect()
    }

    /// The first line that contains `part`, now or when it comes.
    ///
    /// # Panics
    ///
    /// It does not come within [`PATIENCE`], or there are no more lines.
    #[track_caller]
    pub fn wait_for(&self, part: &str) -> String {
        self.wait_for_from(0, part)
    }

    /// Like [`wait_for`](Self::wait_for), passing over the lines before number `first`.
    #[track_caller]
    pub fn wait_for_from(&self, first: usize, part: &str) -> String {
        match self.find(first, |line| line.contains(part).then(|| line.to_owned())) {
            Some(line) => line,
            None => panic!("no line with {part:?} came; there were:\n{}", self.text()),
        }
    }

    /// Waits until there are `count` lines or more, and returns all that are kept.
    ///
    /// # Panics
    ///
    /// They do not come within [`PATIENCE`].
    #[track_caller]
    pub fn wait_for_count(&self, count: usize) -> Vec<String> {
        let said = self.wait_while(|said| said.count() < count && !said.ended);
        let lines: Vec<String> = said.from(0).map(str::to_owned).collect();
        drop(said);
        assert!(lines.len() >= count, "{count} lines were expected; there were:\n{}", lines.join("\n"));
        lines
    }

    /// The first thing that `find` makes of a line from number `first` on, now or when it comes; `None` when there are no
    /// more lines, or it does not come within [`PATIENCE`].
    pub(crate) fn find<T>(&self, first: usize, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let mut found = None;
        let mut next = first;
        drop(self.wait_while(|said| {
            found = said.from(next).find_map(&find);
            next = said.count().max(first);
            found.is_none() && !said.ended
        }));
        found
    }

    /// Waits until whoever writes has closed the pipe. Others may have inherited it, so not for longer than
    /// [`PATIENCE`].
    pub fn wait_for_end(&self) {
        drop(self.wait_while(|said| !said.ended));
    }

    fn wait_while(&self, condition: impl FnMut(&mut Said) -> bool) -> MutexGuard<'_, Said> {
        let mut said = self.0.said.lock();
        self.0.changed.wait_while_until(&mut said, condition, Instant::now() + PATIENCE);
        said
    }

    fn listen(&self, from: impl Read) {
        let mut reader = BufReader::new(from);
        let mut line = Vec::new();
        while matches!(reader.by_ref().take(LONGEST).read_until(b'\n', &mut line), Ok(1..)) {
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            self.push(String::from_utf8_lossy(&line).into_owned());
            line.clear();
        }
        self.0.said.lock().ended = true;
        self.0.changed.notify_all();
    }

    fn push(&self, line: String) {
        let mut said = self.0.said.lock();
        said.bytes += line.len();
        said.kept.push_back(line);
        while said.kept.len() > KEPT || said.bytes > KEPT_BYTES {
            let Some(oldest) = said.kept.pop_front() else { break };
            said.bytes -= oldest.len();
            said.gone += 1;
        }
        drop(said);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_whether_it_was_said_or_will_be() {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let lines = Lines::read(reader);
        std::io::Write::write_all(&mut writer, b"one\ntwo\n").expect("written");
        assert_eq!(lines.wait_for("tw"), "two");
        let mark = lines.count();
        let waiting = lines.clone();
        let late = thread::spawn(move || waiting.wait_for_from(mark, "o"));
        std::io::Write::write_all(&mut writer, b"oh, \xff\nrest").expect("written");
        assert_eq!(late.join().expect("found"), "oh, \u{fffd}");
        drop(writer);
        lines.wait_for_end();
        assert_eq!(lines.text(), "one\ntwo\noh, \u{fffd}\nrest\n");
    }

    #[test]
    fn the_oldest_lines_go() {
        let text = "x\n".repeat(KEPT) + "last\n";
        let lines = Lines::read(std::io::Cursor::new(text));
        lines.wait_for_end();
        assert_eq!(lines.count(), KEPT + 1);
        assert_eq!(lines.0.said.lock().kept.len(), KEPT);
        assert_eq!(lines.wait_for_from(KEPT, ""), "last");
    }

    #[test]
    #[should_panic(expected = "no line with \"three\"")]
    fn the_end_ends_the_wait() {
        Lines::read(std::io::Cursor::new("one\ntwo")).wait_for("three");
    }
}
