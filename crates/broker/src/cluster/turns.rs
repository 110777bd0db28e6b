//! What the applier does next.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Apply what is committed.
    Apply,
    /// Try partitions again that found no room.
    TryAgain,
}

/// Changes of the metadata, and beside them a clock that no change sets back.
pub(super) struct Turns<T> {
    changes: watch::Receiver<T>,
    look: Interval,
}

impl<T> Turns<T> {
    /// The first turn is to apply; another attempt is made each time that `every` is over.
    pub(super) fn new(mut changes: watch::Receiver<T>, every: Duration) -> Self {
        changes.mark_changed();
        let mut look = interval(every);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { changes, look }
    }

    /// The next; `None` if there will be no more changes.
    pub(super) async fn next(&mut self, waits_for_room: bool) -> Option<Turn> {
        tokio::select! {
            biased;
            // First, or a change that is always there already would leave it no turn.
            _ = self.look.tick(), if waits_for_room => Some(Turn::TryAgain),
            changed = self.changes.changed() => {
                changed.ok()?;
                self.changes.borrow_and_update();
                Some(Turn::Apply)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn partitions_without_room_have_their_turn_under_changes_that_never_end() {
        let (change, changes) = watch::channel(0);
        let mut turns = Turns::new(changes, Duration::from_millis(5));
        let (mut applied, mut tried) = (0, 0);
        let work = async {
            while applied < 3 || tried < 3 {
                change.send_modify(|number| *number += 1);
                match turns.next(true).await.expect("there are always changes") {
                    Turn::Apply => applied += 1,
                    Turn::TryAgain => tried += 1,
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), work).await.expect("the clock goes on");
    }

    #[tokio::test]
    async fn nothing_is_tried_again_where_nothing_waits() {
        let (change, changes) = watch::channel(0);
        let mut turns = Turns::new(changes, Duration::from_nanos(1));
        for number in 0..100 {
            change.send_replace(number);
            assert_eq!(turns.next(false).await, Some(Turn::Apply));
        }
        drop(change);
        assert_eq!(turns.next(false).await, None);
    }
}
