//! `top`: the command of a session that shows the server in numbers, second by second.

use mlua::{Lua, MultiValue, Value};

use super::command_table::CommandTable;
use super::history::of_session;
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Item, session_item};
use crate::options::no_more;
use crate::print::{as_whole, show};
use crate::top;
use crate::transaction::Transaction;

pub(crate) const DOCS: Item = session_item(
    "top",
    "(n: number?) -> ()",
    "Shows the server in numbers, a line for each second: requests and 5xx in it, how long half and 99 of 100 of its requests took \
     at most (streams and WebSockets not included), open connections, records that wait in logs or were lost, the memory of \
     scripts, what is on trial and for how long, and the busiest mount. It ends after `n` seconds, or when it is cancelled.",
);

/// The most seconds that can be given.
const MOST: u64 = 86_400;

pub(super) fn install(commands: &CommandTable<'_>) -> mlua::Result<()> {
    commands.add_async("top", show_top)
}

async fn show_top(lua: Lua, (n, rest): (Value, MultiValue)) -> mlua::Result<()> {
    no_more(&lua, "top(n)", &rest)?;
    let transaction = of_session(&lua, "top")?;
    let n = match &n {
        Value::Nil => None,
        n => Some(as_whole(n, 1..=MOST).ok_or_else(|| {
            fail(&lua, format!("top: n must be a whole number from 1 to {MOST}, not {}", show(n)))
        })?),
    };
    if let Some(events) = transaction.events() {
        let live = MainContext::of(&lua)?.live;
        Transaction::excuse(top::watch(&live, n, &events)).await;
    }
    Ok(())
}
