//! What differs between two texts, line by line, as HTML.
//!
//! Lines that were removed and added are told apart by a sign, by what they are (`del`, `ins`) and by colour. It takes no longer than
//! [`LONGEST`]: what is not found out by then counts as replaced as a whole.

use std::fmt::{self, Display, Formatter, Write as _};
use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, capture_diff_slices_deadline, group_diff_ops};

use crate::escaped::Escaped;

/// The longest that is looked for what is the same.
const LONGEST: Duration = Duration::from_millis(500);
/// The lines that are shown before and behind what differs.
const AROUND: usize = 3;
/// The most lines that are shown: more are no longer read.
const MOST_LINES: usize = 5000;
/// The most of a line that is shown, in bytes.
const MOST_OF_LINE: usize = 4096;

/// Adds to a page what differs between two texts.
pub(super) fn show(page: &mut String, old: &str, new: &str) {
    let [old, new] = [old, new].map(|text| text.split_inclusive('\n').collect::<Vec<&str>>());
    let deadline = Instant::now() + LONGEST;
    let ops = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, Some(deadline));
    let groups = group_diff_ops(ops, AROUND);
    if groups.is_empty() {
        page.push_str("<p>Both are the same.</p>\n");
        return;
    }
    page.push_str("<pre class=\"diff\" tabindex=\"0\" aria-label=\"What differs\">");
    let mut left = MOST_LINES;
    for group in &groups {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let (removed, added) =
            (first.old_range().start..last.old_range().end, first.new_range().start..last.new_range().end);
        let _infallible = write!(page, "<b>Line {}, now {}</b>", removed.start + 1, added.start + 1);
        for op in group {
            if let DiffOp::Equal { .. } = op {
                shown(page, ("<span>  ", "</span>"), &new, op.new_range(), &mut left);
            } else {
                shown(page, ("<del>− ", "</del>"), &old, op.old_range(), &mut left);
                shown(page, ("<ins>+ ", "</ins>"), &new, op.new_range(), &mut left);
            }
        }
        if left == 0 {
            break;
        }
    }
    page.push_str("</pre>\n");
    if left == 0 {
        page.push_str("<p>There is more that differs than can be shown.</p>\n");
    }
}

fn shown(
    page: &mut String,
    (begin, end): (&str, &str),
    lines: &[&str],
    range: std::ops::Range<usize>,
    left: &mut usize,
) {
    for line in lines.get(range).unwrap_or_default().iter().take(*left) {
        *left -= 1;
        let _infallible = write!(page, "{begin}{}{end}", Line(line));
    }
}

/// A line with its tabs, without its end.
struct Line<'t>(&'t str);

impl Display for Line<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (line, is_whole) = match self.0.strip_suffix('\n') {
            Some(line) => (line.strip_suffix('\r').unwrap_or(line), true),
            None => (self.0, false),
        };
        let shown = line.get(..line.floor_char_boundary(MOST_OF_LINE)).unwrap_or_default();
        for (at, part) in shown.split('\t').enumerate() {
            if at > 0 {
                f.write_char('\t')?;
            }
            Escaped(part).fmt(f)?;
        }
        if shown.len() < line.len() {
            write!(f, "<i>… {} bytes more</i>", line.len() - shown.len())?;
        }
        if is_whole { Ok(()) } else { f.write_str("<i> (no end of line)</i>") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(old: &str, new: &str) -> String {
        let mut page = String::new();
        show(&mut page, old, new);
        page
    }

    #[test]
    fn lines_that_differ_are_shown_with_those_around_them() {
        let page = diff("a\nb\nc\nd\ne\nf\n", "a\nb\nc\nd\n<x>\nf\n");
        assert!(page.contains("<b>Line 2, now 2</b><span>  b</span>"), "{page}");
        assert!(page.contains("<del>− e</del><ins>+ &lt;x&gt;</ins><span>  f</span>"), "{page}");
        assert!(diff("a\n", "a\n").contains("the same"));
        assert!(diff("", "a\tb").contains("<ins>+ a\tb<i> (no end of line)</i></ins>"));
        assert!(diff("", "a\u{202e}b\n").contains("a\u{fffd}b"), "nothing turns the text around");
    }

    #[test]
    fn what_has_nothing_in_common_takes_no_longer_than_it_may() {
        let of = |numbers: Vec<usize>| numbers.iter().map(usize::to_string).collect::<Vec<_>>().join("\n");
        let lines = |first: usize| of((first..first + 60_000).collect());
        let mixed = of((0..60_000).map(|at| at * 7919 % 60_000).collect());
        for (old, new) in
            [(lines(0), lines(100_000)), (lines(0), mixed), ("\n".repeat(900_000), String::new())]
        {
            let page = diff(&old, &new);
            assert!(page.contains("more that differs") && page.len() < 1_000_000, "{}", page.len());
        }
        let long = diff("", &"x".repeat(900_000));
        assert!(long.contains("bytes more") && long.len() < 10_000);
    }
}
