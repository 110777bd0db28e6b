//! Where to start or to seek to: the small language of `--offset` and `--to`.

use std::fmt;
use std::str::FromStr;

use crate::time;

/// A position in a partition, given relative to what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The log start offset.
    Start,
    /// The log end offset: only what is written from now on.
    End,
    /// This many records after the start.
    AfterStart(i64),
    /// This many records before the end.
    BeforeEnd(i64),
    /// The first record that is not older than this, in milliseconds since 1970.
    Timestamp(i64),
    /// Exactly this offset.
    Exact(i64),
}

impl OffsetSpec {
    /// The offset meant, in a partition that starts at `start` and ends at `end`; inside those bounds.
    ///
    /// `None` for [`OffsetSpec::Timestamp`], which only the broker can answer.
    pub fn resolve(self, start: i64, end: i64) -> Option<i64> {
        let offset = match self {
            OffsetSpec::Start => start,
            OffsetSpec::End => end,
            OffsetSpec::AfterStart(count) => start.saturating_add(count),
            OffsetSpec::BeforeEnd(count) => end.saturating_sub(count),
            OffsetSpec::Exact(offset) => offset,
            OffsetSpec::Timestamp(_) => return None,
        };
        Some(offset.clamp(start, end))
    }
}

impl FromStr for OffsetSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let count = |digits: &str| digits.parse::<i64>().ok().filter(|count| *count >= 0);
        let spec = match text {
            "start" | "earliest" | "beginning" => Some(OffsetSpec::Start),
            "end" | "latest" => Some(OffsetSpec::End),
            _ => match text.split_at_checked(1) {
                Some(("+", digits)) => count(digits).map(OffsetSpec::AfterStart),
                Some(("-", digits)) => count(digits).map(OffsetSpec::BeforeEnd),
                Some(("@", instant)) => {
                    time::parse_instant(instant, time::now_ms()).ok().map(OffsetSpec::Timestamp)
                }
                _ => count(text).map(OffsetSpec::Exact),
            },
        };
        spec.ok_or_else(|| {
            format!("'{text}' is no offset: write start, end, 42, +10 (after the start), -10 (before the end), @-1h or @2026-01-31T12:00:00Z")
        })
    }
}

impl fmt::Display for OffsetSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OffsetSpec::Start => f.write_str("start"),
            OffsetSpec::End => f.write_str("end"),
            OffsetSpec::AfterStart(count) => write!(f, "+{count}"),
            OffsetSpec::BeforeEnd(count) => write!(f, "-{count}"),
            OffsetSpec::Timestamp(at) => write!(f, "@{at}"),
            OffsetSpec::Exact(offset) => write!(f, "{offset}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notation() {
        for (text, want) in [
            ("start", Some(OffsetSpec::Start)),
            ("earliest", Some(OffsetSpec::Start)),
            ("end", Some(OffsetSpec::End)),
            ("+3", Some(OffsetSpec::AfterStart(3))),
            ("-3", Some(OffsetSpec::BeforeEnd(3))),
            ("42", Some(OffsetSpec::Exact(42))),
            ("@1700000000000", Some(OffsetSpec::Timestamp(1_700_000_000_000))),
            ("", None),
            ("--3", None),
            ("@", None),
            ("first", None),
        ] {
            assert_eq!(text.parse::<OffsetSpec>().ok(), want, "{text}");
        }
    }

    #[test]
    fn offsets_stay_inside_the_log() {
        for (spec, want) in [
            (OffsetSpec::Start, Some(10)),
            (OffsetSpec::End, Some(20)),
            (OffsetSpec::AfterStart(4), Some(14)),
            (OffsetSpec::AfterStart(i64::MAX), Some(20)),
            (OffsetSpec::BeforeEnd(4), Some(16)),
            (OffsetSpec::BeforeEnd(400), Some(10)),
            (OffsetSpec::Exact(15), Some(15)),
            (OffsetSpec::Exact(3), Some(10)),
            (OffsetSpec::Timestamp(1), None),
        ] {
            assert_eq!(spec.resolve(10, 20), want, "{spec}");
        }
    }
}
