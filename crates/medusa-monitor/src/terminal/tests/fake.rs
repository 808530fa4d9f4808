//! A terminal's screen, as far as the editor uses one. Whatever else it is sent fails the test.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::terminal::Size;

#[derive(Debug, Clone, Default)]
struct Row {
    /// What each column shows; nothing where a wide character goes on.
    cells: Vec<String>,
    /// Whether the next row goes on with the same line.
    wraps: bool,
}

/// The screen, with what has left it at its top.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "terminals have modes")]
pub(super) struct FakeScreen {
    columns: usize,
    rows: usize,
    lines: Vec<Row>,
    /// The first line on the screen.
    top: usize,
    row: usize,
    column: usize,
    wrapping: bool,
    pub(super) pasting: bool,
    pub(super) coloured: bool,
    /// Whether a row is broken anew when the width changes.
    pub(super) reflows: bool,
    /// Whether each code point has its own column, as in terminals that know nothing of clusters.
    pub(super) by_code_point: bool,
}

impl FakeScreen {
    pub(super) fn new(size: Size) -> Self {
        Self {
            columns: size.columns.into(),
            rows: size.rows.into(),
            lines: vec![Row::default()],
            top: 0,
            row: 0,
            column: 0,
            wrapping: true,
            pasting: false,
            coloured: false,
            reflows: false,
            by_code_point: false,
        }
    }

    /// All lines, those that have left the screen too, without blanks at their ends.
    pub(super) fn text(&self) -> Vec<String> {
        let text = |row: &Row| row.cells.concat().trim_end().to_owned();
        let mut lines: Vec<_> = self.lines.iter().map(text).collect();
        while lines.len() > 1 && lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }

    /// Where the cursor is: the number of the line, the column.
    pub(super) fn cursor(&self) -> (usize, usize) {
        (self.row, self.column)
    }

    pub(super) fn cell(&self, row: usize, column: usize) -> &str {
        self.lines.get(row).and_then(|row| row.cells.get(column)).map_or(" ", String::as_str)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        let mut rest = std::str::from_utf8(bytes).expect("UTF-8");
        while let Some(c) = rest.chars().next() {
            rest = match c {
                '\x1b' => self.sequence(&rest[1..]),
                c if c.is_control() => {
                    self.control(c);
                    &rest[1..]
                }
                _ => {
                    let end = rest.find(char::is_control).unwrap_or(rest.len());
                    self.print(&rest[..end]);
                    &rest[end..]
                }
            };
        }
    }

    fn control(&mut self, c: char) {
        match c {
            '\r' => self.column = 0,
            '\n' => self.line_feed(),
            '\x08' => self.column = self.column.saturating_sub(1),
            other => panic!("sent {other:?}"),
        }
    }

    fn line_feed(&mut self) {
        self.row += 1;
        if self.row == self.lines.len() {
            self.lines.push(Row::default());
        }
        self.top = self.top.max((self.row + 1).saturating_sub(self.rows));
    }

    fn sequence<'a>(&mut self, text: &'a str) -> &'a str {
        let text = text.strip_prefix('[').expect("CSI");
        let end = text.find(|c: char| c.is_ascii_alphabetic()).expect("an end");
        let (parameters, last) = (&text[..end], &text[end..=end]);
        let number = parameters.parse().unwrap_or(1);
        match (parameters, last) {
            (_, "A") => self.row = self.row.saturating_sub(number).max(self.top),
            (_, "B") => self.row = (self.row + number).min(self.lines.len() - 1),
            (_, "C") => self.column = (self.column + number).min(self.columns - 1),
            ("", "J") => {
                self.lines.truncate(self.row + 1);
                self.lines[self.row].cells.truncate(self.column);
                self.lines[self.row].wraps = false;
            }
            ("2", "J") => self.lines[self.top..].fill(Row::default()),
            ("", "H") => (self.row, self.column) = (self.top, 0),
            ("?7", "h" | "l") => self.wrapping = last == "h",
            ("?2004", "h" | "l") => self.pasting = last == "h",
            (_, "m") => self.coloured |= parameters != "0",
            other => panic!("sent {other:?}"),
        }
        &text[end + 1..]
    }

    fn print(&mut self, text: &str) {
        if self.by_code_point {
            text.chars().for_each(|c| self.place(&c.to_string(), c.to_string().width()));
        } else {
            text.graphemes(true).for_each(|cluster| self.place(cluster, cluster.width()));
        }
    }

    fn place(&mut self, text: &str, width: usize) {
        if width == 0 {
            let before = self.column.saturating_sub(1);
            if let Some(cell) =
                self.lines[self.row].cells[..=before].iter_mut().rfind(|cell| !cell.is_empty())
            {
                cell.push_str(text);
            }
            return;
        }
        if self.column + width > self.columns {
            if self.wrapping {
                self.lines[self.row].wraps = true;
                self.line_feed();
                self.column = 0;
            } else {
                self.column = self.columns - width;
            }
        }
        let cells = &mut self.lines[self.row].cells;
        cells.resize(cells.len().max(self.column + width), " ".into());
        cells[self.column] = text.into();
        cells[self.column + 1..self.column + width].fill(String::new());
        // Behind the last column a character wraps first; the cursor is not seen there.
        self.column += width;
    }

    pub(super) fn resize(&mut self, size: Size) {
        let columns = usize::from(size.columns);
        if self.reflows {
            self.reflow(columns);
        } else {
            self.lines.iter_mut().for_each(|row| row.cells.truncate(columns));
            self.column = self.column.min(columns - 1);
        }
        (self.columns, self.rows) = (columns, size.rows.into());
        self.top = self.lines.len().saturating_sub(self.rows).min(self.row);
    }

    fn reflow(&mut self, columns: usize) {
        let (mut lines, mut line, mut cursor) = (Vec::new(), Row::default(), (0, 0));
        for (number, row) in self.lines.iter().enumerate() {
            if number == self.row {
                cursor = (
                    lines.len() + (line.cells.len() + self.column) / columns,
                    (line.cells.len() + self.column) % columns,
                );
            }
            line.cells.extend(row.cells.iter().cloned());
            if row.wraps {
                continue;
            }
            let mut rest = std::mem::take(&mut line.cells);
            while rest.len() > columns {
                let mut end = columns;
                // A wide character is not split.
                end -= usize::from(rest[end].is_empty());
                lines.push(Row { cells: rest.drain(..end).collect(), wraps: true });
            }
            lines.push(Row { cells: rest, wraps: false });
        }
        (self.row, self.column) = cursor;
        lines.resize_with(lines.len().max(self.row + 1), Row::default);
        self.lines = lines;
    }
}
