//! Modules that name each other in a circle: nobody can read one of them without the others.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::Problem;
use super::crates::Crate;

/// The most files that may name each other in a circle: a module, and one or two that belong to it.
const MOST: usize = 3;

/// One problem for each circle that is too large, with what makes it.
pub(super) fn check(krate: &Crate) -> Vec<Problem> {
    let references = krate.references();
    let arrows = references.iter().map(|one| (one.from, one.to)).collect();
    let large = circles(krate.files.len(), &arrows).into_iter().filter(|circle| circle.len() > MOST);
    let problem = |circle: Vec<usize>| {
        let mut text = format!(
            "{} files name each other in a circle, and {MOST} may; move what several need to a module below them:",
            circle.len()
        );
        let mut shown = BTreeSet::new();
        for one in &references {
            if circle.contains(&one.from) && circle.contains(&one.to) && shown.insert((one.from, one.to)) {
                let [from, to] = [one.from, one.to].map(|file| krate.files[file].display());
                let _ = write!(text, "\n    {from}:{}: `{}` -> {to}", one.line, one.path);
            }
        }
        Problem { file: krate.files[circle[0]].clone(), line: 1, rule: "circle", text }
    };
    large.map(problem).collect()
}

/// The sets of files each of which leads to all others of its set; of two files or more.
fn circles(files: usize, arrows: &BTreeSet<(usize, usize)>) -> Vec<Vec<usize>> {
    let reached = |start: usize| {
        let mut seen = BTreeSet::new();
        let mut open = vec![start];
        while let Some(from) = open.pop() {
            let next = arrows.range((from, 0)..(from + 1, 0)).map(|&(_, to)| to);
            open.extend(next.filter(|&to| seen.insert(to)));
        }
        seen
    };
    let reached: Vec<BTreeSet<usize>> = (0..files).map(reached).collect();
    let circle =
        |file: usize| reached[file].iter().copied().filter(|&to| reached[to].contains(&file)).collect();
    let mut circles: Vec<Vec<usize>> =
        (0..files).map(circle).filter(|circle: &Vec<_>| circle.len() > 1).collect();
    circles.sort();
    circles.dedup();
    circles
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::crates::tests::krate;

    #[test]
    fn three_may_and_four_are_told_with_what_makes_them_a_circle() {
        let next = |name| format!("pub struct X(crate::{name}::X);");
        let [a, b, c, d] = ["a", "b", "c", "d"].map(next);
        let files = [
            ("src/lib.rs", "mod a; mod b; mod c; mod d;"),
            ("src/a.rs", &b),
            ("src/b.rs", &c),
            ("src/d.rs", &a),
        ];
        assert_eq!(check(&krate(&[&files[..], &[("src/c.rs", &a)]].concat())), []);
        let found = check(&krate(&[&files[..], &[("src/c.rs", &d)]].concat()));
        assert_eq!(found.len(), 1);
        assert!(found[0].text.contains("\n    src/c.rs:1: `crate::d::X` -> src/d.rs"), "{}", found[0]);
    }
}
