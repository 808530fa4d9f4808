//! Which of the numbered requests have been seen, how often, and in what order.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// What stands before the number of the connection. Neither it nor what follows is escaped in any log, as `/` is in the JSON
/// of some.
const PREFIX: &str = "number-";

/// The requests seen in some text, line by line.
#[derive(Debug, Default)]
pub struct Tally {
    /// For each connection, how often each number was seen.
    seen: Vec<Vec<u32>>,
    distinct: u64,
    repeated: u64,
    disordered: u64,
    /// How far into the file all is read.
    read: u64,
}

impl Tally {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on reading a file from where it has come to, as far as there are whole lines; each is shown to `each`. A file
    /// that is not there is empty.
    ///
    /// # Panics
    ///
    /// The file cannot be read.
    #[track_caller]
    pub fn read(&mut self, path: &Path, mut each: impl FnMut(&str)) {
        let Ok(mut file) = File::open(path) else { return };
        let mut text = Vec::new();
        let read = file.seek(SeekFrom::Start(self.read)).and_then(|_| file.read_to_end(&mut text));
        read.unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        for line in String::from_utf8_lossy(&text[..whole]).lines() {
            self.note(line);
            each(line);
        }
    }

    /// Notes the request that is named first in a line, if there is one.
    pub fn note(&mut self, line: &str) {
        let Some((connection, number)) = named_in(line) else { return };
        if self.seen.len() <= connection {
            self.seen.resize_with(connection + 1, Vec::new);
        }
        let seen = &mut self.seen[connection];
        let later_was_seen = seen.len() > number;
        if !later_was_seen {
            seen.resize(number + 1, 0);
        }
        seen[number] += 1;
        if seen[number] > 1 {
            self.repeated += 1;
        } else {
            self.distinct += 1;
            self.disordered += u64::from(later_was_seen);
        }
    }

    /// Whether a request was seen.
    pub fn has(&self, connection: usize, number: u64) -> bool {
        let seen = self.seen.get(connection).and_then(|seen| seen.get(usize::try_from(number).ok()?));
        seen.is_some_and(|times| *times > 0)
    }

    /// The number of different requests seen.
    pub fn distinct(&self) -> u64 {
        self.distinct
    }

    /// The number seen that had been seen before.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// The number first seen after a later one of the same connection.
    pub fn disordered(&self) -> u64 {
        self.disordered
    }
}

/// The connection and the number of the first numbered request in a line.
fn named_in(line: &str) -> Option<(usize, usize)> {
    let (_, rest) = line.split_once(PREFIX)?;
    let (connection, rest) = rest.split_once('-')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some((connection.parse().ok()?, rest[..end].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn each_is_seen_once_or_more_or_late() {
        let mut tally = Tally::new();
        for line in [
            "\"GET /number-0-0 HTTP/1.1\"",
            "/number-0-2 ",
            "/number-1-0",
            "/number-0-1?x",
            "/number-0-2",
            "/number-x-1",
            "lost 7",
        ] {
            tally.note(line);
        }
        assert_eq!((tally.distinct(), tally.repeated(), tally.disordered()), (4, 1, 1));
        assert!(tally.has(0, 1) && tally.has(1, 0));
        assert!(!tally.has(0, 3) && !tally.has(2, 0));
    }

    #[test]
    fn a_file_is_read_line_by_line_as_it_grows() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        let (mut tally, mut lines) = (Tally::new(), Vec::new());
        for (part, whole) in [("/number-0-0 x\n/number-0-", 1), ("1 y\n", 2), ("/number-0-2", 2)] {
            file.write_all(part.as_bytes()).expect("written");
            tally.read(file.path(), |line| lines.push(line.to_owned()));
            assert_eq!((tally.distinct(), lines.len()), (whole, usize::try_from(whole).expect("small")));
        }
        assert_eq!(lines[1], "/number-0-1 y");
    }
}
