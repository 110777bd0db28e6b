//! The topic settings that a log obeys; a typed view that the owner fills from the configuration table.

/// Settings of one log. Logs of a topic share one value; names are Kafka's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is closed before it would exceed this many bytes.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment is closed when the times of its first and of the next batch are further apart.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: at most this much is taken off `segment_ms`, differently for each segment.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: a segment is closed when one of its indexes would exceed this.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: an index entry is added after about this many bytes of batches.
    pub index_interval_bytes: u32,
    /// `retention.ms`, -1 for ever.
    pub retention_ms: i64,
    /// `retention.bytes`, -1 without bound.
    pub retention_bytes: i64,
    /// `file.delete.delay.ms`: how long a removed segment stays on disk as `.deleted`.
    pub file_delete_delay_ms: i64,
    /// `preallocate`: a new segment's whole size is reserved on disk, and what is left of it given back when it is closed.
    pub preallocate: bool,
    /// Whether `cleanup.policy` has `delete`; without it neither time nor size removes segments.
    pub delete: bool,
}

impl Default for LogConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: 7 * 24 * 3_600_000,
            retention_bytes: -1,
            file_delete_delay_ms: 60_000,
            preallocate: false,
            delete: true,
        }
    }
}
