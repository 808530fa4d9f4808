//! `medusa.time` and `medusa.sleep`.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mlua::{Lua, Table};

use crate::call_site::fail;
use crate::docs::{Item, item};

pub(crate) const DOCS: &[Item] = &[
    item(
        "medusa.time.now",
        "() -> number",
        "Seconds since 1970-01-01 00:00 UTC, with fractions. May jump when the machine's clock is set; measure with \
              `medusa.time.monotonic`.",
    ),
    item(
        "medusa.time.monotonic",
        "() -> number",
        "Seconds since some moment, with fractions. Never goes back.",
    ),
    item(
        "medusa.time.http",
        "(seconds: number?) -> string",
        "A time (default: now) as HTTP fields have it: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).",
    ),
    item(
        "medusa.time.iso",
        "(seconds: number?) -> string",
        "A time (default: now) in UTC as `2026-11-22T08:49:37Z` (RFC 3339).",
    ),
    item(
        "medusa.sleep",
        "(seconds: number) -> ()",
        "Waits; everything else goes on meanwhile. Counts as wall-clock time, not CPU time, of the script's budget. \
              Cannot be called inside a metamethod.",
    ),
];

/// The end of the year 9999: what both formats can write.
const MAX_SECONDS: f64 = 253_402_300_799.0;

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    let time = lua.create_table()?;
    time.set("now", lua.create_function(|_, ()| Ok(since_epoch(SystemTime::now())))?)?;
    time.set("monotonic", lua.create_function(|_, ()| Ok(started().elapsed().as_secs_f64()))?)?;
    let http = |lua: &Lua, seconds: Option<f64>| Ok(httpdate::fmt_http_date(moment(lua, seconds)?));
    time.set("http", lua.create_function(http)?)?;
    let iso = |lua: &Lua, seconds: Option<f64>| {
        let seconds = since_epoch(moment(lua, seconds)?);
        let stamp = jiff::Timestamp::from_second(seconds as i64).map_err(|error| fail(lua, error))?;
        Ok(stamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    };
    time.set("iso", lua.create_function(iso)?)?;
    medusa.set("time", time)?;
    let sleep = |lua: Lua, seconds: f64| async move {
        let wait = Duration::try_from_secs_f64(seconds).map_err(|_error| {
            fail(&lua, format!("medusa.sleep: {seconds} is no number of seconds to wait"))
        })?;
        tokio::time::sleep(wait).await;
        Ok(())
    };
    medusa.set("sleep", lua.create_async_function(sleep)?)
}

fn started() -> Instant {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    *STARTED.get_or_init(Instant::now)
}

fn since_epoch(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A time as scripts give it; now by default.
pub(super) fn moment(lua: &Lua, seconds: Option<f64>) -> mlua::Result<SystemTime> {
    match seconds {
        None => Ok(SystemTime::now()),
        Some(seconds) if (0.0..=MAX_SECONDS).contains(&seconds) => {
            Ok(UNIX_EPOCH + Duration::from_secs_f64(seconds))
        }
        Some(seconds) => Err(fail(lua, format!("{seconds} is not a time between 1970 and 9999"))),
    }
}
