//! A crate as a tree of modules, outside of tests: which file names what of which other file.
//!
//! - A path (`use`, `crate::...`, `super::...`) counts for the file that defines what it names, however many `pub use` it
//!   goes through.
//! - Passing on (`pub use`) counts only if the module names the thing itself too. So a module that only declares and
//!   passes on depends on nobody, and nobody on it.
//! - What a module names of the modules below it does not count: it is made of them. What they name of it does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::items::{self, Import, ModuleScope};

/// The modules of a crate that are files.
#[derive(Debug)]
pub(super) struct Crate {
    /// The files, as [`Crate::read`] was given their paths.
    pub(super) files: Vec<PathBuf>,
    modules: Vec<Module>,
}

/// One module: a file, or a part of one.
#[derive(Debug)]
struct Module {
    file: usize,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    scope: ModuleScope,
}

/// One file that names something of another.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) from: usize,
    pub(super) to: usize,
    /// Where in `from`, counted from 1.
    pub(super) line: usize,
    /// As it is written there.
    pub(super) path: String,
}

impl Crate {
    /// Reads the crate whose root is `root`. `read` has the text of a file, `None` where there is none.
    pub(super) fn read(root: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Self {
        let mut this = Self { files: Vec::new(), modules: Vec::new() };
        let folder = root.parent().unwrap_or(root);
        if let Some(text) = read(root) {
            this.add(root, folder, None, &text, read);
        }
        this
    }

    /// Adds a file and what it declares; `folder` is where the files of its modules are.
    fn add(
        &mut self,
        path: &Path,
        folder: &Path,
        parent: Option<usize>,
        text: &str,
        read: &dyn Fn(&Path) -> Option<String>,
    ) -> usize {
        let file = self.files.len();
        self.files.push(path.to_owned());
        let first = self.modules.len();
        for scope in items::scopes(text) {
            let parent = match scope.path.split_last() {
                None => parent,
                Some((_, above)) => {
                    (first..self.modules.len()).find(|&at| self.modules[at].scope.path == above)
                }
            };
            let index = self.modules.len();
            if let (Some(name), Some(parent)) = (scope.path.last(), parent) {
                self.modules[parent].children.insert(name.clone(), index);
            }
            self.modules.push(Module { file, parent, children: BTreeMap::new(), scope });
        }
        for module in first..self.modules.len() {
            let scope = &self.modules[module].scope;
            let below = scope.path.iter().fold(folder.to_owned(), |below, name| below.join(name));
            for name in scope.children.clone() {
                let beside = [below.join(&name).with_extension("rs"), below.join(&name).join("mod.rs")];
                if let Some((text, path)) = beside.into_iter().find_map(|path| Some((read(&path)?, path))) {
                    let child = self.add(&path, &below.join(&name), Some(module), &text, read);
                    self.modules[module].children.insert(name, child);
                }
            }
        }
        first
    }

    /// Every type's name with where it is declared: file and line.
    pub(super) fn types(&self) -> impl Iterator<Item = (&str, &Path, usize)> {
        self.modules.iter().flat_map(|Module { file, scope, .. }| {
            let file = self.files[*file].as_path();
            scope.types.iter().map(move |(name, line)| (name.as_str(), file, *line))
        })
    }

    /// The items that files name of each other, but for a file's own things and those of modules below it.
    pub(super) fn references(&self) -> Vec<Reference> {
        let mut found = Vec::new();
        for (index, module) in self.modules.iter().enumerate() {
            let scope = &module.scope;
            let used = |import: &&Import| !import.public || scope.words.contains(&import.name);
            let imports = scope.imports.iter().filter(used).map(|import| (&import.path, import.line));
            let paths = scope.paths.iter().map(|(path, line)| (path, *line));
            let elsewhere = paths.filter(|(path, _)| matches!(path[0].as_str(), "crate" | "super"));
            for (path, line) in imports.chain(elsewhere) {
                let Some(to) = self.resolve(index, path, 0) else { continue };
                let mut around = std::iter::successors(Some(to), |&at| self.modules[at].parent);
                if !around.any(|at| self.modules[at].file == module.file) {
                    let to = self.modules[to].file;
                    found.push(Reference { from: module.file, to, line, path: path.join("::") });
                }
            }
        }
        found
    }

    /// The module that defines what `path` names in `module`; `None` where it leads out of the crate.
    fn resolve(&self, module: usize, path: &[String], depth: usize) -> Option<usize> {
        // Imports that go in a circle do not compile.
        if depth > 32 {
            return None;
        }
        let mut here = module;
        for (at, name) in path.iter().enumerate() {
            let current = &self.modules[here];
            match name.as_str() {
                "crate" if at == 0 => here = 0,
                "self" if at == 0 => {}
                "super" => here = current.parent?,
                name => {
                    if let Some(&child) = current.children.get(name) {
                        here = child;
                        continue;
                    }
                    let imports = &current.scope.imports;
                    if let Some(import) = imports.iter().find(|import| import.name == name) {
                        return self.resolve(here, &[&import.path, &path[at + 1..]].concat(), depth + 1);
                    }
                    let starred = |import: &Import| {
                        let target = self.resolve(here, &import.path, depth + 1)?;
                        self.has(target, name).then(|| [&import.path, &path[at..]].concat())
                    };
                    let mut globs = imports.iter().filter(|import| import.name == "*");
                    return match globs.find_map(starred) {
                        Some(whole) => self.resolve(here, &whole, depth + 1),
                        // The first name is a crate, a prelude's or the file's own.
                        None if at == 0 => None,
                        None => Some(here),
                    };
                }
            }
        }
        Some(here)
    }

    /// Whether a module has something of that name to import.
    fn has(&self, module: usize, name: &str) -> bool {
        let Module { children, scope, .. } = &self.modules[module];
        children.contains_key(name)
            || scope.imports.iter().any(|import| import.public && import.name == name)
            || scope.types.iter().any(|(known, _)| known == name)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A crate whose root is `src/lib.rs`, of files and their texts.
    pub(in crate::tidy) fn krate(files: &[(&str, &str)]) -> Crate {
        let text = |path: &Path| {
            files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).into())
        };
        Crate::read(Path::new("src/lib.rs"), &text)
    }

