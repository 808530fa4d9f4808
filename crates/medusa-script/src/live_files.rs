//! Live edits that are kept: files `live/NNNN-reason.luau` beside the script, which run after it whenever it is loaded.
//!
//! **Invariants:** a file is there whole or not at all, and none is written over. Nothing is saved as long as there is a file that
//! is not in what runs: the next load would make another site of both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use medusa_proto::shown::{Escaped, is_hidden};

use crate::counted::some_of;
use crate::recipe::{Recipe, Statement};
use crate::require::{MAX_SOURCE, read_below};

/// Their directory, below that of the script.
pub(crate) const DIRECTORY: &str = "live";

/// What a file is called that is being written.
const PART: &str = "save.part";

/// The most files. Who has more than a few had better move them into the script.
const MAX_FILES: usize = 1000;

/// What a line begins with that stands before each statement. To Luau it is a comment.
const BEFORE_STATEMENT: &str = "--- statement";

/// What is behind that if the statement has names of a session.
const OF_SESSION: &str = " of session ";

/// The longest part of a reason that stands in a name, in bytes.
const MAX_SLUG: usize = 40;

/// The longest statement that is shown whole, in characters.
const MAX_SHOWN: usize = 100;

/// The files below a script's directory, in the order in which they run.
///
/// # Errors
///
/// The directory cannot be read, or has too many.
pub(crate) fn listed(root: &Path) -> Result<Vec<PathBuf>, String> {
    let files = entries(root).map_err(|error| format!("cannot read {DIRECTORY}/: {error}"))?;
    let files = sorted(&files);
    if files.len() > MAX_FILES {
        return Err(format!("{DIRECTORY}/ has more than {MAX_FILES} files: move them into the script"));
    }
    Ok(files)
}

/// All that is in their directory, by its path below that of the script.
fn entries(root: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(root.join(DIRECTORY)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries.map(|entry| Ok(Path::new(DIRECTORY).join(entry?.file_name()))).collect()
}

/// What is said of what is in their directory and does not run, for its name; none: there is nothing such. Names that begin with a dot
/// are meant to be overlooked.
pub(crate) fn strays(root: &Path) -> Option<String> {
    let is_stray = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        number(path).is_none() && !name.starts_with(b".") && name != PART.as_bytes()
    };
    let mut strays: Vec<_> = entries(root).ok()?.into_iter().filter(is_stray).collect();
    strays.sort();
    let shown = |path: &PathBuf| format!("\"{}\"", Escaped::line(&path.to_string_lossy()));
    let strays: Vec<_> = strays.iter().map(shown).collect();
    (!strays.is_empty()).then(|| {
        format!("not run, as only names like {DIRECTORY}/0001-reason.luau are: {}", some_of(&strays))
    })
}

/// Those of these files that are live edits, in their order.
pub(crate) fn sorted<'p>(files: impl IntoIterator<Item = &'p PathBuf>) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        files.into_iter().filter_map(|path| Some((number(path)?, path.clone()))).collect();
    files.sort();
    files.into_iter().map(|(_, path)| path).collect()
}

/// The number of a file: 7 of `live/0007-more-room.luau`. Others are none of ours.
fn number(path: &Path) -> Option<u64> {
    let name = path.strip_prefix(DIRECTORY).ok()?.to_str()?;
    let (number, _) = name.strip_suffix(".luau")?.split_once('-')?;
    (number.len() >= 4 && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| number.parse().ok())?
}

/// A statement in a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SavedStatement<'a> {
    /// The number of lines before it.
    pub(crate) lines: usize,
    /// The session it shares names with, if it has any of its own.
    pub(crate) session: Option<&'a str>,
    pub(crate) source: &'a str,
}

/// The statements of a file.
pub(crate) fn statements(text: &str) -> impl Iterator<Item = SavedStatement<'_>> {
    let mut starts = vec![(0, None, 0)];
    let mut end = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        end += line.len();
        if line.starts_with(BEFORE_STATEMENT) {
            let session = line.split_once(OF_SESSION).map(|(_, session)| session.trim());
            starts.push((number + 1, session, end));
        }
    }
    let ends: Vec<_> = starts.iter().skip(1).map(|(_, _, start)| *start).chain([text.len()]).collect();
    starts.into_iter().zip(ends).map(|((lines, session, start), end)| SavedStatement {
        lines,
        session,
        source: text.get(start..end).unwrap_or_default(),
    })
}

