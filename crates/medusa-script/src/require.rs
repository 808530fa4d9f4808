//! `require`, rooted: modules come from below the script's own directory, as source, once per load.
//!
//! A name is relative to the requiring file (`./util`, `../shared/x`) or to the root (`util`, `lib/x`); `.luau` is added
//! when missing. Where a name leads out of the root, symlinks included, it is refused. What a module returns is kept for
//! the load it belongs to: a reload runs every module anew, a load that failed leaves nothing behind.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use medusa_files::{OwnKind, OwnPath, regular};
use mlua::{Function, Lua, Table, Value};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::chunk::{ScriptFiles, WeakScriptFiles, load, seal};
use crate::handover::Handover;
use crate::live_files;
use crate::recipe::Files;

/// The largest source file that is loaded, in bytes: it is compiled in one go, while everything else on its thread waits.
pub(crate) const MAX_SOURCE: u64 = 1024 * 1024;

/// All source files of one load together, in bytes: they are kept, for messages to show, as long as its VM lives.
const MAX_SOURCES: usize = 32 * 1024 * 1024;

/// The script's directory, as data of a VM: where the relative paths of its handlers begin.
#[derive(Debug, Clone)]
pub(crate) struct ScriptRoot(pub(crate) Arc<Path>);

impl ScriptRoot {
    /// `path`, relative to the script.
    pub(crate) fn join(lua: &Lua, path: String) -> PathBuf {
        match lua.app_data_ref::<Self>() {
            Some(root) => root.0.join(path),
            None => path.into(),
        }
    }
}

/// The source files of one load, read once, so that every worker runs the same text.
#[derive(Debug)]
pub(crate) struct Sources {
    root: PathBuf,
    files: Mutex<BTreeMap<PathBuf, Arc<str>>>,
    /// Those of them that are called scripts.
    own: Mutex<Vec<OwnPath>>,
    /// Files that were wanted and could not be read: the first [`MAX_MISSING`].
    missing: Mutex<Vec<PathBuf>>,
    /// Files of an earlier load, which are not read from disk; none: all are.
    recorded: Option<Files>,
    /// The files of its handlers.
    handlers: Mutex<Vec<Arc<Self>>>,
}

/// A script asks for a few modules that need not be there. One that asks for whatever a client names has no end.
const MAX_MISSING: usize = 64;

