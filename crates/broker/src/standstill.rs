//! What a broker does while its disk stands still: tells the controller, gives up what it leads in Raft, and sends
//! its clients away once others lead its partitions. Specification: replication notes 6.4, test id D8.
//!
//! All of it runs on the control runtime and none of it touches the disk. Whether the disk stands still is
//! `milena_disk`'s to say; that the broker is fenced for it, the controller's.

use std::sync::Arc;
use std::time::Duration;

use milena_disk::{STUCK, Watch};
use milena_peer::liveness::Verdict;
use milena_quorum::{GroupHandle, NodeId};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::data_dir::DataDir;
use crate::departure;
use crate::doors::Doors;
use crate::liveness::Liveness;

/// Between two looks at the lease.
const PAUSE: Duration = Duration::from_millis(50);
/// Between two attempts to give up a leadership. The one before may have worked: to hear of it may take the disk.
const RETRY: Duration = Duration::from_millis(500);

/// For how long the disk stands still, now and later.
pub(crate) struct Standstill {
    /// Kept for its thread.
    _watch: Watch,
    still: watch::Receiver<Duration>,
}

impl Standstill {
    /// Begins to watch the disk.
    pub(crate) fn watch(data_dir: &DataDir) -> std::io::Result<Self> {
        let (told, still) = watch::channel(Duration::ZERO);
        let root = data_dir.root().display().to_string();
        let report = move |now: Duration| {
            let before = told.send_replace(now);
            if before < STUCK && now >= STUCK {
                warn!(dir = root, "the disk is stuck: a write or flush does not end, and nothing else moves");
            } else if before >= STUCK && now.is_zero() {
                info!(dir = root, stuck_ms = before.as_millis() as u64, "the disk moves again");
            }
        };
        let begin = milena_peer::liveness::urgent;
        let watch = milena_disk::watch(data_dir.health(), data_dir.root(), begin, report)?;
        Ok(Self { _watch: watch, still })
    }

    /// Does what is to be done on `control` until `shutdown`.
    pub(crate) fn follow(
        &self,
        liveness: &Liveness,
        groups: [&GroupHandle; 2],
        doors: &Arc<Doors>,
        shutdown: &CancellationToken,
        control: &Handle,
    ) {
        let run = |shutdown: &CancellationToken| shutdown.clone();
        let saying = say(liveness.clone(), self.still.clone());
        let stop = run(shutdown);
        control.spawn(async move { stop.run_until_cancelled(saying).await });
        let sending = send_away(liveness.clone(), Arc::clone(doors), self.still.clone());
        let stop = run(shutdown);
        control.spawn(async move { stop.run_until_cancelled(sending).await });
        for group in groups {
            let giving = give_up(group.clone(), liveness.clone(), self.still.clone());
            let stop = run(shutdown);
            control.spawn(async move { stop.run_until_cancelled(giving).await });
        }
    }
}

/// Tells the others, in steps: every beat of a standstill would else be news to all of them.
async fn say(liveness: Liveness, mut still: watch::Receiver<Duration>) {
    loop {
        let now = *still.borrow_and_update();
        liveness.stands_still(in_steps(now));
        if still.changed().await.is_err() {
            return;
        }
    }
}

/// Milliseconds, by tenths of a second up to one, then by seconds.
fn in_steps(still: Duration) -> u32 {
    let ms = u32::try_from(still.as_millis()).unwrap_or(u32::MAX);
    ms - ms % if ms < 1_000 { 100 } else { 1_000 }
}

/// Has others lead a Raft group: each entry would wait for this disk, were there only two members left.
async fn give_up(group: GroupHandle, liveness: Liveness, mut still: watch::Receiver<Duration>) {
    loop {
        if still.wait_for(|now| *now >= STUCK).await.is_err() {
            return;
        }
        if group.leader().borrow().is_self {
            info!(group = %group.id(), "giving up the leadership: the disk is stuck");
            let peers = liveness.peers();
            let is_fit = |id: NodeId| {
                let peers = peers.borrow();
                peers.get(&id).is_some_and(|it| it.verdict == Verdict::Alive && it.saying.disk_still_ms == 0)
            };
            departure::transfer(&group, is_fit).await;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Closes the doors while the disk is stuck and somebody else may lead: this broker's lease has ended.
async fn send_away(liveness: Liveness, doors: Arc<Doors>, mut still: watch::Receiver<Duration>) {
    loop {
        if still.wait_for(|now| *now >= STUCK).await.is_err() {
            return;
        }
        while *still.borrow_and_update() >= STUCK {
            if !liveness.lease().holds() {
                let sent = doors.close(true);
                if sent > 0 {
                    info!(connections = sent, "clients are sent to other brokers while the disk is stuck");
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        doors.close(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standstill_is_told_in_steps_that_keep_what_is_decided_by_it() {
        let told = [0, 99, 100, 299, 300, 999, 1_000, 2_999].map(|ms| in_steps(Duration::from_millis(ms)));
        assert_eq!(told, [0, 0, 100, 200, 300, 900, 1_000, 2_000]);
    }
}