/// The directory in which live edits of a script are kept.
#[derive(Debug, Clone)]
pub(crate) struct LiveFiles {
    /// The script's directory.
    pub(crate) root: PathBuf,
    /// The script's file in it.
    pub(crate) script: String,
}

/// What is said in a file of the edits in it.
#[derive(Debug)]
pub(crate) struct Heading {
    pub(crate) reason: Arc<str>,
    pub(crate) author: String,
    pub(crate) generation: u64,
    pub(crate) time: jiff::Timestamp,
}

impl LiveFiles {
    /// Writes the statements of a recipe that are not saved yet; the recipe with which they are.
    ///
    /// # Errors
    ///
    /// There are none; there are files that do not run; the file cannot be written.
    pub(crate) fn save(&self, recipe: &Recipe, heading: &Heading) -> Result<(PathBuf, Recipe), String> {
        let unsaved = recipe.unsaved();
        if unsaved.is_empty() {
            return Err(
                "there is nothing to save: no statement has changed the site or set a name since the last load or save (what is set \
                 within a table is not noticed: set the name of that, too)"
                    .into(),
            );
        }
        let listed = listed(&self.root)?;
        let written = recipe.written();
        if let Some(stray) = listed.iter().find(|path| !written.contains_key(*path)) {
            return Err(format!(
                "{} is on disk and not in what runs, so that the next load would run both: `reload()`, or delete it",
                stray.display()
            ));
        }
        let numbers = listed.iter().filter_map(|path| number(path));
        let next = numbers.max().unwrap_or(0).checked_add(1).ok_or("there is no number left for a file")?;
        let path = Path::new(DIRECTORY).join(format!("{next:04}-{}.luau", slug(&heading.reason)));
        let text: Arc<str> = self.text(&unsaved, heading)?.into();
        self.write(&path, &text).map_err(|error| {
            format!("cannot write {} in {}: {error}", path.display(), self.root.display())
        })?;
        Ok((path.clone(), recipe.saved_as(path, text)))
    }

    fn text(&self, statements: &[Statement], heading: &Heading) -> Result<String, String> {
        let Heading { reason, author, generation, time } = heading;
        let line = |text: &str| text.replace(is_hidden, " ");
        let mut text = format!(
            "-- Saved at {} by {}, as of generation {generation}: {}\n-- Runs after {} whenever that is loaded, statement by \
             statement. Change it, move it into the script, or delete it.\n",
            time.strftime("%Y-%m-%d %H:%M:%S UTC"),
            line(author),
            line(reason),
            line(&self.script),
        );
        for (at, statement) in statements.iter().enumerate() {
            let Statement { session, source, .. } = statement;
            if source.lines().any(|line| line.starts_with(BEFORE_STATEMENT)) {
                return Err(format!(
                    "the statement `{}` has a line that begins with `{BEFORE_STATEMENT}`, as the lines between statements do: put \
                     it into the script yourself",
                    shown(source)
                ));
            }
            let session =
                session.as_ref().map(|session| format!("{OF_SESSION}{session}")).unwrap_or_default();
            let _ = writeln!(text, "{BEFORE_STATEMENT} {}{session}\n{}", at + 1, source.trim_end());
        }
        if text.len() as u64 > MAX_SOURCE {
            return Err(format!(
                "together these statements have more than {MAX_SOURCE} bytes: put them into the script yourself"
            ));
        }
        Ok(text)
    }

    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        let directory = self.root.join(DIRECTORY);
        DirBuilder::new().recursive(true).mode(0o755).create(&directory)?;
        // What is not below the script would not be run from there.
        if !directory.canonicalize()?.starts_with(&self.root) {
            return Err(io::Error::other("it leads out of the script's directory"));
        }
        let part = directory.join(PART);
        // What a process has left that was killed may be the file it had saved last, by another name.
        fs::remove_file(&part).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&part)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            // Never over another file. A hard link cannot be.
            fs::hard_link(&part, self.root.join(path))
        })();
        let removed = fs::remove_file(&part);
        written.and(removed)?;
        File::open(&directory)?.sync_all()?;
        File::open(&self.root)?.sync_all()
    }

    /// What is different between what runs, which was `read` from files, and what is written.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub(crate) fn drift(
        &self,
        recipe: &Recipe,
        mut read: BTreeSet<(PathBuf, Arc<str>)>,
    ) -> Result<Vec<String>, String> {
        let mut drift = Vec::new();
        read.extend(BTreeMap::clone(&recipe.saved));
        for (path, text) in &read {
            let shown = path.display();
            match read_below(&self.root, path) {
                Ok(now) if now == **text => {}
                Ok(_) => drift.push(format!("~ {shown}: changed on disk since it was read")),
                Err(_) => drift.push(format!("- {shown}: runs, and cannot be read on disk any more")),
            }
        }
        // One that runs in two forms.
        drift.dedup();
        let written = recipe.written();
        for path in listed(&self.root)?.iter().filter(|path| !written.contains_key(*path)) {
            drift.push(format!("+ {}: on disk, and not in what runs", path.display()));
        }
        let unsaved = recipe.unsaved();
        drift.extend(unsaved.iter().map(|statement| format!("* not saved: {}", shown(&statement.source))));
        Ok(drift)
    }
}

