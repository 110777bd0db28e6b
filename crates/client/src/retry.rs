//! Trying again: how long to pause, and when to stop.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::{ClientOptions, Error};

/// The tries of one call.
pub(crate) struct Retry {
    started: Instant,
    deadline: Duration,
    pause: Duration,
    longest_pause: Duration,
}

impl Retry {
    pub(crate) fn new(options: &ClientOptions) -> Self {
        Self {
            started: Instant::now(),
            deadline: options.deadline,
            pause: options.retry_backoff,
            longest_pause: options.retry_backoff_max,
        }
    }

    /// Pauses before the next try, or ends the call: with the error itself if trying again is no use, with
    /// the deadline if the next try would begin after it.
    pub(crate) async fn pause_after(&mut self, error: Error) -> Result<(), Error> {
        if !error.is_retriable() {
            return Err(error);
        }
        let end = self.started + self.deadline;
        let next = Instant::now() + self.pause;
        if next >= end {
            return Err(match error {
                Error::DeadlinePassed { .. } => error,
                error => Error::DeadlinePassed { after: self.deadline, last: Box::new(error) },
            });
        }
        self.pause = (self.pause * 2).min(self.longest_pause);
        sleep_until(next).await;
        Ok(())
    }
}
