//! Who votes in the metadata quorum: changes, and what Kafka's tool shows of it.

use std::time::Duration;

use milena_client::{Client, Error, Target};
use milena_wire::add_raft_voter::{AddRaftVoterRequest, Listener as VoterListener};
use milena_wire::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, RequestPartitionData, RequestTopicData,
    ResponsePartitionData,
};
use milena_wire::remove_raft_voter::RemoveRaftVoterRequest;
use milena_wire::unregister_broker::UnregisterBrokerRequest;
use milena_wire::{Text, Uuid};

use super::check;

/// Name under which the metadata log is asked for.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// A node of the quorum: its id and the id of its data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoterKey {
    /// Its id.
    pub id: i32,
    /// Its data directory's id.
    pub directory: Uuid,
}

/// The quorum with its nodes, as the broker tells it.
pub async fn describe(client: &Client) -> Result<DescribeQuorumResponse, Error> {
    let request = DescribeQuorumRequest {
        topics: vec![RequestTopicData {
            topic_name: METADATA_TOPIC.into(),
            partitions: vec![RequestPartitionData::default()],
        }],
    };
    let answer = client.send_to(Target::Any, request).await?;
    check(|| "describe the quorum".to_owned(), answer.error_code, answer.error_message.as_deref())?;
    Ok(answer)
}

/// The metadata log's only partition in an answer.
pub fn partition(answer: &DescribeQuorumResponse) -> Option<&ResponsePartitionData> {
    answer.topics.iter().flat_map(|topic| &topic.partitions).next()
}

/// The directory id of a member of the quorum; `None` if there is no such member.
pub async fn directory(client: &Client, id: i32) -> Result<Option<Uuid>, Error> {
    let answer = describe(client).await?;
    let members = partition(&answer).map(|it| it.current_voters.iter().chain(&it.observers));
    let member = members.into_iter().flatten().find(|member| member.replica_id == id);
    Ok(member.map(|member| member.replica_directory_id))
}

/// Makes an observer a voter; answers when it is one.
pub async fn add(
    client: &Client,
    cluster_id: Option<String>,
    voter: VoterKey,
    listeners: Vec<VoterListener>,
    timeout: Duration,
) -> Result<(), Error> {
    let request = AddRaftVoterRequest {
        cluster_id: cluster_id.map(Text::from),
        timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
        voter_id: voter.id,
        voter_directory_id: voter.directory,
        listeners,
        ack_when_committed: true,
    };
    let answer = client.send_to(Target::Any, request).await?;
    check(|| format!("add voter {}", voter.id), answer.error_code, answer.error_message.as_deref())
}

/// Makes a voter an observer.
pub async fn remove(client: &Client, cluster_id: Option<String>, voter: VoterKey) -> Result<(), Error> {
    let request = RemoveRaftVoterRequest {
        cluster_id: cluster_id.map(Text::from),
        voter_id: voter.id,
        voter_directory_id: voter.directory,
    };
    let answer = client.send_to(Target::Any, request).await?;
    check(|| format!("remove voter {}", voter.id), answer.error_code, answer.error_message.as_deref())
}

/// Forgets a broker that will not come back.
pub async fn unregister(client: &Client, id: i32) -> Result<(), Error> {
    let answer = client.send_to(Target::Any, UnregisterBrokerRequest { broker_id: id }).await?;
    check(|| format!("unregister broker {id}"), answer.error_code, answer.error_message.as_deref())
}
