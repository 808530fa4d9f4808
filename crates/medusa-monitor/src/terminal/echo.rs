//! A prompt on a terminal that can do nothing but write on, and go back by a column.
//!
//! What is typed is echoed, what is taken back is rubbed out, and when more than a little changes, the line is written anew
//! on the next row. There is no cursor but the one at the end.

use super::cells::{Shown, clusters, shown};
use super::screen::View;

/// How many columns are rubbed out at most: it ends at the left margin of what the terminal may have wrapped.
const MAX_RUBBED_OUT: usize = 16;

/// What stands in the line that the terminal is in.
#[derive(Debug, Default)]
pub(super) struct Echo {
    written: String,
}

impl Echo {
    pub(super) fn show(&mut self, view: View<'_>, out: &mut Vec<u8>) {
        let text = flat(view.prompt) + &flat(view.text);
        if text == self.written {
            return;
        }
        let same = clusters(&text).zip(clusters(&self.written)).take_while(|(new, old)| new == old).last();
        let same = same.map_or(0, |((at, cluster), _)| at + cluster.len());
        let (added, removed) = (text.get(same..), self.written.get(same..).unwrap_or_default());
        let wide: usize = clusters(removed).map(|(_, cluster)| columns(cluster)).sum();
        if let Some(added) = text.strip_prefix(&self.written) {
            out.extend_from_slice(added.as_bytes());
        } else if wide <= MAX_RUBBED_OUT && !removed.contains('\n') {
            out.extend_from_slice("\x08 \x08".repeat(wide).as_bytes());
            out.extend_from_slice(added.unwrap_or_default().as_bytes());
        } else {
            self.leave(out);
            out.extend_from_slice(text.as_bytes());
        }
        self.written = text;
    }

    /// Goes on with the last line of a view whose others were shown before [`leave`](Self::leave).
    pub(super) fn resume(&mut self, view: View<'_>, out: &mut Vec<u8>) {
        self.written = flat(view.prompt) + &flat(view.text);
        let last = self.written.rfind('\n').map_or(0, |at| at + 1);
        out.extend_from_slice(self.written.get(last..).unwrap_or_default().as_bytes());
    }

    /// Goes to the beginning of the next line, if it is not at the beginning of one.
    pub(super) fn leave(&mut self, out: &mut Vec<u8>) {
        if !self.written.is_empty() {
            out.extend_from_slice(b"\r\n");
        }
        self.written.clear();
    }
}

fn columns(cluster: &str) -> usize {
    if let Shown::Same { columns, .. } = shown(cluster) { columns } else { 0 }
}

fn flat(text: &str) -> String {
    let mut flat = String::with_capacity(text.len());
    for (_, cluster) in clusters(text) {
        match shown(cluster) {
            Shown::Break => flat.push_str("\r\n. "),
            Shown::Same { .. } => flat.push_str(cluster),
            Shown::Escaped(escaped) => flat.push_str(&escaped),
        }
    }
    flat
}
