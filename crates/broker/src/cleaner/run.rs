//! One cleaning of one partition, from the table of keys to the last swap.

use std::time::{Duration, Instant};

use milena_log::{Cleaning, CleaningError, CleaningOptions};
use milena_records::Offset;
use tracing::info;

use super::LogCleaner;
use super::choice::Candidate;
use crate::clock;
use crate::hosted::Hosted;

impl LogCleaner {
    /// Cleans a partition, as far as the table of keys reaches. False if the log changed meanwhile.
    pub(super) fn clean(&self, candidate: &Candidate, threads: usize) -> Result<bool, CleaningError> {
        let began = Instant::now();
        let hosted = &candidate.hosted;
        let options = self.options(hosted.delete_retention_ms(), threads);
        if let Some(flush) = hosted.flush_up_to(candidate.range.end) {
            flush?.run()?;
        }
        // On disk before the first gap is: above the recovery point a gap means that the power took batches.
        self.data_dir.try_checkpoint(&self.partitions.all())?;
        let begun = hosted.begin_cleaning(candidate.range, options);
        let Some(mut cleaning) = begun.transpose()? else { return Ok(false) };
        let end = match self.pass(hosted, &mut cleaning) {
            // Files that are gone or shorter because the log has changed are no fault.
            Err(CleaningError::Fault(_)) if !hosted.is_current(&cleaning) => {
                return Err(CleaningError::GivenUp);
            }
            end => end?,
        };
        cleaning.sync_names()?;
        hosted.cleaned(&cleaning, end);
        let (stats, took) = (cleaning.stats(), began.elapsed());
        self.meters.cleaned(&stats, took);
        self.data_dir.checkpoint_cleaner(&self.partitions.all());
        info!(
            topic = %hosted.topic,
            partition = hosted.index,
            from = %candidate.range.first_dirty,
            to = %end,
            keys = stats.keys,
            records = stats.records_before,
            records_kept = stats.records_after,
            records_without_key = stats.keyless,
            bytes = stats.bytes_before,
            bytes_kept = stats.bytes_after,
            mb_per_s = rate(stats.mapped_bytes + stats.bytes_before, took),
            elapsed_ms = took.as_millis() as u64,
            "cleaned"
        );
        Ok(true)
    }

    /// Both passes; returns where the clean section ends then.
    fn pass(&self, hosted: &Hosted, cleaning: &mut Cleaning) -> Result<Offset, CleaningError> {
        let mut pace = |bytes: u64| {
            let per_second = self.settings.broker().log_cleaner_io_max_bytes_per_second();
            let wait = self.throttle.spend(bytes, per_second, Instant::now());
            !hosted.is_closed()
                && !self.is_disk_full()
                && if wait.is_zero() { !self.is_stopping() } else { self.sleep(wait) }
        };
        let end = cleaning.map_keys(&mut pace)?;
        while let Some(group) = cleaning.next_group(&mut pace)? {
            if !hosted.swap_cleaned(group)? {
                return Err(CleaningError::GivenUp);
            }
        }
        Ok(end)
    }

    fn options(&self, delete_retention_ms: i64, threads: usize) -> CleaningOptions {
        let config = self.settings.broker();
        let share = |bytes: i64| usize::try_from(bytes).unwrap_or(usize::MAX) / threads.max(1);
        CleaningOptions {
            map_bytes: share(config.log_cleaner_dedupe_buffer_size()),
            load_factor: config.log_cleaner_io_buffer_load_factor(),
            // Half for reading, half for writing.
            io_bytes: share(config.log_cleaner_io_buffer_size().into()) / 2,
            delete_retention_ms,
            now_ms: clock::unix_ms(),
        }
    }
}

fn rate(bytes: u64, took: Duration) -> u64 {
    (bytes as f64 / took.as_secs_f64().max(1e-3) / 1e6) as u64
}
