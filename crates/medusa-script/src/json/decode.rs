//! JSON as a value, made in the VM as it is read, in steps.
//!
//! What is made counts against the VM's limit from the first byte on; beside it there is only the path to where the reader
//! is. Scalars are left to `serde_json`, which knows all about numbers and escapes; what holds them is read here, for its
//! parser cannot pause.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use mlua::{Lua, LuaString, Table, UserData, Value};
use serde::de::{Deserialize, Deserializer, Visitor};

use super::limits::{MAX_DEPTH, MAX_TEXT};
use crate::counted::{shown_bytes, shown_name};

/// The number of values and names that one step takes, and after how much text it ends: 0.3 ms, but for a single
/// longer string.
const STEP: usize = 500;
const STEP_TEXT: usize = 64 * 1024;

/// The text that is decoded.
#[derive(Debug)]
pub(crate) enum JsonText {
    Script(LuaString),
    Client(Bytes),
}

/// A text on its way to be a value.
#[derive(Debug)]
pub(crate) struct Decoder {
    text: JsonText,
    reader: Reader,
}

impl UserData for Decoder {}

/// The reason why a text could not be decoded.
#[derive(Debug)]
pub(crate) enum DecodeError {
    /// It is not JSON, or too much of it.
    Json(String),
    /// The VM has no memory for it.
    Vm(mlua::Error),
}

impl From<mlua::Error> for DecodeError {
    fn from(error: mlua::Error) -> Self {
        Self::Vm(error)
    }
}

impl Decoder {
    /// Takes up a text of at most so many values and names. `arrays` is the VM's metatable of arrays.
    pub(crate) fn new(arrays: &Table, text: JsonText, most: usize) -> Self {
        let reader =
            Reader { at: 0, path: Vec::new(), next: Next::Value, left: most, most, arrays: arrays.clone() };
        Self { text, reader }
    }

    /// Reads on; the value, if that was the end.
    pub(crate) fn step(&mut self, lua: &Lua) -> Result<Option<Value>, DecodeError> {
        match &self.text {
            JsonText::Script(text) => self.reader.step(lua, &text.as_bytes()),
            JsonText::Client(text) => self.reader.step(lua, text),
        }
    }
}

#[derive(Debug)]
struct Reader {
    at: usize,
    path: Vec<Open>,
    next: Next,
    /// The number of values and names that may still come, of how many.
    left: usize,
    most: usize,
    /// What marks arrays, so that an empty one is encoded as one again.
    arrays: Table,
}

/// An array or object that is not yet closed.
#[derive(Debug)]
struct Open {
    table: Table,
    /// Of an object: the name whose value comes next.
    name: Option<LuaString>,
    is_array: bool,
}

/// Tokens that may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    /// Of an array that is empty so far.
    ValueOrEnd,
    Name,
    /// Of an object that is empty so far.
    NameOrEnd,
    CommaOrEnd,
    Nothing,
}

impl Reader {
    fn step(&mut self, lua: &Lua, text: &[u8]) -> Result<Option<Value>, DecodeError> {
        if text.len() > MAX_TEXT {
            return Err(DecodeError::Json(format!("the text is longer than {} MiB", MAX_TEXT >> 20)));
        }
        let begin = self.at;
        for _ in 0..STEP {
            if self.at - begin > STEP_TEXT {
                break;
            }
            if self.at == 0 {
                self.skip_mark(text)?;
            }
            if let Some(value) = self.token(lua, text)? {
                self.skip_space(text);
                self.next = Next::Nothing;
                return if self.at == text.len() {
                    Ok(Some(value))
                } else {
                    Err(self.wrong(text, "trailing characters"))
                };
            }
        }
        Ok(None)
    }

