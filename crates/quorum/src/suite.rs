//! openraft's own tests of a log and a state machine, run on ours.

use crate::candidacy::Candidacy;
use crate::disk::RealDisk;
use crate::id::{GroupId, NodeId};
use crate::log_store::{LogStore, QUEUED_KIB};
use crate::machine::{Changes, StateMachine};
use crate::state::{Amount, Applier, Keeper, KeeperSetup, KeptTree, StateStore};
use crate::types::Types;
use crate::wal::Wal;
use bytes::Bytes;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::{Semaphore, watch};

/// A state machine without state.
pub(crate) struct Nothing;

impl StateMachine for Nothing {
    fn restore(&mut self, pairs: &mut dyn Iterator<Item = (Bytes, Bytes)>) {
        assert_eq!(pairs.count(), 0);
    }

    fn apply(&mut self, _index: u64, _command: &Bytes, _changes: &mut Changes) -> Bytes {
        Bytes::new()
    }

    fn applied(&mut self, _index: u64) {}
}

struct Builder;

impl StoreBuilder<Types, LogStore, Applier, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, Applier), StorageError<Types>> {
        let dir = TempDir::new().unwrap();
        let disk = Arc::new(RealDisk::default());
        let group = GroupId::CLUSTER;
        let (wal, _) = Wal::open(disk.clone(), dir.path(), 4096).unwrap();
        let (state, _) =
            StateStore::open(disk.clone(), &dir.path().join("state"), wal.identity(), 1 << 20).unwrap();
        let (tree, applied) = state.group(group).unwrap();
        let keeper = Keeper::spawn(KeeperSetup {
            group,
            disk: disk.clone(),
            dir: dir.path().to_owned(),
            tree: KeptTree::new(tree, disk.clone(), applied),
            snapshot: None,
            snapshot_after: Amount { bytes: u64::MAX, entries: u64::MAX },
        });
        let queue = Arc::new(Semaphore::new(QUEUED_KIB));
        let log = LogStore::new(Arc::new(wal), group, queue, NodeId(1), Candidacy::new());
        let (told, _) = watch::channel(None);
        let keeper = Arc::new(keeper.unwrap());
        Ok((dir, log, Applier::new(Box::new(Nothing), disk, keeper, None, Default::default(), told)))
    }
}

#[tokio::test]
async fn openraft_suite_passes() {
    Suite::test_all(Builder).await.unwrap();
}