    fn references(files: &[(&str, &str)]) -> Vec<String> {
        let krate = krate(files);
        let name = |file: usize| {
            krate.files[file].with_extension("").strip_prefix("src").expect("in src").display().to_string()
        };
        krate
            .references()
            .iter()
            .map(|one| format!("{}:{} -> {}", name(one.from), one.line, name(one.to)))
            .collect()
    }

    #[test]
    fn a_path_leads_through_what_is_passed_on_to_the_file_that_defines() {
        let found = references(&[
            ("src/lib.rs", "mod a; mod b; pub use b::{B, Deep};"),
            ("src/a.rs", "use crate::Deep;\nuse crate::b::*;\nfn f() { crate::b::deep::g() }"),
            ("src/b/mod.rs", "mod deep; pub(crate) use deep::Deep; pub struct B;"),
            ("src/b/deep.rs", "use super::B; pub struct Deep;"),
        ]);
        assert_eq!(found, ["a:1 -> b/deep", "a:2 -> b/mod", "a:3 -> b/deep", "b/deep:1 -> b/mod"]);
    }

    #[test]
    fn passing_on_counts_where_the_module_uses_the_thing_itself() {
        let files =
            |text| [("src/lib.rs", "mod a; mod b;"), ("src/a.rs", "pub struct A;"), ("src/b.rs", text)];
        assert_eq!(references(&files("pub use crate::a::A;")), [""; 0]);
        assert_eq!(references(&files("pub use crate::a::A; fn f(_: A) {}")), ["b:1 -> a"]);
    }

    #[test]
    fn modules_below_and_tests_and_other_crates_do_not_count() {
        let found = references(&[
            ("src/lib.rs", "mod a; use a::b::B; #[cfg(test)] mod tests;"),
            ("src/a.rs", "pub mod b; use std::fmt; use b::B; #[cfg(test)] use crate::c;"),
            ("src/a/b.rs", "pub struct B; mod inner { use super::B; }"),
            ("src/tests.rs", "use crate::a::b::B;"),
        ]);
        assert_eq!(found, [""; 0]);
    }
}
