//! What a generation can be made of again: the script's files as they were, and the statements since.
//!
//! **Invariant:** whatever else had a part in a generation is among the [`Gaps`] of its recipe: what timers, requests and logs have
//! changed by themselves, and what a statement has published that then failed. Of none of these is more known than what it changed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use medusa_proto::author::{Author, Via};
use medusa_site::{MAX_GENERATIONS, first_to_go};
use mlua::chunk::Compiler;
use serde::{Deserialize, Serialize};

use crate::require::Sources;

/// How much text all recipes may have together, in bytes. Whose go first, [`first_to_go`] says.
const MAX_TEXT: usize = 64 * 1024 * 1024;

/// How many statements a recipe may have. One with more cannot be made again.
const MAX_STATEMENTS: usize = 10_000;

/// How many bytes those may have together.
const MAX_STATEMENT_TEXT: usize = 8 * 1024 * 1024;

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    /// What its places are called by: `statement-3/12`.
    pub(crate) name: Arc<str>,
    /// The session whose names or last value it uses or leaves; none, if that is none.
    pub(crate) session: Option<Arc<str>>,
    pub(crate) source: Arc<str>,
    /// What it has read from disk in the place of what there was.
    pub(crate) files: Files,
}

impl Statement {
    /// How much text that is, in bytes.
    fn bytes(&self) -> usize {
        self.source.len() + self.files.values().map(|text| text.len()).sum::<usize>()
    }
}

/// How many bytes a statement may have that is typed.
const MAX_TYPED: usize = 64 * 1024;

/// How many statements are remembered that later ones may need, and how many bytes those may have together.
const MAX_NEEDED: usize = 64;
const MAX_NEEDED_TEXT: usize = 256 * 1024;

/// The statements of a session that are in no recipe, as they have changed nothing, but have left names or a value to those
/// that come after them. If they are more than are remembered, what needs the first of them cannot be made again.
#[derive(Debug, Default)]
pub(crate) struct Needed {
    /// The generation that has loaded what they ran in.
    load: u64,
    /// With whether they have left names.
    all: VecDeque<(Statement, bool)>,
}

impl Needed {
    /// Takes out all that something needs which runs in what generation `load` has loaded.
    pub(crate) fn take(&mut self, load: u64) -> Vec<Statement> {
        let taken = std::mem::take(&mut self.all);
        if self.load == load {
            taken.into_iter().map(|(statement, _)| statement).collect()
        } else {
            Vec::new()
        }
    }

    /// Notes that a statement which is in no recipe has left something.
    pub(crate) fn note(&mut self, load: u64, statement: Statement, left_names: bool, uses: bool) {
        if std::mem::replace(&mut self.load, load) != load {
            self.all.clear();
        }
        self.forget_values(uses);
        self.all.push_back((statement, left_names));
        while self.all.len() > MAX_NEEDED
            || self.all.iter().map(|(statement, _)| statement.source.len()).sum::<usize>() > MAX_NEEDED_TEXT
        {
            self.all.pop_front();
        }
    }

    /// A new value has come in the place of the last one, unless it `uses` that.
    pub(crate) fn forget_values(&mut self, uses: bool) {
        if !uses {
            self.all.retain(|(_, left_names)| *left_names);
        }
    }
}

/// Statements on their way into a recipe.
#[derive(Debug, Default)]
pub(crate) struct Statements {
    all: Vec<Statement>,
    count: usize,
    bytes: usize,
    leave_anything: bool,
}

impl Statements {
    /// Adds one, which leaves something whatever becomes of what it edits, or not. If there are more than a recipe has room for,
    /// none is kept.
    pub(crate) fn push(&mut self, statement: Statement, leaves_anything: bool) {
        self.leave_anything |= leaves_anything;
        self.count += 1;
        self.bytes += statement.bytes();
        if self.are_too_many() {
            self.all.clear();
        } else {
            self.all.push(statement);
        }
    }

    fn are_too_many(&self) -> bool {
        self.count > MAX_STATEMENTS || self.bytes > MAX_STATEMENT_TEXT
    }

    /// What they are; none if there were too many.
    pub(crate) fn sources(&self) -> Option<Vec<Arc<str>>> {
        let source = |statement: &Statement| Arc::clone(&statement.source);
        (!self.are_too_many()).then(|| self.all.iter().map(source).collect())
    }

