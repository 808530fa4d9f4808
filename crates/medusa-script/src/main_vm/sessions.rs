//! What sessions have in a VM: the names that are their own, and the value their last statement had.
//!
//! **Invariant:** all of it is in the VM, found by the session, and never the other way round: a session keeps no VM, and no
//! value of one. What it has in a VM that a reload replaces is there again if that VM goes on, and else goes with it.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Weak};

use mlua::chunk::Compiler;
use mlua::{Function, Lua, MultiValue, Table, Value};

use super::MainVm;
use crate::chunk::{STATEMENT, load};
use crate::error::ScriptError;
use crate::syntax::{Locals, TokenKind, locals, tokens};
use crate::transaction::Block;

/// How many names a session may have of its own.
pub(super) const MAX_NAMES: usize = 500;

/// The longest text that is kept as the last value, in bytes.
const MAX_TEXT: usize = 1024 * 1024;

/// What one session has.
#[derive(Debug, Clone)]
pub(crate) struct SessionNames(Table);

/// What a statement is given of its session.
pub(super) struct Mentioned {
    pub(super) cells: Table,
    pub(super) last: Value,
    /// Whether that is anything.
    pub(super) any: bool,
}

impl SessionNames {
    fn new(lua: &Lua) -> mlua::Result<Self> {
        let table = lua.create_table()?;
        table.raw_set("cells", lua.create_table()?)?;
        table.raw_set("count", 0)?;
        Ok(Self(table))
    }

    pub(super) fn table(&self) -> &Table {
        &self.0
    }

    /// What a statement mentions.
    pub(super) fn mentioned(&self, lua: &Lua, source: &str) -> mlua::Result<Mentioned> {
        let mut mentioned = Mentioned { cells: lua.create_table()?, last: Value::Nil, any: false };
        let (cells, last) = (self.0.raw_get::<Table>("cells")?, self.0.raw_get::<Value>("last")?);
        if cells.is_empty() && last.is_nil() {
            return Ok(mentioned);
        }
        let names = tokens(source).into_iter().filter(|token| token.kind == TokenKind::Name);
        let names: HashSet<&str> = names.map(|token| token.text).collect();
        for (name, cell) in cells.pairs::<mlua::LuaString, Table>().flatten() {
            if name.to_str().is_ok_and(|name| names.contains(&*name)) {
                mentioned.cells.raw_set(name, cell)?;
                mentioned.any = true;
            }
        }
        if names.contains("_") {
            mentioned.any |= !last.is_nil();
            mentioned.last = last;
        }
        Ok(mentioned)
    }

    /// Keeps the first of a statement's values, if it has one: of what [`values`](crate::print::values) takes.
    pub(super) fn keep_last(&self, values: &MultiValue) -> mlua::Result<()> {
        match values.get(1) {
            None | Some(Value::Nil) => Ok(()),
            Some(Value::String(text)) if text.as_bytes().len() > MAX_TEXT => {
                self.0.raw_set("last", Value::Nil)
            }
            Some(value) => self.0.raw_set("last", value),
        }
    }

    /// Its names and their values.
    pub(super) fn all(&self) -> mlua::Result<Vec<(String, Value)>> {
        let mut all = vec![("_".to_owned(), self.0.raw_get::<Value>("last")?)];
        for (name, cell) in self.0.raw_get::<Table>("cells")?.pairs::<String, Table>().flatten() {
            // A function of ours, which does nothing else.
            all.push((name, cell.raw_get::<Function>(1)?.call(())?));
        }
        all.retain(|(_, value)| !value.is_nil());
        Ok(all)
    }
}

/// The sessions that have something in a VM.
#[derive(Debug, Default)]
pub(super) struct VmSessions(RefCell<BTreeMap<u64, (Weak<Block>, SessionNames)>>);

impl VmSessions {
    /// What a session has, if it has anything.
    pub(super) fn get(&self, session: &Block) -> Option<SessionNames> {
        self.0.borrow().get(&session.number()).map(|(_, names)| names.clone())
    }

