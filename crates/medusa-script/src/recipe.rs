//! What a generation can be made of again: the script's files as they were, and the statements since.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use medusa_site::MAX_GENERATIONS;

use crate::require::Sources;

/// How much text all recipes may have together, in bytes. The oldest go first.
const MAX_TEXT: usize = 64 * 1024 * 1024;

/// How many statements a recipe may have. One with more cannot be made again.
const MAX_STATEMENTS: usize = 10_000;

/// How many bytes those may have together.
const MAX_STATEMENT_TEXT: usize = 8 * 1024 * 1024;

/// Statements on their way into a recipe.
#[derive(Debug, Default)]
pub(crate) struct Statements {
    all: Vec<Arc<str>>,
    count: usize,
    bytes: usize,
}

impl Statements {
    /// Adds one. If there are more than a recipe has room for, none is kept.
    pub(crate) fn push(&mut self, source: &str) {
        self.count += 1;
        self.bytes += source.len();
        if self.are_too_many() {
            self.all.clear();
        } else {
            self.all.push(source.into());
        }
    }

    fn are_too_many(&self) -> bool {
        self.count > MAX_STATEMENTS || self.bytes > MAX_STATEMENT_TEXT
    }

    /// Whether there was none.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes them out; none if there were too many.
    pub(crate) fn take(&mut self) -> Option<Vec<Arc<str>>> {
        let taken = std::mem::take(self);
        (!taken.are_too_many()).then_some(taken.all)
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
}

/// A statement, and those before it: recipes that begin alike share them.
#[derive(Debug)]
struct Step {
    source: Arc<str>,
    before: Option<Arc<Step>>,
    /// How many there are with it, and how many bytes they have.
    count: usize,
    bytes: usize,
}

impl Recipe {
    /// That of a load.
    pub(crate) fn new(sources: Arc<Sources>) -> Self {
        Self { bytes: sources.bytes(), sources, last: None, saved: Files::default(), saved_count: 0 }
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
    pub(crate) fn unsaved(&self) -> Vec<Arc<str>> {
        self.statements().into_iter().skip(self.saved_count).collect()
    }

    /// How many statements it has.
    pub(crate) fn count(&self) -> usize {
        self.last.as_ref().map_or(0, |last| last.count)
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
    fn then(&self, source: Arc<str>) -> Option<Self> {
        let before = self.last.clone();
        let (count, bytes) = before.as_ref().map_or((0, 0), |before| (before.count, before.bytes));
        let (count, bytes) = (count + 1, bytes + source.len());
        let fits = count <= MAX_STATEMENTS && bytes <= MAX_STATEMENT_TEXT;
        let last = Some(Arc::new(Step { source, before, count, bytes }));
        fits.then(|| Self { last, ..self.clone() })
    }

    /// The same, and then these statements; none if there are too many.
    pub(crate) fn then_all(self, statements: impl IntoIterator<Item = Arc<str>>) -> Option<Self> {
        statements.into_iter().try_fold(self, |recipe, source| recipe.then(source))
    }

    /// Its statements, in their order.
    pub(crate) fn statements(&self) -> Vec<Arc<str>> {
        let mut all = Vec::new();
        let mut step = self.last.as_ref();
        while let Some(Step { source, before, .. }) = step.map(|step| &**step) {
            all.push(Arc::clone(source));
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

/// The recipes of generations. One that has none of its own was made by the script itself from the one before it: by a timer or a
/// request.
#[derive(Debug, Default)]
pub(crate) struct Recipes(RefCell<BTreeMap<u64, Option<Recipe>>>);

impl Recipes {
    /// The recipe of a generation; none if it is forgotten.
    pub(crate) fn of(&self, generation: u64) -> Option<Recipe> {
        self.0.borrow().range(..=generation).next_back()?.1.clone()
    }

    /// The first generation of which something is known.
    pub(crate) fn first(&self) -> u64 {
        self.0.borrow().first_key_value().map_or(0, |(first, _)| *first)
    }

    /// What was noted for a generation itself, if anything was.
    pub(crate) fn own(&self, generation: u64) -> Option<Option<Recipe>> {
        self.0.borrow().get(&generation).cloned()
    }

    /// Notes what makes a generation.
    pub(crate) fn note(&self, generation: u64, recipe: Option<Recipe>) {
        let mut recipes = self.0.borrow_mut();
        recipes.insert(generation, recipe);
        if recipes.len() > MAX_GENERATIONS {
            recipes.pop_first();
        }
        let (mut loads, mut text, mut fit) = (BTreeSet::new(), 0, None);
        for (number, recipe) in recipes.iter().rev() {
            let Some(recipe) = recipe else { continue };
            if loads.insert(Arc::as_ptr(&recipe.sources)) {
                text += recipe.bytes;
            }
            text += recipe.last.as_ref().map_or(0, |step| step.source.len());
            if text > MAX_TEXT {
                break;
            }
            fit = Some(*number);
        }
        if let Some(fit) = fit {
            recipes.retain(|number, _| *number >= fit);
        }
    }

    /// Notes that the statements of `saved` are, wherever they are.
    pub(crate) fn mark_saved(&self, saved: &Recipe) {
        for recipe in self.0.borrow_mut().values_mut().flatten().filter(|recipe| recipe.begins_as(saved)) {
            *recipe = recipe.clone().with_saved(Arc::clone(&saved.saved), saved.saved_count);
        }
    }

    /// Notes that statements made `generation` what it is; none: there were too many.
    pub(crate) fn add(&self, generation: u64, statements: Option<Vec<Arc<str>>>) {
        let recipe = self.of(generation).zip(statements);
        let recipe = recipe.and_then(|(recipe, statements)| recipe.then_all(statements));
        self.note(generation, recipe);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Recipe {
        let files = Files::new([(PathBuf::from("site.luau"), Arc::from(text))].into());
        Recipe::new(Arc::new(Sources::recorded(PathBuf::new(), files)))
    }

    #[test]
    fn a_generation_has_the_statements_before_it_and_no_later_ones() {
        let recipes = Recipes::default();
        recipes.note(1, Some(load("one")));
        recipes.add(2, Some(vec!["a".into()]));
        recipes.add(3, Some(vec!["b".into(), "c".into()]));
        let statements = |generation| recipes.of(generation).map(|recipe| recipe.statements().join(" "));
        assert_eq!(
            [1, 2, 3, 4].map(statements),
            ["", "a", "a b c", "a b c"].map(|text| Some(text.to_owned()))
        );
        assert_eq!(statements(0), None);
        recipes.note(5, recipes.of(2));
        recipes.add(6, Some(vec!["d".into()]));
        assert_eq!([5, 6].map(statements), ["a", "a d"].map(|text| Some(text.to_owned())));
    }

    #[test]
    fn they_are_bounded() {
        let recipes = Recipes::default();
        recipes.note(1, Some(load(&"x".repeat(MAX_TEXT / 2))));
        recipes.note(2, Some(load(&"y".repeat(MAX_TEXT / 2 - 1))));
        assert!(recipes.of(1).is_some());
        recipes.note(3, Some(load("zz")));
        assert!(recipes.of(1).is_none() && recipes.of(2).is_some());
        recipes.add(4, Some(vec!["a".into(); MAX_STATEMENTS]));
        assert_eq!(recipes.of(4).map(|recipe| recipe.statements().len()), Some(MAX_STATEMENTS));
        recipes.add(5, Some(vec!["one too many".into()]));
        assert!(recipes.of(5).is_none() && recipes.of(4).is_some());
    }
}
