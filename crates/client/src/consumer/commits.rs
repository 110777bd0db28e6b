//! Committed offsets of a group.

use std::collections::BTreeMap;

use milena_wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use milena_wire::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse,
};

use super::membership::Membership;
use super::offsets::TopicPartition;
use crate::{Client, Error};

/// The last versions that name topics by name.
const COMMIT_BY_NAME: i16 = 9;
const FETCH_BY_NAME: i16 = 9;

impl Membership {
    /// Commits `offsets` as of this member and generation.
    pub(super) async fn commit(
        &self,
        client: &Client,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Result<(), Error> {
        if offsets.is_empty() {
            return Ok(());
        }
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for ((topic, partition_index), committed_offset) in offsets {
            topics.entry(topic).or_default().push(OffsetCommitRequestPartition {
                partition_index: *partition_index,
                committed_offset: *committed_offset,
                committed_metadata: Some(Default::default()),
                ..Default::default()
            });
        }
        let request = OffsetCommitRequest {
            group_id: self.options.group_id.as_str().into(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.member_id.as_str().into(),
            group_instance_id: self.instance_id(),
            topics: topics
                .into_iter()
                .map(|(name, partitions)| OffsetCommitRequestTopic {
                    name: name.into(),
                    partitions,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        let codes = |it: &milena_wire::offset_commit::OffsetCommitResponse| {
            let mut codes = it.topics.iter().flat_map(|topic| &topic.partitions).map(|it| it.error_code);
            codes.find(|code| *code != 0).unwrap_or(0)
        };
        let answer = client.send_retrying(self.target(), request, COMMIT_BY_NAME, codes).await?;
        match codes(&answer) {
            0 => Ok(()),
            code => Err(self.refused("commit offsets of", code)),
        }
    }

    /// Committed offsets of `partitions`; those without one are left out.
    pub(super) async fn committed(
        &self,
        client: &Client,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, i64>, Error> {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in partitions {
            topics.entry(topic).or_default().push(*partition);
        }
        let group = OffsetFetchRequestGroup {
            group_id: self.options.group_id.as_str().into(),
            member_id: None,
            member_epoch: -1,
            topics: Some(
                topics
                    .iter()
                    .map(|(name, indexes)| OffsetFetchRequestTopics {
                        name: (*name).into(),
                        partition_indexes: indexes.clone(),
                        ..Default::default()
                    })
                    .collect(),
            ),
        };
        let old_form = topics.into_iter().map(|(name, partition_indexes)| OffsetFetchRequestTopic {
            name: name.into(),
            partition_indexes,
        });
        let request = OffsetFetchRequest {
            group_id: self.options.group_id.as_str().into(),
            topics: Some(old_form.collect()),
            groups: vec![group],
            require_stable: true,
        };
        let answer = client.send_retrying(self.target(), request, FETCH_BY_NAME, offset_fetch_code).await?;
        match offset_fetch_code(&answer) {
            0 => Ok(offsets(&answer)),
            code => Err(self.refused("fetch committed offsets of", code)),
        }
    }
}

/// The first error code of an answer to OffsetFetch, in the form of versions up to 7 or in that of later ones; 0 if all is
/// well.
pub fn offset_fetch_code(answer: &OffsetFetchResponse) -> i16 {
    let old = answer.topics.iter().flat_map(|it| &it.partitions).map(|it| it.error_code);
    let new = answer.groups.iter().flat_map(|group| {
        let partitions = group.topics.iter().flat_map(|it| &it.partitions).map(|it| it.error_code);
        std::iter::once(group.error_code).chain(partitions)
    });
    std::iter::once(answer.error_code).chain(old).chain(new).find(|code| *code != 0).unwrap_or(0)
}

fn offsets(answer: &OffsetFetchResponse) -> BTreeMap<TopicPartition, i64> {
    let old = answer.topics.iter().flat_map(|topic| {
        let name = topic.name.to_string();
        topic.partitions.iter().map(move |it| ((name.clone(), it.partition_index), it.committed_offset))
    });
    let new = answer.groups.iter().flat_map(|group| &group.topics).flat_map(|topic| {
        let name = topic.name.to_string();
        topic.partitions.iter().map(move |it| ((name.clone(), it.partition_index), it.committed_offset))
    });
    old.chain(new).filter(|(_, offset)| *offset >= 0).collect()
}
