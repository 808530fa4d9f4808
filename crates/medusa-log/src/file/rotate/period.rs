//! Hours, days, weeks and months of local time: where each begins and ends, and what it is called.
//!
//! The end of a period is computed from its beginning, as an instant: a day may have 23 or 25 hours, begin at one o'clock,
//! or be left out altogether (Samoa, 2011-12-30).

use std::fmt;

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};

/// Time for which one file is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// To the end of the hour.
    Hourly,
    /// To midnight.
    Daily,
    /// To midnight between Sunday and Monday.
    Weekly,
    /// To midnight of the last day of the month.
    Monthly,
}

impl Period {
    const ALL: [Self; 4] = [Self::Hourly, Self::Daily, Self::Weekly, Self::Monthly];

    const fn name(self) -> &'static str {
        ["hourly", "daily", "weekly", "monthly"][self as usize]
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.name() == name)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Name of a period, in that of its file: `2026-11-23-14`, `2026-11-23` (a day, or the week that begins with
/// it), `2026-11`. In the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::file) struct Tag {
    start: DateTime,
    /// How much of that is said.
    length: usize,
}

impl Tag {
    const FORMAT: &str = "%Y-%m-%d-%H";
    const MONTH: usize = "2026-11".len();
    const DAY: usize = "2026-11-23".len();
    const HOUR: usize = "2026-11-23-14".len();

    /// The day that `at` is in.
    pub(in crate::file) fn day(at: &Zoned) -> Self {
        Self { start: at.date().into(), length: Self::DAY }
    }

    /// The tag that is written so, and only so.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let length =
            Some(text.len()).filter(|length| [Self::MONTH, Self::DAY, Self::HOUR].contains(length))?;
        let whole = format!("{text}{}", &"0000-01-01-00"[length..]);
        let tag = Self { start: DateTime::strptime(Self::FORMAT, whole).ok()?, length };
        (tag.to_string() == text).then_some(tag)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.start.strftime(Self::FORMAT).to_string();
        f.write_str(whole.get(..self.length).unwrap_or(&whole))
    }
}

/// One period, from its first instant to the first behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::file) struct Span {
    pub(in crate::file) start: Timestamp,
    pub(in crate::file) end: Timestamp,
    pub(in crate::file) tag: Tag,
}

impl Span {
    /// The period around `at`, which is less than nine thousand years away.
    pub(in crate::file) fn around(period: Period, at: &Zoned) -> Self {
        let (now, today) = (at.timestamp(), at.date());
        let (first, next, length) = match period {
            Period::Hourly => {
                let into = i64::from(at.minute()) * 60 + i64::from(at.second());
                let into = SignedDuration::new(into, at.subsec_nanosecond());
                let start = now.checked_sub(into).unwrap_or(now);
                let tag = Tag { start: today.at(at.hour(), 0, 0, 0), length: Tag::HOUR };
                return Self { start, end: later(start, SignedDuration::from_hours(1)), tag };
            }
            Period::Daily => (today, today.tomorrow(), Tag::DAY),
            Period::Weekly => {
                let monday = today.checked_sub(i64::from(today.weekday().to_monday_zero_offset()).days());
                let monday = monday.unwrap_or(today);
                (monday, monday.checked_add(7.days()), Tag::DAY)
            }
            Period::Monthly => {
                (today.first_of_month(), today.first_of_month().checked_add(1.month()), Tag::MONTH)
            }
        };
        let midnight =
            |date: Date| date.to_zoned(at.time_zone().clone()).map(|midnight| midnight.timestamp());
        let start = midnight(first).map_or(now, |start| start.min(now));
        let end = next.and_then(midnight).ok().filter(|end| *end > now);
        let end = end.unwrap_or_else(|| later(now, SignedDuration::from_hours(24)));
        Self { start, end, tag: Tag { start: first.into(), length } }
    }
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use proptest::prelude::*;

    /// Central Europe by rule, so that no zone database is needed.
    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[track_caller]
    fn expect(period: Period, now: &str, tag: &str, start: &str, end: &str) {
        let span = Span::around(period, &at(now).to_zoned(berlin()));
        assert_eq!((span.tag.to_string().as_str(), span.start, span.end), (tag, at(start), at(end)));
    }

