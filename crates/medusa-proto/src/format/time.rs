//! Instants as text, a second at a time.
//!
//! The calendar arithmetic is Howard Hinnant's [`civil_from_days`], exact for every day a
//! [`Timestamp`] can hold.
//!
//! [`civil_from_days`]: https://howardhinnant.github.io/date_algorithms.html#civil_from_days

use crate::access::Timestamp;

const DAY: i64 = 86_400;
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// The text of the last second asked for. Records come in order, so most ask for the same one again.
#[derive(Debug)]
pub(crate) struct Stamp {
    /// Second and UTC offset that `text` shows.
    shown: Option<(i64, i32)>,
    text: Vec<u8>,
}

/// UTC to the millisecond, as [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339) has it: `2000-10-10T20:55:36.123Z`. All
/// have one length, so that texts compare as the instants do.
#[must_use]
pub fn utc(time: Timestamp) -> String {
    let mut text = Vec::with_capacity(24);
    write_rfc3339(time.seconds(), &mut text);
    format!("{}.{:03}Z", String::from_utf8_lossy(&text), time.subsec_micros() / 1000)
}

impl Stamp {
    pub(crate) const fn new() -> Self {
        Self { shown: None, text: Vec::new() }
    }

    /// Local time in the Common Log Format, without its brackets: `10/Oct/2000:13:55:36 -0700`.
    ///
    /// One stamp serves one style: an encoder has one format.
    pub(super) fn clf(&mut self, time: Timestamp, utc_offset: i32) -> &[u8] {
        self.show(time.seconds(), utc_offset, write_clf)
    }

    /// UTC to the second, as [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339) begins: `2000-10-10T20:55:36`.
    pub(crate) fn rfc3339(&mut self, time: Timestamp) -> &[u8] {
        self.show(time.seconds(), 0, |second, _, out| write_rfc3339(second, out))
    }

    /// Local time to the second, as [`rfc3339`](Self::rfc3339); the fraction and [`offset`] are to follow.
    pub(crate) fn rfc3339_local(&mut self, time: Timestamp, utc_offset: i32) -> &[u8] {
        self.show(time.seconds(), utc_offset, |second, offset, out| {
            write_rfc3339(local_second(second, whole_minutes(offset)), out);
        })
    }

    /// Local time without a year, as [RFC 3164 §4.1.2](https://www.rfc-editor.org/rfc/rfc3164#section-4.1.2) has it:
    /// `Oct 10 13:55:36`, and `Oct  1` for the first of a month.
    pub(crate) fn bsd(&mut self, time: Timestamp, utc_offset: i32) -> &[u8] {
        self.show(time.seconds(), utc_offset, write_bsd)
    }

    fn show(&mut self, second: i64, utc_offset: i32, write: fn(i64, i32, &mut Vec<u8>)) -> &[u8] {
        if self.shown != Some((second, utc_offset)) {
            self.text.clear();
            write(second, utc_offset, &mut self.text);
            self.shown = Some((second, utc_offset));
        }
        &self.text
    }
}

fn write_clf(second: i64, utc_offset: i32, out: &mut Vec<u8>) {
    let local = Civil::local(second, utc_offset);
    two_digits(local.day, out);
    out.push(b'/');
    out.extend_from_slice(local.month_name());
    out.push(b'/');
    four_digits(local.year, out);
    out.push(b':');
    local.time_of_day(out);
    out.push(b' ');
    offset(utc_offset, b"", out);
}

fn write_bsd(second: i64, utc_offset: i32, out: &mut Vec<u8>) {
    let local = Civil::local(second, utc_offset);
    out.extend_from_slice(local.month_name());
    out.push(b' ');
    padded_day(local.day, out);
    out.push(b' ');
    local.time_of_day(out);
}

/// `+0545`, or with `between` the hours and the minutes. Less than a minute is left out.
pub(crate) fn offset(utc_offset: i32, between: &[u8], out: &mut Vec<u8>) {
    let offset = whole_minutes(utc_offset);
    out.push(if offset < 0 { b'-' } else { b'+' });
    let minutes = offset.unsigned_abs() / 60;
    two_digits(minutes / 60, out);
    out.extend_from_slice(between);
    two_digits(minutes % 60, out);
}

fn local_second(second: i64, utc_offset: i32) -> i64 {
    second.saturating_add(i64::from(within_a_day(utc_offset)))
}

const fn within_a_day(utc_offset: i32) -> i32 {
    match utc_offset {
        ..-86_399 => -86_399,
        86_400.. => 86_399,
        offset => offset,
    }
}

/// Rounds an offset to what can be written, so that time and offset together stay the same instant: the zones of the
/// 19th century had seconds.
const fn whole_minutes(utc_offset: i32) -> i32 {
    let offset = within_a_day(utc_offset);
    offset - offset % 60
}

fn write_rfc3339(second: i64, out: &mut Vec<u8>) {
    let utc = Civil::at(second);
    four_digits(utc.year, out);
    out.push(b'-');
    two_digits(utc.month, out);
    out.push(b'-');
    two_digits(utc.day, out);
    out.push(b'T');
    utc.time_of_day(out);
}

/// A date of the Gregorian calendar and a time of day.
#[derive(Debug)]
pub(super) struct Civil {
    pub(super) year: u32,
    /// 1 to 12.
    pub(super) month: u32,
    /// 1 to 31.
    pub(super) day: u32,
    /// Seconds since midnight.
    pub(super) second: u32,
    /// Days since the epoch.
    days: u32,
}

