//! Dates and times of day.

/// Seconds of a date and time, or a time of day, as ISO 8601 writes them; without a zone, from an arbitrary beginning.
pub fn seconds(text: &str) -> Option<f64> {
    let text = text.trim();
    // Any time has one of these.
    if !text.contains(':') {
        return None;
    }
    let whole = |seconds: i64, nanoseconds: i32| Some(seconds as f64 + f64::from(nanoseconds) * 1e-9);
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return whole(at.as_second(), at.subsec_nanosecond());
    }
    if let Ok(at) = text.parse::<jiff::civil::DateTime>() {
        let at = at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
        return whole(at.as_second(), at.subsec_nanosecond());
    }
    let at = text.parse::<jiff::civil::Time>().ok()?;
    let minutes = i64::from(at.hour()) * 60 + i64::from(at.minute());
    whole(minutes * 60 + i64::from(at.second()), at.subsec_nanosecond())
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn dates_with_and_without_zone_and_times_of_day() {
        let near = |text: &str, wanted: f64| assert!((seconds(text).unwrap() - wanted).abs() < 1e-6, "{text}");
        near("1970-01-01T00:00:01.5Z", 1.5);
        near("1970-01-01T01:00:01.02+01:00", 1.02);
        near("1970-01-02 00:00:00.250", 86400.25);
        near("00:01:02.5", 62.5);
        for text in ["", "1.5", "12", "25:00:00", "noon"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
