//! `%{format}t`: the time of a request as the user wants it.

use super::{TemplateError, Unit};
use crate::access::{Record, Timestamp};
use crate::format::decimal;
use crate::format::time::{self, Civil, Stamp, two_digits};

/// A checked format of times.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TimeFormat {
    /// When the response had been sent, not when the request came.
    end: bool,
    text: TimeText,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum TimeText {
    /// `[10/Oct/2000:13:55:36 -0700]`
    Common,
    /// Since 1970.
    Since(Unit),
    /// What is past the second, in six digits or, of milliseconds, three.
    Fraction(Unit),
    /// Conversions, all of them known.
    Strftime(Vec<Conversion>),
}

/// Literal text or a letter of `strftime` that stands for no others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Conversion {
    Literal(char),
    Letter(char),
}

impl TimeFormat {
    /// Reads what is in the braces of a `%{...}t` at character `at`; empty for a bare `%t`.
    pub(super) fn parse(format: &str, at: usize) -> Result<Self, TemplateError> {
        let (end, format) = match format.split_once(':').unwrap_or((format, "")) {
            ("begin", rest) => (false, rest),
            ("end", rest) => (true, rest),
            _ => (false, format),
        };
        let text = match format {
            "" => TimeText::Common,
            "sec" => TimeText::Since(Unit::Seconds),
            "msec" => TimeText::Since(Unit::Millis),
            "usec" => TimeText::Since(Unit::Micros),
            "msec_frac" => TimeText::Fraction(Unit::Millis),
            "usec_frac" => TimeText::Fraction(Unit::Micros),
            format => TimeText::Strftime(conversions(format, at)?),
        };
        Ok(Self { end, text })
    }

    pub(super) fn write(&self, record: &Record<'_>, stamp: &mut Stamp, utc_offset: i32, out: &mut Vec<u8>) {
        let took = if self.end { i64::try_from(record.duration_us).unwrap_or(i64::MAX) } else { 0 };
        let time = Timestamp::from_micros(record.time.micros().saturating_add(took));
        match &self.text {
            TimeText::Common => {
                out.push(b'[');
                out.extend_from_slice(stamp.clf(time, utc_offset));
                out.push(b']');
            }
            TimeText::Since(unit) => decimal(time.micros() as u64 / unit.micros(), out), // never negative
            TimeText::Fraction(unit) => {
                let start = out.len();
                time::six_digits(time.subsec_micros(), out);
                if *unit == Unit::Millis {
                    out.truncate(start + 3);
                }
            }
            TimeText::Strftime(conversions) => {
                let local = Civil::local(time.seconds(), utc_offset);
                for conversion in conversions {
                    match conversion {
                        Conversion::Literal(c) => {
                            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                        }
                        Conversion::Letter(letter) => letter_of(*letter, &local, utc_offset, out),
                    }
                }
            }
        }
    }
}

fn conversions(format: &str, at: usize) -> Result<Vec<Conversion>, TemplateError> {
    let mut conversions = Vec::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => match chars.next() {
                Some('%') => conversions.push(Conversion::Literal('%')),
                Some(letter) if "YymdejbBaAHIMSpz".contains(letter) => {
                    conversions.push(Conversion::Letter(letter));
                }
                letter => {
                    let unknown = || TemplateError::UnknownTime {
                        letter: letter.map_or("%".into(), |c| format!("%{c}")),
                        at,
                    };
                    let meant = letter.and_then(short_for).ok_or_else(unknown)?;
                    conversions.extend(self::conversions(meant, at)?);
                }
            },
            '\\' => return Err(TemplateError::Backslash { at }),
            c if crate::format::escape::is_hidden(c) => return Err(TemplateError::Control { found: c, at }),
            c => conversions.push(Conversion::Literal(c)),
        }
    }
    Ok(conversions)
}

/// The format that a letter abbreviates, in the C locale.
fn short_for(letter: char) -> Option<&'static str> {
    Some(match letter {
        'F' => "%Y-%m-%d",
        'T' => "%H:%M:%S",
        'R' => "%H:%M",
        'D' => "%m/%d/%y",
        'h' => "%b",
        _ => return None,
    })
}

fn letter_of(letter: char, local: &Civil, utc_offset: i32, out: &mut Vec<u8>) {
    match letter {
        'Y' => time::four_digits(local.year, out),
        'y' => two_digits(local.year % 100, out),
        'm' => two_digits(local.month, out),
        'd' => two_digits(local.day, out),
        'e' => time::padded_day(local.day, out),
        'j' => {
            let day = local.day_of_year();
            out.push(b'0' + (day / 100) as u8);
            two_digits(day % 100, out);
        }
        'b' => out.extend_from_slice(local.month_name()),
        'B' => out.extend_from_slice(name(&MONTHS, local.month - 1).as_bytes()),
        'a' => out.extend(name(&DAYS, local.weekday()).bytes().take(3)),
        'A' => out.extend_from_slice(name(&DAYS, local.weekday()).as_bytes()),
        'H' => two_digits(local.second / 3600, out),
        'I' => two_digits((local.second / 3600 + 11) % 12 + 1, out),
        'M' => two_digits(local.second / 60 % 60, out),
        'S' => two_digits(local.second % 60, out),
        'p' => out.extend_from_slice(if local.second < 43_200 { b"AM" } else { b"PM" }),
        // 'z', the last that `conversions` lets through
        _ => time::offset(utc_offset, b"", out),
    }
}

fn name<const N: usize>(names: &[&'static str; N], at: u32) -> &'static str {
    names.get(at as usize).copied().unwrap_or("?")
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
