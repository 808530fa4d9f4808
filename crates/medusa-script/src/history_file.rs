//! The history on disk: a line for each generation, with what it can be made again of, so that one can go back to what ran before
//! the server was started anew.
//!
//! **Invariants:** the file is written by one task, in the order of publication, and never held up for. What cannot be read of it
//! is as if it had never been; it is read only if it is this server's own. No number is given twice, also where lines could not be
//! written or read: the last one stands in a file of its own, which needs no room on a full disk. It is written once the generation is
//! published, for no publication waits for a disk: who kills the server within the milliseconds between has one given again.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use medusa_proto::author::{Approval, Author, Scope, Via};
use medusa_site::{Difference, Differences, Generation, MAX_GENERATIONS};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::chunk::STATEMENT;
use crate::recipe::{Files, Gaps, Recipe, Recipes, Statement};
use crate::require::Sources;
use crate::state_file;

/// The file's name in the state directory.
const NAME: &str = "history.jsonl";

/// The name of the file with the number that was published last.
const LAST: &str = "generation";

/// The largest number that is believed: the largest whole number that scripts have.
const MAX_NUMBER: u64 = 1 << 53;

/// How long the file may become, in bytes, before it is written anew with what is still remembered.
const MAX_FILE: u64 = 128 * 1024 * 1024;

/// How many lines it may have until then.
const MAX_LINES: usize = 2 * MAX_GENERATIONS;

/// A generation in the file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HistoryEntry {
    number: u64,
    loaded: u64,
    /// In seconds since 1970.
    at: f64,
    via: Via,
    what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    who: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    login: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<Scope>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approved_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    changes: Vec<Difference>,
    #[serde(default)]
    more: usize,
    /// What it is made of; none: something that is in no recipe, as what the script has done by itself.
    recipe: Option<RecipeEntry>,
}

/// What a generation is made of: that of an earlier one, or files; and then statements. Neither: too much.
#[derive(Debug, Default, Serialize, Deserialize)]
struct RecipeEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files: Option<BTreeMap<PathBuf, Text>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    statements: Vec<StatementEntry>,
    #[serde(default, skip_serializing_if = "Gaps::is_empty")]
    gaps: Gaps,
}

/// A statement in the file, with the session whose names it has, if there are any.
#[derive(Debug, Serialize, Deserialize)]
struct StatementEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<Text>,
    source: Text,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<PathBuf, Text>,
}

impl StatementEntry {
    fn new(statement: &Statement) -> Self {
        let Statement { name, session, source, files } = statement;
        Self {
            name: Some(Text(Arc::clone(name))),
            session: session.clone().map(Text),
            source: Text(Arc::clone(source)),
            files: texts(files),
        }
    }

    fn statement(self) -> Statement {
        let Text(source) = self.source;
        let session = self.session.map(|Text(session)| session);
        let name = self.name.map_or_else(|| STATEMENT.into(), |Text(name)| name);
        Statement { name, session, source, files: files(self.files) }
    }
}

fn texts(files: &Files) -> BTreeMap<PathBuf, Text> {
    files.iter().map(|(path, text)| (path.clone(), Text(Arc::clone(text)))).collect()
}

fn files(texts: BTreeMap<PathBuf, Text>) -> Files {
    Arc::new(texts.into_iter().map(|(path, Text(text))| (path, text)).collect())
}

/// A text that is shared until it is written.
#[derive(Debug)]
struct Text(Arc<str>);

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

impl RecipeEntry {
    /// That of a recipe, told from those of `earlier` generations.
    fn new(recipe: &Recipe, earlier: &Earlier) -> Self {
        let beginning =
            recipe.beginnings().find_map(|(step, count)| Some((*earlier.by_step.get(&step)?, count)));
        let (from, known) = beginning.map_or((None, 0), |(from, count)| (Some(from), count));
        Self {
            from,
            files: from.is_none().then(|| texts(&recipe.files())),
            statements: recipe.statements().iter().skip(known).map(StatementEntry::new).collect(),
            gaps: recipe.gaps().clone(),
        }
    }

    /// The recipe, made of those of `earlier` generations; none if what it begins with is not known any more.
    fn recipe(self, root: &Path, earlier: &Earlier) -> Option<Recipe> {
        let begin = match (self.from, self.files) {
            (Some(from), _) => earlier.recipes.get(&from)?.clone(),
            (None, Some(texts)) => Recipe::new(Arc::new(Sources::recorded(root.to_owned(), files(texts)))),
            (None, None) => return None,
        };
        let recipe = begin.then_all(self.statements.into_iter().map(StatementEntry::statement))?;
        Some(recipe.with_gaps(self.gaps))
    }
}

