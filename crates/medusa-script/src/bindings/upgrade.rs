//! `medusa.upgrade`: a handler file, or a module of such files, is loaded anew while all else stays as it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use medusa_http::Handler;
use medusa_site::{Draft, DraftError, HttpServer, Interner, MountId, Parts};
use mlua::{Lua, MultiValue, Table, Value, Variadic};

use super::http::mount_id;
use super::site::with_parts;
use crate::call_site::{at_place, fail, origin};
use crate::context::MainContext;
use crate::counted::some_of;
use crate::docs::{Item, main_item};
use crate::handler_files::ScriptHandler;
use crate::options::no_more;
use crate::print::show;
use crate::recipe::Files;
use crate::require::{Sources, read_below, resolve};
use crate::transaction::{FilesRead, Transaction};

pub(crate) const DOCS: Item = main_item(
    "medusa.upgrade",
    "(what: Mount | string) -> string?",
    "Loads one file anew in all workers, and leaves all else as it is. Of a mount: its handler file, also one within wrappers, for \
     this mount alone. By a name, as `require` takes it (`\"handlers/api.luau\"`, `\"lib/util\"`): every handler file that it is, or \
     that requires it, for all mounts. Only that file is read from disk; the others are run anew as they were. A file may have a \
     function `upgrade(old)`: it is called, in each worker, with a copy of what the file before it has there as its global \
     `state`. The change is published as any: if anything fails, nothing of it is seen. Returns why, if nothing is changed.",
);

const FUNCTION: &str = "medusa.upgrade";

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    medusa.set("upgrade", lua.create_async_function(upgrade)?)
}

async fn upgrade(lua: Lua, (what, rest): (Value, MultiValue)) -> mlua::Result<Variadic<String>> {
    let at = origin(&lua);
    no_more(&lua, "medusa.upgrade(what)", &rest)?;
    let what = match (mount_id(&what), &what) {
        (Some(mount), _) => What::Mount(mount),
        (None, Value::String(name)) => What::File(name.to_string_lossy()),
        (None, other) => {
            let other = show(other);
            return Err(fail(
                &lua,
                format!(
                    "{FUNCTION}: give a mount, or a file like \"handlers/api.luau\" or \"lib/util\", not {other}"
                ),
            ));
        }
    };
    let failed = |why: String| mlua::Error::runtime(format!("{at}: {FUNCTION}: {why}"));
    let context = MainContext::of(&lua)?;
    let transaction = Transaction::current();
    let given = transaction.as_ref().and_then(|transaction| transaction.replayed_files());
    let plan = |parts: &Parts| Plan::new(&context, &what, given.as_ref(), parts);
    // Looked at before it is the turn of this change, so that nothing is published for nothing.
    let planned = with_parts(&lua, plan)?.map_err(failed)?;
    if planned.anew.is_empty() {
        return Ok(Variadic::from_iter([planned.is_same()]));
    }
    let interner = context.interner(&lua);
    let edited = Transaction::edit(|draft| {
        Ok(plan(draft.parts()).and_then(|plan| plan.carry_out(&context, interner, draft)))
    });
    let read = edited.await.map_err(|error| at_place(&at, error))?.map_err(failed)?;
    if let Some(transaction) = transaction {
        transaction.note_read(read);
    }
    // No value: a prompt would show a nil.
    Ok(Variadic::new())
}

/// What is to be loaded anew.
enum What {
    /// The handler file of this mount.
    Mount(MountId),
    /// The file of this name, wherever handler files use it.
    File(String),
}

/// The handler files that are loaded anew.
struct Plan {
    /// The mounts that get them.
    mounts: Vec<MountId>,
    /// With all that is read for them.
    anew: Vec<(Arc<ScriptHandler>, Sources)>,
    /// What of that is new.
    read: BTreeMap<PathBuf, Arc<str>>,
    /// The files that run as they are.
    same: BTreeSet<PathBuf>,
}

