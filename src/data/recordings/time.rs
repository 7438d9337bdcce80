//! Dates and times of day.

use jiff::civil::{Date, DateTime, Time};

/// Why a text is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTime {
    /// It is written in no way that is understood.
    Unknown,
    /// Nothing so far tells which of its numbers is the day and which the month.
    DayOrMonth,
}

/// Dates and times of one column. What is unambiguous once (`31/03/2024`) tells how all of it is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dates {
    day_first: Option<bool>,
}

impl Dates {
    /// Seconds of a date and time, or of a time of day: as ISO 8601 writes them, `31.03.2024 12:00:00`, and with slashes
    /// (`03/31/2024 12:00:00`, `3/31/2024 1:05:00 PM`). Without a zone, from an arbitrary beginning.
    pub fn seconds(&mut self, text: &str) -> Result<f64, NoTime> {
        let text = text.trim();
        // Any time has one of these.
        if !text.contains(':') {
            return Err(NoTime::Unknown);
        }
        if let Ok(at) = text.parse::<jiff::Timestamp>() {
            return Ok(at.as_second() as f64 + f64::from(at.subsec_nanosecond()) * 1e-9);
        }
        if let Ok(at) = text.parse::<DateTime>() {
            return since_1970(at);
        }
        if let Some(at) = clock(text) {
            return Ok(of_day(at));
        }
        let (date, time) = text.split_once(' ').ok_or(NoTime::Unknown)?;
        let time = clock(time).ok_or(NoTime::Unknown)?;
        since_1970(self.date(date)?.to_datetime(time))
    }

    /// A date whose year stands last.
    fn date(&mut self, text: &str) -> Result<Date, NoTime> {
        let by_dots = text.contains('.');
        let parts: Vec<i16> = text.split(['.', '/', '-']).map_while(|part| part.parse().ok()).collect();
        let [first, second, year] = parts[..] else { return Err(NoTime::Unknown) };
        let day_first = match (first, second) {
            _ if by_dots => Some(true),
            (13.., _) => Some(true),
            (_, 13..) => Some(false),
            _ => self.day_first,
        };
        let day_first = match day_first {
            Some(known) => *self.day_first.insert(known),
            None if first == second => true,
            None => return Err(NoTime::DayOrMonth),
        };
        let (day, month) = if day_first { (first, second) } else { (second, first) };
        let year = if (0..100).contains(&year) { 2000 + year } else { year };
        let small = |number: i16| i8::try_from(number).map_err(|_| NoTime::Unknown);
        Date::new(year, small(month)?, small(day)?).map_err(|_| NoTime::Unknown)
    }
}

/// Whether a text is a time, be it that not all of it is understood.
pub fn is_time(text: &str) -> bool {
    Dates::default().seconds(text) != Err(NoTime::Unknown)
}

/// A time of day, in twelve or in twenty-four hours.
fn clock(text: &str) -> Option<Time> {
    let text = text.trim();
    let twelve = |format: &str| Time::strptime(format, text).ok();
    text.parse::<Time>().ok().or_else(|| twelve("%I:%M:%S%.f %p")).or_else(|| twelve("%I:%M %p")).or_else(|| {
        // An hour of one digit.
        text.find(':').filter(|&colon| colon == 1).and_then(|_| format!("0{text}").parse().ok())
    })
}

fn of_day(at: Time) -> f64 {
    let minutes = i32::from(at.hour()) * 60 + i32::from(at.minute());
    f64::from(minutes * 60 + i32::from(at.second())) + f64::from(at.subsec_nanosecond()) * 1e-9
}

fn since_1970(at: DateTime) -> Result<f64, NoTime> {
    let at = at.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| NoTime::Unknown)?.timestamp();
    Ok(at.as_second() as f64 + f64::from(at.subsec_nanosecond()) * 1e-9)
}

#[cfg(test)]
mod tests {
    use super::{Dates, NoTime};

    #[test]
    fn dates_with_and_without_zone_and_times_of_day() {
        let near = |text: &str, wanted: f64| {
            let seconds = Dates::default().seconds(text).unwrap_or_else(|problem| panic!("{text}: {problem:?}"));
            assert!((seconds - wanted).abs() < 1e-6, "{text}: {seconds}");
        };
        near("1970-01-01T00:00:01.5Z", 1.5);
        near("1970-01-01T01:00:01.02+01:00", 1.02);
        near("1970-01-02 00:00:00.250", 86400.25);
        near("00:01:02.5", 62.5);
        near("13.01.1970 00:00:01,5", 12.0 * 86400.0 + 1.5);
        near("2.1.1970 0:00:01", 86401.0);
        near("13/01/1970 00:00:00", 12.0 * 86400.0);
        near("01/13/1970 1:00:00 PM", 12.0 * 86400.0 + 13.0 * 3600.0);
        near("1/13/1970 12:00 AM", 12.0 * 86400.0);
        for text in ["", "1.5", "12", "25:00:00", "noon", "31.02.2024 10:00:00", "13/13/2024 10:00:00"] {
            assert_eq!(Dates::default().seconds(text), Err(NoTime::Unknown), "{text}");
        }
    }

    #[test]
    fn what_is_unambiguous_once_tells_how_the_rest_is_written() {
        let mut dates = Dates::default();
        assert_eq!(dates.seconds("03/04/2024 10:00:00"), Err(NoTime::DayOrMonth));
        let last = dates.seconds("03/31/2024 23:59:59").unwrap();
        assert_eq!(dates.seconds("04/01/2024 00:00:00"), Ok(last + 1.0));
    }
}
