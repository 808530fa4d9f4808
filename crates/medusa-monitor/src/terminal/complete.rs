//! What may stand where the cursor is.

use serde::{Deserialize, Serialize};

use super::cells::first_row;

/// A word that may stand there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The word, whole.
    pub text: String,
    /// What it is: a signature, a type. May be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
}

/// What all the words begin with.
pub(super) fn common(candidates: &[Candidate]) -> &str {
    let mut words = candidates.iter().map(|candidate| candidate.text.as_str());
    let first = words.next().unwrap_or_default();
    words.fold(first, |common, word| {
        let differs = common.char_indices().zip(word.chars()).find(|((_, a), b)| a != b);
        let end = differs.map_or(common.len().min(word.len()), |((at, _), _)| at);
        common.get(..end).unwrap_or_default()
    })
}

/// The words as rows under a line, no more than `rows` of at most `columns`, each with its width: a row each if there is
/// something to say about one, else side by side. Of the only one, all there is to say; nothing if there is not.
pub(super) fn list(candidates: &[Candidate], columns: usize, rows: usize) -> Vec<(String, usize)> {
    if let [candidate] = candidates {
        return whole(candidate, columns, rows);
    }
    let described = candidates.iter().any(|candidate| !candidate.about.is_empty());
    let widest = candidates.iter().map(|candidate| first_row(&candidate.text, columns).1).max().unwrap_or(0);
    let across = if described { 1 } else { (columns / (widest + 2)).max(1) };
    let down = candidates.len().div_ceil(across);
    let shown = if down > rows { rows.saturating_sub(1) } else { down };
    let row = |number: usize| {
        let mut row = String::new();
        for column in 0..across {
            // Read downwards, as long as all of them are there.
            let at = if down > rows { number * across + column } else { column * down + number };
            let Some(candidate) = candidates.get(at) else { continue };
            let (text, width, _) = first_row(&candidate.text.replace('\n', " "), columns);
            row.push_str(&text);
            row.push_str(&" ".repeat(widest - width + 2));
            row.push_str(&candidate.about.replace('\n', " "));
        }
        cut(row.trim_end(), columns)
    };
    let mut list: Vec<_> = (0..shown).map(row).collect();
    let left = candidates.len().saturating_sub(shown * across);
    if left > 0 && rows > 0 {
        list.push(cut(&format!("({left} more)"), columns));
    }
    list
}

fn whole(candidate: &Candidate, columns: usize, rows: usize) -> Vec<(String, usize)> {
    let Candidate { text, about } = candidate;
    let text = if about.is_empty() { String::new() } else { format!("{text}  {about}").replace('\n', " ") };
    let mut list = Vec::new();
    let mut rest = text.as_str();
    while !rest.is_empty() && list.len() < rows {
        let (row, width, taken) = first_row(rest, columns);
        list.push((row, width));
        rest = rest.get(taken..).unwrap_or_default();
    }
    list
}

fn cut(row: &str, columns: usize) -> (String, usize) {
    let (row, width, _) = first_row(row, columns);
    (row, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(words: &[(&str, &str)]) -> Vec<Candidate> {
        let words = words.iter();
        words.map(|&(text, about)| Candidate { text: text.into(), about: about.into() }).collect()
    }

    fn rows(candidates: &[Candidate], columns: usize, rows: usize) -> Vec<String> {
        list(candidates, columns, rows).into_iter().map(|(row, _)| row).collect()
    }

    #[test]
    fn what_all_begin_with_is_found() {
        assert_eq!(common(&candidates(&[("mount", ""), ("mounts", "")])), "mount");
        assert_eq!(common(&candidates(&[("mö", ""), ("mü", "")])), "m");
        assert_eq!(common(&[]), "");
    }

    #[test]
    fn what_is_known_of_them_is_told() {
        let described = candidates(&[("mount", "(pattern, handler)"), ("set", "\u{1b}[2J")]);
        assert_eq!(rows(&described, 80, 9), ["mount  (pattern, handler)", r"set    \u{1b}[2J"]);
        assert_eq!(rows(&described, 10, 9), ["mount  (pa", r"set    "]);
        assert_eq!(rows(&described, 80, 1), ["(2 more)"]);
        assert!(rows(&described, 80, 0).is_empty());
    }

    #[test]
    fn of_the_only_one_all_is_told() {
        let one = candidates(&[("mount", "(pattern, handler)")]);
        assert_eq!(rows(&one, 80, 9), ["mount  (pattern, handler)"]);
        assert_eq!(rows(&one, 10, 9), ["mount  (pa", "ttern, han", "dler)"]);
        assert_eq!(rows(&one, 10, 1), ["mount  (pa"]);
        assert!(rows(&candidates(&[("mount", "")]), 80, 9).is_empty());
    }

    #[test]
    fn names_alone_stand_side_by_side() {
        let names = candidates(&[("a", ""), ("b", ""), ("c", ""), ("d", ""), ("ee", "")]);
        assert_eq!(rows(&names, 12, 9), ["a   c   ee", "b   d"]);
        assert_eq!(rows(&names, 12, 1), ["(5 more)"]);
        assert_eq!(rows(&names, 5, 4), ["a", "b", "c", "(2 mo"]);
    }
}