impl Sources {
    /// Sources below `root`, which must be a real path.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self::of(root, None)
    }

    /// Sources as they were at an earlier load.
    pub(crate) fn recorded(root: PathBuf, files: Files) -> Self {
        Self::of(root, Some(files))
    }

    fn of(root: PathBuf, recorded: Option<Files>) -> Self {
        let (files, own, missing, handlers) = Default::default();
        Self { root, files, own, missing, recorded, handlers }
    }

    /// Sources for a handler of this load, which reads its files by itself, from where this load does.
    pub(crate) fn for_handler(&self) -> Self {
        Self::of(self.root.clone(), self.recorded.clone())
    }

    /// The files that were read by this load itself.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Arc<str>> {
        self.lock().clone()
    }

    /// Those of them that are not from an earlier load.
    pub(crate) fn files_from_disk(&self) -> BTreeMap<PathBuf, Arc<str>> {
        let mut files = self.files();
        files.retain(|path, _| self.recorded.as_ref().is_none_or(|recorded| !recorded.contains_key(path)));
        files
    }

    /// Notes that this load uses a handler with these sources.
    pub(crate) fn note_handler(&self, handler: &Arc<Self>) {
        let mut handlers = self.handlers.lock();
        if !handlers.iter().any(|known| Arc::ptr_eq(known, handler)) {
            handlers.push(Arc::clone(handler));
        }
    }

    /// All files that were read for this load.
    pub(crate) fn all_files(&self) -> Files {
        let mut all = self.recorded.as_ref().map_or_else(BTreeMap::new, |recorded| BTreeMap::clone(recorded));
        all.extend(self.files());
        for handler in &*self.handlers.lock() {
            all.extend(handler.files());
        }
        Arc::new(all)
    }

    /// How much text that is, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.all_files().values().map(|text| text.len()).sum()
    }

    fn read_now(&self, relative: &Path) -> Result<Arc<str>, String> {
        let recorded = self.recorded.as_ref().and_then(|recorded| recorded.get(relative));
        // What that load had not read is as it is now.
        recorded.map_or_else(|| read_below(&self.root, relative).map(Arc::from), |text| Ok(Arc::clone(text)))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The files of live edits that this load runs, in their order.
    pub(crate) fn live_files(&self) -> Result<Vec<PathBuf>, String> {
        match &self.recorded {
            None => live_files::listed(&self.root),
            Some(recorded) => Ok(live_files::sorted(recorded.keys())),
        }
    }

    /// What is said of files among the live edits that no load runs, if there are any where this one reads them from.
    pub(crate) fn strays(&self) -> Option<String> {
        self.recorded.is_none().then(|| live_files::strays(&self.root))?
    }

    /// The text of a file, by its path relative to the root.
    pub(crate) fn read(&self, relative: &Path) -> Result<Arc<str>, String> {
        if let Some(known) = self.lock().get(relative) {
            return Ok(Arc::clone(known));
        }
        let text = self.read_now(relative).inspect_err(|_| self.note_missing(relative))?;
        if relative.extension().is_some_and(|extension| extension == "luau") {
            let own = OwnPath::new(&self.root.join(relative), OwnKind::Module);
            self.own.lock().push(own);
        }
        let mut files = self.lock();
        if files.values().map(|text| text.len()).sum::<usize>() + text.len() > MAX_SOURCES {
            let shown = relative.display();
            return Err(format!(
                "cannot load {shown}: the script's files together have more than {MAX_SOURCES} bytes"
            ));
        }
        files.insert(relative.to_owned(), Arc::clone(&text));
        Ok(text)
    }

    /// The text of a file that was read before.
    pub(crate) fn known(&self, relative: &Path) -> Option<Arc<str>> {
        self.lock().get(relative).map(Arc::clone)
    }

    fn note_missing(&self, relative: &Path) {
        let mut missing = self.missing.lock();
        if missing.len() < MAX_MISSING && !missing.iter().any(|known| known == relative) {
            missing.push(relative.to_owned());
        }
    }

    /// Whether every file that was read has the text that the load of `other` would read, and none has come that was missed.
    pub(crate) fn same_for(&self, other: &Self) -> bool {
        let missing = self.missing.lock().clone();
        if self.root != other.root || missing.iter().any(|path| other.read_now(path).is_ok()) {
            return false;
        }
        self.files().iter().all(|(path, text)| other.read_now(path).is_ok_and(|now| now == *text))
    }

    /// Whether what was not read yet will be read from where another load does.
    pub(crate) fn reads_as(&self, other: &Self) -> bool {
        match (&self.recorded, &other.recorded) {
            (None, None) => true,
            (Some(recorded), Some(others)) => Arc::ptr_eq(recorded, others),
            _ => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Arc<str>>> {
        self.files.lock()
    }
}

/// The text of a file below a script's directory.
pub(crate) fn read_below(root: &Path, relative: &Path) -> Result<String, String> {
    let shown = relative.display();
    let path = root.join(relative);
    let real = path.canonicalize().map_err(|error| format!("cannot load {shown}: {error}"))?;
    if !real.starts_with(root) {
        return Err(format!("cannot load {shown}: it leads out of {}", root.display()));
    }
    let failed = |error: io::Error| format!("cannot load {shown}: {error}");
    let contents = regular::read(&real, MAX_SOURCE).map_err(failed)?;
    String::from_utf8(contents.bytes).map_err(|_no_text| failed(io::Error::other("it is not UTF-8")))
}

/// The path of `name`, required by the file `from`, both relative to the root.
pub(crate) fn resolve(from: &Path, name: &str) -> Result<PathBuf, String> {
    let outside = || format!("require(\"{name}\"): it leads out of the script's directory");
    if name.is_empty() || name.contains('\0') || Path::new(name).is_absolute() {
        return Err(format!(
            "require(\"{name}\"): give a path below the script's directory, like \"lib/util\""
        ));
    }
    let start = if name.starts_with('.') { from.parent().unwrap_or(Path::new("")) } else { Path::new("") };
    let mut path = PathBuf::new();
    for component in start.join(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir => {
                if !path.pop() {
                    return Err(outside());
                }
            }
            Component::RootDir | Component::Prefix(_) => return Err(outside()),
        }
    }
    if path.extension().is_none_or(|extension| extension != "luau") {
        path.as_mut_os_string().push(".luau");
    }
    Ok(path)
}

/// A table of names that are looked up in `below` where it has none itself.
///
/// **Invariant:** the VM's own globals hold only what never changes, since Luau looks their names up, and fields of theirs
/// like `medusa.json.encode`, once: when it loads a file. The names of a script and its files are in tables of this kind.
pub(crate) fn names_over(lua: &Lua, below: &Table) -> mlua::Result<Table> {
    let names = lua.create_table()?;
    let meta = lua.create_table()?;
    meta.set("__index", below)?;
    seal(&meta, "globals")?;
    names.set_metatable(Some(meta))?;
    names.set_safeenv(true);
    Ok(names)
}

type LoadedModules = RefCell<HashMap<PathBuf, Module>>;

/// What the modules of one load have returned: held by who has loaded them.
///
/// **Invariant:** what a script reaches, as `require`, does not hold this: a module's functions reach that, and would be
/// held by themselves for as long as the VM lives.
#[derive(Debug, Clone, Default)]
pub(crate) struct ModuleValues(Rc<LoadedModules>);

/// The modules of one load in one VM.
#[derive(Debug, Clone)]
pub(crate) struct Modules {
    sources: Arc<Sources>,
    loaded: Weak<LoadedModules>,
    /// Which files wait for which: what requires, and what it requires.
    waits: Rc<RefCell<Vec<(PathBuf, PathBuf)>>>,
    /// The names that modules see; each file has its own on top.
    shared_names: Table,
    /// Where they are found again.
    chunks: WeakScriptFiles,
    /// What those they take the place of leave to them: held by who loads them, and only so long.
    handover: Weak<Handover>,
}

#[derive(Debug, Clone)]
enum Module {
    /// Somebody loads it; those who wait are told at the end, however it ends.
    Loading(Rc<Notify>),
    Loaded(Value),
}

/// A module that is being loaded. Dropped before it [is](Self::done), also with a task that is given up, it leaves the module
/// to the next one that requires it.
struct Loading<'m> {
    modules: &'m Modules,
    path: &'m Path,
    over: Rc<Notify>,
}

