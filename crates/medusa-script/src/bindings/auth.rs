//! `medusa.auth`: users, how they show who they are, and the end of their sessions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use medusa_auth::sessions::now;
use medusa_auth::{CertificateName, CertificateUsers, Secrets, Users};
use medusa_proto::with_causes;
use mlua::{Lua, MultiValue, Table, UserData, UserDataMethods, Value};

use super::handler::{HandlerValue, of_file};
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::engine_context::EngineContext;
use crate::options::{Options, no_more, text_argument};
use crate::print::show;

const HTPASSWD: &str = "medusa.auth.htpasswd";
const HTDIGEST: &str = "medusa.auth.htdigest";
const USERS: &str = "medusa.auth.users";
const TOKENS: &str = "medusa.auth.tokens";
const CERTIFICATES: &str = "medusa.auth.certificates";

/// How long it is remembered what a function has said, unless the script says another time; and the longest.
const REMEMBER: Duration = Duration::from_mins(1);
const LONGEST_REMEMBER: f64 = 3600.0;
const LOG_OUT: &str = "medusa.auth.log_out";
const LOG_OUT_ALL: &str = "medusa.auth.log_out_all";

pub(crate) const DOCS: &[Item] = &[
    main_item(
        HTPASSWD,
        "(file: string) -> Users",
        "The users of a file of lines `name:hash`, as `medusa passwd FILE USER` and Apache's `htpasswd` write it; what is behind \
         another colon is a comment. Hashes are of Argon2id (`$argon2id$`), bcrypt (`$2y$`, `$2b$`, `$2a$`), SHA-crypt (`$6$`, \
         `$5$`), apr1 or `{SHA}`; `medusa passwd --token FILE USER` adds tokens for programs. A line that is not understood is an error. The file is looked at once a second while users \
         are asked for; a new version that is broken takes no effect, and the log and the status say why.",
    ),
    main_item(
        HTDIGEST,
        "(file: string, options: HtdigestOptions) -> Users",
        "The users of one realm in a file of lines `name:realm:hash`, as `medusa passwd --digest REALM FILE USER` and Apache's \
         `htdigest` write it: users for HTTP Digest, which other hashes do not allow. A hash is MD5 (32 hexadecimal digits) or \
         SHA-256 (64, in a line of its own) of `name:realm:password`. Clients are offered the algorithms by which all users have one; if there is none, that is an error. \
         Whoever reads the file can log in by what is in it. It is looked at as that of `medusa.auth.htpasswd` is.",
    ),
    main_item(
        USERS,
        "(users: { [string]: string } | ((name: string, password: string, req: Request) -> string | boolean | nil) | string, options: AskedOptions?) -> Users",
        "Users by their names, with hashes of their passwords as `medusa.auth.htpasswd` has them: \
         `{ alice = \"$argon2id$v=19$m=19456,t=2,p=1$...\" }`. Or a function that knows them, or the name of a file that returns one, which every worker loads, as with \
         `medusa.handler.script`: it returns true if the password is that user's, or the name that handlers and logs are to see, \
         and nil or false if not. It may wait, for another server or a database. If it fails or is stopped, the request is answered 500 or 503, and nobody is let in. What it said is remembered for \
         a minute for that client, name and password, whatever else is asked for with them: it must not depend on `req` unless `remember` is 0. A name that no user can have \
         (empty, or with white space around it) is nobody's, and it is not asked. Wrong passwords count as those of other users do, and of one network 16 are asked about at a time, 64 in all.",
    ),
    main_item(
        TOKENS,
        "(knows: ((token: string, req: Request) -> string?) | string, options: AskedOptions?) -> Users",
        "Users by tokens (`Authorization: Bearer ...`) that a function knows, or a file that returns one: it returns the name of the user whose token it is, \
         or nil. All else is as with a function of `medusa.auth.users`.",
    ),
    main_item(
        CERTIFICATES,
        "(options: CertificateUserOptions?) -> Users",
        "Users by the certificates that their connections came with, which a server with `tls = { ..., client_ca = ... }` asks for and checks. Who has none, or \
         one that is no user's, gets 403. Where several authorities are trusted, each of them can make anybody's certificate. Behind a proxy that has the TLS there are none.",
    ),
    main_item(
        LOG_OUT,
        "(user: string) -> ()",
        "Ends all sessions of `medusa.handler.login` that this user has begun until now, on all workers at once, and returns when that is \
         kept for the next start. They are found by the name: those of users with the same name in any other set of users end as well. It does not tell whether there were \
         any, or such a user. Requests, WebSockets and streams that are under way go on, and whoever comes with a password (`medusa.handler.auth`) is let in as before.",
    ),
    main_item(
        LOG_OUT_ALL,
        "() -> ()",
        "Ends the sessions of all users, as `medusa.auth.log_out` does those of one.",
    ),
];

