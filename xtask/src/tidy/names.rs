//! One name for one type: whoever reads `Request` in a crate need not ask which.

use std::collections::BTreeMap;

use super::Problem;
use super::crates::Crate;

/// One problem for each further declaration of a name. `targets` are a package's library and its program.
pub(super) fn check(targets: &[Crate]) -> Vec<Problem> {
    let mut first = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, file, line) in targets.iter().flat_map(Crate::types) {
        if let Some((file_before, line_before)) = first.insert(name, (file, line)) {
            let before = file_before.display();
            let text = format!("`{name}` is declared in {before}:{line_before} too; name each by what it is");
            problems.push(Problem { file: file.to_owned(), line, rule: "name", text });
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::crates::tests::krate;

    #[test]
    fn the_second_of_a_name_is_told_where_the_first_is() {
        let text =
            "struct A;\ntrait B { type A; }\nmod m {\n enum B {}\n}\n#[cfg(test)]\nmod tests { struct A; }";
        let found = check(&[krate(&[("src/lib.rs", text)])]);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].to_string(),
            "src/lib.rs:4: name: `B` is declared in src/lib.rs:2 too; name each by what it is"
        );
    }
}
