//! Long output, a screen at a time.

use super::cells::first_row;

/// What is below the text while there is more.
pub(super) const STATUS: &str = "-- more: Space, Enter, q --";

/// A text that is shown by and by.
#[derive(Debug)]
pub(super) struct Pager {
    text: String,
    at: usize,
}

impl Pager {
    pub(super) fn new(text: String) -> Self {
        Self { text, at: 0 }
    }

    /// The next rows, at most so many.
    pub(super) fn rows(&mut self, count: usize, columns: usize) -> Vec<String> {
        let mut rows = Vec::new();
        while rows.len() < count && !self.is_done() {
            let (row, _, taken) = first_row(self.rest(), columns);
            self.at += taken;
            rows.push(row);
        }
        rows
    }

    /// Whether there is nothing left.
    pub(super) fn is_done(&self) -> bool {
        self.rest().is_empty()
    }

    /// Whether what is left has at most so many rows.
    pub(super) fn fits(&self, rows: usize, columns: usize) -> bool {
        let mut rest = self.rest();
        for _ in 0..rows {
            let (_, _, taken) = first_row(rest, columns);
            rest = rest.get(taken..).unwrap_or_default();
        }
        rest.is_empty()
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_one_after_the_other_and_none_twice() {
        let mut pager = Pager::new("one\nlonger than ten\n\nlast".into());
        assert!(!pager.fits(4, 10) && pager.fits(5, 10));
        assert_eq!(pager.rows(2, 10), ["one", "longer tha"]);
        assert_eq!(pager.rows(2, 10), ["n ten", ""]);
        assert!(!pager.is_done());
        assert_eq!(pager.rows(2, 10), ["last"]);
        assert!(pager.is_done());
    }
}