    /// All of them as one statement, for whoever runs them again; none if they are too long to be typed. What only looks, a value,
    /// is none that could stand in another.
    pub(crate) fn as_one(&self) -> Option<String> {
        let does_something = |source: &Arc<str>| Compiler::new().compile(source.as_bytes()).is_ok();
        let fits = self.bytes <= MAX_TYPED && !self.are_too_many();
        let sources = self.sources().filter(|_| fits)?.into_iter().filter(does_something);
        let sources: Vec<_> = sources.map(|source| source.trim_end().to_owned()).collect();
        (!sources.is_empty()).then(|| sources.join("\n"))
    }

    /// Whether there was none.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether they leave something, as names, also where their edits are given up.
    pub(crate) fn leave_anything(&self) -> bool {
        self.leave_anything
    }

    /// Forgets them.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes them out; none if there were too many.
    pub(crate) fn take(&mut self) -> Option<Vec<Statement>> {
        let taken = std::mem::take(self);
        (!taken.are_too_many()).then_some(taken.all)
    }
}

/// How many gaps are told apart; of more there is only the number.
const MOST_GAPS: usize = 64;

/// The generations on the way to another that were made by what is in no file and no statement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gaps {
    /// The first of them.
    pub(crate) told: Vec<u64>,
    /// How many more there are.
    #[serde(default)]
    pub(crate) more: u64,
    /// One of them that took back what a statement had published which then went on: run again, that would be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) undone: Option<u64>,
}

impl Gaps {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    fn add(&mut self, generation: u64) {
        if self.told.len() < MOST_GAPS {
            self.told.push(generation);
        } else {
            self.more += 1;
        }
    }
}

/// Files of a script, by their paths below its directory.
pub(crate) type Files = Arc<BTreeMap<PathBuf, Arc<str>>>;

/// What makes a generation.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    /// The files of the load: those that it has read so far, for a script may `require` some when a request needs them.
    sources: Arc<Sources>,
    /// How much text those had when they were noted, in bytes.
    bytes: usize,
    last: Option<Arc<Step>>,
    /// The files that the first of its statements were saved to.
    pub(crate) saved: Files,
    /// How many those are.
    pub(crate) saved_count: usize,
    /// What it is not all of.
    gaps: Arc<Gaps>,
}

/// A statement, and those before it: recipes that begin alike share them.
#[derive(Debug)]
struct Step {
    statement: Statement,
    before: Option<Arc<Step>>,
    /// How many there are with it, and how many bytes they have.
    count: usize,
    bytes: usize,
}

impl Recipe {
    /// That of a load.
    pub(crate) fn new(sources: Arc<Sources>) -> Self {
        let (last, saved, saved_count, gaps) = Default::default();
        Self { bytes: sources.bytes(), sources, last, saved, saved_count, gaps }
    }

    /// What else had a part in what it was noted for.
    pub(crate) fn gaps(&self) -> &Gaps {
        &self.gaps
    }

    /// The same, with these gaps.
    pub(crate) fn with_gaps(self, gaps: Gaps) -> Self {
        Self { gaps: Arc::new(gaps), ..self }
    }

    /// The files of the load.
    pub(crate) fn files(&self) -> Files {
        self.sources.all_files()
    }

    /// The files of the load, and those that statements were saved to.
    pub(crate) fn written(&self) -> BTreeMap<PathBuf, Arc<str>> {
        let mut all = BTreeMap::clone(&self.files());
        all.extend(BTreeMap::clone(&self.saved));
        all
    }

    /// The statements that are not saved.
    pub(crate) fn unsaved(&self) -> Vec<Statement> {
        self.statements().into_iter().skip(self.saved_count).collect()
    }

    /// How many statements it has.
    pub(crate) fn count(&self) -> usize {
        self.last.as_ref().map_or(0, |last| last.count)
    }

    /// The same, of which something was taken back by that generation while it was made.
    fn undone_by(mut self, generation: Option<u64>) -> Self {
        if let Some(generation) = generation {
            let gaps = Arc::make_mut(&mut self.gaps);
            gaps.add(generation);
            gaps.undone = Some(generation);
        }
        self
    }

