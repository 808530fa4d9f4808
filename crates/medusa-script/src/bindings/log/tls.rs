//! The option `tls` of the sinks that speak it: who may receive the log.

use medusa_log::TlsOptions;
use mlua::{Lua, Value};

use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::options::Options;

pub(crate) const OPTIONS: Class = Class {
    name: "LogTlsOptions",
    doc: "How the receiver of a log is recognised, and we by it. Its certificate must be for the host of the target, and lead \
          to an authority that is trusted; there is no way to do without. The files are read when the sink is prepared, and \
          again at `medusa reopen`, for the next connection.",
    fields: &[
        main_item("ca", "string?", "A PEM file of the authorities to trust. Default: those of the system."),
        main_item(
            "name",
            "string?",
            "The name that the receiver's certificate is for, if that is not the host of the target.",
        ),
        main_item(
            "cert",
            "string?",
            "A PEM file of our own certificate and its chain, for a receiver that asks for one.",
        ),
        main_item("key", "string?", "A PEM file of its key."),
    ],
    methods: &[],
};

/// The item that a sink's class lists.
pub(super) const TLS: Item = main_item(
    "tls",
    "LogTlsOptions?",
    "For `tls://` and `relp+tls://` targets: whom to trust, and who we are.",
);

/// Reads `tls`, if it is given.
pub(super) fn tls(
    lua: &Lua,
    context: &MainContext,
    given: &mut Options<'_>,
    function: &'static str,
) -> mlua::Result<Option<TlsOptions>> {
    let Some(table) = given.get::<Value>("tls", "a table")? else { return Ok(None) };
    let mut inner = Options::new(lua, function, table)?;
    let mut file = |key| -> mlua::Result<_> {
        let path = inner.get::<String>(key, "a string")?;
        match path.as_deref() {
            Some("") => Err(fail(lua, format!("{function}: `{key}` is empty: name a file"))),
            path => Ok(path.map(|path| context.path(path))),
        }
    };
    let (ca, certificate, key) = (file("ca")?, file("cert")?, file("key")?);
    let name = inner.get::<String>("name", "a string")?;
    inner.finish()?;
    if certificate.is_some() != key.is_some() {
        return Err(fail(
            lua,
            format!("{function}: `cert` and `key` are files that belong together: name both"),
        ));
    }
    Ok(Some(TlsOptions { ca, name, certificate, key }))
}
