//! `medusa.handler.files`: files below a directory.

use std::sync::Arc;

use medusa_http::Handler;
use medusa_http::handlers::files::{CacheRule, Files, FilesOptions};
use medusa_proto::with_causes;
use mlua::{Lua, Table, Value};

use super::value::HandlerValue;
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::options::{Options, list, text_argument};
use crate::print::show;

const FUNCTION: &str = "medusa.handler.files";

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(root: string, options: FilesOptions?) -> Handler",
    "Serves the files below a directory: index files, types, conditional and range requests (several ranges, too), \
          compressed forms, HEAD. The `ETag` of a file of at most 16 MiB is made of its content, of a larger one of its length and \
          times. Nothing outside the directory is reached, symlinks included. Scripts (`*.luau`) are not content, nor is what the server \
          itself reads and writes: the users of `medusa.auth` and of the monitor, private keys, logs, its state. They are not there, nor are \
          their copies (`a.luau.gz`, `users~`, `access.log.2026-11-23`), unless `serve` names them; where some lie in the directory, the \
          log and `medusa check` say so. \
          The path below the mount names the file.",
);

pub(super) const OPTIONS: Class = Class {
    name: "FilesOptions",
    doc: "What `medusa.handler.files` takes.",
    fields: &[
        main_item(
            "index",
            "string | { string } | nil",
            "What is served for a directory, the first that exists. Default `\"index.html\"`.",
        ),
        main_item(
            "listing",
            "boolean?",
            "Whether a directory without an index is listed: as a page, sorted by `?sort=name`, `size` or `modified` and \
             `&order=asc` or `desc`; or as JSON, for `Accept: application/json` or `?format=json`, as a list of \
             `{ name, type, size, modified }`. 1000 names a page, `?page=2` is the next, and `Link` says where it is; \
             up to 100,000 names in all, the rest is not listed. Names that come or go show at once, a size within 2 \
             seconds. Default false: names nobody links to stay unknown.",
        ),
        main_item(
            "dotfiles",
            "boolean?",
            "Whether names that start with a dot are served (`.well-known` always is). Default false: they are more often \
             secrets (`.git`, `.env`) than content.",
        ),
        main_item(
            "precompressed",
            "boolean?",
            "Whether `app.js.br`, `app.js.zst` or `app.js.gz` is sent in place of `app.js` to clients that take it, unless \
             it is older than `app.js`. Default true.",
        ),
        main_item(
            "compress",
            "boolean?",
            "Whether text and the like of 1 KiB to 1 MiB is compressed (zstd or gzip, as the client likes) when first asked \
             for, and kept so in memory; a response or request with `Cache-Control: no-transform` is left as it is, and \
             so are requests for a part. Larger files take too long while a client waits: compress them ahead, see \
             `precompressed`. Default true.",
        ),
        main_item(
            "cache_control",
            "string | { { string } } | nil",
            "The value of `Cache-Control` for all files, or a list of `{ pattern, value }`, the first that matches: \
             `{ { \"assets/**\", \"public, max-age=31536000, immutable\" }, { \"*.html\", \"no-cache\" } }`. A pattern is for \
             the file's path below `root`; without a `/` it is for the name alone. `*` is anything within a name, `**` \
             any number of directories, `{css,js}` either. Default nil: clients ask each time whether there is news.",
        ),
        main_item(
            "clean_urls",
            "boolean?",
            "Whether pages have addresses without `.html`: `/about` serves `about.html`, and `/about.html` and \
             `/index.html` redirect to `/about` and `/`. A file `about` goes before `about.html`, that before a directory \
             `about/`. Default false.",
        ),
        main_item(
            "untrusted",
            "boolean?",
            "Whether the files come from strangers, as uploads do. Pictures, sound, video and plain text are shown, \
             anything else (HTML, SVG, PDF, scripts) is offered for saving, without its type; all of it with a \
             `Content-Security-Policy` that makes it no part of the site. Then `index` is none and `precompressed` is \
             false unless they are given: what a stranger names `index.html` is no page, and `a.png.gz` not a form of \
             `a.png`. Default false.",
        ),
        main_item(
            "serve",
            "string | { string } | nil",
            "What is served although it is a script or the server's own: patterns as for `cache_control`, `\"examples/*.luau\"` or \
             `{ \"access.log\", \"access.log.*\" }`. Default nil: nothing of that.",
        ),
        main_item(
            "not_found",
            "string?",
            "A file below `root` that is the page of 404 answers: `\"404.html\"`. It must be there. Default nil: the \
             server's own page.",
        ),
        main_item(
            "fallback",
            "string?",
            "A file below `root` that is served, as if it were there, wherever nothing is: `\"index.html\"`, for an \
             application that runs in browsers and knows its addresses itself. It must be there. Default nil: 404.",
        ),
    ],
    methods: &[],
};

