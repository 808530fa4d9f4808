//! A form that was read, and how much one may hold.

use std::rc::Rc;

use bytes::Bytes;
use mlua::{IntoLua, Lua, Table, Value};

use super::file::UploadedFile;
use super::upload::Upload;
use crate::task::give_way;

/// The most fields of one form. As many as a query may have; a form of a person has some dozens.
pub(super) const MAX_FIELDS: usize = medusa_proto::query::MAX_PAIRS;

/// The longest field that is not a file, in bytes: a long article. Files are as long as the server's `limits.body` lets
/// them be.
pub(super) const MAX_FIELD: usize = 1024 * 1024;

/// The most memory that one form takes, in bytes: the fields, all names and types, and small files. Files past it go to
/// disk, however small; anything else is refused.
pub(super) const MAX_IN_MEMORY: usize = 8 * 1024 * 1024;

/// A form that was read.
#[derive(Debug, Default)]
pub(crate) struct Form {
    pub(super) fields: Vec<(Bytes, Field)>,
}

/// A value of a form.
#[derive(Debug)]
pub(super) enum Field {
    Text(Bytes),
    File(Rc<Upload>),
}

impl Form {
    /// A table of the first values by name.
    pub(crate) async fn first_values(&self, lua: &Lua) -> mlua::Result<Table> {
        let table = lua.create_table_with_capacity(0, self.fields.len())?;
        for (name, field) in self.fields.iter().rev() {
            table.raw_set(lua.create_string(name)?, field.value(lua)?)?;
            give_way().await?;
        }
        Ok(table)
    }

    /// The values of one name, in their order.
    pub(crate) async fn values_of(&self, lua: &Lua, name: &[u8]) -> mlua::Result<Table> {
        let values = lua.create_table()?;
        for (known, field) in &self.fields {
            if known == name {
                values.raw_push(field.value(lua)?)?;
                give_way().await?;
            }
        }
        Ok(values)
    }

    pub(super) fn push(&mut self, name: Bytes, field: Field) {
        self.fields.push((name, field));
    }
}

impl Field {
    fn value(&self, lua: &Lua) -> mlua::Result<Value> {
        match self {
            Self::Text(text) => lua.create_string(text).map(Value::String),
            Self::File(upload) => UploadedFile::new(upload).into_lua(lua),
        }
    }
}