impl<'m> Loading<'m> {
    fn begin(modules: &'m Modules, path: &'m Path) -> Self {
        let over = Rc::new(Notify::new());
        modules.loaded().borrow_mut().insert(path.to_owned(), Module::Loading(Rc::clone(&over)));
        Self { modules, path, over }
    }

    fn done(self, value: Value) {
        self.modules.loaded().borrow_mut().insert(self.path.to_owned(), Module::Loaded(value));
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        let loaded = self.modules.loaded();
        let mut loaded = loaded.borrow_mut();
        if matches!(loaded.get(self.path), Some(Module::Loading(_))) {
            loaded.remove(self.path);
        }
        self.over.notify_waiters();
    }
}

/// One file that waits for another.
struct Waits<'m>(&'m Modules, (PathBuf, PathBuf));

impl<'m> Waits<'m> {
    fn begin(modules: &'m Modules, from: &Path, path: &Path) -> Self {
        let pair = (from.to_owned(), path.to_owned());
        modules.waits.borrow_mut().push(pair.clone());
        Self(modules, pair)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut waits = self.0.waits.borrow_mut();
        if let Some(at) = waits.iter().position(|pair| *pair == self.1) {
            waits.swap_remove(at);
        }
    }
}

impl Modules {
    pub(crate) fn new(
        sources: Arc<Sources>,
        shared_names: Table,
        values: &ModuleValues,
        chunks: &ScriptFiles,
    ) -> Self {
        let (loaded, chunks) = (Rc::downgrade(&values.0), chunks.downgrade());
        Self { sources, loaded, waits: Rc::default(), shared_names, chunks, handover: Weak::new() }
    }

    /// The same, for files that take the place of others.
    pub(crate) fn taking_over(self, handover: Option<&Rc<Handover>>) -> Self {
        Self { handover: handover.map(Rc::downgrade).unwrap_or_default(), ..self }
    }

    /// Hands over to a file that was run what the one before it leaves to it.
    pub(crate) async fn take_over(&self, relative: &Path, chunk: &Function) -> mlua::Result<()> {
        match self.handover.upgrade() {
            Some(handover) => handover.hand_over(relative, chunk).await,
            None => Ok(()),
        }
    }

    /// What was loaded. If whoever loaded it is gone, and something of it still runs, that loads anew what it requires.
    fn loaded(&self) -> Rc<LoadedModules> {
        self.loaded.upgrade().unwrap_or_default()
    }

    /// Notes a file that has been loaded.
    pub(crate) fn note(&self, relative: &Path, chunk: &Function) {
        if let (Some(chunks), Some(text)) = (self.chunks.upgrade(), self.sources.known(relative)) {
            chunks.add(&relative.display().to_string(), chunk, text);
        }
    }