    /// Where it and those that it goes on from end, the longest first: something that no other has, and the number of
    /// statements up to there.
    pub(crate) fn beginnings(&self) -> impl Iterator<Item = (usize, usize)> {
        let steps = std::iter::successors(self.last.as_ref(), |step| step.before.as_ref());
        let steps = steps.map(|step| (Arc::as_ptr(step).addr(), step.count));
        steps.chain([(Arc::as_ptr(&self.sources).addr(), 0)])
    }

    /// Whether it has all of another's statements, or that is what they are.
    fn begins_as(&self, other: &Self) -> bool {
        self.count() >= other.count()
            && other.beginnings().next().is_some_and(|end| self.beginnings().any(|step| step == end))
    }

    /// The same, with the first `saved_count` statements saved to these files.
    pub(crate) fn with_saved(self, saved: Files, saved_count: usize) -> Self {
        Self { saved, saved_count, ..self }
    }

    /// The same, with all statements saved, those that were not to this file.
    pub(crate) fn saved_as(&self, path: PathBuf, text: Arc<str>) -> Self {
        let mut saved = BTreeMap::clone(&self.saved);
        saved.insert(path, text);
        let saved_count = self.count();
        self.clone().with_saved(Arc::new(saved), saved_count)
    }

    /// The same, and then a statement; none if there are too many.
    fn then(&self, statement: Statement) -> Option<Self> {
        let before = self.last.clone();
        let (count, bytes) = before.as_ref().map_or((0, 0), |before| (before.count, before.bytes));
        let (count, bytes) = (count + 1, bytes + statement.bytes());
        let fits = count <= MAX_STATEMENTS && bytes <= MAX_STATEMENT_TEXT;
        let last = Some(Arc::new(Step { statement, before, count, bytes }));
        fits.then(|| Self { last, ..self.clone() })
    }

    /// The same, and then these statements; none if there are too many.
    pub(crate) fn then_all(self, statements: impl IntoIterator<Item = Statement>) -> Option<Self> {
        statements.into_iter().try_fold(self, |recipe, statement| recipe.then(statement))
    }

    /// Its statements, in their order.
    pub(crate) fn statements(&self) -> Vec<Statement> {
        let mut all = Vec::new();
        let mut step = self.last.as_ref();
        while let Some(Step { statement, before, .. }) = step.map(|step| &**step) {
            all.push(statement.clone());
            step = before.as_ref();
        }
        all.reverse();
        all
    }
}

impl Drop for Step {
    /// One after the other: ten thousand would be too deep.
    fn drop(&mut self) {
        let mut next = self.before.take();
        while let Some(mut step) = next.and_then(Arc::into_inner) {
            next = step.before.take();
        }
    }
}

/// The recipes of generations. One that has none of its own was made of the one before it by something that is in no recipe.
#[derive(Debug, Default)]
pub(crate) struct Recipes(RefCell<BTreeMap<u64, Option<Recipe>>>);

impl Recipes {
    /// The recipe of a generation; none if it is forgotten.
    pub(crate) fn of(&self, generation: u64) -> Option<Recipe> {
        self.of_but_for(generation, &[])
    }

    /// The same, where it is known what made some of those before it.
    fn of_but_for(&self, generation: u64, known: &[u64]) -> Option<Recipe> {
        let recipes = self.0.borrow();
        let (noted, recipe) = recipes.range(..=generation).next_back()?;
        let mut recipe = recipe.clone()?;
        let unknown = (noted + 1..=generation).filter(|number| !known.contains(number));
        for gap in unknown {
            Arc::make_mut(&mut recipe.gaps).add(gap);
        }
        Some(recipe)
    }

    /// The last generation before this one that can be made again.
    pub(crate) fn last_without_gaps(&self, before: u64) -> Option<u64> {
        let is_whole = |number: &u64| self.of(*number).is_some_and(|recipe| recipe.gaps().is_empty());
        (self.first()..before).rev().take(MAX_GENERATIONS).find(is_whole)
    }

    /// The first generation of which something is known.
    pub(crate) fn first(&self) -> u64 {
        self.0.borrow().first_key_value().map_or(0, |(first, _)| *first)
    }

