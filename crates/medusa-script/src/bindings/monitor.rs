//! `medusa.monitor`: ways to sessions with the running server, and the sessions that are open.

mod classic;

use std::sync::Arc;
use std::time::Duration;

use medusa_monitor::SessionInfo;
use medusa_monitor::ssh::SshSettings;
use medusa_net::ListenAddr;
use medusa_proto::author::{Author, Via};
use medusa_site::{MonitorServer, MonitorSpec, PartId};
use mlua::{Lua, MultiValue, Table, UserData, UserDataFields, UserDataMethods, Value};

use super::history::of_session_for_all;
use super::site::{look_at, remove};
use crate::call_site::{fail, origin};
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::options::{Options, no_more, number_argument};
use crate::print::whole;
use crate::transaction::Transaction;

pub(crate) use classic::{CLASSIC, CLASSIC_OPTIONS};

const FUNCTION: &str = "medusa.monitor.ssh";

pub(crate) const DOCS: &[Item] = &[
    main_item(
        FUNCTION,
        "(options: MonitorSshOptions) -> MonitorSsh",
        "Has whoever may log in reach the running server by SSH: `ssh -p 9999 host` for a prompt, `ssh -p 9999 host \
         'web.mounts'` for one statement, a script on standard input, and `-s medusa-json` for requests in lines of JSON. A \
         part of the site: called again in a statement, with other options, it takes the place of the one of its name; open \
         sessions go on.",
    ),
    classic::DOC,
    main_item(
        "medusa.monitor.sessions",
        "() -> { MonitorSession }",
        "The sessions with the server that are open, the oldest first. `sessions()` as a statement of its own lists them, too.",
    ),
    main_item(
        "medusa.monitor.kill",
        "(session: number) -> boolean",
        "Ends a session, and what it runs; false if there is none of this number, and while the script is loaded, which ends none. \
         `kill(3)` as a statement of its own does it, too.",
    ),
];

pub(crate) const OPTIONS: Class = Class {
    name: "MonitorSshOptions",
    doc: "What `medusa.monitor.ssh` takes. Paths are relative to the script.",
    fields: &[
        main_item("listen", "string", "The address, required: `\"127.0.0.1:9999\"`."),
        main_item(
            "keys",
            "string?",
            "The file with the keys that may log in, a line each as in OpenSSH's `authorized_keys`: Ed25519 or ECDSA. A line may \
             begin with `role=\"view\"` (look only), `role=\"operate\"` (change what is published, end sessions, stop the \
             server) or `role=\"program\"` (run code: the default), and with `from=\"192.0.2.0/24,::1\"`; by a line with any \
             other option nobody can log in. Read at every login. Any login name is taken, and shown beside the key.",
        ),
        main_item(
            "passwords",
            "string?",
            "The file with the passwords that may log in, lines of `name:hash` or `name:hash:role`, the hash made by Argon2id: \
             `$argon2id$v=19$m=19456,t=2,p=1$...`. Default: none can, only keys. One of both is required.",
        ),
        main_item(
            "host_key",
            "string?",
            "The file with the server's own key, Ed25519. It is made if it is not there; its fingerprint is in the log and the \
             status. Default: `ssh_host_ed25519_key` in the state directory.",
        ),
        main_item(
            "idle",
            "number?",
            "After how many seconds a session is ended that runs nothing and has nothing typed. Default 3600; at least 1, at most \
             604,800.",
        ),
        main_item(
            "post_quantum",
            "boolean?",
            "Whether keys are exchanged by `mlkem768x25519-sha256` alone, which no quantum computer breaks, and which OpenSSH has from \
             9.9 on. Default `false`: by `curve25519-sha256`, too, for clients that have nothing newer.",
        ),
        main_item(
            "grace",
            "number?",
            "How many seconds a login may take. Default 30; at least 1, at most 600.",
        ),
        main_item("name", "string?", "What it is called in the status. Default `\"ssh\"`."),
    ],
    methods: &[],
};

pub(crate) const CLASS: Class = Class {
    name: "MonitorSsh",
    doc: "An SSH server of the monitor, from `medusa.monitor.ssh`.",
    fields: &[
        main_item("name", "string", "What it is called."),
        main_item("listen", "string", "Where it listens, as the script has it."),
    ],
    methods: &[main_item("remove", "() -> ()", "Has nobody log in there any more. Open sessions go on.")],
};

