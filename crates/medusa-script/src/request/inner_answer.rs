//! What `next(req)` gives: the answer of the handler behind, as far as a script has to do with it.
//!
//! It holds a number, like a `req`: status and fields stay with the request, and its body never comes here.

use std::cell::RefCell;
use std::rc::Rc;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use medusa_http::handlers::headers::name_of;
use mlua::{
    Lua, LuaString, MetaMethod, MultiValue, UserData, UserDataFields, UserDataMethods, Value, Variadic,
};

use super::fields::joined;
use super::open::{ActiveRequests, with};
use crate::counted::{shown, shown_bytes};
use crate::fields::header_values;
use crate::passage::AnswerHead;
use crate::print::{MAX_SHOWN, as_whole, show};

/// The most fields of an answer, and the most bytes of their names and values together, once a script adds to them: as for answers
/// of its own.
const MAX_FIELDS: usize = 256;
const MAX_FIELD_BYTES: usize = 64 * 1024;

/// The answer of the handler behind a wrapper's function.
#[derive(Debug, Clone)]
pub(crate) struct InnerAnswer {
    open: Rc<RefCell<ActiveRequests>>,
    handle: f64,
}

impl InnerAnswer {
    pub(super) fn new(open: &Rc<RefCell<ActiveRequests>>, handle: f64) -> Self {
        Self { open: Rc::clone(open), handle }
    }

    /// Whether it is the answer to the request with that handle.
    pub(super) fn is_of(&self, open: &Rc<RefCell<ActiveRequests>>, handle: f64) -> bool {
        Rc::ptr_eq(&self.open, open) && self.handle.to_bits() == handle.to_bits()
    }

    /// Looks at it. `f` must not call the VM.
    fn with<R>(&self, f: impl FnOnce(&mut AnswerHead) -> mlua::Result<R>) -> mlua::Result<R> {
        with(&self.open, self.handle, |entry| f(entry.passage.answer()?))
    }
}

fn wrong(what: impl std::fmt::Display) -> mlua::Error {
    mlua::Error::runtime(format!("an answer of `next`: {what}"))
}

impl UserData for InnerAnswer {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("status", |_, this| this.with(|answer| Ok(answer.status.as_u16())));
        fields.add_field_method_set("status", |_, this, value: Value| {
            let number = as_whole(&value, 200..=599);
            let status =
                number.and_then(|number| StatusCode::from_u16(number as u16).ok()).ok_or_else(|| {
                    wrong(format_args!(
                        "`status` must be a whole number from 200 to 599, not {}",
                        show(&value)
                    ))
                })?;
            this.with(|answer| {
                if answer.opens_session {
                    return Err(wrong("it opens a session, and its status is not to be changed"));
                }
                answer.status = status;
                Ok(())
            })
        });
        fields.add_field_method_get("headers", |_, this| {
            this.with(|_| Ok(()))?;
            Ok(InnerFields(this.clone()))
        });
        fields.add_field_method_set("headers", |_, _, _: Value| {
            Err::<(), _>(wrong("change single fields: `answer.headers[name] = value`"))
        });
    }
}

/// The fields of an answer, by their names in upper or lower case.
#[derive(Debug)]
struct InnerFields(InnerAnswer);

impl UserData for InnerFields {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::Index, |lua, this, name: Value| {
            let Some(name) = name.as_string().and_then(|name| HeaderName::from_bytes(&name.as_bytes()).ok())
            else {
                return Ok(Value::Nil);
            };
            let values = this.0.with(|answer| Ok(FieldValues::of(&answer.headers, &name)))?;
            values.to_lua(lua)
        });
        methods.add_meta_method(MetaMethod::NewIndex, |_, this, (name, value): (Value, Value)| {
            let Value::String(name) = name else {
                return Err(wrong(format_args!("{} is no field name", show(&name))));
            };
            let change = FieldChange::new(&name, &value)?;
            this.0.with(|answer| change.apply(&mut answer.headers))
        });
        methods.add_meta_method(MetaMethod::Iter, |lua, this, ()| {
            let all = this.0.with(|answer| {
                let names = answer.headers.keys();
                Ok(names
                    .map(|name| (name.clone(), FieldValues::of(&answer.headers, name)))
                    .collect::<Vec<_>>())
            })?;
            let mut all = all.into_iter();
            lua.create_function_mut(move |lua, _: MultiValue| {
                let Some((name, values)) = all.next() else { return Ok(Variadic::new()) };
                let name = Value::String(lua.create_string(name.as_str())?);
                Ok(Variadic::from_iter([name, values.to_lua(lua)?]))
            })
        });
    }
}

/// The values of one field.
enum FieldValues {
    None,
    /// One, or several as one.
    One(HeaderValue),
    Joined(Vec<u8>),
    /// Those that cannot be joined ([RFC 9110 §5.3](https://www.rfc-editor.org/rfc/rfc9110#section-5.3)).
    Several(Vec<HeaderValue>),
}

impl FieldValues {
    fn of(fields: &HeaderMap, name: &HeaderName) -> Self {
        let mut all = fields.get_all(name).iter();
        match (all.next(), all.next()) {
            (None, _) => Self::None,
            (Some(only), None) => Self::One(only.clone()),
            _ if name == header::SET_COOKIE => Self::Several(fields.get_all(name).iter().cloned().collect()),
            _ => Self::Joined(joined(fields, name).into_owned()),
        }
    }

    fn to_lua(&self, lua: &Lua) -> mlua::Result<Value> {
        let text = |bytes: &[u8]| lua.create_string(bytes).map(Value::String);
        match self {
            Self::None => Ok(Value::Nil),
            Self::One(value) => text(value.as_bytes()),
            Self::Joined(value) => text(value),
            Self::Several(values) => {
                let values = values.iter().map(|value| lua.create_string(value.as_bytes()));
                let values = values.collect::<mlua::Result<Vec<_>>>()?;
                lua.create_sequence_from(values).map(Value::Table)
            }
        }
    }
}

/// A field that a script sets, or removes.
struct FieldChange {
    name: HeaderName,
    values: Vec<HeaderValue>,
}

impl FieldChange {
    fn new(name: &LuaString, value: &Value) -> mlua::Result<Self> {
        let name = name_of(&name.as_bytes()).map_err(|error| wrong(shown(error, MAX_SHOWN)))?;
        if value.is_nil() {
            return Ok(Self { name, values: Vec::new() });
        }
        let values = header_values(value).ok_or_else(|| {
            wrong(format_args!(
                "the value of `{}` must be a string without line breaks, or a list of such",
                shown_bytes(name.as_str().as_bytes(), MAX_SHOWN)
            ))
        })?;
        Ok(Self { name, values })
    }

    fn apply(self, headers: &mut HeaderMap) -> mlua::Result<()> {
        let Self { name, values } = self;
        let others = headers.iter().filter(|(other, _)| **other != name);
        let all = others.chain(values.iter().map(|value| (&name, value)));
        let (count, bytes) = all.fold((0, 0), |(count, bytes), (name, value)| {
            (count + 1, bytes + name.as_str().len() + value.len())
        });
        // What is too much already may become less.
        if !values.is_empty() && (count > MAX_FIELDS || bytes > MAX_FIELD_BYTES) {
            return Err(wrong(format_args!(
                "there are more than {MAX_FIELDS} fields, or more than {} KiB of them",
                MAX_FIELD_BYTES >> 10
            )));
        }
        headers.remove(&name);
        for value in values {
            headers.try_append(&name, value).map_err(wrong)?;
        }
        Ok(())
    }
}
