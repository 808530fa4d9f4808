//! Options of a file, and how they are written in a script.
//!
//! **Invariant: what is accepted here can be done.** A size that rotates with every line, a mode that lets everybody write
//! (and so forge lines), are refused with the text that was given.

use std::str::FromStr;
use std::time::Duration;

use medusa_proto::format::Format;

use super::rotate::Rotation;
use crate::OptionError;
use crate::queue::QueueOptions;

/// Options of a [`FileSink`](super::FileSink).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How a record is written. Default: Combined.
    pub format: Format,
    /// How much may wait to be written.
    pub queue: QueueOptions,
    /// How long a record may wait for a target that fails (disk full) before it is given up. Default: one minute,
    /// enough for someone to make room; the limits of the queue apply meanwhile.
    pub patience: Duration,
    /// When the file is rotated. Default: never; another program may do it.
    pub rotation: Option<Rotation>,
    /// When what is written must have reached the disk. Default: [`Fsync::Never`].
    pub fsync: Fsync,
    /// The permissions of a file that is made. Default: 0640 less what the process's umask forbids; after a rotation, those
    /// of the file before.
    pub mode: Option<Mode>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            format: Format::default(),
            queue: QueueOptions::default(),
            patience: Duration::from_mins(1),
            rotation: None,
            fsync: Fsync::Never,
            mode: None,
        }
    }
}

/// Time at which what is written must have reached the disk, so that a crash of the machine (not of the server: what is written
/// outlives that in any case) cannot lose it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// When the system finds the time, within half a minute or so.
    #[default]
    Never,
    /// After each batch, before its records count as written.
    Always,
    /// So long after it was written at the latest. 10 ms to an hour.
    Every(Duration),
}

impl Fsync {
    /// The shortest and the longest interval.
    const INTERVAL: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(1);

    /// Within `interval`, if that is between 10 ms and an hour.
    pub fn every(interval: Duration) -> Result<Self, OptionError> {
        if Self::INTERVAL.contains(&interval) {
            Ok(Self::Every(interval))
        } else {
            Err(OptionError(format!("an interval of 10 ms to an hour is expected, not {interval:?}")))
        }
    }
}

/// `"1s"`, `"200ms"`, `"1m"`.
impl FromStr for Fsync {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let (number, unit) = split_number(text);
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            _ => 0,
        };
        match number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis)) {
            Some(interval) if millis > 0 => Self::every(Duration::from_millis(interval)),
            _ => {
                Err(OptionError(format!("an interval such as \"1s\" or \"200ms\" is expected, not {text:?}")))
            }
        }
    }
}

/// The permissions of a new log file. Its owner can always read and write it, never everybody write to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(u32);

impl Mode {
    /// The bits as the system counts them.
    pub(super) const fn bits(self) -> u32 {
        self.0
    }
}

/// Octal: `"0640"`.
impl FromStr for Mode {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let digits = (3..=4).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit());
        let Some(mode) = u32::from_str_radix(text, 8).ok().filter(|_| digits) else {
            return Err(OptionError(format!(
                "permissions in octal such as \"0640\" are expected, not {text:?}"
            )));
        };
        let why = if mode & 0o600 != 0o600 {
            "the owner must be able to read and to write"
        } else if mode & 0o002 != 0 {
            "everybody could forge lines"
        } else if mode & !0o664 != 0 {
            "a log is not a program"
        } else {
            return Ok(Self(mode));
        };
        Err(OptionError(format!("a log file cannot have the permissions {text:?}: {why}")))
    }
}

/// A size in bytes: `"100MB"`, `"64KiB"`, `"2 GB"`, `"5000"`. `kB`, `MB`, `GB` count in thousands, `KiB`, `MiB`, `GiB` in
/// 1024s.
pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text);
    let factor: u64 = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn split_number(text: &str) -> (&str, &str) {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    (number, unit.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("5000", 5000),
            ("5000B", 5000),
            ("100MB", 100_000_000),
            ("1 kB", 1000),
            ("64KiB", 65_536),
            ("2GiB", 1 << 31),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "MB", "1.5MB", "-1", "1mb", "100M", "1 M B", "99999999999999999999", "99999999999GB"]
        {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn modes() {
        for (text, bits) in [("0640", 0o640), ("600", 0o600), ("0664", 0o664), ("0644", 0o644)] {
            assert_eq!(text.parse::<Mode>().expect(text).bits(), bits);
        }
        for (text, part) in [
            ("0666", "forge"),
            ("0440", "owner"),
            ("0750", "program"),
            ("4640", "program"),
            ("0o640", "octal"),
            ("+640", "octal"),
            ("0689", "octal"),
            ("", "octal"),
        ] {
            let error = text.parse::<Mode>().expect_err(text).to_string();
            assert!(error.contains(part) && error.contains(text), "{error}");
        }
    }

    #[test]
    fn intervals() {
        for (text, millis) in [("1s", 1000), ("200ms", 200), ("1m", 60_000), ("10 s", 10_000)] {
            assert_eq!(text.parse::<Fsync>(), Ok(Fsync::Every(Duration::from_millis(millis))));
        }
        for text in
            ["1", "s", "", "1h30", "1ms", "0s", "2h", "61m", "99999999999999999999s", "999999999999999999m"]
        {
            text.parse::<Fsync>().expect_err(text);
        }
    }
}
