//! Tables, for people and in Markdown: columns as wide as what stands in them, numbers to the right.

use std::fmt;

use crate::term;

/// Rows of cells; the first row has the headings.
#[derive(Debug, Clone)]
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    /// A table with these headings.
    pub(crate) fn new<S: Into<String>>(headings: impl IntoIterator<Item = S>) -> Self {
        Self(vec![headings.into_iter().map(Into::into).collect()])
    }

    /// Adds a row.
    pub(crate) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.0.push(cells.into_iter().map(Into::into).collect());
    }

    /// The table in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &Vec<String>| format!("| {} |\n", cells.join(" | "));
        let (head, rows) = self.0.split_at(1);
        let rule = format!("|{}\n", "---|".repeat(head[0].len()));
        line(&head[0]) + &rule + &rows.iter().map(line).collect::<String>()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column: usize| self.0.iter().map(move |row| row.get(column).map_or("", String::as_str));
        let is_number =
            |cell: &str| cell.is_empty() || cell.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        let shape: Vec<(usize, bool)> = (0..columns)
            .map(|column| {
                let width = cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0);
                (width, column > 0 && cells(column).skip(1).all(is_number))
            })
            .collect();
        for (index, row) in self.0.iter().enumerate() {
            let cells = row.iter().zip(&shape).map(|(cell, &(width, is_right))| {
                if is_right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            let line = line.trim_end();
            writeln!(f, "{}", if index == 0 { term::bold(line) } else { line.to_owned() })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_to_the_left_and_numbers_to_the_right() {
        let mut table = Table::new(["case", "ms", "about"]);
        table.row(["plain", "2.00", "a file"]);
        table.row(["tls", "12.00", ""]);
        assert_eq!(table.to_string(), "case      ms  about\nplain   2.00  a file\ntls    12.00\n");
        assert_eq!(
            table.markdown(),
            "| case | ms | about |\n|---|---|---|\n| plain | 2.00 | a file |\n| tls | 12.00 |  |\n"
        );
    }
}
