//! The rules between crates: an arrow points down, never up or sideways; a heavy dependency has one door.
//!
//! The compiler refuses circles; it does not refuse the arrow that makes the next circle likely. [`PLACES`] is the
//! architecture as a table: a new crate does not build in CI before it has its line there.

use std::path::Path;

use super::Problem;
use crate::workspace::{Dependency, DependencyKind, Package};

/// The place of a crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A product crate: may depend on lower levels only.
    Level(u8),
    /// For tests: may be a dev-dependency of any product crate and used by tools, and depends on none of ours.
    Testkit,
    /// A program beside the product: depends on none of ours but the testkit, and none of ours depends on it.
    Tool,
}

/// Every crate of the workspace. Two crates of one level know nothing of each other; the product wires them.
const PLACES: &[(&str, Place)] = &[
    ("medusa-files", Place::Level(0)),
    ("medusa-proto", Place::Level(0)),
    ("medusa-auth", Place::Level(1)),
    ("medusa-net", Place::Level(1)),
    ("medusa-log", Place::Level(1)),
    ("medusa-monitor", Place::Level(2)),
    ("medusa-dns", Place::Level(2)),
    ("medusa-fetch", Place::Level(2)),
    ("medusa-http", Place::Level(2)),
    ("medusa-chat", Place::Level(3)),
    ("medusa-dav", Place::Level(3)),
    ("medusa-proxy", Place::Level(3)),
    ("medusa-site", Place::Level(4)),
    ("medusa-script", Place::Level(5)),
    ("medusa", Place::Level(7)),
    ("embed", Place::Level(8)),
    ("medusa-testkit", Place::Testkit),
    ("xtask", Place::Tool),
];

/// Dependencies that one crate fences off from the others.
const FENCES: &[(&str, &str)] = &[
    ("mlua", "medusa-script"),
    ("hickory-resolver", "medusa-dns"),
    ("h2", "medusa-fetch"),
    ("url", "medusa-fetch"),
    ("russh", "medusa-monitor"),
    ("argon2", "medusa-auth"),
    ("bcrypt", "medusa-auth"),
    ("sha-crypt", "medusa-auth"),
    ("quick-xml", "medusa-dav"),
    ("rusqlite", "medusa-dav"),
];

/// Checks one package. `manifest` is the text of its `Cargo.toml`, `file` its path from the root of the repository.
pub(super) fn check(package: &Package, file: &Path, manifest: &str) -> Vec<Problem> {
    let problem = |rule, name: &str, text| Problem {
        file: file.to_owned(),
        line: line_naming(manifest, name),
        rule,
        text,
    };
    let Some(place) = place_of(&package.name) else {
        let text = format!(
            "the crate `{}` has no place in the architecture; give it a line in PLACES in \
             xtask/src/tidy/arrows.rs, and a row in ARCHITECTURE.md",
            package.name
        );
        return vec![problem("place", "name", text)];
    };
    let mut problems = Vec::new();
    for dependency in &package.dependencies {
        if let Some(why) = wrong_arrow(&package.name, place, dependency) {
            problems.push(problem("arrow", &dependency.name, why));
        }
        if let Some(door) = fenced_by_another(&package.name, &dependency.name) {
            let text = format!(
                "only {door} may name `{0}`; use what {door} offers, or add there what is missing",
                dependency.name
            );
            problems.push(problem("fence", &dependency.name, text));
        }
    }
    problems
}

fn place_of(name: &str) -> Option<Place> {
    PLACES.iter().find(|(known, _)| *known == name).map(|&(_, place)| place)
}

/// The reason why `from` may not depend on `dependency`; `None` when it may. Crates that are not ours are not our
/// concern here.
fn wrong_arrow(from: &str, place: Place, dependency: &Dependency) -> Option<String> {
    let to = dependency.name.as_str();
    match (place, place_of(to)?) {
        (Place::Level(ours), Place::Level(theirs)) if theirs < ours => None,
        (Place::Level(ours), Place::Level(theirs)) => {
            let direction = if theirs == ours { "sideways" } else { "up" };
            Some(format!(
                "{from} (level {ours}) points {direction} at {to} (level {theirs}); move what is needed to a lower \
                 level, or wire the two in a crate above both"
            ))
        }
        (Place::Level(_), Place::Testkit) if dependency.kind == Some(DependencyKind::Dev) => None,
        (Place::Level(_), Place::Testkit) => {
            Some(format!("{to} is for tests; move it to [dev-dependencies]"))
        }
        (Place::Tool, Place::Testkit) => None,
        (Place::Testkit | Place::Tool, _) => Some(format!(
            "{from} depends on no crate of the product, so that it can speak to it only as its users do; drop {to}"
        )),
        (_, Place::Tool) => Some(format!("{to} is a program, not a library; drop it")),
    }
}

