//! `medusa.handler.auth`.

use std::sync::Arc;

use medusa_http::handlers::auth::{Auth, AuthOptions, AuthScheme, Challenge};
use mlua::{Lua, Value};

use super::value::HandlerValue;
use super::wrap::Wrapper;
use crate::bindings::auth::{UsersValue, users_of};
use crate::call_site::fail;
use crate::docs::{Class, Item, main_item};
use crate::options::Options;

const FUNCTION: &str = "medusa.handler.auth";
/// The longest `nonce_lifetime`, in seconds.
const DAY: f64 = 86_400.0;

/// Its kind, in the status.
const KIND: &str = "handler.auth";

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(users: Users, handler: Handler | (req: Request) -> Answer, options: AuthOptions?) -> Handler",
    "Wraps a handler: who is none of the users gets 401 and is asked for a name and a password (HTTP Basic), or a token (Bearer), \
     also for a WebSocket. Users of `medusa.auth.htdigest` are asked for an answer that is made with the password (HTTP Digest, by SHA-256 or MD5), those of \
     `medusa.auth.certificates` for nothing: they have come with a certificate, or get 403. The handler sees who it is in `req.user`, and so does the access log; the field `Authorization` it does not \
     see. Credentials that are malformed get 400, a client with too many wrong passwords 429, and where too many wait to be \
     checked, 503, both with `Retry-After`. Passwords go over the wire as they are: use `tls`.",
);

pub(super) const OPTIONS: Class = Class {
    name: "AuthOptions",
    doc: "What `medusa.handler.auth` takes.",
    fields: &[
        main_item(
            "realm",
            "string?",
            "What is protected, as browsers tell people whom they ask for a password. Default `\"Members only\"`, or that of the users of \
             `medusa.auth.htdigest`, who can be asked for no other.",
        ),
        main_item(
            "pass_authorization",
            "boolean?",
            "Whether the handler sees the field `Authorization`, with the password in it; another `auth` behind this one needs it. \
             The user is the one whom the outer has found. Default false.",
        ),
        main_item(
            "schemes",
            "{ \"basic\" | \"digest\" }?",
            "The ways to show a password, in the order in which they are offered; one that is not in it is not taken. Default `{ \"basic\" }`, and `{ \"digest\" }` for users of `medusa.auth.htdigest`, \
             who can do both; others cannot do Digest. Tokens of `medusa.auth.htpasswd` are taken beside.",
        ),
        main_item(
            "nonce_lifetime",
            "number?",
            "How long a client of Digest makes its answers with what it was told before it is told anew, in seconds, which nobody notices but for \
             one more request; each answer is taken once. Default 300, at most a day.",
        ),
    ],
    methods: &[],
};

/// `medusa.handler.auth(users, handler, options)`
pub(super) fn auth(lua: &Lua, (users, inner, options): (Value, Value, Value)) -> mlua::Result<HandlerValue> {
    let UsersValue { users, knows } = users_of(lua, FUNCTION, &users)?;
    let mut given = Options::new(lua, FUNCTION, options)?;
    let defaults = AuthOptions::default();
    let options = AuthOptions {
        realm: given.get("realm", "a string")?,
        pass_authorization: given
            .get("pass_authorization", "a boolean")?
            .unwrap_or(defaults.pass_authorization),
        schemes: schemes(&mut given)?,
        nonce_lifetime: given.seconds("nonce_lifetime", 1.0..=DAY)?.unwrap_or(defaults.nonce_lifetime),
    };
    given.finish()?;
    let inner = HandlerValue::of(lua, &inner)?;
    if !options.pass_authorization && users.certificate_name().is_none() && inner.has(KIND) {
        let why = "behind it is another, which would find no credentials; give this one `pass_authorization = true`";
        return Err(fail(lua, format!("{FUNCTION}: {why}")));
    }
    let challenge =
        Challenge::new(&options, &users).map_err(|error| fail(lua, format!("{FUNCTION}: {error}")))?;
    // The address tells them from others: the wrapper keeps them, so nobody else comes to be there.
    let key = format!("{:p}\0{options:?}", Arc::as_ptr(&users));
    let handlers = std::iter::once(inner).chain(knows).collect();
    Wrapper::of_several(KIND, &key, move |inner| Auth::new(inner, Arc::clone(&users), challenge.clone()))
        .around_all(lua, handlers)
}

/// The ways that a script has chosen.
fn schemes(given: &mut Options<'_>) -> mlua::Result<Option<Vec<AuthScheme>>> {
    let Some(names) = given.strings("schemes", AuthScheme::ALL.len())? else { return Ok(None) };
    let mut schemes = Vec::new();
    for name in names {
        let scheme = AuthScheme::ALL.into_iter().find(|scheme| scheme.to_string() == name);
        let Some(scheme) = scheme.filter(|scheme| !schemes.contains(scheme)) else {
            let must = format_args!("a list of \"basic\" and \"digest\", each once, without {name:?}");
            return Err(given.wrong("schemes", must));
        };
        schemes.push(scheme);
    }
    Ok(Some(schemes))
}
