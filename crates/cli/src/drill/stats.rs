//! Percentiles.

use serde::Serialize;

/// A sample in short, in the unit of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// How many values there were.
    pub count: usize,
    /// Half are at most this.
    pub p50: u64,
    /// All but one in a hundred are at most this.
    pub p99: u64,
    /// The greatest.
    pub max: u64,
}

impl Spread {
    /// That of `values`; `None` if there are none. Percentiles are values that occur (nearest rank).
    pub fn of(values: impl IntoIterator<Item = u64>) -> Option<Self> {
        let mut values: Vec<u64> = values.into_iter().collect();
        values.sort_unstable();
        let at = |percent: usize| values[(values.len() * percent).div_ceil(100).max(1) - 1];
        let max = *values.last()?;
        Some(Self { count: values.len(), p50: at(50), p99: at(99), max })
    }
}

/// Microseconds as people read them: `0.35 ms`, `12.3 ms`, `4.21 s`.
pub fn span(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{:.2} ms", micros as f64 / 1e3),
        10_000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occur() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([7]), Some(Spread { count: 1, p50: 7, p99: 7, max: 7 }));
        assert_eq!(Spread::of(1..=200), Some(Spread { count: 200, p50: 100, p99: 198, max: 200 }));
    }

    #[test]
    fn spans_are_readable() {
        for (micros, want) in [(350, "0.35 ms"), (12_345, "12.3 ms"), (4_210_000, "4.21 s")] {
            assert_eq!(span(micros), want);
        }
    }
}
