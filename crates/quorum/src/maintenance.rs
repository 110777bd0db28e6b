//! Decides when a group is snapshot and how much of its log is purged.

use crate::id::GroupId;
use crate::types::Raft;
use crate::wal::Wal;
use std::sync::Arc;
use tokio::sync::watch;

/// When the log may be cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Entries kept below the newest snapshot, for followers that are a little behind.
    pub keep_entries: u64,
    /// Segments a group may hold; one that holds more is snapshot, however few its entries are,
    /// as all groups share the segments.
    pub max_segments: u32,
}

/// Tends a group until it stops.
pub(crate) async fn tend(
    group: GroupId,
    raft: Raft,
    wal: Arc<Wal>,
    mut snapshot_due: watch::Receiver<bool>,
    rules: Rules,
) {
    let mut segments = wal.segment_watch();
    // What the core knows of, which is a moment behind the keeper: until then it would neither
    // purge below the new snapshot nor begin another.
    let mut snapshots = raft.watch_snapshot_progress();
    let mut purged_for = None;
    loop {
        let due = *snapshot_due.borrow_and_update();
        let crowded = wal.segments_held(group.0) > rules.max_segments;
        let snapshot_at = snapshots.get().map(|at| at.index());
        let keep = if crowded { 0 } else { rules.keep_entries };
        let purge_to = snapshot_at.and_then(|at| at.checked_sub(keep));
        if let Some(upto) = purge_to
            && purged_for < purge_to
        {
            purged_for = purge_to;
            if raft.trigger().purge_log(upto).await.is_err() {
                return;
            }
        }
        if (due || crowded) && raft.trigger().snapshot().await.is_err() {
            return;
        }
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() { return },
            changed = snapshot_due.changed() => if changed.is_err() { return },
            changed = segments.changed() => if changed.is_err() { return },
        }
    }
}