/// `medusa.handler.files(root, options)`
pub(super) fn files(lua: &Lua, (root, options): (Value, Value)) -> mlua::Result<HandlerValue> {
    let context = MainContext::of(lua)?;
    let root = text_argument(lua, FUNCTION, "the directory", &root)?;
    let options = read(lua, FUNCTION, options)?;
    let root = context.path(&root);
    // By the real path: a symlink that was turned elsewhere makes another handler at the next reload.
    let real = root.canonicalize().unwrap_or_else(|_missing| root.clone());
    let is_state = context
        .state
        .as_deref()
        .is_some_and(|state| state.canonicalize().is_ok_and(|state| real.starts_with(state)));
    if is_state && options.serve.is_empty() {
        let told =
            "the server's state is in there, and keys are among it; say what of it is to be served: `serve`";
        return Err(fail(lua, format!("{FUNCTION}: `{}`: {told}", root.display())));
    }
    let key = format!("files\0{}\0{options:?}", real.display());
    let made = context
        .interner(lua)
        .handler(key, || Files::open(&root, options).map(|files| Arc::new(files) as Arc<dyn Handler>));
    made.map(HandlerValue::Made).map_err(|error| fail(lua, format!("{FUNCTION}: {}", with_causes(&error))))
}

/// The options of `function`, which serves files.
pub(super) fn read(lua: &Lua, function: &'static str, options: Value) -> mlua::Result<FilesOptions> {
    let mut given = Options::new(lua, function, options)?;
    let default = FilesOptions::default();
    // In the order of the reference, in which an unknown option is told which there are.
    let index = match given.get("index", "a string or a list of strings")? {
        Some(index) => Some(names(lua, function, "index", MAX_NAMES, index)?),
        None => None,
    };
    let listing = given.get("listing", "a boolean")?.unwrap_or(default.listing);
    let dotfiles = given.get("dotfiles", "a boolean")?.unwrap_or(default.dotfiles);
    let precompressed = given.get("precompressed", "a boolean")?;
    let compress = given.get("compress", "a boolean")?.unwrap_or(default.compress);
    let cache_control = match given.get("cache_control", "a string or a list")? {
        Some(rules) => cache_rules(lua, function, rules)?,
        None => default.cache_control,
    };
    let clean_urls = given.get("clean_urls", "a boolean")?.unwrap_or(default.clean_urls);
    let untrusted = given.get("untrusted", "a boolean")?.unwrap_or(default.untrusted);
    let serve = match given.get("serve", "a string or a list of strings")? {
        Some(patterns) => names(lua, function, "serve", MAX_RULES, patterns)?,
        None => Vec::new(),
    };
    let serve = serve.iter().map(|pattern| {
        FilesOptions::pattern(pattern)
            .map_err(|error| fail(lua, format!("{function}: `serve`: {}", with_causes(&error))))
    });
    let serve = serve.collect::<mlua::Result<Vec<_>>>()?;
    let usual_index = if untrusted { Vec::new() } else { default.index };
    let options = FilesOptions {
        index: index.unwrap_or(usual_index),
        listing,
        dotfiles,
        precompressed: precompressed.unwrap_or(default.precompressed && !untrusted),
        compress,
        cache_control,
        clean_urls,
        untrusted,
        serve,
        for_pages: false,
        not_found: given.get("not_found", "a string")?,
        fallback: given.get("fallback", "a string")?,
        cache: default.cache,
    };
    given.finish()?;
    Ok(options)
}

/// The most names of an index: each is looked for on disk, in each folder that is asked for.
const MAX_NAMES: usize = 16;

/// The most rules for `Cache-Control`: each file that is looked up is held against them.
const MAX_RULES: usize = 256;

/// The strings of an option, which is one or a list of at most so many.
fn names(lua: &Lua, function: &str, option: &str, most: usize, given: Value) -> mlua::Result<Vec<String>> {
    let wrong = |value: &Value| {
        let value = show(value);
        fail(lua, format!("{function}: `{option}` must be a string or a list of strings, not {value}"))
    };
    match given {
        Value::String(name) => Ok(vec![name.to_string_lossy()]),
        Value::Table(names) => (list(lua, format!("{function}: `{option}`"), &names, most)?.into_iter())
            .map(|name| match name {
                Value::String(name) => Ok(name.to_string_lossy()),
                other => Err(wrong(&other)),
            })
            .collect(),
        other => Err(wrong(&other)),
    }
}

fn cache_rules(lua: &Lua, function: &str, rules: Value) -> mlua::Result<Vec<CacheRule>> {
    let rule = |pattern: &str, value: &str| {
        CacheRule::new(pattern, value)
            .map_err(|error| fail(lua, format!("{function}: `cache_control`: {}", with_causes(&error))))
    };
    match rules {
        Value::String(value) => Ok(vec![rule("**", &value.to_string_lossy())?]),
        Value::Table(rules) => (list(lua, format!("{function}: `cache_control`"), &rules, MAX_RULES)?
            .into_iter())
        .map(|pair| {
            let texts = pair.as_table().and_then(pair_of_strings);
            let (pattern, value) = texts.ok_or_else(|| wrong_rule(lua, function, &pair))?;
            rule(&pattern, &value)
        })
        .collect(),
        other => Err(wrong_rule(lua, function, &other)),
    }
}

fn pair_of_strings(pair: &Table) -> Option<(String, String)> {
    let text = |at: usize| Some(pair.raw_get::<Value>(at).ok()?.as_string()?.to_string_lossy());
    (pair.raw_len() == 2).then_some((text(1)?, text(2)?))
}

fn wrong_rule(lua: &Lua, function: &str, value: &Value) -> mlua::Error {
    let value = show(value);
    fail(
        lua,
        format!(
            "{function}: `cache_control` must be a string, or a list such as {{ {{ \"*.css\", \"max-age=3600\" }} }}, not \
             with {value} in it"
        ),
    )
}
