//! The clock of leases: it goes on while the machine sleeps, and nobody sets it.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Time since the machine started, suspended time included (CLOCK_BOOTTIME).
pub fn boottime() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.max(0) as u64, now.tv_nsec.max(0) as u32)
}