    #[test]
    fn a_usual_period_of_each_kind() {
        let now = "2026-11-25T14:30:01.5+01:00";
        let [monday, wednesday, thursday] =
            ["23", "25", "26"].map(|day| format!("2026-11-{day}T00:00:00+01:00"));
        expect(
            Period::Hourly,
            now,
            "2026-11-25-14",
            "2026-11-25T14:00:00+01:00",
            "2026-11-25T15:00:00+01:00",
        );
        expect(Period::Daily, now, "2026-11-25", &wednesday, &thursday);
        expect(Period::Weekly, now, "2026-11-23", &monday, "2026-11-30T00:00:00+01:00");
        expect(Period::Monthly, now, "2026-11", "2026-11-01T00:00:00+01:00", "2026-12-01T00:00:00+01:00");
    }

    #[test]
    fn days_of_23_and_of_25_hours() {
        let (spring, autumn) = ("2026-03-29T12:00:00+02:00", "2026-10-25T12:00:00+01:00");
        expect(Period::Daily, spring, "2026-03-29", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00");
        expect(Period::Daily, autumn, "2026-10-25", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00");
    }

    #[test]
    fn the_hour_that_comes_twice_is_two_periods_of_one_name() {
        let name = "2026-10-25-02";
        let [first, second, third] = ["00:00", "01:00", "02:00"].map(|utc| format!("2026-10-25T{utc}:00Z"));
        expect(Period::Hourly, "2026-10-25T00:20:00Z", name, &first, &second);
        expect(Period::Hourly, "2026-10-25T01:20:00Z", name, &second, &third);
    }

    #[test]
    fn a_day_that_begins_at_one_and_one_that_never_was() {
        // Cuba goes forward at midnight.
        let havana = TimeZone::posix("CST5CDT,M3.2.0/0,M11.1.0/1").expect("a zone");
        let span = Span::around(Period::Daily, &at("2026-03-08T12:00:00Z").to_zoned(havana));
        assert_eq!((span.start, span.end), (at("2026-03-08T05:00:00Z"), at("2026-03-09T04:00:00Z")));
        let samoa = TimeZone::get("Pacific/Apia").expect("tzdata");
        let span = Span::around(Period::Daily, &at("2011-12-30T09:00:00Z").to_zoned(samoa));
        assert_eq!((span.tag.to_string().as_str(), span.end), ("2011-12-29", at("2011-12-30T10:00:00Z")));
    }

    #[test]
    fn tags_are_read_as_they_are_written() {
        for text in ["2026-11", "2026-11-23", "2026-11-23-00", "2026-11-23-23"] {
            assert_eq!(Tag::parse(text).map(|tag| tag.to_string()).as_deref(), Some(text));
        }
        for text in [
            "",
            "2026",
            "2026-13",
            "2026-1-23",
            "2026-02-30",
            "2026-11-23-24",
            "2026-11-23-14-00",
            "+2026-11",
            "20261123",
        ] {
            assert_eq!(Tag::parse(text), None, "{text}");
        }
        let tags = ["2026-11", "2026-11-01", "2026-11-01-00", "2026-11-01-05", "2026-11-02"].map(Tag::parse);
        assert!(tags.is_sorted_by(|a, b| a < b));
    }

    proptest! {
        /// Whatever the zone: periods meet without a gap or an overlap, and are about as long as they should be.
        #[test]
        fn periods_follow_one_another(
            second in 0..4_102_444_800_i64,
            zone in prop::sample::select(vec!["CET-1CEST,M3.5.0,M10.5.0/3", "CST5CDT,M3.2.0/0,M11.1.0/1", "IST-5:30", "LHST-10:30LHDT-11,M10.1.0,M4.1.0"]),
            period in prop::sample::select(Period::ALL.to_vec()),
        ) {
            let zone = TimeZone::posix(zone).expect("a zone");
            let now = Timestamp::from_second(second).expect("in range");
            let around = |at: Timestamp| Span::around(period, &at.to_zoned(zone.clone()));
            let span = around(now);
            prop_assert!(span.start <= now && now < span.end);
            let next = around(span.end);
            if period != Period::Hourly {
                prop_assert_eq!(next.start, span.end);
                prop_assert!(next.tag > span.tag);
                let last = span.end - 1.second();
                prop_assert_eq!(around(last), span);
            }
            let hours = span.end.duration_since(span.start).as_hours();
            let usual = match period {
                Period::Hourly => 1..=1,
                Period::Daily => 23..=25,
                Period::Weekly => 167..=169,
                Period::Monthly => 28 * 24 - 1..=31 * 24 + 1,
            };
            prop_assert!(usual.contains(&hours), "{hours}");
        }
    }
}
