//! `medusa.handler.publish`: the page by which people publish.

use std::sync::Arc;

use medusa_http::Handler;
use medusa_http::handlers::publish::{Publish, PublishOptions};
use medusa_http::store::Store;
use medusa_proto::with_causes;
use mlua::{Lua, Value};

use super::put;
use super::value::HandlerValue;
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::options::{Options, text_argument};

const FUNCTION: &str = "medusa.handler.publish";

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(root: string, options: PublishOptions?) -> Handler",
    "A page by which people publish below a directory, for a mount that ends with a slash: `web:mount(\"/publish/\", \
     medusa.handler.auth(users, medusa.handler.publish(\"public\", { site = \"/\" })))`. It lists folders, takes uploads (several files, folders, \
     by drag and drop), edits text up to 1 MiB with a preview of HTML, renames, moves and deletes, and shows the versions of each file, \
     what differs between them, who has published them (as far as `req.user` was known, and the file system keeps it), and restores them. It is \
     the same that `medusa.handler.put` does over the same directory. Who saves what another has changed meanwhile is shown both. It \
     works without scripts, too. Whoever reaches it may write: put `medusa.handler.auth` before it. Forms of other sites' pages are \
     refused (403), as `medusa.handler.csrf` does.",
);

pub(super) const OPTIONS: Class = Class {
    name: "PublishOptions",
    doc: "What `medusa.handler.publish` takes: the options of `medusa.handler.put`, and these.",
    fields: &[
        main_item(
            "site",
            "string?",
            "Where what is published is seen, for links and previews: a path like `\"/\"`, or an address like `\"https://example.com/blog/\"`; with a \
             slash at its end. Default nil: there are no links.",
        ),
        put::OPTIONS.fields[0],
        put::OPTIONS.fields[1],
        put::OPTIONS.fields[2],
        put::OPTIONS.fields[3],
    ],
    methods: &[],
};

/// `medusa.handler.publish(root, options)`
pub(super) fn publish(lua: &Lua, (root, options): (Value, Value)) -> mlua::Result<HandlerValue> {
    let root = text_argument(lua, FUNCTION, "the directory", &root)?;
    let mut given = Options::new(lua, FUNCTION, options)?;
    let site: Option<String> = given.get("site", "a path or an address, as text")?;
    let options = PublishOptions { site, put: put::read(&mut given)? };
    given.finish()?;
    if let Some(site) = options.site.as_deref().filter(|site| !is_site(site)) {
        return Err(fail(
            lua,
            format!(
                "{FUNCTION}: `site` is {site:?}; give a path like \"/\" or an address like \"https://example.com/blog/\", with a slash at \
                 its end"
            ),
        ));
    }
    let (root, real) = put::directory(lua, FUNCTION, &MainContext::of(lua)?, &root)?;
    // Both names: what is written is looked up anew each time, and may lead elsewhere then.
    let key = format!("publish\0{}\0{}\0{options:?}", root.display(), real.display());
    let made = MainContext::of(lua)?.interner(lua).handler(key, || {
        Store::open(&root).map(|store| Arc::new(Publish::new(Arc::new(store), options)) as Arc<dyn Handler>)
    });
    made.map(HandlerValue::Made).map_err(|error| fail(lua, format!("{FUNCTION}: {}", with_causes(&error))))
}

/// Whether a text is a path or an address that a link can begin with. It stands in a field of the answer, too.
fn is_site(site: &str) -> bool {
    let rest = ["http://", "https://"].into_iter().find_map(|scheme| site.strip_prefix(scheme));
    let begins_well = match rest {
        Some(rest) => !rest.starts_with('/'),
        None => site.starts_with('/') && !site.starts_with("//"),
    };
    let is_plain =
        |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\' | b';' | b',' | b'\'');
    begins_well && site.ends_with('/') && site.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::is_site;

    #[test]
    fn a_site_is_a_path_or_an_address() {
        for site in ["/", "/blog/", "https://example.com/", "http://[::1]:8080/~ada/"] {
            assert!(is_site(site), "{site}");
        }
        for site in [
            "",
            "blog/",
            "/blog",
            "//host/",
            "https:///",
            "javascript:/",
            "https://a/?b/",
            "/a; x/",
            "/é/",
            "/a b/",
        ] {
            assert!(!is_site(site), "{site}");
        }
    }
}