    /// What a session has, from now on.
    pub(super) fn open(&self, lua: &Lua, session: &Arc<Block>) -> mlua::Result<SessionNames> {
        if let Some(names) = self.get(session) {
            return Ok(names);
        }
        let names = SessionNames::new(lua)?;
        self.0.borrow_mut().insert(session.number(), (Arc::downgrade(session), names.clone()));
        Ok(names)
    }

    /// Lets go of what ended sessions had; whether there was anything.
    pub(super) fn forget_ended(&self) -> bool {
        let mut sessions = self.0.borrow_mut();
        let before = sessions.len();
        sessions.retain(|_, (session, _)| session.strong_count() > 0);
        sessions.len() < before
    }
}

/// The sessions of statements that are run again.
#[derive(Debug, Default)]
pub(crate) struct ReplayedSessions(HashMap<Arc<str>, SessionNames>);

impl ReplayedSessions {
    /// What a session has of those that were run before it; nothing of none.
    pub(crate) fn get(
        &mut self,
        vm: &MainVm,
        session: Option<Arc<str>>,
    ) -> Result<SessionNames, ScriptError> {
        let new = || SessionNames::new(vm.vm.lua()).map_err(|error| ScriptError::from_lua(&error));
        let Some(session) = session else { return new() };
        if let Some(known) = self.0.get(&session) {
            return Ok(known.clone());
        }
        let names = new()?;
        self.0.insert(session, names.clone());
        Ok(names)
    }
}

/// A statement as it is compiled. An expression is worth its value, so it is tried first.
pub(super) fn compile(
    lua: &Lua,
    chunk: &str,
    source: &str,
    environment: &Table,
    declare: &str,
) -> mlua::Result<Function> {
    let load = |source: &str| load(lua, source, chunk, Some(environment.clone()));
    if let Ok(function) = load(&format!("return {source}")) {
        return Ok(function);
    }
    // One that has too many of them for Luau to take more has none that are kept.
    let telling = telling(source, declare).and_then(|telling| load(&telling).ok());
    telling.map_or_else(|| load(source), Ok)
}

/// What is wrong with a statement that only wants more lines; none with any other, right or wrong. It takes no VM, and nothing
/// is run.
pub fn incomplete(source: &str) -> Option<ScriptError> {
    let compiler = Compiler::new();
    let Err(mlua::Error::SyntaxError { message, incomplete_input: true }) = compiler.compile(source) else {
        return None;
    };
    // `if a then b() else c()` is a value, too.
    if compiler.compile(format!("return {source}")).is_ok() {
        return None;
    }
    let message = format!("{STATEMENT}:{}", message.trim_start_matches(':'));
    Some(ScriptError::from_lua(&mlua::Error::SyntaxError { message, incomplete_input: true }))
}

/// A name that no script knows.
pub(super) fn unknown_name() -> String {
    format!("__local_{:016x}", RandomState::new().hash_one(0))
}

/// A statement that in the end tells of what it has declared; none if that is nothing.
fn telling(source: &str, declare: &str) -> Option<String> {
    if !source.contains("local") {
        return None;
    }
    let Locals { names, end } = locals(source);
    let tell = |name: &&str| {
        let value = if *name == "v" { "w" } else { "v" };
        format!("{declare}(\"{name}\",function()return {name} end,function({value}){name}={value} end)")
    };
    // To throw away.
    let tells: Vec<_> = names.iter().filter(|name| **name != "_").map(tell).collect();
    if tells.is_empty() {
        return None;
    }
    let (before, after) = source.split_at(end);
    let between = if after.is_empty() { "\n" } else { " " };
    Some(format!("{before}{between}do {} end {after}", tells.join(";")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_wants_more_lines_is_incomplete() {
        for source in ["t = {", "if a then", "f(", "function f()\n  return 1", "x =", "f = function()"] {
            let error = incomplete(source).unwrap_or_else(|| panic!("{source:?}"));
            assert!(error.is_incomplete() && error.render().starts_with("statement:"), "{error:?}");
        }
        for source in ["", "t = {}", "1 + 1", "f)", "if a then b() else c()", "local x = 1", "\0", "x = = 1"]
        {
            assert!(incomplete(source).is_none(), "{source:?}");
        }
    }
}
