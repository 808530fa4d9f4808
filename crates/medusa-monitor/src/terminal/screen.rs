//! The rows of a prompt on a terminal's screen.
//!
//! **Invariants:** what is drawn is broken into rows by us, with the terminal's own wrapping off, so that the number of
//! rows is known whatever the terminal thinks of a character's width; a redraw goes up by that number and clears what is
//! below. No more rows are drawn than the screen has.

use std::fmt::Write as _;

use super::cells::{Shown, clusters, shown};
use super::highlight::{Class, highlight};

/// The longest text that is coloured: beyond it colour is not worth the time at each key.
const MAX_COLOURED: usize = 64 * 1024;

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// How many stand side by side.
    pub columns: u16,
    /// How many stand one below the other.
    pub rows: u16,
}

impl Size {
    /// As it can be: of a terminal that says it has none, what terminals used to have.
    fn sane(self) -> Self {
        let or = |given: u16, other| if given == 0 { other } else { given };
        Self { columns: or(self.columns, 80).clamp(4, 1000), rows: or(self.rows, 24).clamp(1, 1000) }
    }
}

/// What there is to see.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) prompt: &'a str,
    pub(super) text: &'a str,
    pub(super) cursor: usize,
    /// Rows below, each with its width.
    pub(super) below: &'a [(String, usize)],
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    drawn: String,
    width: usize,
}

/// A terminal's screen, as far as it is ours.
#[derive(Debug)]
pub(super) struct Screen {
    columns: usize,
    rows: usize,
    colour: bool,
    reflows: bool,
    drawn: Vec<Row>,
    /// Where the cursor is: rows from the first of ours, columns.
    cursor: (usize, usize),
}

