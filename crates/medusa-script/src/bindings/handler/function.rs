//! `medusa.handler.wrap`: a function before a handler.

use mlua::{Lua, Value};

use super::script;
use super::value::HandlerValue;
use super::wrap::Wrapper;
use crate::call_site::fail;
use crate::docs::{Item, main_item};
use crate::print::show;
use crate::wrap::Wrap;

const FUNCTION: &str = "medusa.handler.wrap";

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(wrapper: ((req: Request, next: (req: Request) -> InnerAnswer) -> Answer) | string, handler: Handler | (req: Request) -> Answer) -> Handler",
    "Wraps a handler in a function, `function(req, next)`, or in a file that returns one, which every worker loads and runs on the \
     request's own core, as with `medusa.handler.script`. The function answers by itself, or calls `next(req)`: that waits until \
     the handler behind has answered, and gives its answer, to be returned as it is, with other fields or another status, or \
     not at all. It can be called once. Bodies go by: an upload, a stream, a session is not held up, and a function before a \
     session is asked before it begins. \
     Of the request, `next` passes on what `req` says then: `method`, `path` or `tail`, `query` (`\"\"` for none), `headers` and \
     `user`; all else is as it came, and `Host`, `Expect` and what frames a request (`Content-Length`, `Connection`, `Upgrade`, \
     ...) cannot be changed. A body that was read as a whole (`req:body()`, `req:json()`) is passed on \
     as it was read; one that was read in another way cannot be. An error of the handler behind is an error of \
     `next`, which `pcall` catches; one that is not caught becomes what it would be without the function. While `next` waits, the \
     function's own time limit rests: `limits.handler` holds for all of it.",
);

/// `medusa.handler.wrap(wrapper, handler)`
pub(super) fn wrap(lua: &Lua, (wrapper, inner): (Value, Value)) -> mlua::Result<HandlerValue> {
    let function = match &wrapper {
        Value::Function(_) => HandlerValue::of(lua, &wrapper)?,
        Value::String(file) => script::of_file(lua, FUNCTION, &file.to_string_lossy())?,
        other => {
            let other = show(other);
            return Err(fail(
                lua,
                format!(
                    "{FUNCTION}: the first is a function(req, next), or the name of a file that returns one, not {other}"
                ),
            ));
        }
    };
    let inner = HandlerValue::of(lua, &inner)?;
    let wrapper = Wrapper::of_several(Wrap::KIND, "", |inner| {
        let [function, inner] = inner.try_into().expect("a function, and what it stands before");
        Wrap::new(function, inner)
    });
    wrapper.around_all(lua, vec![function, inner])
}