pub(crate) const CLASS: Class = Class {
    name: "Users",
    doc: "Users: `medusa.handler.auth` lets them through. A password is hashed once and then remembered for \
          its client, until the users change or a quarter of an hour passes without a request. Of one client (an IPv4 address, \
          an IPv6 /64), 20 wrong ones are looked at, and then one more every 6 seconds.",
    fields: &[],
    methods: &[],
};

pub(crate) const HTDIGEST_OPTIONS: Class = Class {
    name: "HtdigestOptions",
    doc: "What `medusa.auth.htdigest` takes.",
    fields: &[main_item(
        "realm",
        "string",
        "What is protected, as browsers tell people; the passwords of its users fit no other. No colon, quote or backslash.",
    )],
    methods: &[],
};

pub(crate) const ASKED_OPTIONS: Class = Class {
    name: "AskedOptions",
    doc: "What `medusa.auth.users` with a function and `medusa.auth.tokens` take.",
    fields: &[main_item(
        "remember",
        "number?",
        "The time for which what the function said is remembered, in seconds, up to an hour; 0 asks it at every request. Default 60. \
         It is remembered for a client, name and password (or token), not for a path: a function that looks at `req` needs 0.",
    )],
    methods: &[],
};

pub(crate) const CERTIFICATE_OPTIONS: Class = Class {
    name: "CertificateUserOptions",
    doc: "What `medusa.auth.certificates` takes.",
    fields: &[
        main_item(
            "name",
            "\"cn\" | \"email\" | \"dns\" | \"uri\" | \"subject\" | \"fingerprint\" | nil",
            "What of a certificate is the user's name: the common name of its subject (the default), an alternative name, of which there must be one of that kind, the whole subject, or the \
             SHA-256 of the certificate in hexadecimal.",
        ),
        main_item(
            "users",
            "{ [string]: string } | { string } | nil",
            "Who is let in: a list of such names, or a table of them with the names that handlers and logs are to see: \
             `{ [\"a@example.org\"] = \"alice\" }`. By default all whom the authorities know.",
        ),
    ],
    methods: &[],
};

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    let auth = lua.create_table()?;
    auth.set("htpasswd", lua.create_function(htpasswd)?)?;
    auth.set("htdigest", lua.create_function(htdigest)?)?;
    auth.set("users", lua.create_function(users)?)?;
    auth.set("tokens", lua.create_function(tokens)?)?;
    auth.set("certificates", lua.create_function(certificates)?)?;
    auth.set("log_out", lua.create_async_function(log_out)?)?;
    auth.set("log_out_all", lua.create_async_function(log_out_all)?)?;
    medusa.set("auth", auth)
}

/// `medusa.auth.log_out(user)`
async fn log_out(lua: Lua, (user, rest): (Value, MultiValue)) -> mlua::Result<()> {
    no_more(&lua, LOG_OUT, &rest)?;
    let user = text_argument(&lua, LOG_OUT, "the user", &user)?;
    end_sessions(&lua, LOG_OUT, Some(&user)).await
}

