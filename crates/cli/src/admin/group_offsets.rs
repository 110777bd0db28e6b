//! What groups have committed: read, write, delete.

use std::collections::BTreeMap;

use milena_client::{Client, Error, Target};
use milena_wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use milena_wire::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use milena_wire::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse};

use super::{TopicPartition, by_topic, check};

/// Last version of OffsetFetch and OffsetCommit that names topics; later ones give ids.
const BY_NAME: i16 = 9;

/// A committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The next record to be consumed.
    pub offset: i64,
    /// Leader epoch of the last consumed record, if known.
    pub leader_epoch: Option<i32>,
}

/// Everything that `group` has committed.
pub async fn committed(client: &Client, group: &str) -> Result<BTreeMap<TopicPartition, Committed>, Error> {
    let request = OffsetFetchRequest {
        group_id: group.into(),
        topics: None,
        groups: vec![OffsetFetchRequestGroup { group_id: group.into(), topics: None, ..Default::default() }],
        require_stable: false,
    };
    let code_of = |it: &OffsetFetchResponse| it.groups.first().map_or(it.error_code, |it| it.error_code);
    let answer = client.send_retrying(Target::Group(group), request, BY_NAME, code_of).await?;
    check(|| format!("read the offsets of group {group}"), code_of(&answer), None)?;
    let new = answer.groups.into_iter().flat_map(|group| group.topics).flat_map(|topic| {
        let name = topic.name;
        topic.partitions.into_iter().map(move |it| {
            let partition = TopicPartition::new(name.as_str(), it.partition_index);
            (partition, it.error_code, it.committed_offset, it.committed_leader_epoch)
        })
    });
    let old = answer.topics.into_iter().flat_map(|topic| {
        let name = topic.name;
        topic.partitions.into_iter().map(move |it| {
            let partition = TopicPartition::new(name.as_str(), it.partition_index);
            (partition, it.error_code, it.committed_offset, it.committed_leader_epoch)
        })
    });
    let mut committed = BTreeMap::new();
    for (partition, code, offset, leader_epoch) in new.chain(old) {
        check(|| format!("read the offset of group {group} in {partition}"), code, None)?;
        if offset >= 0 {
            let leader_epoch = Some(leader_epoch).filter(|epoch| *epoch >= 0);
            committed.insert(partition, Committed { offset, leader_epoch });
        }
    }
    Ok(committed)
}

/// Commits offsets in the name of nobody: only a group without members takes them.
pub async fn commit(
    client: &Client,
    group: &str,
    offsets: &BTreeMap<TopicPartition, i64>,
) -> Result<(), Error> {
    if offsets.is_empty() {
        return Ok(());
    }
    let partition = |(index, offset): (i32, i64)| OffsetCommitRequestPartition {
        partition_index: index,
        committed_offset: offset,
        committed_leader_epoch: -1,
        committed_metadata: Some("".into()),
    };
    let topic = |(name, partitions): (String, Vec<(i32, i64)>)| OffsetCommitRequestTopic {
        name: name.into(),
        partitions: partitions.into_iter().map(partition).collect(),
        ..Default::default()
    };
    let offsets = offsets.iter().map(|(partition, offset)| (partition.clone(), *offset));
    let request = OffsetCommitRequest {
        group_id: group.into(),
        topics: by_topic(offsets).into_iter().map(topic).collect(),
        ..Default::default()
    };
    let code_of = |it: &milena_wire::offset_commit::OffsetCommitResponse| {
        let mut partitions = it.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.find(|it| it.error_code != 0).map_or(0, |it| it.error_code)
    };
    let answer = client.send_retrying(Target::Group(group), request, BY_NAME, code_of).await?;
    check(|| format!("commit offsets of group {group}"), code_of(&answer), None)
}

/// Deletes committed offsets. The outer error concerns the whole group, the inner ones a partition.
pub async fn delete(
    client: &Client,
    group: &str,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, Result<(), Error>>, Error> {
    let topic = |(name, partitions): (String, Vec<(i32, ())>)| OffsetDeleteRequestTopic {
        name: name.into(),
        partitions: partitions
            .into_iter()
            .map(|(index, ())| OffsetDeleteRequestPartition { partition_index: index })
            .collect(),
    };
    let request = OffsetDeleteRequest {
        group_id: group.into(),
        topics: by_topic(partitions.iter().map(|it| (it.clone(), ()))).into_iter().map(topic).collect(),
    };
    let code_of = |it: &milena_wire::offset_delete::OffsetDeleteResponse| it.error_code;
    let answer = client.send_retrying(Target::Group(group), request, i16::MAX, code_of).await?;
    check(|| format!("delete offsets of group {group}"), answer.error_code, None)?;
    let results = answer.topics.into_iter().flat_map(|topic| {
        let name = topic.name;
        topic.partitions.into_iter().map(move |it| {
            let partition = TopicPartition::new(name.as_str(), it.partition_index);
            let result = check(|| format!("delete the offset of {partition}"), it.error_code, None);
            (partition, result)
        })
    });
    Ok(results.collect())
}