impl Screen {
    /// A terminal that `reflows` breaks rows anew when its width changes.
    pub(super) fn new(size: Size, colour: bool, reflows: bool) -> Self {
        let size = size.sane();
        let (columns, rows) = (usize::from(size.columns), usize::from(size.rows));
        Self { columns, rows, colour, reflows, drawn: Vec::new(), cursor: (0, 0) }
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Draws what is not drawn already.
    pub(super) fn show(&mut self, view: View<'_>, out: &mut Vec<u8>) {
        let (rows, cursor) = self.lay_out(view);
        let same = self.drawn.iter().zip(&rows).take_while(|(drawn, row)| drawn == row).count();
        if same < rows.len() || same < self.drawn.len() {
            // From a row that is there in any case: what is below may be new, or gone.
            let from = same.min(rows.len() - 1).min(self.drawn.len().saturating_sub(1));
            self.go_to_row(from, out);
            out.extend_from_slice(b"\r\x1b[J\x1b[?7l");
            for (number, row) in rows.iter().enumerate().skip(from) {
                if number > from {
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(row.drawn.as_bytes());
            }
            out.extend_from_slice(b"\x1b[?7h");
            self.cursor = (rows.len() - 1, rows.last().map_or(0, |row| row.width));
        }
        self.go_to_row(cursor.0, out);
        if self.cursor != cursor || same < rows.len() {
            to_column(cursor.1, out);
        }
        (self.drawn, self.cursor) = (rows, cursor);
    }

    fn go_to_row(&mut self, row: usize, out: &mut Vec<u8>) {
        match self.cursor.0.checked_sub(row) {
            Some(0) => {}
            Some(up) => out.extend_from_slice(format!("\x1b[{up}A").as_bytes()),
            None => out.extend_from_slice(format!("\x1b[{}B", row - self.cursor.0).as_bytes()),
        }
        self.cursor.0 = row;
    }

    /// Goes to the row below what is drawn, where [`show`](Self::show) finds it again. Whoever writes something meanwhile
    /// says so by [`forget`](Self::forget).
    pub(super) fn leave(&mut self, out: &mut Vec<u8>) {
        if self.drawn.is_empty() {
            return;
        }
        self.go_to_row(self.drawn.len() - 1, out);
        out.extend_from_slice(b"\r\n");
        self.cursor = (self.drawn.len(), 0);
        if self.drawn.len() >= self.rows {
            // The first row has left the screen.
            self.forget();
        }
    }

    /// Takes what is drawn away.
    pub(super) fn erase(&mut self, out: &mut Vec<u8>) {
        if !self.drawn.is_empty() {
            self.go_to_row(0, out);
            out.extend_from_slice(b"\r\x1b[J");
        }
        self.forget();
    }

    /// Begins anew where the cursor is: at the beginning of a row.
    pub(super) fn forget(&mut self) {
        self.drawn.clear();
        self.cursor = (0, 0);
    }

    /// Has nothing on it but what will be shown.
    pub(super) fn clear(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\x1b[H\x1b[2J");
        self.forget();
    }

    /// Takes the new size. What was drawn is taken away, from where its first row is now.
    pub(super) fn resize(&mut self, size: Size, out: &mut Vec<u8>) {
        let size = size.sane();
        let (columns, rows) = (usize::from(size.columns), usize::from(size.rows));
        if self.reflows && columns < self.columns {
            let (row, column) = self.cursor;
            let above = self.drawn.iter().take(row).map(|row| row.width.div_ceil(columns).max(1));
            // Behind a row that just fills the screen terminals differ; it is better to leave a row than to take one.
            self.cursor.0 = above.sum::<usize>() + column.saturating_sub(1) / columns;
        }
        (self.columns, self.rows) = (columns, rows);
        self.cursor.0 = self.cursor.0.min(rows - 1);
        self.erase(out);
    }

    /// How many rows there may be below a prompt and a text.
    pub(super) fn room_below(&self, prompt: &str, text: &str) -> usize {
        let mut flow = Flow::new(self.columns, false, 0..0);
        flow.run(View { prompt, text, cursor: 0, below: &[] });
        self.room(flow.row + 1)
    }

    fn room(&self, rows: usize) -> usize {
        self.rows.saturating_sub(rows).max(self.rows / 2).min(self.rows - 1)
    }

    /// The rows of a view, and where the cursor is in them. Of rows that are more than the screen has, those around the
    /// cursor.
    fn lay_out(&self, view: View<'_>) -> (Vec<Row>, (usize, usize)) {
        let mut flow = Flow::new(self.columns, self.colour, 0..0);
        let cursor = flow.run(view);
        let total = flow.row + 1;
        let below = view.below.len().min(self.room(total));
        let height = self.rows - below;
        let top = cursor.0.saturating_sub(height / 2).min(total.saturating_sub(height));
        let mut flow = Flow::new(self.columns, self.colour, top..(top + height).min(total));
        flow.run(view);
        let mut rows = flow.rows;
        rows.extend(
            view.below.iter().take(below).map(|(drawn, width)| Row { drawn: drawn.clone(), width: *width }),
        );
        (rows, (cursor.0 - top, cursor.1))
    }
}

fn to_column(column: usize, out: &mut Vec<u8>) {
    out.push(b'\r');
    if column > 0 {
        out.extend_from_slice(format!("\x1b[{column}C").as_bytes());
    }
}

/// Text on its way into rows.
struct Flow {
    columns: usize,
    colour: bool,
    /// The rows that are wanted.
    wanted: std::ops::Range<usize>,
    rows: Vec<Row>,
    row: usize,
    column: usize,
    /// The colour that is on.
    style: &'static str,
}

impl Flow {
    fn new(columns: usize, colour: bool, wanted: std::ops::Range<usize>) -> Self {
        let rows = vec![Row { drawn: String::new(), width: 0 }; wanted.len()];
        Self { columns, colour, wanted, rows, row: 0, column: 0, style: "" }
    }

    /// Fills the rows; returns where the cursor is.
    fn run(&mut self, view: View<'_>) -> (usize, usize) {
        for (_, cluster) in clusters(view.prompt) {
            self.put(cluster, "1");
        }
        let margin = if self.row > 0 { 2 } else { self.column.min(self.columns / 2) };
        let coloured = self.colour && !self.wanted.is_empty() && view.text.len() <= MAX_COLOURED;
        let spans = if coloured { highlight(view.text) } else { Vec::new() };
        let mut spans = spans.into_iter().peekable();
        let mut cursor = None;
        for (at, cluster) in clusters(view.text) {
            while spans.next_if(|&(_, end, _)| end <= at).is_some() {}
            let style = match spans.peek() {
                Some(&(from, _, class)) if from <= at => match class {
                    Class::Keyword => "35",
                    Class::Literal => "36",
                    Class::String => "32",
                    Class::Comment => "2",
                },
                _ => "",
            };
            let spot = self.put(cluster, style);
            if at >= view.cursor {
                cursor.get_or_insert(spot);
            }
            if cluster == "\n" {
                self.put_columns(&format!("{:>margin$}", ". "), "1");
            }
        }
        // The end takes a column, too: the cursor may be there.
        let end = self.place(1);
        self.style("");
        cursor.unwrap_or(end)
    }

    /// Adds a cluster; returns where it is.
    fn put(&mut self, cluster: &str, style: &'static str) -> (usize, usize) {
        match shown(cluster) {
            Shown::Break => {
                let spot = self.place(1);
                self.next_row();
                spot
            }
            Shown::Escaped(text) => self.put_columns(&text, if cluster == "\t" { style } else { "7" }),
            Shown::Same { columns, contested } => {
                let spot = self.place(columns.min(self.columns));
                self.write(cluster, style);
                if contested && let Some(row) = self.current() {
                    let width = row.width;
                    let _ = write!(row.drawn, "\r\x1b[{width}C");
                }
                spot
            }
        }
    }

    /// Adds ASCII, which may be split anywhere.
    fn put_columns(&mut self, text: &str, style: &'static str) -> (usize, usize) {
        let mut first = None;
        for c in text.chars() {
            first.get_or_insert(self.place(1));
            self.write(c.encode_utf8(&mut [0; 4]), style);
        }
        first.unwrap_or((self.row, self.column))
    }

    /// Makes room for something so wide; returns where it begins.
    fn place(&mut self, columns: usize) -> (usize, usize) {
        if self.column + columns > self.columns {
            self.next_row();
        }
        let spot = (self.row, self.column);
        self.column += columns;
        spot
    }

    fn write(&mut self, text: &str, style: &'static str) {
        self.style(style);
        let end = self.column;
        if let Some(row) = self.current() {
            row.width = end;
            row.drawn.push_str(text);
        }
    }

    fn style(&mut self, style: &'static str) {
        if !self.colour || self.style == style {
            return;
        }
        self.style = style;
        if let Some(row) = self.current() {
            let _ = write!(row.drawn, "\x1b[0{}{style}m", if style.is_empty() { "" } else { ";" });
        }
    }

    fn next_row(&mut self) {
        self.style("");
        self.row += 1;
        self.column = 0;
    }

    fn current(&mut self) -> Option<&mut Row> {
        let number = self.row.checked_sub(self.wanted.start)?;
        self.rows.get_mut(number)
    }
}