/// `medusa.auth.log_out_all()`
async fn log_out_all(lua: Lua, rest: MultiValue) -> mlua::Result<()> {
    no_more(&lua, LOG_OUT_ALL, &rest)?;
    end_sessions(&lua, LOG_OUT_ALL, None).await
}

async fn end_sessions(lua: &Lua, function: &str, user: Option<&str>) -> mlua::Result<()> {
    let failed = |why: &str| fail(lua, format!("{function}: {why}"));
    let sessions = EngineContext::of(lua)?.logins.sessions().map_err(|error| failed(&error))?;
    sessions.end_all(user, now()).await;
    let trouble = sessions.trouble();
    trouble.map_or(Ok(()), |why| {
        Err(failed(&format!("they have ended, and would go on after a restart: {why}")))
    })
}

/// Users, as a value of the script.
#[derive(Debug, Clone)]
pub(super) struct UsersValue {
    pub(super) users: Arc<Users>,
    /// Who knows them, if they are not known here.
    pub(super) knows: Option<HandlerValue>,
}

impl UsersValue {
    fn of<E: std::error::Error + 'static>(
        lua: &Lua,
        function: &str,
        users: Result<Arc<Users>, E>,
    ) -> mlua::Result<Self> {
        let users = users.map_err(|error| fail(lua, format!("{function}: {}", with_causes(&error))))?;
        Ok(Self { users, knows: None })
    }
}

impl UserData for UsersValue {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method("__tostring", |_, this, ()| {
            let status = this.users.status();
            Ok(format!("Users {} {}", status.kind, status.name).trim_end().to_owned())
        });
    }
}

/// The users that a value of the script stands for.
pub(super) fn users_of(lua: &Lua, function: &str, value: &Value) -> mlua::Result<UsersValue> {
    let users = value.as_userdata().and_then(|data| data.borrow::<UsersValue>().ok());
    users.map(|users| users.clone()).ok_or_else(|| {
        let message = format!(
            "{function}: the users must come from {HTPASSWD}, {USERS} or another function of medusa.auth, not {}",
            show(value)
        );
        fail(lua, message)
    })
}

/// `medusa.auth.htpasswd(file)`
fn htpasswd(lua: &Lua, file: Value) -> mlua::Result<UsersValue> {
    let path = MainContext::of(lua)?.path(text_argument(lua, HTPASSWD, "the file", &file)?);
    UsersValue::of(lua, HTPASSWD, Users::of_file(&path))
}

/// `medusa.auth.htdigest(file, options)`
fn htdigest(lua: &Lua, (file, options): (Value, Value)) -> mlua::Result<UsersValue> {
    let path = MainContext::of(lua)?.path(text_argument(lua, HTDIGEST, "the file", &file)?);
    let mut given = Options::new(lua, HTDIGEST, options)?;
    let realm: Option<String> = given.get("realm", "a string")?;
    given.finish()?;
    let realm = realm.ok_or_else(|| {
        fail(lua, format!("{HTDIGEST}: name the realm whose users are meant: {{ realm = \"Members only\" }}"))
    })?;
    UsersValue::of(lua, HTDIGEST, Users::of_htdigest(&path, &realm))
}

/// `medusa.auth.users { name = hash }`, or `medusa.auth.users(function(name, password) ... end, options)`
fn users(lua: &Lua, (users, options): (Value, Value)) -> mlua::Result<UsersValue> {
    let users = match users {
        Value::Table(users) => users,
        Value::Function(_) | Value::String(_) => {
            return asked(lua, USERS, Secrets::Passwords, &users, options);
        }
        other => {
            let what = "give a table of names and hashes, a function(name, password), or the name of a file that returns one";
            return Err(fail(lua, format!("{USERS}: {what}, not {}", show(&other))));
        }
    };
    if !options.is_nil() {
        return Err(fail(lua, format!("{USERS}: a table of users takes no options")));
    }
    let mut entries = Vec::new();
    for pair in users.pairs::<Value, Value>() {
        match pair? {
            (Value::String(name), Value::String(hash)) => {
                entries.push((name.to_string_lossy(), hash.to_string_lossy()));
            }
            (name, _secret) => {
                let name = show(&name);
                return Err(fail(
                    lua,
                    format!("{USERS}: names and hashes are strings, and of {name} one is none"),
                ));
            }
        }
        if entries.len() > Users::MOST {
            return Err(fail(lua, format!("{USERS}: there are more than {} users", Users::MOST)));
        }
    }
    let made = Users::of_table(entries.iter().map(|(name, hash)| (&**name, &**hash)));
    UsersValue::of(lua, USERS, made)
}

