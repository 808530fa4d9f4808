//! `req.tls`: what was agreed on, on the client's encrypted connection to this server.

use std::time::UNIX_EPOCH;

use medusa_net::tls::{Alpn, ClientCert, TlsInfo};
use medusa_proto::hex;
use mlua::{Lua, Table};

use crate::docs::{Class, item};

pub(crate) const CLASS: Class = Class {
    name: "TlsInfo",
    doc: "What was agreed on, on an encrypted connection: `req.tls`.",
    fields: &[
        item("version", "string", "`TLSv1.2` or `TLSv1.3`."),
        item("cipher", "string", "The cipher by its registered name: `TLS_AES_256_GCM_SHA384`."),
        item(
            "key_exchange",
            "string",
            "How the key was agreed on: `X25519MLKEM768`. Empty for a resumed session of TLS 1.2.",
        ),
        item("sni", "string?", "The host name that the client asked for in the handshake."),
        item("alpn", "string?", "`h2` or `http/1.1`; nil if the client did not say."),
        item("resumed", "boolean", "Whether it went on with an earlier session."),
        item(
            "client",
            "ClientCertificate?",
            "The client's certificate, if it was asked for one and has one.",
        ),
    ],
    methods: &[],
};

pub(crate) const CLIENT: Class = Class {
    name: "ClientCertificate",
    doc: "A client's certificate, signed by one of the authorities that the listener trusts: `req.tls.client`.",
    fields: &[
        item(
            "subject",
            "string",
            "Whose it is: `CN=Alice,O=Example`. Compare the whole of it: a part may occur in a name that is another's.",
        ),
        item("issuer", "string", "Who signed it, written likewise."),
        item("serial", "string", "Its number, in hexadecimal."),
        item(
            "sans",
            "{ string }",
            "Its alternative names with their kinds: `DNS:a.example`, `email:a@example`.",
        ),
        item("not_after", "number", "The end of its life, as `medusa.time.now` counts."),
        item("fingerprint", "string", "The SHA-256 of its DER, in hexadecimal."),
    ],
    methods: &[],
};

pub(super) fn table(lua: &Lua, info: &TlsInfo) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("version", info.version)?;
    table.raw_set("cipher", info.cipher.as_str())?;
    table.raw_set("key_exchange", info.key_exchange.as_str())?;
    table.raw_set("sni", info.sni.as_deref())?;
    let alpn = match info.alpn {
        Alpn::H2 => Some("h2"),
        Alpn::Http1 => Some("http/1.1"),
        Alpn::None => None,
    };
    table.raw_set("alpn", alpn)?;
    table.raw_set("resumed", info.resumed)?;
    if let Some(client) = &info.client {
        table.raw_set("client", certificate(lua, client)?)?;
    }
    Ok(table)
}

fn certificate(lua: &Lua, client: &ClientCert) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("subject", client.subject.as_str())?;
    table.raw_set("issuer", client.issuer.as_str())?;
    table.raw_set("serial", client.serial.as_str())?;
    table.raw_set("sans", client.sans.as_slice())?;
    let end = client.not_after.duration_since(UNIX_EPOCH).map_or(0.0, |end| end.as_secs_f64());
    table.raw_set("not_after", end)?;
    table.raw_set("fingerprint", hex::lower(&client.fingerprint))?;
    Ok(table)
}
