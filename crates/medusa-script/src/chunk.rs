//! What a VM is given: chunks of code, and metatables that are the host's alone. And the chunks of a script's files, to
//! be found again while they may run.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use mlua::chunk::{ChunkMode, Compiler};
use mlua::{Function, Lua, Table};

/// What Luau calls a file that can be debugged: with the names of its locals, which a probe shows. That costs memory, 5
/// to 30 % of the compiled file, and next to no time: a local that is a constant is put where it can be seen, and a
/// function that uses one of another function has it with it (a handler made of nothing else: 0.32 instead of 0.29 µs).
const WITH_NAMES: u8 = 2;

/// What a statement of a session is called, by those who have just typed it.
pub(crate) const STATEMENT: &str = "statement";

/// The same for everybody: by its session, and its number among that one's.
pub(crate) fn statement_name(session: u64, number: u64) -> Arc<str> {
    format!("{STATEMENT}-{session}/{number}").into()
}

/// Whether a statement may be called so.
pub(crate) fn is_statement(file: &[u8]) -> bool {
    let rest = file.strip_prefix(STATEMENT.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"-"))
}

/// The file that a chunk is by its name, `site.luau`, or the statement, `statement-3/12`; none of the host's own.
pub(crate) fn file_of(chunk: &[u8]) -> Option<&[u8]> {
    let statement = || chunk.strip_prefix(b"=").filter(|name| is_statement(name));
    chunk.strip_prefix(b"@").or_else(statement)
}

/// Compiles `source`, as text only, under a name that tracebacks show (`@file` or `=name`).
pub(crate) fn load(
    lua: &Lua,
    source: &str,
    name: &str,
    environment: Option<Table>,
) -> mlua::Result<Function> {
    let compile = |compiler: Option<Compiler>| {
        let mut chunk = lua.load(source).set_mode(ChunkMode::Text).set_name(name);
        if let Some(compiler) = compiler {
            chunk = chunk.set_compiler(compiler);
        }
        match &environment {
            Some(environment) => chunk.set_environment(environment.clone()).into_function(),
            None => chunk.into_function(),
        }
    };
    if !name.starts_with('@') {
        return compile(None);
    }
    // Of 200 locals that a function may have, constants do not count without their names: such a file has none.
    compile(Some(with_names())).or_else(|_error| compile(None))
}

fn with_names() -> Compiler {
    Compiler::new().set_debug_level(WITH_NAMES)
}

/// What [`load`] compiles a file to; none if it cannot be compiled.
pub(crate) fn bytecode(source: &str) -> Option<Vec<u8>> {
    with_names().compile(source).or_else(|_error| Compiler::new().compile(source)).ok()
}

/// Makes a metatable the host's alone: no script can get hold of it, change it or put another in its place. `name` is
/// what `getmetatable` gives instead.
pub(crate) fn seal(metatable: &Table, name: &str) -> mlua::Result<()> {
    metatable.raw_set("__metatable", name)?;
    metatable.set_readonly(true);
    Ok(())
}

/// The whole of a file, as it was loaded: its functions are found from it, made or not.
#[derive(Debug, Clone)]
pub(crate) struct LoadedChunk {
    pub(crate) function: Function,
    pub(crate) text: Arc<str>,
}

type LoadedChunks = RefCell<Vec<(String, LoadedChunk)>>;

/// The files that were loaded together.
///
/// **Invariant:** what a script reaches does not hold this: a chunk is held here, by the host, and holds what its file
/// reaches.
#[derive(Debug, Clone, Default)]
pub(crate) struct ScriptFiles(Rc<LoadedChunks>);

impl ScriptFiles {
    /// Adds a file that was loaded.
    pub(crate) fn add(&self, file: &str, function: &Function, text: Arc<str>) {
        let chunk = LoadedChunk { function: function.clone(), text };
        self.0.borrow_mut().push((file.to_owned(), chunk));
    }

    /// What was loaded of a file: of live edits, several.
    pub(crate) fn of(&self, file: &str) -> Vec<LoadedChunk> {
        let files = self.0.borrow();
        files.iter().filter(|(name, _)| name == file).map(|(_, chunk)| chunk.clone()).collect()
    }

    /// The names of the files.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.borrow().iter().map(|(name, _)| name.clone()).collect()
    }

    /// These, for what a script reaches.
    pub(crate) fn downgrade(&self) -> WeakScriptFiles {
        WeakScriptFiles(Rc::downgrade(&self.0))
    }
}

/// Such files, while somebody else holds them.
#[derive(Debug, Clone)]
pub(crate) struct WeakScriptFiles(Weak<LoadedChunks>);

impl WeakScriptFiles {
    pub(crate) fn upgrade(&self) -> Option<ScriptFiles> {
        self.0.upgrade().map(ScriptFiles)
    }
}