    /// Looks at what was noted for a generation itself, if anything was.
    pub(crate) fn look_at_own<R>(
        &self,
        generation: u64,
        look: impl FnOnce(Option<&Recipe>) -> R,
    ) -> Option<R> {
        self.0.borrow().get(&generation).map(|own| look(own.as_ref()))
    }

    /// Notes what makes a generation.
    pub(crate) fn note(&self, generation: u64, recipe: Option<Recipe>) {
        self.0.borrow_mut().insert(generation, recipe);
    }

    /// Forgets what no generation is made of that is `remembered`, the first one first with their authors; and what there is no
    /// room for.
    pub(crate) fn forget(&self, remembered: &[(u64, Author)]) {
        let mut recipes = self.0.borrow_mut();
        let first_of = |numbers: Range<u64>| {
            let at = remembered.partition_point(|(number, _)| *number < numbers.start);
            remembered.get(at).filter(|(number, _)| numbers.contains(number))
        };
        // Those up to the next that has one of its own are made of it, too.
        let mut ends: Vec<u64> = recipes.keys().copied().collect();
        ends.push(u64::MAX);
        let mut ends = ends.into_iter().skip(1);
        recipes.retain(|number, _| ends.next().is_some_and(|end| first_of(*number..end).is_some()));

        let nobody = Author::new(Via::Start, "nobody");
        loop {
            let mut texts = texts(&recipes);
            if texts.iter().map(|(_, bytes)| bytes).sum::<usize>() <= MAX_TEXT {
                break;
            }
            // What runs is of the last.
            texts.pop();
            let author_of = |number: u64| first_of(number..number + 1).map_or(&nobody, |(_, author)| author);
            let kept = texts.iter().map(|(number, bytes)| (author_of(*number), *bytes));
            let Some(gone) = first_to_go(kept, MAX_TEXT) else { break };
            recipes.insert(texts[gone].0, None);
        }
    }

    /// Notes that the statements of `saved` are, wherever they are.
    pub(crate) fn mark_saved(&self, saved: &Recipe) {
        for recipe in self.0.borrow_mut().values_mut().flatten().filter(|recipe| recipe.begins_as(saved)) {
            *recipe = recipe.clone().with_saved(Arc::clone(&saved.saved), saved.saved_count);
        }
    }

    /// Notes that statements made `generation` what it is, and `published` it after others if they have published anything; none:
    /// there were too many.
    pub(crate) fn add(&self, generation: u64, published: &[u64], statements: Option<Vec<Statement>>) {
        let recipe = self.of_but_for(generation, published).zip(statements);
        let recipe = recipe.and_then(|(recipe, statements)| recipe.then_all(statements));
        let undone = self.undone(generation, published);
        self.note(generation, recipe.map(|recipe| recipe.undone_by(undone)));
    }

    /// The last generation up to this one that went back to what was before some of what is `published`; none: all of that is there.
    fn undone(&self, generation: u64, published: &[u64]) -> Option<u64> {
        let recipes = self.0.borrow();
        let (noted, recipe) = recipes.range(..=generation).next_back()?;
        let gaps = recipe.as_ref()?.gaps();
        let is_gone = |made: &u64| made < noted && gaps.more == 0 && !gaps.told.contains(made);
        published.iter().any(is_gone).then_some(*noted)
    }
}

/// How much text each recipe has that those after it have not, in bytes, the first one first.
fn texts(recipes: &BTreeMap<u64, Option<Recipe>>) -> Vec<(u64, usize)> {
    let mut loads = BTreeSet::new();
    let mut bytes = |recipe: &Recipe| {
        let load = if loads.insert(Arc::as_ptr(&recipe.sources)) { recipe.bytes } else { 0 };
        load + recipe.last.as_ref().map_or(0, |step| step.statement.bytes())
    };
    let known = recipes.iter().rev().filter_map(|(number, recipe)| Some((*number, recipe.as_ref()?)));
    let mut texts: Vec<_> = known.map(|(number, recipe)| (number, bytes(recipe))).collect();
    texts.reverse();
    texts
}

#[cfg(test)]
mod tests {
    use medusa_proto::author::{Approval, Scope};

    use super::*;

    fn load(text: &str) -> Recipe {
        let files = Files::new([(PathBuf::from("site.luau"), Arc::from(text))].into());
        Recipe::new(Arc::new(Sources::recorded(PathBuf::new(), files)))
    }

