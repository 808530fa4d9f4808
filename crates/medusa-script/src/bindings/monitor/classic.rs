//! `medusa.monitor.classic`: the monitor for clients from 1997.

use std::sync::Arc;
use std::time::Duration;

use medusa_monitor::Role;
use medusa_monitor::classic::ClassicSettings;
use medusa_net::ListenAddr;
use medusa_site::{MonitorServer, MonitorSpec, PartId};
use mlua::{Lua, MultiValue, Table, UserData, UserDataFields, UserDataMethods, Value};

use crate::bindings::http::listen;
use crate::bindings::site::{look_at, remove};
use crate::call_site::{at_place, fail, origin};
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::options::{Options, no_more};
use crate::transaction::Transaction;

const FUNCTION: &str = "medusa.monitor.classic";

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(options: MonitorClassicOptions) -> MonitorClassic",
    "Has old clients reach the running server by the line protocol of 1997: `telnet`, and the `monitor_client.py` of that time. Nothing \
     of it is encrypted, so it listens on this machine alone, and warns of itself in the log; whoever has `ssh` uses \
     `medusa.monitor.ssh`. A part of the site, as that is.",
);

pub(crate) const CLASSIC_OPTIONS: Class = Class {
    name: "MonitorClassicOptions",
    doc: "What `medusa.monitor.classic` takes. Paths are relative to the script.",
    fields: &[
        main_item(
            "listen",
            "string",
            "The address, required: `\"127.0.0.1:9998\"` or another of this machine alone, or `\"unix:classic.sock\"`.",
        ),
        main_item(
            "password_file",
            "string",
            "The file with the password, required: one line, which nobody may read but the server's user or root (`chmod 600`). It is read \
             at every login.",
        ),
        main_item(
            "role",
            "(\"view\" | \"operate\" | \"program\")?",
            "What whoever logs in may do: look, or also change what is published, or also run code. Default `\"view\"`: what is heard of a \
             login is enough to try passwords against, as many as one likes.",
        ),
        main_item(
            "idle",
            "number?",
            "After how many seconds a session is ended that runs nothing and has no line typed. Default 3600; at least 1, at most \
             604,800.",
        ),
        main_item(
            "grace",
            "number?",
            "How many seconds a login may take. Default 30; at least 1, at most 600.",
        ),
        main_item("name", "string?", "What it is called in the status. Default `\"classic\"`."),
    ],
    methods: &[],
};

pub(crate) const CLASSIC: Class = Class {
    name: "MonitorClassic",
    doc: "A server of the monitor for old clients, from `medusa.monitor.classic`.",
    fields: &[
        main_item("name", "string", "What it is called."),
        main_item("listen", "string", "Where it listens, as the script has it."),
    ],
    methods: &[main_item("remove", "() -> ()", "Has nobody log in there any more. Open sessions go on.")],
};

pub(super) fn install(lua: &Lua, monitor: &Table) -> mlua::Result<()> {
    let classic = |lua: Lua, (options, rest): (Value, MultiValue)| {
        let at = origin(&lua);
        let alone = no_more(&lua, "medusa.monitor.classic(options)", &rest);
        let spec = alone.and_then(|()| spec(&lua, options, Arc::clone(&at)));
        async move {
            let spec = spec?;
            let made = Transaction::edit(|draft| draft.monitor(spec)).await;
            made.map(MonitorClassicValue).map_err(|error| at_place(&format!("{at}: {FUNCTION}"), error))
        }
    };
    monitor.set("classic", lua.create_async_function(classic)?)
}

fn spec(lua: &Lua, options: Value, origin: Arc<str>) -> mlua::Result<MonitorSpec<ClassicSettings>> {
    let context = MainContext::of(lua)?;
    let mut options = Options::new(lua, FUNCTION, options)?;
    let listen = options.get::<String>("listen", "a string")?;
    let password = options.get::<String>("password_file", "a string")?;
    let role = options.get::<String>("role", "a string")?;
    let role = match role.as_deref().map(Role::named) {
        None => Role::View,
        Some(Some(role)) => role,
        Some(None) => return Err(options.wrong("role", "\"view\", \"operate\" or \"program\"")),
    };
    let idle = options.seconds("idle", 1.0..=604_800.0)?.unwrap_or(Duration::from_hours(1));
    let grace = options.seconds("grace", 1.0..=600.0)?.unwrap_or(Duration::from_secs(30));
    let name = options.get::<String>("name", "a string")?.unwrap_or_else(|| "classic".to_owned());
    let Some(listen) = listen else {
        return Err(options.wrong("listen", "an address like \"127.0.0.1:9998\" or \"unix:classic.sock\""));
    };
    let listen = listen::address(lua, FUNCTION, &listen)?;
    options.finish()?;
    let Some(password) = password else {
        return Err(fail(lua, format!("{FUNCTION}: without `password_file` nobody could log in")));
    };
    let password = context.sources.root().join(password);
    Ok(MonitorSpec { name, listen, settings: ClassicSettings { password, role, idle, grace }, origin })
}

/// A server of the monitor for old clients, by its name.
struct MonitorClassicValue(PartId);

impl MonitorClassicValue {
    fn listen(&self, lua: &Lua) -> mlua::Result<ListenAddr> {
        look_at(lua, &self.0, |classic: &MonitorServer<ClassicSettings>| classic.listen.clone())
    }
}

impl UserData for MonitorClassicValue {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("name", |_, this| Ok(this.0.name.to_string()));
        fields.add_field_method_get("listen", |lua, this| Ok(this.listen(lua)?.to_string()));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_async_method("remove", |lua, this, rest: MultiValue| {
            remove(&lua, &this.0, "classic:remove()", &rest)
        });
        methods.add_meta_method("__tostring", |lua, this, ()| {
            Ok(format!("MonitorClassic \"{}\", {}", this.0.name, this.listen(lua)?))
        });
    }
}