pub(crate) const SESSION: Class = Class {
    name: "MonitorSession",
    doc: "A session with the server, from `medusa.monitor.sessions`.",
    fields: &[
        main_item("number", "number", "Its number, for `medusa.monitor.kill`."),
        main_item("who", "string", "Who has it."),
        main_item("role", "\"view\" | \"operate\" | \"program\"", "What it may do."),
        main_item("front_end", "\"socket\" | \"ssh\" | \"classic\"", "The way it came."),
        main_item("since", "number", "When it was opened, in seconds since 1970."),
        main_item("running", "string?", "The first line of what it runs."),
    ],
    methods: &[],
};

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    let monitor = lua.create_table()?;
    let ssh = |lua: Lua, (options, rest): (Value, MultiValue)| {
        let origin = origin(&lua);
        let alone = no_more(&lua, "medusa.monitor.ssh(options)", &rest);
        let spec = alone.and_then(|()| spec(&lua, options, origin));
        async move {
            let spec = spec?;
            Transaction::edit(|draft| draft.monitor(spec)).await.map(MonitorSshValue)
        }
    };
    monitor.set("ssh", lua.create_async_function(ssh)?)?;
    classic::install(lua, &monitor)?;
    monitor.set(
        "sessions",
        lua.create_function(|lua, rest: MultiValue| {
            no_more(lua, "medusa.monitor.sessions()", &rest)?;
            let sessions = MainContext::of(lua)?.live.sessions().list();
            sessions.into_iter().map(|info| session(lua, info)).collect::<mlua::Result<Vec<Table>>>()
        })?,
    )?;
    monitor.set(
        "kill",
        lua.create_function(|lua, (number, rest): (Value, MultiValue)| {
            no_more(lua, "medusa.monitor.kill(session)", &rest)?;
            let number = number_argument(lua, "medusa.monitor.kill", "the session", &number)?;
            if Transaction::current_replays() {
                return Ok(false);
            }
            // A statement's author, or else the place in the script.
            let author = match Transaction::current().filter(|current| current.author().is_operator()) {
                Some(_) => of_session_for_all(lua, "medusa.monitor.kill")?.author().clone(),
                None => Author::new(Via::Control, "kill").by(origin(lua)),
            };
            let sessions = Arc::clone(MainContext::of(lua)?.live.sessions());
            Ok(whole(number).is_some_and(|number| sessions.kill(number, &author)))
        })?,
    )?;
    medusa.set("monitor", monitor)
}

fn spec(lua: &Lua, options: Value, origin: Arc<str>) -> mlua::Result<MonitorSpec<SshSettings>> {
    let context = MainContext::of(lua)?;
    let mut options = Options::new(lua, FUNCTION, options)?;
    let listen = options.get::<String>("listen", "a string")?;
    let path = |path: String| context.sources.root().join(path);
    let keys = options.get::<String>("keys", "a string")?.map(path);
    let passwords = options.get::<String>("passwords", "a string")?.map(path);
    let host_key = options.get::<String>("host_key", "a string")?.map(path);
    let post_quantum = options.get::<bool>("post_quantum", "a boolean")?.unwrap_or(false);
    let idle = options.seconds("idle", 1.0..=604_800.0)?.unwrap_or(Duration::from_hours(1));
    let grace = options.seconds("grace", 1.0..=600.0)?.unwrap_or(Duration::from_secs(30));
    let name = options.get::<String>("name", "a string")?.unwrap_or_else(|| "ssh".to_owned());
    let Some(Ok(listen @ ListenAddr::Tcp(_))) = listen.as_deref().map(str::parse) else {
        return Err(options.wrong("listen", "an address like \"127.0.0.1:9999\""));
    };
    options.finish()?;
    if keys.is_none() && passwords.is_none() {
        return Err(fail(lua, format!("{FUNCTION}: without `keys` or `passwords` nobody could log in")));
    }
    let in_state = || context.state.as_deref().map(|state| state.join("ssh_host_ed25519_key"));
    let host_key = host_key.or_else(in_state);
    Ok(MonitorSpec {
        name,
        listen,
        settings: SshSettings { post_quantum, keys, passwords, host_key, idle, grace },
        origin,
    })
}

fn session(lua: &Lua, info: SessionInfo) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("number", info.number)?;
    table.raw_set("who", info.who)?;
    table.raw_set("role", info.role.name())?;
    table.raw_set("front_end", info.front_end)?;
    table.raw_set("since", info.since)?;
    table.raw_set("running", info.running)?;
    Ok(table)
}

/// An SSH server of the monitor, by its name.
struct MonitorSshValue(PartId);

impl MonitorSshValue {
    fn listen(&self, lua: &Lua) -> mlua::Result<ListenAddr> {
        look_at(lua, &self.0, |ssh: &MonitorServer<SshSettings>| ssh.listen.clone())
    }
}

impl UserData for MonitorSshValue {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("name", |_, this| Ok(this.0.name.to_string()));
        fields.add_field_method_get("listen", |lua, this| Ok(this.listen(lua)?.to_string()));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_async_method("remove", |lua, this, rest: MultiValue| {
            remove(&lua, &this.0, "ssh:remove()", &rest)
        });
        methods.add_meta_method("__tostring", |lua, this, ()| {
            Ok(format!("MonitorSsh \"{}\", {}", this.0.name, this.listen(lua)?))
        });
    }
}
