//! Locals, as they were: a copy that belongs to no VM, and the values made of it in another.

use mlua::{Lua, MetaMethod, Table, UserData, UserDataMethods, Value};

use crate::chunk::seal;

/// The key under which a table says that it had more.
const MORE: &str = "…";

/// A copied value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Copied {
    Nil,
    Boolean(bool),
    Number(f64),
    Text(Vec<u8>),
    /// One of the tables of the snapshot.
    Table(usize),
    /// What cannot be copied, in words.
    Other(String),
}

/// A copied table.
#[derive(Debug, Default)]
pub(super) struct CopiedTable {
    /// What an object of the host's says it is.
    pub(super) kind: Option<String>,
    pub(super) pairs: Vec<(Copied, Copied)>,
    /// Whether there were more.
    pub(super) more: bool,
}

/// The locals of a function, as they were.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(super) names: Vec<(String, Copied)>,
    /// Each once, however often it is found.
    pub(super) tables: Vec<CopiedTable>,
    /// Whether there were more names.
    pub(super) more: bool,
}

impl Snapshot {
    /// Makes values of it: a table of names. For who looks at them, nil is among them, as something that shows itself
    /// so.
    pub(crate) fn to_table(&self, lua: &Lua, shows_nil: bool) -> mlua::Result<Table> {
        let made: Vec<Table> =
            self.tables.iter().map(|_| lua.create_table()).collect::<mlua::Result<Vec<_>>>()?;
        let value = |copied: &Copied| match copied {
            Copied::Nil if shows_nil => lua.create_userdata(NotCopied("nil".to_owned())).map(Value::UserData),
            Copied::Nil => Ok(Value::Nil),
            Copied::Boolean(value) => Ok(Value::Boolean(*value)),
            Copied::Number(value) => Ok(Value::Number(*value)),
            Copied::Text(text) => lua.create_string(text).map(Value::String),
            Copied::Table(at) => Ok(made.get(*at).map_or(Value::Nil, |table| Value::Table(table.clone()))),
            Copied::Other(what) => lua.create_userdata(NotCopied(what.clone())).map(Value::UserData),
        };
        let mark = |table: &Table, more: bool| {
            if more {
                table.raw_set(MORE, lua.create_userdata(NotCopied("more".to_owned()))?)
            } else {
                Ok(())
            }
        };
        for (copied, table) in self.tables.iter().zip(&made) {
            for (key, copied) in &copied.pairs {
                table.raw_set(value(key)?, value(copied)?)?;
            }
            mark(table, copied.more)?;
            if let Some(kind) = &copied.kind {
                let meta = lua.create_table()?;
                seal(&meta, kind)?;
                table.set_metatable(Some(meta))?;
            }
        }
        let names = lua.create_table()?;
        for (name, copied) in &self.names {
            names.raw_set(name.as_str(), value(copied)?)?;
        }
        mark(&names, self.more)?;
        Ok(names)
    }
}

/// A value that cannot be copied; it shows what it was.
struct NotCopied(String);

impl UserData for NotCopied {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| Ok(this.0.clone()));
    }
}