/// The crate that alone may name `dependency`, when `package` is not that crate.
fn fenced_by_another(package: &str, dependency: &str) -> Option<&'static str> {
    FENCES.iter().find(|(fenced, door)| *fenced == dependency && *door != package).map(|&(_, door)| door)
}

/// The line whose key is `name`; 1 when there is none (a dependency renamed in the workspace's table, say).
fn line_naming(manifest: &str, name: &str) -> usize {
    let names = |line: &str| {
        let rest = line.trim_start().strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
    };
    manifest.lines().position(names).map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The problems of a package `name` whose manifest is `tables`, one dependency a line, as `rule@line`.
    fn problems(name: &str, tables: &str) -> Vec<String> {
        let manifest = format!("[package]\nname = \"{name}\"\n{tables}");
        let mut kind = None;
        let mut dependencies = Vec::new();
        for line in tables.lines() {
            match line {
                "[dependencies]" => kind = None,
                "[dev-dependencies]" => kind = Some(DependencyKind::Dev),
                "[build-dependencies]" => kind = Some(DependencyKind::Build),
                _ => {
                    let name = line.split(['.', ' ']).next().expect("a name").to_owned();
                    dependencies.push(Dependency { name, kind });
                }
            }
        }
        let manifest_path = format!("/w/crates/{name}/Cargo.toml").into();
        let package = Package { name: name.to_owned(), manifest_path, dependencies, targets: Vec::new() };
        let found = check(&package, Path::new("Cargo.toml"), &manifest);
        found.iter().map(|problem| format!("{}@{}", problem.rule, problem.line)).collect()
    }

    const NOTHING: [&str; 0] = [];

    #[test]
    fn an_arrow_down_is_fine() {
        let found = problems("medusa-site", "[dependencies]\nmedusa-http.workspace = true\ntokio = \"1\"\n");
        assert_eq!(found, NOTHING);
    }

    #[test]
    fn an_arrow_up_or_sideways_is_named_with_its_line() {
        assert_eq!(
            problems("medusa-net", "[dependencies]\ntokio = \"1\"\nmedusa-log = \"0\"\n"),
            ["arrow@5"]
        );
        assert_eq!(problems("medusa-http", "[dependencies]\nmedusa-site.workspace = true\n"), ["arrow@4"]);
    }

    #[test]
    fn tests_and_build_scripts_obey_the_arrows_too() {
        assert_eq!(problems("medusa-http", "[dev-dependencies]\nmedusa-script = \"0\"\n"), ["arrow@4"]);
        assert_eq!(problems("medusa-http", "[build-dependencies]\nmedusa-dns = \"0\"\n"), ["arrow@4"]);
    }

    #[test]
    fn the_testkit_is_for_tests_and_depends_on_none_of_ours() {
        assert_eq!(problems("medusa", "[dev-dependencies]\nmedusa-testkit.workspace = true\n"), NOTHING);
        assert_eq!(problems("medusa", "[dependencies]\nmedusa-testkit.workspace = true\n"), ["arrow@4"]);
        assert_eq!(problems("medusa-testkit", "[dependencies]\nmedusa-proto = \"0\"\n"), ["arrow@4"]);
    }

    #[test]
    fn the_tool_stands_apart() {
        assert_eq!(problems("xtask", "[dependencies]\nserde_json = \"1\"\n"), NOTHING);
        assert_eq!(problems("xtask", "[dependencies]\nmedusa-testkit.workspace = true\n"), NOTHING);
        assert_eq!(problems("xtask", "[dependencies]\nmedusa-proto = \"0\"\n"), ["arrow@4"]);
        assert_eq!(problems("medusa", "[dependencies]\nxtask = \"0\"\n"), ["arrow@4"]);
    }

    #[test]
    fn a_fenced_dependency_has_one_door() {
        assert_eq!(problems("medusa-script", "[dependencies]\nmlua.workspace = true\n"), NOTHING);
        assert_eq!(problems("medusa-monitor", "[dependencies]\nmlua.workspace = true\n"), ["fence@4"]);
        assert_eq!(problems("medusa", "[dev-dependencies]\nrussh = \"0.5\"\n"), ["fence@4"]);
    }

    #[test]
    fn an_unknown_crate_is_told_where_to_go() {
        assert_eq!(problems("medusa-util", "[dependencies]\n"), ["place@2"]);
    }

    #[test]
    fn a_longer_name_does_not_take_the_line_of_a_shorter() {
        assert_eq!(line_naming("medusa-http-x = 1\nmedusa-http.workspace = true", "medusa-http"), 2);
        assert_eq!(line_naming("[dependencies]", "medusa-http"), 1);
    }
}
