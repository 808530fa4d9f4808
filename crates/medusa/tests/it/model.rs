//! A server under random statements, reloads, trials and kills, beside a model of what they come to: after each, what the mounts
//! answer, the generation, and what is said not to be written are the model's, whatever the server was at when it was killed.
//!
//! The seed is in the message of a failure; `MEDUSA_SEED=n` runs that one again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use medusa_monitor::{CallError, Client, Done, GenerationInfo, Op};
use medusa_testkit::{Server, Signal, Site, wait};

use super::support::{MEDUSA, WEB};

/// The number of seeds that are tried.
const SEEDS: u64 = 5;

/// The number of things that are done to the server of each.
const STEPS: usize = 120;

/// The mounts that statements make and change.
const PATHS: [&str; 3] = ["/a", "/b", "/c"];

/// One that statements make beside those, and one that those make which fail afterwards: what nobody knows of later, no other
/// statement may need.
const BESIDE: &str = "/beside";
const FAILED: &str = "/failed";

/// A script of this version. `/touch` has the site change itself.
fn script(version: u64) -> String {
    format!(
        "{WEB}version, n = {version}, 0
        function at(pattern)
            for _, mount in web.mounts do if mount.pattern == pattern then return mount end end
            error('nothing is mounted there')
        end
        web:mount('/version', function() return tostring(version) end)
        web:mount('/n', function() return tostring(n) end)
        web:mount('/touch', function()
            local ok, mount = pcall(at, '/t')
            if ok then mount:remove() else web:mount('/t', function() return 'touched' end) end
            return 'done'
        end)"
    )
}