    fn statement(source: &str) -> Statement {
        Statement { name: "statement".into(), session: None, source: source.into(), files: Files::default() }
    }

    #[test]
    fn what_is_needed_is_what_was_left_last() {
        let mut needed = Needed::default();
        let texts = |all: Vec<Statement>| all.iter().map(|one| &*one.source).collect::<Vec<_>>().join(" ");
        needed.note(1, statement("local a = 1"), true, false);
        needed.note(1, statement("a + 1"), false, true);
        needed.note(1, statement("_ + 1"), false, true);
        assert_eq!(texts(needed.take(1)), "local a = 1 a + 1 _ + 1");
        needed.note(1, statement("2"), false, false);
        needed.note(1, statement("3"), false, false);
        assert_eq!(texts(needed.take(1)), "3");
        needed.note(1, statement("2"), false, false);
        assert!(needed.take(2).is_empty(), "it ran in another VM");
        (0..1000).for_each(|_| needed.note(2, statement("local a = 1"), true, false));
        assert_eq!(needed.take(2).len(), MAX_NEEDED);
        needed.note(2, statement(&"x".repeat(MAX_NEEDED_TEXT + 1)), true, false);
        assert!(needed.take(2).is_empty());
    }

    #[test]
    fn as_one_they_do_what_they_did() {
        let mut statements = Statements::default();
        assert_eq!(statements.as_one(), None);
        for source in ["begin()", "m", "local x = 1\n", "return m:replace(f)"] {
            statements.push(statement(source), false);
        }
        assert_eq!(statements.as_one().as_deref(), Some("begin()\nlocal x = 1\nreturn m:replace(f)"));
        statements.push(statement(&"-".repeat(MAX_TYPED)), false);
        assert_eq!(statements.as_one(), None, "too long to be typed");
    }

