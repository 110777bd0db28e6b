//! Snapshot files: what is written is read, what is damaged is refused.

use super::snapshot::{IncomingSnapshot, SnapshotFile};
use crate::disk::Disk;
use crate::id::GroupId;
use crate::sim_disk::SimDisk;
use crate::types::{SnapshotMeta, log_id};
use bytes::Bytes;
use proptest::prelude::*;
use std::io;
use std::path::Path;
use std::sync::Arc;

const DIR: &str = "/raft";
const GROUP: GroupId = GroupId::CLUSTER;

type Pairs = Vec<(Bytes, Bytes)>;

fn write(disk: &SimDisk, pairs: &Pairs) -> SnapshotFile {
    let meta = SnapshotMeta { last_log_id: Some(log_id(3, 14)), ..SnapshotMeta::default() };
    SnapshotFile::write(disk, Path::new(DIR), GROUP, meta, pairs.iter().cloned().map(Ok)).unwrap()
}

fn read(disk: &SimDisk) -> io::Result<(SnapshotMeta, Pairs)> {
    let file = SnapshotFile::open(disk, &SnapshotFile::path(Path::new(DIR), GROUP), GROUP)?;
    let pairs = file.pairs()?.collect::<io::Result<Pairs>>()?;
    Ok((file.meta, pairs))
}

fn pairs() -> impl Strategy<Value = Pairs> {
    let bytes = |max| prop::collection::vec(any::<u8>(), 0..max).prop_map(Bytes::from);
    prop::collection::vec((bytes(30), bytes(200_000)), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn snapshot_is_read_as_it_was_written_also_after_power_loss(pairs in pairs()) {
        let disk = SimDisk::default();
        let written = write(&disk, &pairs);
        let (meta, found) = read(&disk.after_power_loss(|| false)).unwrap();
        prop_assert_eq!((&meta, &found), (&written.meta, &pairs));
    }

    #[test]
    fn damaged_or_shortened_snapshot_is_refused(pairs in pairs(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let disk = SimDisk::default();
        let written = write(&disk, &pairs);
        let path = written.path.clone();
        let whole = disk.contents(&path);
        let at = at.index(whole.len());
        disk.flip(&path, at, bit);
        prop_assert!(read(&disk).is_err(), "bit {} of byte {}", bit, at);
        disk.overwrite(&path, whole[..at].to_vec());
        prop_assert!(read(&disk).is_err(), "cut at {}", at);
    }

    #[test]
    fn arbitrary_bytes_are_no_snapshot_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let disk = SimDisk::default();
        let path = write(&disk, &Pairs::new()).path;
        disk.overwrite(&path, bytes);
        prop_assert!(read(&disk).is_err());
    }
}

#[test]
fn incoming_snapshot_must_have_the_announced_length_and_leaves_nothing_otherwise() {
    let disk = SimDisk::default();
    let sent = write(&disk, &vec![(Bytes::from("key"), Bytes::from("value"))]);
    let bytes = sent.read(0, usize::MAX).unwrap();
    let receive = |expected: u64, bytes: &[u8]| {
        let mut file = IncomingSnapshot::create(Arc::new(disk.clone()), Path::new(DIR), GROUP, 7, expected)?;
        file.write(bytes)?;
        file.finish()
    };
    for (expected, got) in
        [(sent.len, &bytes[..bytes.len() - 1]), (sent.len - 1, &bytes[..]), (sent.len + 1, &bytes)]
    {
        let refused = receive(expected, got).map(drop);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(disk.list(Path::new(DIR)).unwrap(), std::slice::from_ref(&sent.path));
    }
    assert_eq!(receive(sent.len, &bytes).unwrap().meta, sent.meta);
}
