//! Elections of leaders that somebody asks for.

use std::collections::BTreeMap;

use milena_client::{Client, Error, Target};
use milena_wire::elect_leaders::{ElectLeadersRequest, TopicPartitions};

use super::{CHANGE_TIMEOUT_MS, TopicPartition, by_topic, check};

/// Which replica is to lead. The discriminants are the protocol's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Election {
    /// The first of the assignment, if it is in sync.
    Preferred = 0,
    /// Any that lives, where no eligible one does: records may be lost.
    Unclean = 1,
}

/// The outcome of one partition: an error code (0 for done) and the broker's words.
pub type Elected = (i16, Option<String>);

/// Elects leaders of `partitions`, or of all that need it; what became of each.
pub async fn elect(
    client: &Client,
    election: Election,
    partitions: Option<&[TopicPartition]>,
) -> Result<BTreeMap<TopicPartition, Elected>, Error> {
    let named = partitions.map(|partitions| {
        by_topic(partitions.iter().map(|it| (it.clone(), ())))
            .into_iter()
            .map(|(topic, partitions)| TopicPartitions {
                topic: topic.into(),
                partitions: partitions.into_iter().map(|(index, ())| index).collect(),
            })
            .collect()
    });
    let request = ElectLeadersRequest {
        election_type: election as i8,
        topic_partitions: named,
        timeout_ms: CHANGE_TIMEOUT_MS,
    };
    let answer = client.send_to(Target::Controller, request).await?;
    check(|| "elect leaders".to_owned(), answer.error_code, None)?;
    let results = answer.replica_election_results.into_iter().flat_map(|topic| {
        let name = topic.topic;
        topic.partition_result.into_iter().map(move |it| {
            let words = it.error_message.map(|words| words.to_string());
            (TopicPartition::new(name.as_str(), it.partition_id), (it.error_code, words))
        })
    });
    Ok(results.collect())
}