/// `medusa.auth.tokens(function(token) ... end, options)`
fn tokens(lua: &Lua, (knows, options): (Value, Value)) -> mlua::Result<UsersValue> {
    asked(lua, TOKENS, Secrets::Tokens, &knows, options)
}

/// Users whom a function knows, or a file that returns one.
fn asked(
    lua: &Lua,
    function: &'static str,
    secrets: Secrets,
    knows: &Value,
    options: Value,
) -> mlua::Result<UsersValue> {
    let knows = match knows {
        Value::Function(_) => HandlerValue::of(lua, knows)?,
        Value::String(file) => of_file(lua, function, &file.to_string_lossy())?,
        other => {
            let other = show(other);
            return Err(fail(
                lua,
                format!("{function}: give a function, or the name of a file that returns one, not {other}"),
            ));
        }
    };
    let mut given = Options::new(lua, function, options)?;
    let remember = given.seconds("remember", 0.0..=LONGEST_REMEMBER)?.unwrap_or(REMEMBER);
    given.finish()?;
    // A file that stays is known by its address: these users keep it, so nobody else comes to be there.
    let key = match &knows {
        HandlerValue::Made(handler) => Some(format!("{:p}", Arc::as_ptr(handler))),
        HandlerValue::Blueprint(_) => None,
    };
    Ok(UsersValue { users: Users::asked(secrets, remember, key.as_deref()), knows: Some(knows) })
}

/// `medusa.auth.certificates(options)`
fn certificates(lua: &Lua, options: Value) -> mlua::Result<UsersValue> {
    let mut given = Options::new(lua, CERTIFICATES, options)?;
    let name = match given.get::<String>("name", "a string")? {
        None => CertificateName::CommonName,
        Some(name) => {
            let known = CertificateName::ALL.into_iter().find(|known| known.to_string() == name);
            let all = CertificateName::ALL.map(|known| format!("{:?}", known.to_string())).join(", ");
            known.ok_or_else(|| given.wrong("name", format_args!("one of {all}, not {name:?}")))?
        }
    };
    let users = match given.get::<Table>("users", "a table")? {
        None => None,
        Some(table) => Some(named(lua, &table)?),
    };
    given.finish()?;
    UsersValue::of(lua, CERTIFICATES, Users::of_certificates(CertificateUsers { name, users }))
}

/// The users of a table, by what is in their certificates: a list, or names behind names.
fn named(lua: &Lua, table: &Table) -> mlua::Result<BTreeMap<String, Arc<str>>> {
    let mut users = BTreeMap::new();
    for pair in table.pairs::<Value, Value>() {
        let (of, user) = match pair? {
            (Value::String(of), Value::String(user)) => (of.to_string_lossy(), user.to_string_lossy()),
            (Value::Integer(_) | Value::Number(_), Value::String(user)) => {
                (user.to_string_lossy(), user.to_string_lossy())
            }
            (of, user) => {
                let (of, user) = (show(&of), show(&user));
                return Err(fail(
                    lua,
                    format!(
                        "{CERTIFICATES}: `users` is a list of names, or a table of names by names, not {of} = {user}"
                    ),
                ));
            }
        };
        if users.insert(of.clone(), user.into()).is_some() {
            return Err(fail(lua, format!("{CERTIFICATES}: `users` has {of:?} twice")));
        }
        if users.len() > Users::MOST {
            return Err(fail(lua, format!("{CERTIFICATES}: there are more than {} users", Users::MOST)));
        }
    }
    Ok(users)
}
