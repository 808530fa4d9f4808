//! Hours, days, weeks and months of local time: where each begins and ends, and what it is called.
//!
//! The end of a period is computed from its beginning, as an instant: a day may have 23 or 25 hours, begin at one o'clock,
//! or be left out altogether (Samoa, 2011-12-30).

use std::fmt;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

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
        match self {
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.name() == name)
    }

    /// The one that `at` is in.
    fn tag(self, date: Date, hour: i8) -> Tag {
        let tag = |date, unit| Tag { date, unit };
        match self {
            Self::Hourly => tag(date, Unit::Hour(hour)),
            Self::Daily => tag(date, Unit::Day),
            Self::Weekly => {
                let monday = date.checked_sub(i64::from(date.weekday().to_monday_zero_offset()).days());
                tag(monday.unwrap_or(date), Unit::Day)
            }
            Self::Monthly => tag(date.first_of_month(), Unit::Month),
        }
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
    date: Date,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Unit {
    Month,
    Day,
    Hour(i8),
}

impl Tag {
    /// The day that `at` is in.
    pub(in crate::file) fn day(at: Timestamp, zone: &TimeZone) -> Self {
        Self { date: zone.to_datetime(at).date(), unit: Unit::Day }
    }

    /// The tag that is written so, and only so.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('-').map(|part| part.parse::<i16>().ok());
        let (year, month) = (numbers.next()??, i8::try_from(numbers.next()??).ok()?);
        let (day, hour) = match (numbers.next(), numbers.next(), numbers.next()) {
            (None, ..) => (None, None),
            (Some(day), None, _) => (Some(day?), None),
            (Some(day), Some(hour), None) => (Some(day?), Some(hour?)),
            _ => return None,
        };
        let date = Date::new(year, month, i8::try_from(day.unwrap_or(1)).ok()?).ok()?;
        let unit = match (day, hour) {
            (None, _) => Unit::Month,
            (_, None) => Unit::Day,
            (_, Some(hour @ 0..=23)) => Unit::Hour(hour as i8),
            _ => return None,
        };
        let tag = Self { date, unit };
        (tag.to_string() == text).then_some(tag)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = (self.date.year(), self.date.month(), self.date.day());
        match self.unit {
            Unit::Month => write!(f, "{year:04}-{month:02}"),
            Unit::Day => write!(f, "{year:04}-{month:02}-{day:02}"),
            Unit::Hour(hour) => write!(f, "{year:04}-{month:02}-{day:02}-{hour:02}"),
        }
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
    pub(in crate::file) fn around(period: Period, at: Timestamp, zone: &TimeZone) -> Self {
        let local = zone.to_datetime(at);
        let tag = period.tag(local.date(), local.hour());
        let next = match period {
            Period::Hourly => {
                let into = i64::from(local.minute()) * 60 + i64::from(local.second());
                let into = SignedDuration::new(into, local.subsec_nanosecond());
                let start = at.checked_sub(into).unwrap_or(at);
                return Self { start, end: later(start, SignedDuration::from_hours(1)), tag };
            }
            Period::Daily => tag.date.tomorrow(),
            Period::Weekly => tag.date.checked_add(7.days()),
            Period::Monthly => tag.date.checked_add(1.month()),
        };
        let midnight = |date: Date| date.to_zoned(zone.clone()).map(|midnight| midnight.timestamp());
        let start = midnight(tag.date).map_or(at, |start| start.min(at));
        let end = next.and_then(midnight).ok().filter(|end| *end > at);
        Self { start, end: end.unwrap_or_else(|| later(at, SignedDuration::from_hours(24))), tag }
    }
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
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
        let span = Span::around(period, at(now), &berlin());
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
        let span = Span::around(Period::Daily, at("2026-03-08T12:00:00Z"), &havana);
        assert_eq!((span.start, span.end), (at("2026-03-08T05:00:00Z"), at("2026-03-09T04:00:00Z")));
        let samoa = TimeZone::get("Pacific/Apia").expect("tzdata");
        let span = Span::around(Period::Daily, at("2011-12-30T09:00:00Z"), &samoa);
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
            let span = Span::around(period, now, &zone);
            prop_assert!(span.start <= now && now < span.end);
            let next = Span::around(period, span.end, &zone);
            if period != Period::Hourly {
                prop_assert_eq!(next.start, span.end);
                prop_assert!(next.tag > span.tag);
                let last = span.end - 1.second();
                prop_assert_eq!(Span::around(period, last, &zone), span);
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