impl Civil {
    /// The date and time `second` seconds after the epoch; moved to the nearer end of the years 1970 to 9999.
    fn at(second: i64) -> Self {
        let second = second.clamp(0, Timestamp::MAX.seconds());
        // Days since 0000-03-01: years that start in March have the leap day at their end.
        let days = second / DAY + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Self {
            year: (year_of_era + era * 400 + i64::from(month <= 2)) as u32,
            month: month as u32,
            day: (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32,
            second: (second % DAY) as u32,
            days: (second / DAY) as u32,
        }
    }

    /// The date and time where the clock is `utc_offset` seconds ahead.
    pub(super) fn local(second: i64, utc_offset: i32) -> Self {
        Self::at(local_second(second, utc_offset))
    }

    /// 0 for a Sunday to 6.
    pub(super) const fn weekday(&self) -> u32 {
        (self.days + 4) % 7 // the epoch was a Thursday
    }

    /// 1 to 366.
    pub(super) fn day_of_year(&self) -> u32 {
        const BEFORE: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let leap =
            self.year.is_multiple_of(4) && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        let before = BEFORE.get(self.month as usize - 1).copied().unwrap_or(0);
        before + u32::from(leap && self.month > 2) + self.day
    }

    pub(super) fn month_name(&self) -> &'static [u8; 3] {
        MONTHS.get(self.month as usize - 1).copied().unwrap_or(b"???")
    }

    /// `13:55:36`
    fn time_of_day(&self, out: &mut Vec<u8>) {
        two_digits(self.second / 3600, out);
        out.push(b':');
        two_digits(self.second / 60 % 60, out);
        out.push(b':');
        two_digits(self.second % 60, out);
    }
}

pub(super) fn two_digits(n: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8]);
}

pub(super) fn four_digits(n: u32, out: &mut Vec<u8>) {
    two_digits(n / 100, out);
    two_digits(n % 100, out);
}

/// `.123456`
pub(crate) fn micros(subsec_micros: u32, out: &mut Vec<u8>) {
    out.push(b'.');
    six_digits(subsec_micros, out);
}

pub(super) fn six_digits(n: u32, out: &mut Vec<u8>) {
    two_digits(n / 10_000, out);
    two_digits(n / 100 % 100, out);
    two_digits(n % 100, out);
}

/// `10`, ` 1`
pub(super) fn padded_day(day: u32, out: &mut Vec<u8>) {
    let tens = if day < 10 { b' ' } else { b'0' + (day / 10) as u8 };
    out.extend_from_slice(&[tens, b'0' + (day % 10) as u8]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::{Offset, TimeZone};
    use proptest::prelude::*;

    fn clf(second: i64, offset: i32) -> String {
        let time = Timestamp::from_micros(second * 1_000_000);
        String::from_utf8(Stamp::new().clf(time, offset).to_vec()).expect("ASCII")
    }

    #[test]
    fn clf_is_apaches_example() {
        assert_eq!(clf(971_211_336, -7 * 3600), "10/Oct/2000:13:55:36 -0700");
        assert_eq!(clf(0, 5 * 3600 + 45 * 60), "01/Jan/1970:05:45:00 +0545");
    }

    #[test]
    fn the_ends_of_time_are_written() {
        assert_eq!(clf(0, -3600), "01/Jan/1970:00:00:00 -0100");
        assert_eq!(clf(Timestamp::MAX.seconds(), i32::MAX), "31/Dec/9999:23:59:59 +2359");
    }

    #[test]
    fn seconds_of_an_offset_do_not_move_the_instant() {
        let time = Timestamp::from_micros(971_211_336_000_042);
        for utc_offset in [-17_762, 561, -30, i32::MIN, i32::MAX] {
            let mut text = Stamp::new().rfc3339_local(time, utc_offset).to_vec();
            micros(time.subsec_micros(), &mut text);
            offset(utc_offset, b":", &mut text);
            let read: jiff::Timestamp = str::from_utf8(&text).expect("ASCII").parse().expect("a time");
            assert_eq!(read.as_microsecond(), time.micros(), "{utc_offset}");
            assert!(!text.ends_with(b"-00:00"), "that is no offset in RFC 3339");
        }
    }

    #[test]
    fn a_new_offset_renews_the_text_of_the_same_second() {
        let mut stamp = Stamp::new();
        let time = Timestamp::from_micros(0);
        assert_eq!(stamp.clf(time, 3600), b"01/Jan/1970:01:00:00 +0100");
        assert_eq!(stamp.clf(time, 7200), b"01/Jan/1970:02:00:00 +0200");
    }

    proptest! {
        #[test]
        fn agrees_with_jiff(second in 86_400..253_402_200_000_i64, minutes in -14 * 60..=14 * 60_i32) {
            let offset = minutes * 60;
            let zone = TimeZone::fixed(Offset::from_seconds(offset).expect("an offset"));
            let local = jiff::Timestamp::from_second(second).expect("in range").to_zoned(zone);
            prop_assert_eq!(clf(second, offset), local.strftime("%d/%b/%Y:%H:%M:%S %z").to_string());

            let utc = jiff::Timestamp::from_second(second).expect("in range");
            let mut stamp = Stamp::new();
            let text = str::from_utf8(stamp.rfc3339(Timestamp::from_micros(second * 1_000_000))).expect("ASCII");
            prop_assert_eq!(text, utc.strftime("%Y-%m-%dT%H:%M:%S").to_string());
        }
    }
}
