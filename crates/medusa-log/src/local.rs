//! Local time: `TZ`, else `/etc/localtime`, asked once per quarter of an hour.
//!
//! No zone changes its offset within a quarter. Asking again for each also notices when the machine's zone is changed
//! while the server runs.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::OnceLock;
use std::time::SystemTime;

use jiff::Zoned;
use jiff::tz::TimeZone;
use medusa_proto::access::Timestamp;

const QUARTER: i64 = 15 * 60;

/// The longest file of a zone, in bytes. Those of tzdata have some 4 KiB.
const LONGEST: u64 = 1024 * 1024;

/// Set if the machine's zone would be read from what is no short file: then it is not asked for.
static UNREADABLE: OnceLock<()> = OnceLock::new();

/// The machine's time zone; UTC if it does not say.
fn zone() -> TimeZone {
    if UNREADABLE.get().is_some() { TimeZone::UTC } else { TimeZone::system() }
}

/// The UTC offset of the machine's time zone.
#[derive(Debug, Default)]
pub(crate) struct LocalOffset {
    /// The quarter of an hour that was asked for last, and its offset.
    known: Option<(i64, i32)>,
}

impl LocalOffset {
    /// Seconds east of UTC at `time`. UTC if the machine does not say.
    pub(crate) fn at(&mut self, time: Timestamp) -> i32 {
        let quarter = time.seconds().div_euclid(QUARTER);
        match self.known {
            Some((known, offset)) if known == quarter => offset,
            _ => {
                // The last days of the year 9999 are beyond jiff.
                let instant = jiff::Timestamp::from_second(time.seconds());
                let offset = instant.map_or(0, |instant| zone().to_offset(instant).seconds());
                self.known = Some((quarter, offset));
                offset
            }
        }
    }
}

/// The time it is, in the machine's zone. Years beyond 9999 do not occur.
pub(crate) fn now() -> Zoned {
    jiff::Timestamp::try_from(SystemTime::now()).unwrap_or(jiff::Timestamp::MAX).to_zoned(zone())
}

/// The time it is, for a person: `2026-11-29T06:12:41+01:00`.
pub(crate) fn now_shown() -> String {
    shown(&now())
}

/// The same of any time.
pub(crate) fn shown(time: &Zoned) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// Reason why lines have UTC though the machine is set up for another zone: a `TZ` or an `/etc/localtime` that cannot be
/// understood. `None` where neither is set, which is UTC everywhere. `tz` is what the environment has for `TZ`.
///
/// To be asked before anything is logged: from then on, a zone that is no short file is left alone. It would be read to its
/// end, which a device has none of, and a pipe none before somebody writes to it.
pub fn zone_trouble(tz: Option<&OsStr>) -> Option<String> {
    const LOCALTIME: &str = "/etc/localtime";
    let source = if is_short_file(tz.unwrap_or(OsStr::new(LOCALTIME))) {
        TimeZone::try_system().err()?.to_string()
    } else {
        UNREADABLE.get_or_init(|| ());
        format!("it is no file of at most {LONGEST} bytes")
    };
    let what = match tz {
        Some(zone) => format!("TZ={}", zone.display()),
        None if Path::new(LOCALTIME).is_symlink() || Path::new(LOCALTIME).exists() => LOCALTIME.to_owned(),
        None => return None,
    };
    let data = if jiff::tz::db().is_definitively_empty() {
        "this machine has no time zone data: install tzdata, or set TZ to"
    } else {
        "set TZ to a name such as Europe/Berlin, or to"
    };
    Some(format!(
        "the time zone {what} is not known, so logs have UTC: {data} a rule such as CET-1CEST,M3.5.0,M10.5.0/3 ({source})"
    ))
}

/// Tells whether what is read for `zone`, if it is anything, has an end near its beginning. A name and a rule have, whatever is
/// called like that where the server was started.
fn is_short_file(zone: &OsStr) -> bool {
    let Some(name) = zone.to_str().map(|zone| zone.strip_prefix(':').unwrap_or(zone)) else { return true };
    let is_short = |path: &Path| path.metadata().map_or(true, |meta| meta.is_file() && meta.len() <= LONGEST);
    is_short(Path::new(name)) || jiff::tz::db().get(name).is_ok() || TimeZone::posix(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_jiff_and_keeps_its_answer() {
        let mut local = LocalOffset::default();
        for second in [1_700_000_000, 1_700_000_001, 1_720_000_000] {
            let expected =
                TimeZone::system().to_offset(jiff::Timestamp::from_second(second).expect("in range"));
            assert_eq!(local.at(Timestamp::from_micros(second * 1_000_000)), expected.seconds());
            assert_eq!(local.known, Some((second / QUARTER, expected.seconds())));
        }
        assert_eq!(local.at(Timestamp::MAX), 0);
    }
}