impl HistoryEntry {
    fn new(generation: &Generation, recipe: Option<RecipeEntry>) -> Self {
        let Generation { number, loaded, author, at, reason, changes, .. } = generation;
        Self {
            number: *number,
            loaded: *loaded,
            at: at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            via: author.via,
            what: author.what.to_string(),
            who: author.who.as_deref().map(str::to_owned),
            login: author.login.as_deref().map(str::to_owned),
            scope: author.scope.as_deref().cloned(),
            approved_by: match &author.approval {
                Approval::By(who) => Some(who.to_string()),
                Approval::Free | Approval::Needed => None,
            },
            reason: reason.as_deref().map(str::to_owned),
            changes: changes.told.to_vec(),
            more: changes.more,
            recipe,
        }
    }

    fn generation(&self) -> Generation {
        let text = |text: &Option<String>| text.as_deref().map(Arc::from);
        let approval = text(&self.approved_by).map_or(Approval::Free, Approval::By);
        let (who, login, scope) = (text(&self.who), text(&self.login), self.scope.clone().map(Arc::new));
        let author = Author { who, login, scope, approval, ..Author::new(self.via, &*self.what) };
        Generation {
            number: self.number,
            loaded: self.loaded,
            author,
            at: Duration::try_from_secs_f64(self.at)
                .ok()
                .and_then(|at| UNIX_EPOCH.checked_add(at))
                .unwrap_or(UNIX_EPOCH),
            reason: self.reason.as_deref().map(Arc::from),
            took: Duration::ZERO,
            changes: Differences { told: self.changes.clone().into(), more: self.more },
            whole: false,
        }
    }
}

/// The recipes of the generations that are in the file.
#[derive(Debug, Default)]
struct Earlier {
    recipes: BTreeMap<u64, Recipe>,
    /// Where each of them ends, and whose that is; see [`Recipe::beginnings`].
    by_step: HashMap<usize, u64>,
}

impl Earlier {
    fn add(&mut self, number: u64, recipe: Recipe) {
        self.by_step.extend(recipe.beginnings().next().map(|(step, _)| (step, number)));
        self.recipes.insert(number, recipe);
    }

    /// Forgets those that are not remembered any more.
    fn forget(&mut self, recipes: &Recipes) {
        let is_known = |number| recipes.look_at_own(number, |own| own.is_some()).unwrap_or(false);
        self.recipes.retain(|number, _| is_known(*number));
        self.by_step.retain(|_, number| is_known(*number));
    }
}

/// The history as it is on disk, and what its lines can refer to.
#[derive(Debug)]
pub(crate) struct HistoryFile {
    /// The state directory; none: nothing outlives the process.
    state: Option<PathBuf>,
    earlier: Earlier,
    /// The number that was written last.
    last: u64,
    lines: usize,
    /// How long the file is, in bytes.
    length: u64,
    /// The last attempt to write has failed.
    fails: bool,
    /// That of the last number has.
    fails_to_count: bool,
    /// There is something else in the file than whole lines of ours.
    is_torn: bool,
}

impl HistoryFile {
    pub(crate) fn new(state: Option<PathBuf>) -> Self {
        Self {
            state,
            earlier: Earlier::default(),
            last: 0,
            lines: 0,
            length: 0,
            fails: false,
            fails_to_count: false,
            is_torn: false,
        }
    }

    /// Reads what earlier processes have published, the first first, and the last number that they have used; enters their recipes
    /// into `recipes`; `root` is the script's directory. They may be more than are remembered: [`MAX_LINES`], and those that were
    /// written at once with the last.
    pub(crate) fn read(&mut self, root: &Path, recipes: &Recipes) -> (Vec<Generation>, u64) {
        let Some(state) = &self.state else { return (Vec::new(), 0) };
        let (entries, unread) = read(&state.join(NAME)).unwrap_or_else(|error| {
            tracing::warn!("what ran before this start is not known: cannot read {NAME}: {error}");
            (Vec::new(), 1)
        });
        let counted = read_last(&state.join(LAST)).unwrap_or_else(|error| {
            tracing::warn!(
                "generations are counted on from what {NAME} tells, as {LAST} cannot be read: {error}"
            );
            None
        });
        self.is_torn = unread > 0;
        self.lines = entries.len();
        let mut known = Vec::new();
        for mut entry in entries {
            if let Some(recipe) = entry.recipe.take() {
                let recipe = recipe.recipe(root, &self.earlier);
                if let Some(recipe) = &recipe {
                    self.earlier.add(entry.number, recipe.clone());
                }
                recipes.note(entry.number, recipe);
            }
            known.push(entry.generation());
        }
        self.last = known.last().map_or(0, |last| last.number);
        known.drain(..known.len().saturating_sub(2 * MAX_LINES));
        (known, counted.unwrap_or(0).max(self.last + unread))
    }