    /// Compiles the file `relative`, with names of its own and a `require` that knows where it stands.
    pub(crate) fn compile(&self, lua: &Lua, relative: &Path) -> mlua::Result<Function> {
        let source = self.sources.read(relative).map_err(mlua::Error::runtime)?;
        let names = names_over(lua, &self.shared_names)?;
        names.raw_set("require", self.require(lua, relative.to_owned())?)?;
        load(lua, &source, &format!("@{}", relative.display()), Some(names))
    }

    /// The `require` of the file `from`.
    pub(crate) fn require(&self, lua: &Lua, from: PathBuf) -> mlua::Result<Function> {
        let modules = self.clone();
        lua.create_async_function(move |lua, name: String| {
            let (modules, from) = (modules.clone(), from.clone());
            async move { modules.load(&lua, &from, &name).await }
        })
    }

    async fn load(&self, lua: &Lua, from: &Path, name: &str) -> mlua::Result<Value> {
        let path = resolve(from, name).map_err(mlua::Error::runtime)?;
        let known = || self.loaded().borrow().get(&path).cloned();
        if let Some(Module::Loaded(value)) = known() {
            return Ok(value);
        }
        let _waits = Waits::begin(self, from, &path);
        loop {
            match known() {
                Some(Module::Loaded(value)) => return Ok(value),
                Some(Module::Loading(_)) if self.is_waited_for(from, &path) => {
                    let path = path.display();
                    return Err(mlua::Error::runtime(format!(
                        "require(\"{name}\"): {path} is being loaded already: modules must not require each other in a circle"
                    )));
                }
                // Another task loads it, and may fail, or be given up.
                Some(Module::Loading(over)) => over.notified().await,
                None => break,
            }
        }
        let loading = Loading::begin(self, &path);
        let chunk = self.compile(lua, &path)?;
        let value = chunk.call_async::<Value>(()).await?;
        if value.is_nil() {
            let path = path.display();
            return Err(mlua::Error::runtime(format!("require(\"{name}\"): {path} returned nothing")));
        }
        self.take_over(&path, &chunk).await?;
        self.note(&path, &chunk);
        loading.done(value.clone());
        Ok(value)
    }

    /// Whether the loading of `path` waits for `file`, perhaps by way of others: then `file` cannot wait for that.
    fn is_waited_for(&self, file: &Path, path: &Path) -> bool {
        let waits = self.waits.borrow();
        let (mut seen, mut next) = (Vec::new(), vec![path]);
        while let Some(at) = next.pop() {
            if at == file {
                return true;
            }
            if !seen.contains(&at) {
                seen.push(at);
                next.extend(waits.iter().filter(|(from, _)| from == at).map(|(_, to)| to.as_path()));
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        let ok = |from: &str, name| resolve(Path::new(from), name).unwrap();
        assert_eq!(ok("site.luau", "util"), Path::new("util.luau"));
        assert_eq!(ok("handlers/api.luau", "./util"), Path::new("handlers/util.luau"));
        assert_eq!(ok("handlers/api.luau", "../lib/x.luau"), Path::new("lib/x.luau"));
        assert_eq!(ok("handlers/api.luau", "lib/x"), Path::new("lib/x.luau"));
        for name in ["../secret", "../../secret", "/etc/passwd", "", "a/../../b", "./../../x"] {
            assert!(resolve(Path::new("handlers/api.luau"), name).is_err() || name == "../secret", "{name}");
        }
        assert!(resolve(Path::new("site.luau"), "../secret").is_err());
    }

    #[test]
    fn a_symlink_out_of_the_root_is_refused_and_changes_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("site");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(dir.path().join("secret.luau"), "return 1").unwrap();
        std::os::unix::fs::symlink("../secret.luau", root.join("link.luau")).unwrap();
        std::fs::write(root.join("fine.luau"), "return 2").unwrap();
        let sources = Sources::new(root.clone());
        assert!(sources.read(Path::new("link.luau")).unwrap_err().contains("leads out"));
        assert_eq!(&*sources.read(Path::new("fine.luau")).unwrap(), "return 2");
        assert!(sources.same_for(&Sources::new(sources.root().to_owned())));
        assert!(
            sources.read(Path::new("later.luau")).is_err()
                && sources.same_for(&Sources::new(sources.root().to_owned()))
        );
        std::fs::write(root.join("later.luau"), "return 4").unwrap();
        assert!(!sources.same_for(&Sources::new(sources.root().to_owned())), "it was missed");
        std::fs::remove_file(root.join("later.luau")).unwrap();
        std::fs::write(root.join("fine.luau"), "return 3").unwrap();
        assert!(!sources.same_for(&Sources::new(sources.root().to_owned())));
        assert_eq!(&*sources.read(Path::new("fine.luau")).unwrap(), "return 2", "one load, one text");
    }
}
