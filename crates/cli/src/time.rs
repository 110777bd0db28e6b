//! Points in time and spans of it, as people type them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, civil};

use crate::failure::{Failure, Outcome};

/// Milliseconds since 1970, now.
pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// A timestamp of a record in RFC 3339, UTC, to the millisecond; empty for "none" (-1).
pub fn rfc3339(timestamp_ms: i64) -> String {
    match Timestamp::from_millisecond(timestamp_ms) {
        Ok(at) if timestamp_ms >= 0 => format!("{at:.3}"),
        _ => String::new(),
    }
}

/// Parses a point in time into milliseconds since 1970.
///
/// Milliseconds (13 digits) or seconds (10 digits), RFC 3339, a date or date and time in UTC, or a
/// span before now such as `-1h30m`.
pub fn parse_instant(text: &str, now_ms: i64) -> Outcome<i64> {
    if let Some(span) = text.strip_prefix('-')
        && let Ok(span) = parse_span(span)
    {
        return Ok(now_ms - span.as_millis() as i64);
    }
    if let Ok(number) = text.parse::<i64>() {
        // Seconds until the year 2286 have at most ten digits; milliseconds since 2001 have 13.
        return Ok(if text.len() <= 10 { number * 1000 } else { number });
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at.as_millisecond());
    }
    let civil = text.parse::<civil::DateTime>().ok();
    civil
        .and_then(|at| at.to_zoned(jiff::tz::TimeZone::UTC).ok())
        .map(|at| at.timestamp().as_millisecond())
        .ok_or_else(|| {
            Failure::new(format!("'{text}' is no point in time"))
                .hint("write 2026-01-31T12:00:00Z, milliseconds since 1970, or a span before now such as -1h")
        })
}

/// Parses a span such as `500ms`, `10s`, `1h30m`, `7d`.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is no span of time: write 500ms, 10s, 1h30m or 7d");
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    if let Some(days) = days {
        return Ok(Duration::from_secs(days.checked_mul(86_400).ok_or_else(wrong)?));
    }
    let span: SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(span).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_in_every_notation() {
        let now = 1_800_000_000_000;
        for (text, want) in [
            ("1700000000", Some(1_700_000_000_000)),
            ("1700000000123", Some(1_700_000_000_123)),
            ("2023-11-14T22:13:20Z", Some(1_700_000_000_000)),
            ("2023-11-14T23:13:20.5+01:00", Some(1_700_000_000_500)),
            ("2023-11-14T22:13:20", Some(1_700_000_000_000)),
            ("2023-11-14", Some(1_699_920_000_000)),
            ("-1h", Some(now - 3_600_000)),
            ("-1h30m", Some(now - 5_400_000)),
            ("-2d", Some(now - 172_800_000)),
            ("yesterday", None),
        ] {
            assert_eq!(parse_instant(text, now).ok(), want, "{text}");
        }
    }

    #[test]
    fn spans_are_positive() {
        assert_eq!(parse_span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_span("7d"), Ok(Duration::from_secs(604_800)));
        assert!(parse_span("-3s").is_err());
        assert!(parse_span("soon").is_err());
    }

    #[test]
    fn record_timestamps_print_to_the_millisecond() {
        assert_eq!(rfc3339(1_700_000_000_005), "2023-11-14T22:13:20.005Z");
        assert_eq!(rfc3339(-1), "");
    }
}
