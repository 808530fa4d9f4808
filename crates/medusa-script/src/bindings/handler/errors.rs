//! `medusa.handler.errors`: own pages in the place of the server's.

use std::path::Path;
use std::sync::Arc;

use medusa_http::Handler;
use medusa_http::handlers::errors::{ErrorPage, ErrorPages, ErrorStatus, Errors};
use medusa_http::handlers::files::{Files, FilesOptions};
use medusa_proto::with_causes;
use mlua::{Lua, Table, Value};

use super::value::HandlerValue;
use super::wrap::Wrapper;
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::options::Options;
use crate::print::{as_whole, show};

const FUNCTION: &str = "medusa.handler.errors";

/// The most pages of one wrapper.
const MOST: usize = 32;

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(pages: { [number | string]: string | Handler | (req: Request) -> Answer }, handler: Handler | (req: Request) -> Answer, options: ErrorsOptions?) -> Handler",
    "Wraps a handler: in the place of the server's own page for an error comes another. `pages` has them by the status, from `400` to \
     `599`, or by `\"4xx\"` and `\"5xx\"` for those without one of their own; 32 at most. A page is the name of a file, from the \
     script's directory, which must be there and may change at any time; or a handler, or a function, which is asked by a GET (HEAD \
     for HEAD) without a body, and finds the status in `req.status`. The status stays what it was, and so do fields beside the page, \
     such as `WWW-Authenticate`, `Allow` and `Retry-After`. A function that returns nothing leaves the page. Replaced is what the server says itself: 404 where no file is, 401 of \
     `auth`, 413, 429, 500 and 503 of a handler that has failed, was stopped or took too long, and an answer without content; not what \
     the handler says (see `intercept`), nor what comes before a mount is found. A page that fails leaves the server's, with a line \
     in the log.",
);

pub(super) const OPTIONS: Class = Class {
    name: "ErrorsOptions",
    doc: "What `medusa.handler.errors` takes.",
    fields: &[main_item(
        "intercept",
        "boolean?",
        "Whether errors that come with content of the handler's own are replaced, too, such as those of a server behind this one. \
         Default false.",
    )],
    methods: &[],
};

/// `medusa.handler.errors(pages, handler, options)`
pub(super) fn errors(
    lua: &Lua,
    (pages, inner, options): (Value, Value, Value),
) -> mlua::Result<HandlerValue> {
    let Value::Table(pages) = &pages else {
        let shown = show(&pages);
        return Err(fail(
            lua,
            format!("{FUNCTION}: the pages must be a table, {{ [404] = \"404.html\" }}, not {shown}"),
        ));
    };
    let mut handlers = vec![HandlerValue::of(lua, &inner)?];
    let pages = read(lua, pages, &mut handlers)?;
    let mut given = Options::new(lua, FUNCTION, options)?;
    let intercept = given.get("intercept", "a boolean")?.unwrap_or(false);
    given.finish()?;
    let rules = Arc::new(ErrorPages { pages, intercept });
    let key = format!("{rules:?}");
    Wrapper::of_several("handler.errors", &key, move |inner| Errors::new(inner, Arc::clone(&rules)))
        .around_all(lua, handlers)
}

/// The pages, in an order that does not depend on the table; what makes them is put behind `handlers`.
fn read(lua: &Lua, given: &Table, handlers: &mut Vec<HandlerValue>) -> mlua::Result<Vec<ErrorPage>> {
    let mut all = Vec::new();
    for pair in given.pairs::<Value, Value>() {
        let (key, page) = pair?;
        if all.len() == MOST {
            return Err(fail(lua, format!("{FUNCTION}: there are more than {MOST} pages")));
        }
        all.push((status(lua, &key)?, page));
    }
    if all.is_empty() {
        return Err(fail(
            lua,
            format!("{FUNCTION}: there is no page; give some, {{ [404] = \"404.html\" }}"),
        ));
    }
    all.sort_by_key(|(status, _)| status.shown());
    let mut folders: Vec<(Arc<dyn Handler>, usize)> = Vec::new();
    all.into_iter()
        .map(|(status, page)| {
            let Value::String(file) = &page else {
                handlers.push(HandlerValue::of(lua, &page)?);
                return Ok(ErrorPage { status, handler: handlers.len() - 2, file: None });
            };
            let (folder, name) = file_page(lua, FUNCTION, &file.to_string_lossy())?;
            let known = folders.iter().find(|(known, _)| Arc::ptr_eq(known, &folder)).map(|(_, at)| *at);
            let handler = known.unwrap_or_else(|| {
                handlers.push(HandlerValue::Made(Arc::clone(&folder)));
                folders.push((folder, handlers.len() - 2));
                handlers.len() - 2
            });
            Ok(ErrorPage { status, handler, file: Some(name) })
        })
        .collect()
}

fn status(lua: &Lua, key: &Value) -> mlua::Result<ErrorStatus> {
    let number = as_whole(key, 400..=599).and_then(|number| ErrorStatus::one(number as u16));
    let class = || key.as_string().and_then(|name| ErrorStatus::class(&name.to_string_lossy()));
    number.or_else(class).ok_or_else(|| {
        let shown = show(key);
        fail(
            lua,
            format!(
                "{FUNCTION}: a page is for a status from 400 to 599, \"4xx\" or \"5xx\", not for {shown}"
            ),
        )
    })
}

/// The handler of the folder in which a file is, and the file's name.
pub(super) fn file_page(lua: &Lua, function: &str, file: &str) -> mlua::Result<(Arc<dyn Handler>, String)> {
    let context = MainContext::of(lua)?;
    let path = context.path(file);
    let refused = |why: &str| fail(lua, format!("{function}: {file:?}: {why}"));
    if path.extension().is_some_and(|extension| extension == "luau") {
        return Err(refused("a script is no page; give `medusa.handler.script` with it"));
    }
    if !path.is_file() {
        return Err(refused("there is no such file; create it, or correct the path"));
    }
    let name = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.'));
    let name = name.ok_or_else(|| refused("the name must be UTF-8, and not begin with a dot"))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let options = FilesOptions { index: Vec::new(), for_pages: true, ..FilesOptions::default() };
    let real = folder.canonicalize().unwrap_or_else(|_gone| folder.to_owned());
    let key = format!("files\0{}\0{options:?}", real.display());
    let made = context
        .interner(lua)
        .handler(key, || Files::open(folder, options).map(|files| Arc::new(files) as Arc<dyn Handler>));
    let handler = made.map_err(|error| refused(&with_causes(&error)))?;
    Ok((handler, name.to_owned()))
}
