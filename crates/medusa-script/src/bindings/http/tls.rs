//! `tls`: certificates.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;

use medusa_net::tls::{CertificateFiles, ClientAuth, Tls, TlsOptions};
use medusa_proto::with_causes;
use mlua::{Lua, Table, Value};

use crate::call_site::{fail, origin};
use crate::context::MainContext;
use crate::docs::{Class, main_item};
use crate::options::{self, Options};
use crate::print::show;

pub(crate) const CLASS: Class = Class {
    name: "TlsOptions",
    doc: "Certificates of a listener. They are read when the script runs: `medusa reload` takes over renewed ones, and no \
          connection is dropped. Versions, ciphers and curves need no choice.",
    fields: &[
        main_item(
            "cert",
            "string?",
            "The certificate and those between it and the root, PEM: `fullchain.pem`.",
        ),
        main_item("key", "string?", "Its key, PEM, without a passphrase. May be the same file."),
        main_item(
            "certificates",
            "{ CertificateOptions }?",
            "Several certificates instead of one: the client's host name (SNI) chooses, the first one is for the rest.",
        ),
        main_item(
            "client_ca",
            "string?",
            "Authorities whose client certificates are accepted, PEM. A handler sees the certificate in `req.tls.client`.",
        ),
        main_item(
            "client_crl",
            "string?",
            "Certificates that are not accepted any more: the revocation lists of all those authorities, PEM. Those of an authority without a list \
             here are turned away. A new list counts with the next `medusa reload`, for connections that are made then.",
        ),
        main_item(
            "client",
            "\"required\" | \"optional\" | nil",
            "Whether a client without a certificate is turned away. Default `\"required\"`, where there is a `client_ca`.",
        ),
    ],
    methods: &[],
};

pub(crate) const CERTIFICATE: Class = Class {
    name: "CertificateOptions",
    doc: "One of several certificates.",
    fields: &[
        main_item("cert", "string", "The certificate and those between it and the root, PEM."),
        main_item("key", "string", "Its key, PEM, without a passphrase."),
    ],
    methods: &[],
};

/// The value of `tls`: the same files with the same content give the same object, so that its tickets go on.
pub(super) fn option(
    lua: &Lua,
    function: &'static str,
    value: Option<Value>,
) -> mlua::Result<Option<Arc<Tls>>> {
    let context = MainContext::of(lua)?;
    let failed = |error: &dyn Error| fail(lua, format!("{function}: tls: {}", with_causes(error)));
    let tls = match value {
        None | Some(Value::Boolean(false)) => return Ok(None),
        Some(Value::String(text)) if text.as_bytes() == *b"self-signed" => {
            let made = context.interner(lua).tls("self-signed".to_owned(), || self_signed(lua));
            return made.map(Some).map_err(|error| failed(&error));
        }
        Some(Value::Table(table)) => {
            Tls::load(&options(lua, function, &table)?).map_err(|error| failed(&error))?
        }
        Some(other) => {
            let other = show(&other);
            return Err(fail(
                lua,
                format!("{function}: `tls` must be a table or \"self-signed\", not {other}"),
            ));
        }
    };
    for warning in tls.warnings() {
        tracing::warn!(origin = %origin(lua), "{warning}");
    }
    let key = format!("{:?}", tls.digest());
    let made = context.interner(lua).tls(key, || Ok::<_, Infallible>(Arc::new(tls)));
    made.map(Some).map_err(|error| failed(&error))
}

fn self_signed(lua: &Lua) -> Result<Arc<Tls>, medusa_net::tls::TlsError> {
    let tls = Tls::self_signed(&[])?;
    tracing::info!(origin = %origin(lua), fingerprint = %tls.fingerprint(), "made a self-signed certificate");
    Ok(Arc::new(tls))
}

/// The most certificates of one `tls`: a host has one or two, and what has thousands is not kept in a script.
const MAX_CERTIFICATES: usize = 1024;

fn options(lua: &Lua, function: &'static str, table: &Table) -> mlua::Result<TlsOptions> {
    let context = MainContext::of(lua)?;
    let mut options = Options::new(lua, "tls", Value::Table(table.clone()))?;
    let mut certificates = Vec::new();
    let cert: Option<String> = options.get("cert", "a string")?;
    let key: Option<String> = options.get("key", "a string")?;
    certificates.extend(files(lua, function, &context, cert, key)?);
    if let Some(list) = options.get::<Table>("certificates", "a table")? {
        let option = format!("{function}: tls: `certificates`");
        for item in options::list(lua, option, &list, MAX_CERTIFICATES)? {
            let mut item = Options::new(lua, "tls certificates", item)?;
            let (cert, key) = (item.get("cert", "a string")?, item.get("key", "a string")?);
            item.finish()?;
            certificates.extend(files(lua, function, &context, cert, key)?);
        }
    }
    let ca: Option<String> = options.get("client_ca", "a string")?;
    let crl: Option<String> = options.get("client_crl", "a string")?;
    let required = match options.get::<String>("client", "a string")?.as_deref() {
        None | Some("required") => true,
        Some("optional") => false,
        Some(other) => {
            let message =
                format!("{function}: tls: `client` must be \"required\" or \"optional\", not {other:?}");
            return Err(fail(lua, message));
        }
    };
    options.finish()?;
    if let (Some(_), None) = (&crl, &ca) {
        let why = "`client_crl` says which certificates of `client_ca` count no more; there is none";
        return Err(fail(lua, format!("{function}: tls: {why}")));
    }
    let revoked = crl.map(|crl| context.path(&crl));
    let client = ca.map(|ca| ClientAuth { ca: context.path(&ca), revoked, required });
    Ok(TlsOptions { certificates, client })
}

fn files(
    lua: &Lua,
    function: &str,
    context: &MainContext,
    cert: Option<String>,
    key: Option<String>,
) -> mlua::Result<Option<CertificateFiles>> {
    match (cert, key) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => {
            Ok(Some(CertificateFiles { cert: context.path(&cert), key: context.path(&key) }))
        }
        _ => Err(fail(
            lua,
            format!("{function}: tls: `cert` and `key` belong together; one of them is missing"),
        )),
    }
}