    /// The lines of the generations that are not in the file yet; all of them if it is to be written anew. `since` tells those
    /// later than a number, the last one first.
    pub(crate) fn next(
        &mut self,
        since: impl FnOnce(u64) -> Vec<Generation>,
        recipes: &Recipes,
    ) -> Option<Lines> {
        let state = self.state.clone()?;
        let anew = self.fails || self.is_torn || self.lines >= MAX_LINES || self.length > MAX_FILE;
        if anew {
            (self.earlier, self.last, self.lines) = (Earlier::default(), 0, 0);
        }
        let mut entries = Vec::new();
        for generation in since(self.last).iter().rev() {
            let entry = recipes.look_at_own(generation.number, |recipe| {
                let entry = recipe.map(|recipe| RecipeEntry::new(recipe, &self.earlier));
                if let Some(recipe) = recipe {
                    self.earlier.add(generation.number, recipe.clone());
                }
                entry.unwrap_or_default()
            });
            entries.push(HistoryEntry::new(generation, entry));
            self.last = generation.number;
            self.lines += 1;
        }
        self.earlier.forget(recipes);
        Some(Lines { state, last: self.last, entries, anew })
    }

    /// Notes whether lines were written. If not, all of them are next time.
    pub(crate) fn written(&mut self, Written { number, lines: result }: Written) {
        let failed_to_count = number.is_err();
        if let (Err(error), false) = (number, self.fails_to_count) {
            tracing::warn!(
                "the number of the last generation cannot be kept for the next start, which may give it again: {LAST}: {error}"
            );
        }
        self.fails_to_count = failed_to_count;
        let failed = result.is_err();
        if let Ok(length) = result {
            self.length = length;
            self.is_torn = false;
        } else if let (Err(error), false) = (result, self.fails) {
            tracing::warn!(
                "the history cannot be kept for the next start, will go on trying with each change: {NAME}: {error}"
            );
        }
        self.fails = failed;
    }
}

/// The last number, as it was noted by itself.
fn read_last(path: &Path) -> io::Result<Option<u64>> {
    let Some(mut file) = state_file::open(path, 64)? else { return Ok(None) };
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let number = text.trim_end().parse().ok().filter(|number| *number <= MAX_NUMBER);
    number.map(Some).ok_or_else(|| io::Error::other("it holds no number of a generation"))
}

/// The entries of a file, and how many other lines there are in it. Such are what a server which was killed, or had no room, had
/// not written to its end, as a rule.
fn read(path: &Path) -> io::Result<(Vec<HistoryEntry>, u64)> {
    let Some(file) = state_file::open(path, 2 * MAX_FILE)? else { return Ok((Vec::new(), 0)) };
    let (mut entries, mut last, mut unread) = (Vec::<HistoryEntry>::new(), 0, 0);
    let mut file = BufReader::new(file.take(2 * MAX_FILE));
    let mut line = Vec::new();
    while file.read_until(b'\n', &mut line)? > 0 {
        let entry =
            line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice::<HistoryEntry>(line).ok());
        match entry {
            Some(entry) if entry.number > last && entry.number <= MAX_NUMBER => {
                last = entry.number;
                entries.push(entry);
            }
            _ => unread += 1,
        }
        line.clear();
    }
    if unread > 0 {
        tracing::warn!(
            "{NAME} has lines that cannot be read ({unread}): what they tell of earlier generations is lost"
        );
    }
    Ok((entries, unread))
}

/// Lines on their way to the file.
#[derive(Debug)]
pub(crate) struct Lines {
    state: PathBuf,
    /// The number of the last.
    last: u64,
    entries: Vec<HistoryEntry>,
    /// They take the place of what is there.
    anew: bool,
}

/// What came of writing lines.
#[derive(Debug)]
pub(crate) struct Written {
    /// Whether the last number is noted.
    number: io::Result<()>,
    /// How long the file is then.
    lines: io::Result<u64>,
}

impl Written {
    /// Neither was done, for that reason.
    pub(crate) fn failed(why: &str) -> Self {
        Self { number: Err(io::Error::other(why)), lines: Err(io::Error::other(why)) }
    }
}

impl Lines {
    /// Notes the number of the last, and writes them.
    pub(crate) fn write(self) -> Written {
        let number = state_file::overwrite(&self.state.join(LAST), &format!("{:020}\n", self.last));
        Written { number, lines: self.write_lines() }
    }