    /// A byte order mark of UTF-8 may be ignored (RFC 8259 §8.1); Windows' programs write one. Those of others are told.
    fn skip_mark(&mut self, text: &[u8]) -> Result<(), DecodeError> {
        if text.starts_with(b"\xEF\xBB\xBF") {
            self.at = 3;
        } else if text.starts_with(b"\xFE\xFF") || text.starts_with(b"\xFF\xFE") {
            return Err(self.wrong(text, "it is UTF-16, and JSON is UTF-8"));
        }
        Ok(())
    }

    /// Reads the next token; the whole value, once it is complete.
    fn token(&mut self, lua: &Lua, text: &[u8]) -> Result<Option<Value>, DecodeError> {
        self.skip_space(text);
        let Some(&byte) = text.get(self.at) else { return Err(self.wrong(text, self.unfinished())) };
        match (self.next, byte) {
            (Next::ValueOrEnd, b']') | (Next::NameOrEnd, b'}') => self.close(text),
            (Next::CommaOrEnd, _) => self.comma_or_end(text, byte),
            (Next::Name | Next::NameOrEnd, b'"') => self.name(lua, text).map(|()| None),
            (Next::Name, b'}') | (Next::Value, b']') if !self.path.is_empty() => {
                Err(self.wrong(text, "trailing comma"))
            }
            (Next::Name | Next::NameOrEnd, _) => Err(self.wrong(text, "a name must be a string")),
            (_, b'[') => self.open(lua, text, true).map(|()| None),
            (_, b'{') => self.open(lua, text, false).map(|()| None),
            _ => {
                self.count(text)?;
                let value = match self.scalar(text)? {
                    Scalar::Null => Value::NULL,
                    Scalar::Flag(flag) => Value::Boolean(flag),
                    Scalar::Number(number) => Value::Number(number),
                    Scalar::JsonText(text) => Value::String(lua.create_string(&*text)?),
                };
                self.complete(value)
            }
        }
    }

    fn open(&mut self, lua: &Lua, text: &[u8], is_array: bool) -> Result<(), DecodeError> {
        self.count(text)?;
        if self.path.len() == MAX_DEPTH {
            return Err(self.wrong(text, format_args!("there are more than {MAX_DEPTH} levels")));
        }
        let table = lua.create_table()?;
        if is_array {
            table.set_metatable(Some(self.arrays.clone()))?;
        }
        self.path.push(Open { table, name: None, is_array });
        self.next = if is_array { Next::ValueOrEnd } else { Next::NameOrEnd };
        self.at += 1;
        Ok(())
    }

    fn comma_or_end(&mut self, text: &[u8], byte: u8) -> Result<Option<Value>, DecodeError> {
        let is_array = self.path.last().is_some_and(|open| open.is_array);
        match byte {
            b',' => {
                self.at += 1;
                self.next = if is_array { Next::Value } else { Next::Name };
                Ok(None)
            }
            b']' if is_array => self.close(text),
            b'}' if !is_array => self.close(text),
            _ if is_array => Err(self.wrong(text, "expected `,` or `]`")),
            _ => Err(self.wrong(text, "expected `,` or `}`")),
        }
    }

    /// Reads a name and the colon behind it.
    fn name(&mut self, lua: &Lua, text: &[u8]) -> Result<(), DecodeError> {
        self.count(text)?;
        let Scalar::JsonText(name) = self.scalar(text)? else {
            return Err(self.wrong(text, "a name must be a string"));
        };
        let name = lua.create_string(&*name)?;
        if let Some(open) = self.path.last()
            && open.table.raw_get::<Value>(&name)? != Value::Nil
        {
            return Err(
                self.wrong(text, format_args!("the name {:?} comes twice", shown_name(&name.as_bytes())))
            );
        }
        self.skip_space(text);
        match text.get(self.at) {
            Some(b':') => self.at += 1,
            Some(_) => return Err(self.wrong(text, "expected `:`")),
            None => return Err(self.wrong(text, self.unfinished())),
        }
        if let Some(open) = self.path.last_mut() {
            open.name = Some(name);
        }
        self.next = Next::Value;
        Ok(())
    }

