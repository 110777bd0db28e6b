//! What the cluster says of itself: brokers, controller, leaders, in-sync replicas.

use std::time::{Duration, Instant};

use milena_client::{Client, ClientOptions, Error, Target, Topic};
use milena_wire::describe_quorum::{
    DescribeQuorumRequest, RequestPartitionData as PartitionData, RequestTopicData as TopicData,
};

use crate::failure::{Failure, Outcome};

/// Pause between two looks at something that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Pause between two looks at a cluster that is left alone.
const LOOK_OVER: Duration = Duration::from_millis(250);

/// Options of a client that asks short questions, and has them answered soon or asks another broker.
pub fn curious() -> ClientOptions {
    ClientOptions {
        client_id: "milena-drill".into(),
        connect_timeout: Duration::from_millis(500),
        request_timeout: Duration::from_secs(2),
        deadline: Duration::from_secs(60),
        retry_backoff: LOOK_AGAIN,
        retry_backoff_max: Duration::from_millis(200),
        ..ClientOptions::default()
    }
}

/// Waits until `count` brokers are in the metadata, and returns a client.
pub async fn wait_for_brokers(bootstrap: &[String], count: usize, patience: Duration) -> Outcome<Client> {
    let began = Instant::now();
    let mut last = String::from("nobody has answered");
    while began.elapsed() < patience {
        match Client::connect(bootstrap, curious()).await {
            Ok(client) if client.metadata().brokers.len() >= count => return Ok(client),
            Ok(client) => last = format!("there are {} brokers", client.metadata().brokers.len()),
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Err(Failure::new(format!("the cluster was not there within {} s: {last}", patience.as_secs())))
}

/// The leader of the metadata quorum. A broker of Apache Kafka names any broker as the controller in its other
/// answers, so this is the only one that says.
pub async fn controller(client: &Client) -> Result<i32, Error> {
    Ok(quorum(client).await?.0)
}

/// The leader of the metadata quorum and its term, -1 where nobody tells.
async fn quorum(client: &Client) -> Result<(i32, i32), Error> {
    let partition = PartitionData { partition_index: 0 };
    let topic = TopicData { topic_name: "__cluster_metadata".into(), partitions: vec![partition] };
    let request = DescribeQuorumRequest { topics: vec![topic] };
    let answer = match client.send_to(Target::Any, request).await {
        Err(Error::NoCommonVersion { .. }) => None,
        answer => answer?.topics.into_iter().next().and_then(|it| it.partitions.into_iter().next()),
    };
    match answer.filter(|it| it.error_code == 0 && it.leader_id >= 0) {
        Some(it) => Ok((it.leader_id, it.leader_epoch)),
        None => {
            let metadata = client.refresh(&[]).await?;
            let controller = metadata.controller;
            Ok((controller.ok_or_else(|| Error::refused("find the controller", 8, None))?, -1))
        }
    }
}

/// Watches for so long, and says what changed: leaderships, ISRs, the controller. A broker that was fenced shows, if
/// it led something: its leadership has another number even if it has come back since.
pub async fn disturbances(client: &Client, name: &str, lasts: Duration) -> Outcome<Vec<String>> {
    let began = Instant::now();
    let mut found = Vec::new();
    let mut last = (quorum(client).await?, topic(client, name).await?);
    loop {
        let left = lasts.saturating_sub(began.elapsed());
        let is_over = left.is_zero();
        tokio::time::sleep(LOOK_OVER.min(left)).await;
        let now = (quorum(client).await?, topic(client, name).await?);
        let at = began.elapsed().as_secs();
        if now.0 != last.0 {
            found.push(format!("{at} s: controller {} of term {}, before {:?}", now.0.0, now.0.1, last.0));
        }
        for (now, before) in now.1.partitions.iter().zip(&last.1.partitions) {
            let partition = now.index;
            if (now.leader, now.leader_epoch) != (before.leader, before.leader_epoch) {
                let (was, is) = ((before.leader, before.leader_epoch), (now.leader, now.leader_epoch));
                found.push(format!("{at} s: partition {partition}: leader and epoch {is:?}, before {was:?}"));
            }
            let (was, is) = (sorted(&before.in_sync_replicas), sorted(&now.in_sync_replicas));
            if was != is {
                found.push(format!("{at} s: partition {partition}: in sync {is:?}, before {was:?}"));
            }
        }
        last = now;
        if is_over {
            return Ok(found);
        }
    }
}

fn sorted(ids: &[i32]) -> Vec<i32> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

/// A topic as some broker sees it now.
pub async fn topic(client: &Client, name: &str) -> Outcome<std::sync::Arc<Topic>> {
    let metadata = client.refresh(&[name]).await?;
    metadata.topic(name).cloned().ok_or_else(|| Failure::new(format!("topic {name} is not there")))
}

/// Waits until `holds` of the topic; returns whether it came to hold. Answers that do not come are waited for.
pub async fn wait_for_topic(
    client: &Client,
    name: &str,
    patience: Duration,
    holds: impl Fn(&Topic) -> bool,
) -> bool {
    let began = Instant::now();
    while began.elapsed() < patience {
        if topic(client, name).await.is_ok_and(|it| holds(&it)) {
            return true;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    false
}

/// Whether every replica of every partition is in sync.
pub fn is_whole(topic: &Topic) -> bool {
    topic.is_led() && topic.partitions.iter().all(|it| it.in_sync_replicas.len() == it.replicas.len())
}