    fn write_lines(self) -> io::Result<u64> {
        let path = self.state.join(NAME);
        let mut text = Vec::new();
        for entry in &self.entries {
            serde_json::to_writer(&mut text, entry)?;
            text.push(b'\n');
        }
        if self.anew {
            state_file::replace(&path, &text)?;
            return Ok(text.len() as u64);
        }
        let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits() as i32;
        let mut file: File =
            OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(&path)?;
        file.write_all(&text)?;
        Ok(file.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::SystemTime;

    use super::*;

    fn generation(number: u64, loaded: u64) -> Generation {
        Generation {
            number,
            loaded,
            author: Author::new(Via::Control, "eval").by("me"),
            at: SystemTime::now(),
            reason: Some("why".into()),
            took: Duration::ZERO,
            changes: Differences { told: [Difference::added("/x")].into(), more: 2 },
            whole: true,
        }
    }

    fn statement(source: &str) -> Statement {
        let files = Files::new([(PathBuf::from("h.luau"), Arc::from(source))].into());
        let name = "statement-7/1".into();
        Statement { name, session: Some("7.4711".into()), source: source.into(), files }
    }

    fn load(text: &str) -> Recipe {
        let files = Files::new([(PathBuf::from("site.luau"), Arc::from(text))].into());
        Recipe::new(Arc::new(Sources::recorded(PathBuf::new(), files)))
    }

    fn shown(recipes: &Recipes, number: u64) -> String {
        recipes.of(number).map_or("none".to_owned(), |recipe| {
            let statements = recipe.statements();
            assert!(
                statements.iter().all(|one| *one == statement(&one.source)),
                "with its session and files"
            );
            let statements: Vec<_> = statements.iter().map(|one| &*one.source).collect();
            format!("{} + {}", recipe.files()[Path::new("site.luau")], statements.join(" "))
        })
    }

    /// Writes what is remembered of generations, the last first.
    fn write(file: &mut HistoryFile, known: &[Generation], recipes: &Recipes) {
        let since = |last| known.iter().take_while(|known| known.number > last).cloned().collect();
        let lines = file.next(since, recipes).expect("a state directory");
        file.written(lines.write());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let state = tempfile::tempdir().expect("a folder");
        let here = || Some(state.path().to_owned());
        let mut file = HistoryFile::new(here());
        let recipes = Recipes::default();
        let (nothing, last) = file.read(Path::new(""), &recipes);
        assert!(nothing.is_empty() && last == 0);
        let mut known = vec![generation(1, 1)];
        recipes.note(1, Some(load("one")));
        write(&mut file, &known, &recipes);
        for (number, source) in [(2, "a"), (3, "b")] {
            known.insert(0, generation(number, 1));
            recipes.add(number, &[number], Some(vec![statement(source)]));
        }
        known.insert(0, generation(4, 1)); // by a timer
        write(&mut file, &known, &recipes);
        known.insert(0, generation(5, 1)); // back to 2
        recipes.note(5, recipes.of(2));
        known.insert(0, generation(6, 6));
        recipes.note(6, Some(load("two")));
        known.insert(0, generation(7, 6));
        recipes.note(7, None); // too much
        known.insert(0, generation(8, 1)); // back to 4
        recipes.note(8, recipes.of(4));
        known.insert(0, generation(9, 1)); // by a request
        known.insert(0, generation(10, 1));
        recipes.add(10, &[10], Some(vec![statement("c")]));
        write(&mut file, &known, &recipes);
        let gaps = |recipes: &Recipes, number| {
            recipes.of(number).map(|recipe| recipe.gaps().told.clone()).unwrap_or_default()
        };
        let all_gaps = |recipes: &Recipes| (0..=10).map(|number| gaps(recipes, number)).collect::<Vec<_>>();
        let known_gaps = all_gaps(&recipes);
        assert_eq!((&*known_gaps[3], &*known_gaps[4], &*known_gaps[10]), (&[][..], &[4][..], &[4, 9][..]));

        let expected = [
            "none",
            "one + ",
            "one + a",
            "one + a b",
            "one + a b",
            "one + a",
            "two + ",
            "none",
            "one + a b",
            "one + a b",
            "one + a b c",
        ];
        for torn in [false, true] {
            if torn {
                let mut file = OpenOptions::new().append(true).open(state.path().join(NAME)).expect("there");
                file.write_all(b"{\"number\":11,").expect("written");
            }
            let (mut again, recipes) = (HistoryFile::new(here()), Recipes::default());
            let (read, _) = again.read(Path::new(""), &recipes);
            let numbers: Vec<_> = read.iter().map(|known| known.number).collect();
            assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
            let told = |known: &Generation| {
                format!("{} {} {:?} {}", known.author, known.loaded, known.reason, known.changes)
            };
            assert_eq!(told(&read[1]), told(&known[8]));
            assert_eq!(all_gaps(&recipes), known_gaps);
            assert_eq!((0..=10).map(|number| shown(&recipes, number)).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn it_is_written_anew_before_it_is_too_long_and_after_a_failure() {
        let state = tempfile::tempdir().expect("a folder");
        let here = || Some(state.path().to_owned());
        let (mut file, recipes) = (HistoryFile::new(here()), Recipes::default());
        let mut known = Vec::new();
        for number in 1..=2 * MAX_LINES as u64 {
            known.insert(0, generation(number, 1));
            known.truncate(MAX_GENERATIONS);
            if number == 1 {
                recipes.note(1, Some(load("one")));
            } else {
                recipes.add(number, &[number], Some(vec![statement("a")]));
            }
            write(&mut file, &known, &recipes);
        }
        let text = fs::read_to_string(state.path().join(NAME)).expect("there");
        assert!(text.lines().count() <= MAX_LINES, "{}", text.lines().count());
        let (mut again, read) = (HistoryFile::new(here()), Recipes::default());
        assert!(again.read(Path::new(""), &read).0.len() >= MAX_GENERATIONS);
        let last = known[0].number;
        assert_eq!(read.of(last).map(|recipe| recipe.count()), Some(last as usize - 1));

        fs::remove_file(state.path().join(NAME)).expect("removed");
        fs::create_dir(state.path().join(NAME)).expect("made");
        known.insert(0, generation(last + 1, 1));
        write(&mut file, &known, &recipes);
        assert!(file.fails);
        fs::remove_dir(state.path().join(NAME)).expect("removed");
        known.insert(0, generation(last + 2, 1));
        write(&mut file, &known, &recipes);
        let (mut again, read) = (HistoryFile::new(here()), Recipes::default());
        assert_eq!(again.read(Path::new(""), &read).0.last().map(|last| last.number), Some(last + 2));
    }

    #[test]
    fn no_number_is_given_twice_whatever_became_of_the_lines() {
        let state = tempfile::tempdir().expect("a folder");
        let here = || Some(state.path().to_owned());
        let path = |name: &str| state.path().join(name);
        let last = || HistoryFile::new(here()).read(Path::new(""), &Recipes::default()).1;
        let (mut file, recipes) = (HistoryFile::new(here()), Recipes::default());
        recipes.note(1, Some(load("one")));
        let mut known = vec![generation(1, 1)];
        write(&mut file, &known, &recipes);
        assert_eq!(last(), 1);

        // The second finds room for a half of its line, those after it for nothing.
        let whole = fs::read(path(NAME)).expect("there");
        known.insert(0, generation(2, 1));
        write(&mut file, &known, &recipes);
        let both = fs::read(path(NAME)).expect("there");
        fs::write(path(NAME), &both[..whole.len() + 12]).expect("written");
        assert_eq!(last(), 2);
        file.fails = true; // so that all of it is to be written anew, for which there is no room
        fs::create_dir(path("history.jsonl.part")).expect("made");
        for number in 3..=5 {
            known.insert(0, generation(number, 1));
            write(&mut file, &known, &recipes);
            assert!(file.fails && !file.fails_to_count);
        }
        assert_eq!(last(), 5);

        // Of a server that did not note it.
        fs::remove_file(path(LAST)).expect("removed");
        assert_eq!(last(), 2, "there are one line and a half");
        for nonsense in ["", "five", "99999999999999999999", "18446744073709551615"] {
            fs::write(path(LAST), nonsense).expect("written");
            assert_eq!(last(), 2, "{nonsense}");
        }
        let mut file = HistoryFile::new(here());
        file.read(Path::new(""), &recipes);
        fs::remove_file(path(LAST)).expect("removed");
        fs::create_dir(path(LAST)).expect("made");
        write(&mut file, &known, &recipes);
        assert!(file.fails_to_count);
    }

    #[test]
    fn what_is_not_the_servers_own_is_not_read() {
        let state = tempfile::tempdir().expect("a folder");
        fs::write(state.path().join("elsewhere"), "{}").expect("written");
        std::os::unix::fs::symlink("elsewhere", state.path().join(NAME)).expect("made");
        assert!(read(&state.path().join(NAME)).is_err());
    }
}