    fn close(&mut self, text: &[u8]) -> Result<Option<Value>, DecodeError> {
        self.at += 1;
        match self.path.pop() {
            Some(open) => self.complete(Value::Table(open.table)),
            None => Err(self.wrong(text, "expected value")),
        }
    }

    /// Puts a value where it belongs.
    fn complete(&mut self, value: Value) -> Result<Option<Value>, DecodeError> {
        let Some(open) = self.path.last_mut() else { return Ok(Some(value)) };
        match open.name.take() {
            Some(name) => open.table.raw_set(name, value)?,
            None => open.table.raw_push(value)?,
        }
        self.next = Next::CommaOrEnd;
        Ok(None)
    }

    fn scalar<'t>(&mut self, text: &'t [u8]) -> Result<Scalar<'t>, DecodeError> {
        let rest = text.get(self.at..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<Scalar<'t>>();
        match values.next() {
            Some(Ok(scalar)) => {
                let read = &rest[..values.byte_offset()];
                if let Scalar::Number(number) = scalar
                    && !is_exact(read, number)
                {
                    let name = shown_bytes(read, 40);
                    let what = format!(
                        "{name} is a whole number that a script's number cannot hold: it must come as a string"
                    );
                    return Err(self.wrong(text, what));
                }
                self.at += read.len();
                Ok(scalar)
            }
            // It begins with something, so there is a value or an error; no scalar has a line end in it.
            Some(Err(error)) => {
                let message = error.to_string();
                let what = message.rsplit_once(" at line ").map_or(&*message, |(what, _)| what);
                self.at += error.column().saturating_sub(1);
                Err(self.wrong(text, what))
            }
            None => Err(self.wrong(text, self.unfinished())),
        }
    }

    fn count(&mut self, text: &[u8]) -> Result<(), DecodeError> {
        let left = self.left.checked_sub(1);
        let most = self.most;
        self.left = left
            .ok_or_else(|| self.wrong(text, format_args!("there are more than {most} values and names")))?;
        Ok(())
    }

    fn skip_space(&mut self, text: &[u8]) {
        let rest = text.get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count();
    }

    fn unfinished(&self) -> &'static str {
        match self.path.last() {
            None => "it ends before a value",
            Some(open) if open.is_array => "it ends within an array",
            Some(_) => "it ends within an object",
        }
    }

    /// An error at where the reader is.
    fn wrong(&self, text: &[u8], what: impl fmt::Display) -> DecodeError {
        let before = text.get(..self.at).unwrap_or(text);
        let line = before.split(|&byte| byte == b'\n').count();
        let column = before.iter().rev().take_while(|&&byte| byte != b'\n').count();
        DecodeError::Json(format!("{what} at line {line} column {}", column + 1))
    }
}

/// Whether a number is what is written, where that is a whole number. Fractions and powers of ten are rounded, as is usual.
fn is_exact(written: &[u8], number: f64) -> bool {
    // Less than 2^53.
    written.len() <= 15
        || written.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
        || format!("{number:.0}").as_bytes() == written
}

/// A value that holds no others.
#[derive(Debug)]
enum Scalar<'t> {
    Null,
    Flag(bool),
    Number(f64),
    JsonText(Cow<'t, str>),
}

impl<'t> Deserialize<'t> for Scalar<'t> {
    fn deserialize<D: Deserializer<'t>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Scalars)
    }
}

struct Scalars;

impl<'t> Visitor<'t> for Scalars {
    type Value = Scalar<'t>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Scalar<'t>, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Scalar<'t>, E> {
        Ok(Scalar::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar<'t>, E> {
        Ok(Scalar::Number(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar<'t>, E> {
        Ok(Scalar::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Scalar<'t>, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_borrowed_str<E>(self, text: &'t str) -> Result<Scalar<'t>, E> {
        Ok(Scalar::JsonText(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar<'t>, E> {
        Ok(Scalar::JsonText(Cow::Owned(text.to_owned())))
    }
}