/// Numbers of a seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A piece of a statement.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Atom {
    Mount(&'static str, u64),
    Replace(&'static str, u64),
    Remove(&'static str),
    Assign(u64),
    Begin,
    Commit,
    CommitOnTrial,
    Abort,
    Fail,
}

impl Atom {
    fn text(self) -> String {
        match self {
            Self::Mount(path, text) => format!("web:mount('{path}', function() return '{text}' end)"),
            Self::Replace(path, text) => format!("at('{path}'):replace(function() return '{text}' end)"),
            Self::Remove(path) => format!("at('{path}'):remove()"),
            Self::Assign(value) => format!("n = {value}"),
            Self::Begin => "begin()".to_owned(),
            Self::Commit => "commit()".to_owned(),
            Self::CommitOnTrial => "commit(600)".to_owned(),
            Self::Abort => "abort()".to_owned(),
            Self::Fail => "error('to fail')".to_owned(),
        }
    }
}

type Statement = Rc<[Atom]>;

fn text(atoms: &[Atom]) -> String {
    atoms.iter().map(|atom| atom.text()).collect::<Vec<_>>().join(" ")
}

/// The mounts of statements, with what they answer.
type Mounts = BTreeMap<&'static str, u64>;

/// What a generation answers with.
#[derive(Clone, Debug, Default, PartialEq)]
struct World {
    version: u64,
    mounts: Mounts,
    touched: bool,
}

/// What a generation can be made of again.
#[derive(Clone, Debug)]
struct Made {
    /// Unlike that of any other load.
    load: u64,
    version: u64,
    /// The saved edits that were loaded.
    files: BTreeSet<usize>,
    steps: Vec<Statement>,
    /// The saved edits that the first of these steps are in, and how many those are.
    saved: BTreeSet<usize>,
    saved_count: usize,
    /// The generations before it that it cannot be made of.
    gaps: Vec<u64>,
}

#[derive(Clone, Debug)]
struct Known {
    world: World,
    vm: u64,
    made: Made,
    /// What is on disk of how it was made may be less than that, or there was no time to write it.
    is_unsure: bool,
}

/// What was begun.
#[derive(Clone, Debug)]
struct Begun {
    base: u64,
    mounts: Mounts,
    statements: Vec<Statement>,
    assigns: bool,
}

/// What is on disk for who is killed in a trial.
#[derive(Clone, Debug)]
struct Record {
    version: u64,
    files: BTreeSet<usize>,
    confirmed: Made,
}

impl Record {
    fn has_files(&self) -> bool {
        (self.version, &self.files) != (self.confirmed.version, &self.confirmed.files)
    }
}

#[derive(Clone, Debug, Default)]
struct Model {
    current: u64,
    known: BTreeMap<u64, Known>,
    /// The value of `n`, by VM.
    vms: BTreeMap<u64, u64>,
    back_to: Option<u64>,
    record: Option<Record>,
    /// The version of the script on disk, and the edits beside it.
    version: u64,
    files: Vec<Vec<Statement>>,
    begun: Option<Begun>,
    next: u64,
    /// The generations of earlier processes end here.
    first: u64,
}

impl Model {
    fn new() -> Self {
        let mut model = Self { version: 1, next: 100, first: 1, ..Self::default() };
        let made = model.on_disk();
        model.load(made);
        model
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn running(&self) -> &Known {
        &self.known[&self.current]
    }

    /// What a load makes now.
    fn on_disk(&mut self) -> Made {
        let files = (0..self.files.len()).collect();
        let (load, version) = (self.number(), self.version);
        let (steps, saved, saved_count, gaps) = Default::default();
        Made { load, version, files, steps, saved, saved_count, gaps }
    }

    /// What is made of it, with the value of `n`; none if it needs what is a gap.
    fn make(&self, made: &Made) -> Option<(World, u64)> {
        let (mut mounts, mut n, mut before) = (Mounts::new(), 0, None);
        let loaded = made.files.iter().flat_map(|file| &self.files[*file]);
        for atom in loaded.chain(&made.steps).flat_map(|statement| statement.iter()) {
            match *atom {
                Atom::Mount(path, text) => mounts.insert(path, text).is_none().then_some(())?,
                Atom::Replace(path, text) => drop(mounts.insert(path, text)?),
                Atom::Remove(path) => drop(mounts.remove(path)?),
                Atom::Assign(value) => n = value,
                Atom::Begin => before = Some(mounts.clone()),
                Atom::Commit | Atom::CommitOnTrial => before = None,
                Atom::Abort => mounts = before.take().unwrap_or(mounts),
                Atom::Fail => return None,
            }
        }
        Some((World { version: made.version, mounts, touched: false }, n))
    }

    fn publish(&mut self, world: World, vm: u64, made: Made) {
        self.current += 1;
        self.known.insert(self.current, Known { world, vm, made, is_unsure: false });
    }

    /// Publishes what a VM of its own makes of this.
    fn load(&mut self, made: Made) {
        let (world, n) = self.make(&made).expect("it runs");
        let vm = self.number();
        self.vms.insert(vm, n);
        self.publish(world, vm, made);
    }

    /// Runs a statement; whether it succeeds.
    fn run(&mut self, statement: &Statement) -> bool {
        let begun = self.begun.take();
        let mut edited = begun.as_ref().map(|begun| begun.mounts.clone());
        let mut base = begun.as_ref().map(|begun| begun.base);
        let (mut published, mut assigned, mut succeeds, mut given_up) = (Vec::new(), None, true, false);
        let (made, vm) = (self.running().made.clone(), self.running().vm);
        for atom in statement.iter() {
            let mounts = || edited.clone().unwrap_or_else(|| self.running().world.mounts.clone());
            let is_there = |path: &str| mounts().contains_key(path);
            let done = match *atom {
                Atom::Mount(path, text) | Atom::Replace(path, text)
                    if self.back_to.is_none() && is_there(path) == matches!(atom, Atom::Replace(..)) =>
                {
                    let mut mounts = mounts();
                    mounts.insert(path, text);
                    edited = Some(mounts);
                    true
                }
                Atom::Remove(path) if self.back_to.is_none() && is_there(path) => {
                    let mut mounts = mounts();
                    mounts.remove(path);
                    edited = Some(mounts);
                    true
                }
                Atom::Assign(value) => {
                    assigned = Some(value);
                    true
                }
                Atom::Begin if edited.is_none() && base.is_none() => {
                    (edited, base) = (Some(mounts()), Some(self.current));
                    true
                }
                Atom::Mount(..) | Atom::Replace(..) | Atom::Remove(_) | Atom::Begin | Atom::Fail => false,
                Atom::Abort => {
                    let was_begun = base.take().is_some();
                    edited = if was_begun { None } else { edited };
                    was_begun
                }
                // The time of the trial is lengthened.
                Atom::CommitOnTrial if edited.is_none() => self.back_to.is_some(),
                // Told before anything is given up.
                Atom::CommitOnTrial if self.back_to.is_some() => false,
                Atom::Commit if edited.is_none() => false,
                Atom::Commit | Atom::CommitOnTrial => {
                    let is_current = base.is_none_or(|base| base == self.current);
                    let mounts = edited.take().expect("it was edited");
                    (given_up, base) = (!is_current || self.back_to.is_some(), None);
                    if !given_up {
                        if *atom == Atom::CommitOnTrial {
                            self.begin_trial(None);
                            self.back_to = Some(self.current);
                        }
                        let world = World { mounts, ..self.running().world.clone() };
                        self.publish(world, vm, made.clone());
                        published.push(self.current);
                    }
                    !given_up
                }
            };
            if !done {
                succeeds = false;
                break;
            }
        }
        if succeeds && base.is_none() && edited.is_some() {
            let world = World { mounts: edited.take().expect("it is"), ..self.running().world.clone() };
            self.publish(world, vm, made.clone());
            published.push(self.current);
        }
        if !succeeds {
            self.failed(begun, given_up, &published);
            return false;
        }
        if let Some(value) = assigned {
            self.vms.insert(vm, value);
        }
        self.succeeded(statement, begun, base.zip(edited), &published, assigned.is_some());
        true
    }

    /// A statement has failed: what was begun before it is as it was, or given up; what it has published is there.
    fn failed(&mut self, begun: Option<Begun>, given_up: bool, published: &[u64]) {
        for number in published {
            let gaps: Vec<_> = published.iter().copied().filter(|gap| gap <= number).collect();
            self.known.get_mut(number).expect("published").made.gaps.extend(gaps);
        }
        match begun {
            Some(begun) if published.is_empty() && !given_up => self.begun = Some(begun),
            Some(mut begun) if published.is_empty() => {
                begun.statements.push([Atom::Abort].into());
                self.give_up(&begun);
            }
            _ => {}
        }
    }

    fn succeeded(
        &mut self,
        statement: &Statement,
        begun: Option<Begun>,
        open: Option<(u64, Mounts)>,
        published: &[u64],
        assigns: bool,
    ) {
        let (before, was_begun) = (begun.as_ref().map(|begun| begun.base), begun.is_some());
        let mut statements = begun.as_ref().map(|begun| begun.statements.clone()).unwrap_or_default();
        let assigns = assigns || begun.is_some_and(|begun| begun.assigns);
        let is_part = was_begun || open.is_some() || !published.is_empty();
        if is_part || assigns {
            statements.push(Rc::clone(statement));
        }
        if let Some((base, mounts)) = open {
            self.begun = Some(Begun { base, mounts, statements, assigns });
            return;
        }
        let Some((last, others)) = published.split_last() else {
            let base = before.unwrap_or(self.current);
            self.give_up(&Begun { base, mounts: Mounts::new(), statements, assigns });
            return;
        };
        for number in others {
            let gaps: Vec<_> = others.iter().copied().filter(|gap| gap <= number).collect();
            self.known.get_mut(number).expect("published").made.gaps.extend(gaps);
        }
        let known = self.known.get_mut(last).expect("published");
        known.made.steps.extend(statements);
        // A line for it may have been written before the statement had come to its end.
        known.is_unsure =
            !matches!(statement.last(), Some(Atom::Mount(..) | Atom::Replace(..) | Atom::Remove(_)));
    }

    /// What was begun is given up. What it has assigned stays.
    fn give_up(&mut self, begun: &Begun) {
        if begun.assigns && begun.base == self.current {
            let known = self.known.get_mut(&self.current).expect("it runs");
            known.made.steps.extend(begun.statements.iter().cloned());
            known.is_unsure = true;
        }
    }

    /// Notes what is to be gone back to: from what is loaded from disk, or without that from a statement's edits.
    fn begin_trial(&mut self, loaded: Option<&Made>) {
        let confirmed = self.running().made.clone();
        let standing = self.record.take().filter(|record| loaded.is_none() && record.has_files());
        let (version, files) = match (loaded, standing) {
            (Some(loaded), _) => (loaded.version, loaded.files.clone()),
            (None, Some(standing)) => (standing.version, standing.files),
            (None, None) => (confirmed.version, confirmed.files.clone()),
        };
        self.record = Some(Record { version, files, confirmed });
    }

    fn confirm(&mut self) -> bool {
        if self.back_to.take().is_none() {
            return false;
        }
        let made = self.running().made.clone();
        let runs = |record: &Record| record.version == made.version && record.files.is_subset(&made.files);
        let standing = self.record.take().filter(|record| record.has_files() && !runs(record));
        self.record = standing.map(|record| Record { confirmed: made, ..record });
        true
    }

    fn cancel(&mut self) -> bool {
        let Some(back_to) = self.back_to.take() else { return false };
        let Known { world, vm, made, .. } = self.known[&back_to].clone();
        self.publish(world, vm, made);
        self.record = self.record.take().filter(Record::has_files);
        true
    }

    fn reload(&mut self, on_trial: bool) -> bool {
        if self.back_to.is_some() {
            return false;
        }
        let made = self.on_disk();
        if on_trial {
            self.begin_trial(Some(&made));
            self.back_to = Some(self.current);
        } else {
            self.record = None;
        }
        self.load(made);
        true
    }

    fn touch(&mut self) -> bool {
        if self.back_to.is_some() {
            return false;
        }
        let Known { mut world, vm, mut made, .. } = self.running().clone();
        world.touched = !world.touched;
        made.gaps.push(self.current + 1);
        self.publish(world, vm, made);
        true
    }

    fn roll_back(&mut self, number: u64, whole: bool) -> bool {
        let Some(known) = self.known.get(&number).cloned() else { return false };
        if number == self.current || self.back_to.is_some() {
            return false;
        }
        if whole {
            self.publish(known.world, known.vm, known.made);
            return true;
        }
        if known.made.gaps.is_empty() {
            let made = self.make(&known.made).map(|(world, _)| world);
            assert_eq!(made, Some(known.world), "the model itself");
            self.load(known.made);
            return true;
        }
        false
    }

    fn save(&mut self) -> bool {
        let made = self.running().made.clone();
        let written: BTreeSet<_> = made.files.union(&made.saved).copied().collect();
        let is_refused = self.back_to.is_some()
            || made.steps.len() == made.saved_count
            || (0..self.files.len()).any(|file| !written.contains(&file))
            || self.make(&made).is_none();
        if is_refused {
            return false;
        }
        let file = self.files.len();
        self.files.push(made.steps[made.saved_count..].to_vec());
        let saved = Made {
            saved: made.saved.iter().copied().chain([file]).collect(),
            saved_count: made.steps.len(),
            ..made.clone()
        };
        for (number, known) in &mut self.known {
            let steps = known.made.steps.get(..made.steps.len());
            let is_same = |steps: &[Statement]| steps.iter().zip(&made.steps).all(|(a, b)| Rc::ptr_eq(a, b));
            if known.made.load == made.load && steps.is_some_and(is_same) {
                (known.made.saved, known.made.saved_count) = (saved.saved.clone(), saved.saved_count);
            }
            // Of those it is not known whether they still share anything.
            known.is_unsure |= *number < self.first;
        }
        if let Some(record) = &mut self.record {
            record.confirmed = saved;
        }
        true
    }

    /// Compares a server with it.
    fn check(&self, seen: &Seen) -> Result<(), String> {
        let Known { world, vm, made, .. } = self.running();
        let mounted = PATHS.into_iter().chain([BESIDE, FAILED]).map(|path| world.mounts.get(path));
        let mut answers: Vec<_> = mounted.map(|text| text.map(ToString::to_string)).collect();
        answers.extend([Some(world.version.to_string()), Some(self.vms[vm].to_string())]);
        answers.push(world.touched.then(|| "touched".to_owned()));
        let told = |start: &str| seen.drift.lines().filter(|line| line.starts_with(start)).count();
        let drift = ["* not saved: ", "* generation ", "~ site.luau", "+ live/"].map(told);
        let written = made.files.union(&made.saved).count();
        let changed = usize::from(made.version != self.version);
        let unsaved = made.steps.len() - made.saved_count;
        let expected_drift = [unsaved, made.gaps.len(), changed, self.files.len() - written];
        let (on_trial, files, has_record) = (self.back_to.is_some(), self.files.len(), self.record.is_some());
        let expected = (self.current, on_trial, &answers, expected_drift, files, has_record);
        let found = (seen.number, seen.on_trial, &seen.answers, drift, seen.files, seen.has_record);
        if found == expected {
            Ok(())
        } else {
            Err(format!("{found:?}, not {expected:?}: {}\n{self:#?}", seen.drift))
        }
    }

    /// The process has ended without a word, and another has begun, whose first generation is this.
    fn start(&mut self, first: u64) {
        self.known.retain(|number, known| *number < first && !known.is_unsure);
        for known in self.known.values_mut() {
            (known.made.saved, known.made.saved_count) = Default::default();
        }
        self.vms.clear();
        (self.begun, self.back_to) = (None, None);
        (self.current, self.first) = (first - 1, first);
        let load = self.number();
        let on_disk = self.on_disk();
        let counts = |record: &&Record| !record.has_files() || record.version == self.version;
        let confirmed = self.record.as_ref().filter(counts);
        let confirmed = confirmed.map(|record| Made { load, gaps: Vec::new(), ..record.confirmed.clone() });
        if let Some(confirmed) = confirmed.filter(|made| self.make(made).is_some()) {
            self.load(confirmed);
            self.record = self.record.take().filter(Record::has_files);
        } else {
            self.record = None;
            self.load(on_disk);
        }
    }
}

/// What is seen of a server.
struct Seen {
    number: u64,
    on_trial: bool,
    answers: Vec<Option<String>>,
    drift: String,
    /// How many files of saved edits there are.
    files: usize,
    has_record: bool,
}

/// A server, and its model.
struct Rig {
    site: Site,
    state: tempfile::TempDir,
    server: Option<Server>,
    client: Client,
    model: Model,
}

fn start(site: &Site, state: &Path) -> (Server, Client) {
    let server = MEDUSA.serve_with_state(site.path(), state).start();
    let client = Client::connect(server.state()).expect("the control socket");
    (server, client)
}

impl Rig {
    fn new() -> Self {
        let site = Site::script(&script(1));
        let state = tempfile::tempdir().expect("a directory");
        let (server, client) = start(&site, state.path());
        Self { site, state, server: Some(server), client, model: Model::new() }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs")
    }

    fn call(&mut self, op: &Op) -> Result<Done, CallError> {
        self.client.call(op, |_event| {})
    }

    /// Has the server do something that the model says succeeds or not.
    fn expect(&mut self, op: &Op, succeeds: bool) {
        let done = self.call(op);
        eprintln!("{op:?}: {succeeds}, generation {}", self.model.current);
        assert_eq!(done.is_ok(), succeeds, "{op:?}: {done:?}\n{:#?}", self.model);
    }

    fn statement(&mut self, atoms: &[Atom]) {
        let statement: Statement = atoms.into();
        let succeeds = self.model.run(&statement);
        self.expect(&Op::Eval { source: text(atoms) }, succeeds);
    }

    /// A random edit; mostly one that can be made.
    fn edit(&mut self, random: &mut Random) -> Atom {
        let path = PATHS[random.below(PATHS.len() as u64) as usize];
        let wrong = random.one_in(8);
        self.edit_of(path, wrong, random)
    }

    fn edit_of(&mut self, path: &'static str, wrong: bool, random: &mut Random) -> Atom {
        let mounts = match &self.model.begun {
            Some(begun) => &begun.mounts,
            None => &self.model.running().world.mounts,
        };
        let is_there = mounts.contains_key(path) != wrong;
        let text = self.model.number();
        match (is_there, random.one_in(2)) {
            (false, _) => Atom::Mount(path, text),
            (true, false) => Atom::Replace(path, text),
            (true, true) => Atom::Remove(path),
        }
    }

    fn step(&mut self, random: &mut Random) {
        let edit = self.edit(random);
        let assign = Atom::Assign(self.model.number());
        if self.model.back_to.is_some() && random.one_in(2) {
            match random.below(5) {
                0 | 1 => {
                    let succeeds = self.model.confirm();
                    self.expect(&Op::Confirm { generation: None }, succeeds);
                }
                2 | 3 => {
                    let succeeds = self.model.cancel();
                    self.expect(&Op::Cancel { generation: None }, succeeds);
                }
                _ => self.kill_amid(random),
            }
            return;
        }
        match random.below(100) {
            22..28 => self.statement(&[assign, edit]),
            28..34 => self.statement(&[assign]),
            34..39 => self.statement(&[edit, assign, Atom::Fail]),
            39..42 if self.model.begun.is_none() => {
                let edit = self.edit_of(FAILED, false, random);
                self.statement(&[edit, Atom::Commit, Atom::Fail]);
            }
            0..22 | 39..42 => self.statement(&[edit]),
            42..45 => {
                let other = self.model.number();
                self.statement(&[edit, Atom::Commit, Atom::Assign(other)]);
            }
            45..48 => {
                let other = self.edit_of(BESIDE, false, random);
                self.statement(&[edit, Atom::Commit, other]);
            }
            48..60 => match random.below(5) {
                _ if self.model.begun.is_none() => self.statement(&[Atom::Begin]),
                0 | 1 => self.statement(&[Atom::Commit]),
                2 => self.statement(&[Atom::CommitOnTrial]),
                _ => self.statement(&[Atom::Abort]),
            },
            60..65 => self.statement(&[edit, Atom::CommitOnTrial]),
            65..70 => {
                let succeeds = self.model.touch();
                eprintln!("touch: {succeeds}, generation {}", self.model.current);
                assert_eq!(self.server().get("/touch").status == 200, succeeds, "{:#?}", self.model);
            }
            70..74 => {
                self.model.version += 1;
                eprintln!("version {}", self.model.version);
                self.site.write("site.luau", script(self.model.version));
            }
            74..80 => {
                let on_trial = random.one_in(3);
                // Where something is begun, it could not be committed any more.
                let succeeds = self.model.begun.is_none() && self.model.reload(on_trial);
                self.expect(&Op::Reload { confirm: on_trial.then_some(600.0) }, succeeds);
            }
            80..88 => {
                let generation = random.below(self.model.current + 2);
                let listed = self.generations();
                let listed = listed.iter().find(|known| known.number == generation);
                if self.model.known.get(&generation).is_some_and(|known| !known.is_unsure) || listed.is_none()
                {
                    let whole = listed.filter(|_| self.model.begun.is_none()).map(|known| known.whole);
                    let succeeds = whole.is_some_and(|whole| self.model.roll_back(generation, whole));
                    self.expect(&Op::Rollback { generation, reason: None }, succeeds);
                }
            }
            88..93 => {
                let succeeds = self.model.save();
                self.expect(&Op::Save { reason: "x".to_owned() }, succeeds);
            }
            93..95 => {
                self.model.begun = None;
                eprintln!("another session");
                self.client = Client::connect(self.server().state()).expect("the control socket");
            }
            95..97 => self.kill(random),
            _ => self.kill_amid(random),
        }
    }

    /// Kills the server, and starts it again.
    fn kill(&mut self, random: &mut Random) {
        let current = self.model.current;
        let history = self.state.path().join("history.jsonl");
        let start = format!("{{\"number\":{current},");
        let is_last = |line: &str| line.starts_with(&start) && line.ends_with('}');
        let is_written =
            || fs::read_to_string(&history).unwrap_or_default().lines().last().is_some_and(is_last);
        let waits = !random.one_in(4);
        if waits {
            wait::until("the history is on disk", || is_written().then_some(()));
        }
        let first = self.start_again();
        assert!(first <= current + 1 && (first == current + 1 || !waits), "{first} after {current}");
        self.model.start(first);
    }

    /// Has something begin in another session, and kills the server in the midst of it: it is done, or it is not.
    fn kill_amid(&mut self, random: &mut Random) {
        self.model.begun = None;
        let edit = self.edit(random);
        let mut done = self.model.clone();
        let mut run = |atoms: &[Atom]| {
            done.run(&atoms.into());
            Op::Eval { source: text(atoms) }
        };
        let op = match random.below(6) {
            0 | 1 => run(&[edit]),
            2 => run(&[edit, Atom::CommitOnTrial]),
            // A record is written after the file.
            3 if done.record.is_none() => {
                done.save();
                Op::Save { reason: "x".to_owned() }
            }
            4 if done.confirm() => Op::Confirm { generation: None },
            _ if done.cancel() => Op::Cancel { generation: None },
            _ => {
                let on_trial = random.one_in(2);
                done.reload(on_trial);
                Op::Reload { confirm: on_trial.then_some(600.0) }
            }
        };
        eprintln!("{op:?}, and in its midst");
        let other = Client::connect(self.server().state()).expect("the control socket");
        let (mut requests, _replies) = other.split().expect("two directions");
        requests.send(&op).expect("it is read");
        let (since, later) = (Instant::now(), Duration::from_micros(random.below(4000)));
        while since.elapsed() < later {
            std::hint::spin_loop();
        }
        let first = self.start_again();
        assert!(first <= done.current + 1, "{first} after {}", done.current);
        done.start(first);
        let is_done = done.check(&self.look()).is_ok();
        eprintln!("it was done: {is_done}");
        self.model.start(first);
        if is_done {
            self.model = done;
        }
    }

    /// Kills the server, and starts it again; the first generation of that.
    fn start_again(&mut self) -> u64 {
        eprintln!("kill, in generation {}", self.model.current);
        let mut server = self.server.take().expect("it runs");
        server.signal(Signal::KILL);
        server.wait();
        drop(server);
        let (server, client) = start(&self.site, self.state.path());
        (self.server, self.client) = (Some(server), client);
        self.generations().first().expect("one").number
    }

    /// The generations, the last first.
    fn generations(&mut self) -> Vec<GenerationInfo> {
        self.call(&Op::Generations).expect("a list").generations.expect("a list")
    }

    fn look(&mut self) -> Seen {
        let last = self.generations().swap_remove(0);
        let drift = self.call(&Op::Drift).expect("it is told").value.expect("text");
        let mut client = self.server().connect();
        let paths = PATHS.into_iter().chain([BESIDE, FAILED, "/version", "/n", "/t"]);
        let answers = paths.map(|path| client.get(path));
        let answers = answers.map(|answer| (answer.status == 200).then(|| answer.text())).collect();
        let files = fs::read_dir(self.site.at("live")).map_or(0, |files| {
            files
                .filter(|file| {
                    file.as_ref().expect("read").path().extension().is_some_and(|end| end == "luau")
                })
                .count()
        });
        let has_record = self.state.path().join("trial.json").exists();
        Seen { number: last.number, on_trial: last.on_trial, answers, drift, files, has_record }
    }
}

#[test]
fn whatever_is_done_and_killed_comes_to_what_the_model_says() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
    #[expect(clippy::disallowed_methods, reason = "a test has no command line of its own")]
    let given = std::env::var("MEDUSA_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = given.map_or_else(|| (0..SEEDS).map(|n| now.wrapping_add(n)).collect(), |seed| vec![seed]);
    for seed in seeds {
        eprintln!("MEDUSA_SEED={seed}");
        let (mut random, mut rig) = (Random(seed), Rig::new());
        for _ in 0..STEPS {
            rig.step(&mut random);
            let seen = rig.look();
            rig.model.check(&seen).unwrap_or_else(|why| panic!("{why}"));
        }
    }
}
