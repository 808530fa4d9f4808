//! What every asynchronous sink lets a script say of its queue: how much may wait, and what happens to what does not fit.
//!
//! A sink adds the items here to its class and calls [`queue_options`] with what names its target. That name decides where
//! it spills: a sink made anew for the same target, by a reload or after a restart, finds what was left behind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use medusa_log::{QueueOptions, SpillOptions, WhenFull};
use mlua::Lua;

use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Item, main_item};
use crate::options::Options;

pub(super) const WHEN_FULL: Item = main_item(
    "when_full",
    "string?",
    "What happens to records that find the queue full, because the target is slow or gone. `\"drop_new\"` (the default): \
          they are lost. `\"drop_old\"`: the oldest that wait are lost instead. `\"block <= 10ms\"`: requests wait for room, \
          so long at most (10 ms is the most there is; `\"block\"` means that), then the new records are lost; after a wait in \
          vain nobody waits until there has been room. `\"spill\"`: they are put in files of the state directory and \
          written in their order when the target takes them, even after a restart. What is lost is counted, and the log \
          says so itself once it can be written.",
);

pub(super) const QUEUE: Item =
    main_item("queue", "number?", "Records that may wait in memory: default 65536, at least 512.");

pub(super) const QUEUE_BYTES: Item = main_item(
    "queue_bytes",
    "(string | number)?",
    "Memory that waiting records may take: `\"32MiB\"` (the default), or a number of bytes.",
);

pub(super) const SPILL_BYTES: Item = main_item(
    "spill_bytes",
    "(string | number)?",
    "Disk for `when_full = \"spill\"`: `\"256MiB\"` (the default), or a number of bytes, at least 1 MiB. What does \
          not fit waits in memory as far as there is room, then is lost.",
);

/// The path where a rehearsal would spill: nothing is ever made there, as what it is below is no directory.
const REHEARSAL: &str = "/dev/null/spill";

/// Reads the four options. `identity` is what makes the target this one and no other: its path or address.
pub(super) fn queue_options(
    lua: &Lua,
    given: &mut Options<'_>,
    function: &str,
    identity: &str,
) -> mlua::Result<QueueOptions> {
    let default = QueueOptions::default();
    let choice = given.get::<String>("when_full", "a string")?;
    let records = given.whole("queue", QueueOptions::MIN_RECORDS as u64..)?;
    let bytes = given.size("queue_bytes", 1)?;
    let spill_bytes = given.size("spill_bytes", SpillOptions::MIN_BYTES)?;
    let choice = choice.map_or(Ok(FullPolicy::DropNew), |text| choice_of(&text));
    let choice = choice.map_err(|problem| fail(lua, format!("{function}: {problem}")))?;
    if spill_bytes.is_some() && choice != FullPolicy::Spill {
        return Err(fail(lua, format!("{function}: `spill_bytes` is for when_full = \"spill\"")));
    }
    let when_full = match choice {
        FullPolicy::Block(time) => WhenFull::Block(time),
        FullPolicy::DropNew => WhenFull::DropNew,
        FullPolicy::DropOld => WhenFull::DropOld,
        FullPolicy::Spill => WhenFull::Spill(SpillOptions::for_target(
            &spill_root(lua, function)?,
            identity,
            spill_bytes.unwrap_or(SpillOptions::DEFAULT_BYTES),
        )),
    };
    Ok(QueueOptions {
        records: records.unwrap_or(default.records),
        bytes: bytes.map_or(default.bytes, |bytes| bytes as usize),
        when_full,
    })
}

/// A [`WhenFull`] without its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FullPolicy {
    Block(Duration),
    DropNew,
    DropOld,
    Spill,
}

fn choice_of(text: &str) -> Result<FullPolicy, String> {
    match text {
        "drop_new" => Ok(FullPolicy::DropNew),
        "drop_old" => Ok(FullPolicy::DropOld),
        "spill" => Ok(FullPolicy::Spill),
        "block" => Ok(FullPolicy::Block(WhenFull::MAX_BLOCK)),
        _ => match text.strip_prefix("block").map(str::trim_start).and_then(|rest| rest.strip_prefix("<=")) {
            Some(time) => wait_of(time.trim(), text).map(FullPolicy::Block),
            None => Err(format!(
                "unknown when_full {text:?}: use \"block <= 10ms\", \"drop_new\", \"drop_old\" or \"spill\""
            )),
        },
    }
}

/// `5ms`, `500us`.
fn wait_of(time: &str, whole: &str) -> Result<Duration, String> {
    let unit = time.find(|c: char| !c.is_ascii_digit()).unwrap_or(time.len());
    let (number, unit) = time.split_at(unit);
    let duration = match (number.parse(), unit.trim_start()) {
        (Ok(number), "ms") => Duration::from_millis(number),
        (Ok(number), "us") => Duration::from_micros(number),
        _ => return Err(format!("cannot read the time in when_full {whole:?}: write \"block <= 10ms\"")),
    };
    if duration.is_zero() || duration > WhenFull::MAX_BLOCK {
        return Err(format!(
            "when_full {whole:?}: a request may be made to wait for up to 10ms, as all others of its worker wait with it; \
             not to wait at all is \"drop_new\""
        ));
    }
    Ok(duration)
}

/// The directory above that of every sink which spills.
fn spill_root(lua: &Lua, function: &str) -> mlua::Result<PathBuf> {
    let context = MainContext::of(lua)?;
    match &context.state {
        Some(state) => Ok(state.join("spill")),
        None if context.live.workers().is_none() => Ok(Path::new(REHEARSAL).to_owned()),
        None => Err(fail(
            lua,
            format!(
                "{function}: when_full = \"spill\" needs a directory to write to, and this server has no state directory: \
                 start it with --state <directory>"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_read() {
        let ms = |n| Ok(FullPolicy::Block(Duration::from_millis(n)));
        for (text, choice) in [
            ("drop_new", Ok(FullPolicy::DropNew)),
            ("drop_old", Ok(FullPolicy::DropOld)),
            ("spill", Ok(FullPolicy::Spill)),
            ("block", ms(10)),
            ("block <= 10ms", ms(10)),
            ("block<=5 ms", ms(5)),
            ("block <= 500us", Ok(FullPolicy::Block(Duration::from_micros(500)))),
        ] {
            assert_eq!(choice_of(text), choice, "{text}");
        }
    }

    #[test]
    fn other_choices_are_refused_with_what_there_is() {
        for (text, part) in [
            ("drop", "use \"block <= 10ms\""),
            ("blocked", "use \"block <= 10ms\""),
            ("block <= ", "cannot read the time"),
            ("block <= ms", "cannot read the time"),
            ("block <= 5s", "cannot read the time"),
            ("block <= 99999999999999999999ms", "cannot read the time"),
            ("block <= 18446744073709551615ms", "up to 10ms"),
            ("block <= 11ms", "up to 10ms"),
            ("block <= 0ms", "drop_new"),
        ] {
            let problem = choice_of(text).expect_err(text);
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }
}