/// A reason, as a part of a file's name.
fn slug(reason: &str) -> String {
    let words = reason.split(|char: char| !char.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut slug = String::new();
    for word in words {
        if !slug.is_empty() {
            slug.push('-');
        }
        slug.push_str(&word.to_ascii_lowercase());
    }
    slug.truncate(MAX_SLUG);
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "edit".to_owned() } else { slug.to_owned() }
}

/// A statement in one line.
fn shown(statement: &str) -> String {
    let mut words = statement.split_whitespace();
    let line = words.by_ref().collect::<Vec<_>>().join(" ");
    let mut shown = String::new();
    for char in line.chars().take(MAX_SHOWN) {
        if ['\\', '"', '\''].contains(&char) {
            shown.push(char);
        } else {
            shown.extend(char.escape_debug());
        }
    }
    if line.chars().nth(MAX_SHOWN).is_some() {
        shown.push_str(" ...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Files;
    use crate::require::Sources;

    fn recipe(root: &Path, statements: &[&str]) -> Recipe {
        let files = Files::new([(PathBuf::from("site.luau"), Arc::from("x = 1"))].into());
        let recipe = Recipe::new(Arc::new(Sources::recorded(root.to_owned(), files)));
        recipe.then_all(statements.iter().map(|source| statement(source))).expect("few")
    }

    fn statement(source: &str) -> Statement {
        Statement { name: "statement".into(), session: None, source: source.into(), files: Files::default() }
    }

    fn heading(reason: &str) -> Heading {
        let author = "eval by\nme".to_owned();
        Heading { reason: reason.into(), author, generation: 3, time: jiff::Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn what_is_saved_is_there_once_and_in_its_order() {
        let root = tempfile::tempdir().expect("a folder");
        fs::write(root.path().join("site.luau"), "x = 1").expect("written");
        let files = LiveFiles { root: root.path().to_owned(), script: "site.luau".into() };
        let recipe = recipe(root.path(), &["a = 1", "b = 2\nc = 3"]);
        let drift = |recipe: &Recipe| {
            let read = recipe.files().iter().map(|(path, text)| (path.clone(), Arc::clone(text))).collect();
            files.drift(recipe, read).expect("read")
        };
        assert_eq!(drift(&recipe), ["* not saved: a = 1", "* not saved: b = 2 c = 3"]);
        let (path, saved) = files.save(&recipe, &heading("More\u{202e} room: für alle!\n")).expect("saved");
        assert_eq!(path, Path::new("live/0001-more-room-f-r-alle.luau"));
        assert!(drift(&saved).is_empty());
        assert!(files.save(&saved, &heading("x")).expect_err("nothing").contains("nothing to save"));
        let text = fs::read_to_string(root.path().join(&path)).expect("there");
        let expected =
            "-- Saved at 1970-01-01 00:00:00 UTC by eval by me, as of generation 3: More  room: für alle! \n";
        assert!(text.starts_with(expected), "{text}");
        let read: Vec<_> = statements(&text).collect();
        let (source, session) = ("a = 1\n--- statement 2\n", None);
        assert_eq!(read[1], SavedStatement { lines: 3, session, source });
        assert_eq!(read[2], SavedStatement { lines: 5, session, source: "b = 2\nc = 3\n" });
        let of_session = Statement { session: Some("7.4711".into()), ..statement("local d = 1") };
        let text = files.text(&[of_session], &heading("x")).expect("text");
        assert_eq!(statements(&text).last().expect("one").session, Some("7.4711"));

        // Killed when the first was in its place, with the name it was written by.
        fs::hard_link(root.path().join(&path), root.path().join("live/save.part")).expect("made");
        let more = saved.clone().then_all([statement("d = 4")]).expect("few");
        let (path, _) = files.save(&more, &heading("")).expect("saved");
        assert_eq!(path, Path::new("live/0002-edit.luau"));
        assert_eq!(listed(root.path()).expect("read").len(), 2);
        // What ran before knows nothing of the second.
        assert_eq!(drift(&saved), ["+ live/0002-edit.luau: on disk, and not in what runs"]);
        let other = saved.then_all([statement("e = 5")]).expect("few");
        assert!(files.save(&other, &heading("")).expect_err("a stray").contains("0002-edit"));
        fs::write(root.path().join("site.luau"), "x = 2").expect("written");
        fs::remove_file(root.path().join(&path)).expect("removed");
        assert_eq!(drift(&other), ["~ site.luau: changed on disk since it was read", "* not saved: e = 5"]);
    }

    #[test]
    fn only_numbered_files_run() {
        let root = tempfile::tempdir().expect("a folder");
        assert!(listed(root.path()).expect("none").is_empty());
        fs::create_dir(root.path().join(DIRECTORY)).expect("made");
        for name in
            ["10000-x.luau", "0002-b.luau", "0001-z.luau", "1-a.luau", "save.part", "x.luau", "0003-.lua"]
        {
            fs::write(root.path().join(DIRECTORY).join(name), "").expect("written");
        }
        let names = listed(root.path()).expect("read");
        let names: Vec<_> = names.iter().map(|path| path.display().to_string()).collect();
        assert_eq!(names, ["live/0001-z.luau", "live/0002-b.luau", "live/10000-x.luau"]);
        let told = strays(root.path()).expect("some");
        assert!(told.ends_with(r#": "live/0003-.lua", "live/1-a.luau", "live/x.luau""#), "{told}");
    }

    #[test]
    fn what_cannot_be_told_apart_or_written_is_refused() {
        let root = tempfile::tempdir().expect("a folder");
        let files = LiveFiles { root: root.path().to_owned(), script: "site.luau".into() };
        let odd = recipe(root.path(), &["x = [[\n--- statement 1\n]]"]);
        assert!(files.save(&odd, &heading("x")).expect_err("odd").contains("into the script yourself"));
        fs::write(root.path().join(DIRECTORY), "no directory").expect("written");
        let refused = files.save(&recipe(root.path(), &["x = 1"]), &heading("x")).expect_err("no directory");
        assert!(refused.contains("live/"), "{refused}");
        // What is there could not be loaded.
        let elsewhere = tempfile::tempdir().expect("a folder");
        fs::remove_file(root.path().join(DIRECTORY)).expect("removed");
        std::os::unix::fs::symlink(elsewhere.path(), root.path().join(DIRECTORY)).expect("a link");
        let refused = files.save(&recipe(root.path(), &["x = 1"]), &heading("x")).expect_err("it leads out");
        assert!(refused.contains("leads out"), "{refused}");
        assert_eq!(fs::read_dir(elsewhere.path()).expect("read").count(), 0);
    }
}