    #[test]
    fn a_generation_has_the_statements_before_it_and_no_later_ones() {
        let recipes = Recipes::default();
        recipes.note(1, Some(load("one")));
        recipes.add(2, &[2], Some(vec![statement("a")]));
        recipes.add(3, &[3], Some(vec![statement("b"), statement("c")]));
        let statements = |generation| {
            let texts = recipes.of(generation)?.statements();
            Some(texts.iter().map(|one| &*one.source).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(
            [1, 2, 3, 4].map(statements),
            ["", "a", "a b c", "a b c"].map(|text| Some(text.to_owned()))
        );
        assert_eq!(statements(0), None);
        recipes.note(5, recipes.of(2));
        recipes.add(6, &[6], Some(vec![statement("d")]));
        assert_eq!([5, 6].map(statements), ["a", "a d"].map(|text| Some(text.to_owned())));
    }

    #[test]
    fn what_has_no_recipe_is_a_gap_in_those_after_it() {
        let recipes = Recipes::default();
        let gaps = |generation| recipes.of(generation).map(|recipe| recipe.gaps().told.clone());
        recipes.note(1, Some(load("one")));
        recipes.add(2, &[2], Some(vec![statement("a")]));
        recipes.add(4, &[4], Some(vec![statement("b")]));
        assert_eq!(
            [1, 2, 3, 4, 5].map(gaps),
            [&[][..], &[], &[3], &[3], &[3, 5]].map(|gaps| Some(gaps.to_vec()))
        );
        // One that only assigns is none of what made the generation.
        recipes.add(5, &[], Some(vec![statement("c = 1")]));
        assert_eq!(gaps(5), Some(vec![3, 5]));
        // One that publishes several, and another in between.
        recipes.note(6, recipes.of(2));
        recipes.add(9, &[7, 9], Some(vec![statement("d")]));
        assert_eq!([6, 7, 9].map(gaps), [&[][..], &[7], &[8]].map(|gaps| Some(gaps.to_vec())));
        assert_eq!((recipes.last_without_gaps(9), recipes.last_without_gaps(6)), (Some(6), Some(2)));
        assert_eq!(recipes.last_without_gaps(1), None);
        let many = recipes.of(9 + 2 * MOST_GAPS as u64).expect("it is known").gaps().clone();
        assert_eq!((many.told.len(), many.more), (MOST_GAPS, MOST_GAPS as u64 + 1));
    }

    #[test]
    fn what_was_taken_back_while_a_statement_ran_on_is_a_gap_in_what_that_has_made() {
        let recipes = Recipes::default();
        recipes.note(1, Some(load("one")));
        // It publishes 2, which somebody else takes back by 3, and then 4.
        recipes.note(3, recipes.of(1));
        recipes.add(4, &[2, 4], Some(vec![statement("a")]));
        let gaps = recipes.of(4).expect("it is known").gaps().clone();
        assert_eq!((gaps.told, gaps.undone), (vec![3], Some(3)));
        // Another statement makes 6 between 5 and 7: nothing is taken back.
        recipes.note(4, recipes.of(1));
        recipes.add(6, &[6], Some(vec![statement("b")]));
        recipes.add(7, &[5, 7], Some(vec![statement("c")]));
        let gaps = recipes.of(7).expect("it is known").gaps().clone();
        assert_eq!((gaps.told, gaps.undone), (vec![5], None));
    }

    fn by(login: &str) -> Author {
        Author::new(Via::Control, "eval").logged_in(login, Approval::Free)
    }

    #[test]
    fn they_are_bounded() {
        let recipes = Recipes::default();
        let mut remembered = Vec::new();
        let mut note = |number, recipe| {
            recipes.note(number, recipe);
            remembered.push((number, by("me")));
            recipes.forget(&remembered);
        };
        note(1, Some(load(&"x".repeat(MAX_TEXT / 2))));
        note(2, Some(load(&"y".repeat(MAX_TEXT / 2 - 1))));
        assert!(recipes.of(1).is_some());
        note(3, Some(load("zz")));
        assert!(recipes.of(1).is_none() && recipes.of(2).is_some());
        recipes.add(4, &[4], Some(vec![statement("a"); MAX_STATEMENTS]));
        assert_eq!(recipes.of(4).map(|recipe| recipe.statements().len()), Some(MAX_STATEMENTS));
        recipes.add(5, &[5], Some(vec![statement("one too many")]));
        assert!(recipes.of(5).is_none() && recipes.of(4).is_some());
    }

    #[test]
    fn they_are_there_for_as_long_as_a_generation_is_remembered_that_is_made_of_them() {
        let recipes = Recipes::default();
        recipes.note(1, Some(load("one")));
        (2..=4).for_each(|number| recipes.add(number, &[number], Some(vec![statement("a")])));
        recipes.add(9, &[9], Some(vec![statement("b")]));
        let remember = |numbers: &[u64]| {
            let remembered: Vec<_> = numbers.iter().map(|number| (*number, by("me"))).collect();
            recipes.forget(&remembered);
            recipes.0.borrow().keys().copied().collect::<Vec<_>>()
        };
        // 7 was made of 4 by what is in no recipe.
        assert_eq!(remember(&[1, 3, 7, 9]), [1, 3, 4, 9]);
        assert_eq!(recipes.of(7).map(|recipe| recipe.gaps().told.clone()), Some(vec![5, 6, 7]));
        assert_eq!(remember(&[7, 9]), [4, 9]);
        assert_eq!(recipes.of(9).map(|recipe| recipe.count()), Some(4), "with all before it");
        assert_eq!(remember(&[20]), [9], "of which it was made");
    }

    #[test]
    fn who_types_a_lot_has_nobody_elses_forgotten() {
        let recipes = Recipes::default();
        let shop = by("shop").within(Some(Arc::new(Scope::default())));
        recipes.note(1, Some(load("one")));
        recipes.add(2, &[2], Some(vec![statement("a")]));
        let mut remembered = vec![(1, by("admin")), (2, by("admin"))];
        let long = statement(&"x".repeat(MAX_STATEMENT_TEXT / 2));
        for number in 3..100 {
            // Back and forth, so that none becomes too long itself.
            recipes.note(number, recipes.of(2));
            recipes.add(number, &[number], Some(vec![long.clone()]));
            remembered.push((number, shop.clone()));
            recipes.forget(&remembered);
        }
        assert_eq!(recipes.of(2).map(|recipe| recipe.count()), Some(1));
        assert!(recipes.of(99).is_some() && recipes.of(3).is_none());
        let kept = texts(&recipes.0.borrow()).iter().map(|(_, bytes)| bytes).sum::<usize>();
        assert!(kept <= MAX_TEXT, "{kept}");
    }
}