impl Plan {
    fn new(context: &MainContext, what: &What, given: Option<&Files>, parts: &Parts) -> Result<Self, String> {
        let mounts: Vec<MountId> = match what {
            What::Mount(mount) => vec![mount.clone()],
            What::File(_) => parts.all::<HttpServer>().flat_map(HttpServer::mount_ids).collect(),
        };
        let found = mounts.iter().map(|id| id.find(parts)).collect::<Option<Vec<_>>>();
        let found = found.ok_or_else(|| DraftError::NoMount.to_string())?;
        let mut files = context.scripts.among(found.iter().map(|mount| &mount.handler));
        let named = match what {
            What::Mount(_) => None,
            What::File(name) => Some(named(name, &files)?),
        };
        if let Some(named) = &named {
            not_of_main(context, named)?;
            let others = files.clone();
            files.retain(|file| file.uses(named));
            // In what is run again nothing is loaded yet, so it is not known who uses what.
            if files.is_empty() && given.is_none() {
                return Err(unknown(named, &others));
            }
        } else if files.is_empty() {
            return Err(
                "this mount has no handler file: `reload()` runs the script anew, mount:replace(handler) gives it another handler"
                    .to_owned(),
            );
        }
        let (mut anew, mut read, mut same) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        for file in files {
            let path = named.as_ref().unwrap_or(&file.path);
            not_of_main(context, path)?;
            let root = file.sources.root();
            let text = match (given, read.get(path)) {
                (Some(given), _) => given.get(path).cloned(),
                (None, Some(text)) => Some(Arc::clone(text)),
                (None, None) => Some(read_below(root, path)?.into()),
            };
            let mut texts = BTreeMap::clone(&file.files());
            let Some(text) = text.filter(|text| texts.get(path) != Some(text)) else {
                same.insert(path.clone());
                continue;
            };
            texts.extend(given.into_iter().flat_map(|given| BTreeMap::clone(given)));
            texts.insert(path.clone(), Arc::clone(&text));
            read.insert(path.clone(), text);
            let sources = Sources::recorded(root.to_owned(), Arc::new(texts));
            anew.push((file, sources));
        }
        Ok(Self { mounts, anew, read, same })
    }

    /// Why there is nothing to do.
    fn is_same(&self) -> String {
        let same: Vec<_> = self.same.iter().map(|path| path.display().to_string()).collect();
        let (names, runs) =
            (some_of(&same), if same.len() == 1 { "runs as it is" } else { "run as they are" });
        format!("nothing is changed: {names} {runs} on disk (drift() tells what does not)")
    }

    /// Gives the mounts the handlers; what was read for those.
    fn carry_out(
        self,
        context: &MainContext,
        interner: &Interner,
        draft: &mut Draft,
    ) -> Result<FilesRead, String> {
        let mut new = NewHandlers { interner, made: HashMap::new() };
        let mut read = FilesRead { texts: self.read, more: Vec::new() };
        for (before, sources) in self.anew {
            let handler = context.scripts.in_place_of(&before, sources);
            read.more.push(Arc::clone(&handler.sources));
            new.made.insert(Arc::as_ptr(&before).cast(), handler);
        }
        for id in self.mounts {
            let Some(mount) = id.find(draft.parts()).cloned() else { continue };
            if let Some(handler) = new.of(&mount.handler)? {
                // It is still the script's line that has mounted it.
                let replaced = draft.replace(&id, handler, Arc::clone(&mount.origin));
                replaced.map_err(|error| error.to_string())?;
            }
        }
        Ok(read)
    }
}

/// The path of a file that somebody names.
fn named(name: &str, files: &[Arc<ScriptHandler>]) -> Result<PathBuf, String> {
    // A handler file need not end in `.luau`.
    let is_there = files.iter().any(|file| file.path == Path::new(name));
    if is_there { Ok(name.into()) } else { resolve(Path::new(""), name) }
}

fn not_of_main(context: &MainContext, path: &Path) -> Result<(), String> {
    let path = path.display().to_string();
    if context.chunks.of(&path).is_empty() {
        return Ok(());
    }
    Err(format!("the main script uses {path}, too, and that is run anew as a whole: `medusa reload`"))
}

fn unknown(path: &Path, files: &[Arc<ScriptHandler>]) -> String {
    let path = path.display();
    let names: BTreeSet<_> =
        files.iter().flat_map(|file| BTreeMap::clone(&file.files()).into_keys()).collect();
    if names.is_empty() {
        return format!("no handler file uses {path}: no mount has one");
    }
    let names: Vec<_> = names.iter().map(|path| path.display().to_string()).collect();
    format!("no handler file uses {path}; there are: {}", some_of(&names))
}

/// Handlers in the place of others, by the addresses of those.
struct NewHandlers<'i> {
    interner: &'i Interner,
    made: HashMap<*const (), Arc<dyn Handler>>,
}

impl NewHandlers<'_> {
    /// What takes the place of a handler; none if that stays.
    fn of(&mut self, handler: &Arc<dyn Handler>) -> Result<Option<Arc<dyn Handler>>, String> {
        let address = Arc::as_ptr(handler).cast();
        if let Some(made) = self.made.get(&address) {
            return Ok(Some(Arc::clone(made)));
        }
        let (mut inner, mut is_same) = (Vec::new(), true);
        for before in handler.inner() {
            let new = self.of(before)?;
            is_same &= new.is_none();
            inner.push(new.unwrap_or_else(|| Arc::clone(before)));
        }
        if is_same {
            return Ok(None);
        }
        let wrapped = self.interner.wrap_anew(handler, inner).map_err(|error| error.to_string())?;
        let wrapped = wrapped.ok_or_else(|| format!("{} cannot be made anew", handler.status().kind))?;
        self.made.insert(address, Arc::clone(&wrapped));
        Ok(Some(wrapped))
    }
}
