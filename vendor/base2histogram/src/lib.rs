//! Stands in for the crate of this name, on which openraft insists.
//!
//! openraft counts batch sizes in histograms that we never read. The real crate builds lookup
//! tables for all sixteen of its precisions on the first use of any: 26 MiB resident and several
//! milliseconds of every start, measured. This one has the same types as far as openraft uses
//! them, and counts nothing. Delete it when the real one builds only the table it needs.

use std::fmt;
use std::marker::PhantomData;

/// A histogram that forgets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram<T = ()>(PhantomData<T>);

impl<T> Histogram<T> {
    /// An empty one.
    pub fn new() -> Self {
        Histogram(PhantomData)
    }

    /// Does nothing.
    pub fn record(&mut self, _value: u64) {}

    /// Does nothing.
    pub fn record_n(&mut self, _value: u64, _count: u64) {}

    /// All zero.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats::default()
    }
}

/// What [`Histogram::percentile_stats`] would tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not counted")
    }
}

/// A chart of nothing.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart;

impl AsciiChart {
    /// An empty one.
    pub fn new() -> Self {
        AsciiChart
    }

    /// Does nothing.
    #[allow(clippy::should_implement_trait)]
    pub fn add(self, _name: impl Into<String>, _histogram: Histogram) -> Self {
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not counted")
    }
}
