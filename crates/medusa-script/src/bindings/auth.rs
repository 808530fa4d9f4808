//! `medusa.auth`: users and their passwords.

use std::sync::Arc;

use medusa_auth::Users;
use medusa_proto::with_causes;
use mlua::{Lua, Table, UserData, UserDataMethods, Value};

use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::print::show;

const HTPASSWD: &str = "medusa.auth.htpasswd";
const USERS: &str = "medusa.auth.users";

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
        USERS,
        "(users: { [string]: string }) -> Users",
        "Users by their names, with hashes of their passwords as `medusa.auth.htpasswd` has them: \
         `{ alice = \"$argon2id$v=19$m=19456,t=2,p=1$...\" }`.",
    ),
];

pub(crate) const CLASS: Class = Class {
    name: "Users",
    doc: "Users with their passwords: `medusa.handler.auth` lets them through. A password is hashed once and then remembered for \
          its client, until the users change or a quarter of an hour passes without a request. Of one client (an IPv4 address, \
          an IPv6 /64), 20 wrong ones are looked at, and then one more every 6 seconds.",
    fields: &[],
    methods: &[],
};

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    let auth = lua.create_table()?;
    auth.set("htpasswd", lua.create_function(htpasswd)?)?;
    auth.set("users", lua.create_function(users)?)?;
    medusa.set("auth", auth)
}

/// Users, as a value of the script.
#[derive(Debug)]
struct UsersValue(Arc<Users>);

impl UserData for UsersValue {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method("__tostring", |_, this, ()| {
            let status = this.0.status();
            Ok(format!("Users {} {}", status.kind, status.name).trim_end().to_owned())
        });
    }
}

/// The users that a value of the script stands for.
pub(super) fn users_of(lua: &Lua, function: &str, value: &Value) -> mlua::Result<Arc<Users>> {
    let users = value.as_userdata().and_then(|data| data.borrow::<UsersValue>().ok());
    users.map(|users| Arc::clone(&users.0)).ok_or_else(|| {
        let message =
            format!("{function}: the users must come from {HTPASSWD} or {USERS}, not {}", show(value));
        fail(lua, message)
    })
}

/// `medusa.auth.htpasswd(file)`
fn htpasswd(lua: &Lua, file: Value) -> mlua::Result<UsersValue> {
    let Value::String(file) = file else {
        return Err(fail(lua, format!("{HTPASSWD}: the file must be a string, not {}", show(&file))));
    };
    let path = MainContext::of(lua)?.path(file.to_string_lossy());
    let users = Users::of_file(&path);
    users.map(UsersValue).map_err(|error| fail(lua, format!("{HTPASSWD}: {}", with_causes(&error))))
}

/// `medusa.auth.users { name = hash }`
fn users(lua: &Lua, users: Value) -> mlua::Result<UsersValue> {
    let Value::Table(users) = users else {
        return Err(fail(lua, format!("{USERS}: give a table of names and hashes, not {}", show(&users))));
    };
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
    made.map(UsersValue).map_err(|error| fail(lua, format!("{USERS}: {error}")))
}
