//! A group without members whose offsets are committed, and asked for, again and again.

use std::sync::Arc;
use std::time::Duration;

use milena_check::{Commit, Event, FetchedCommit, Outcome};
use milena_client::{Client, Error, Target, offset_fetch_code};
use milena_wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use milena_wire::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use tokio::sync::watch;
use tokio::time::sleep;

use super::load::Shape;
use super::record::name;
use super::recorder::Recorder;

/// Pause between two commits, and between two questions for the committed offset.
const COMMIT_PAUSE: Duration = Duration::from_millis(5);
/// The last versions that name topics by name.
const COMMIT_BY_NAME: i16 = 9;
const FETCH_BY_NAME: i16 = 9;

/// What became of a commit.
pub fn outcome(result: &Result<(), Error>) -> Outcome {
    match result {
        Ok(()) => Outcome::Acked { offset: None, broker: None },
        Err(error) => Outcome::Unknown { why: error.name().into() },
    }
}

/// Commits ascending offsets for a group without members, each when the one before is answered.
pub async fn commit(client: Client, shape: Shape, recorder: Arc<Recorder>, signal: watch::Receiver<bool>) {
    let group = committers_group(&shape.topic);
    for offset in 1.. {
        if !*signal.borrow() {
            return;
        }
        let request = OffsetCommitRequest {
            group_id: group.as_str().into(),
            generation_id_or_member_epoch: -1,
            topics: vec![OffsetCommitRequestTopic {
                name: shape.topic.as_str().into(),
                partitions: vec![OffsetCommitRequestPartition {
                    partition_index: 0,
                    committed_offset: offset,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let code = |it: &OffsetCommitResponse| {
            it.topics
                .iter()
                .flat_map(|it| &it.partitions)
                .map(|it| it.error_code)
                .find(|it| *it != 0)
                .unwrap_or(0)
        };
        let began = recorder.now();
        let answer = client.send_retrying(Target::Group(&group), request, COMMIT_BY_NAME, code).await;
        let result = answer.and_then(|it| match code(&it) {
            0 => Ok(()),
            code => Err(Error::refused("commit", code, None)),
        });
        if let Err(error) = &result {
            recorder.errors("committer", error.name(), 1);
        }
        recorder.record(Event::Commit(Commit {
            began,
            ended: recorder.now(),
            group: group.clone(),
            partition: name(&shape.topic, 0),
            committer: 1,
            offset,
            outcome: outcome(&result),
        }));
        sleep(COMMIT_PAUSE).await;
    }
}

fn committers_group(topic: &str) -> String {
    format!("{topic}-committer")
}

/// Asks for the committer's offset until the signal.
pub async fn ask_committed(
    client: Client,
    shape: Shape,
    recorder: Arc<Recorder>,
    signal: watch::Receiver<bool>,
) {
    while *signal.borrow() {
        if let Err(error) = fetch_committed(&client, &shape.topic, &recorder).await {
            recorder.errors("committer", error.name(), 1);
        }
        sleep(COMMIT_PAUSE).await;
    }
}

/// Asks once for the committer's offset and takes note of the answer.
pub async fn fetch_committed(client: &Client, topic: &str, recorder: &Recorder) -> Result<(), Error> {
    let group = committers_group(topic);
    let asked =
        OffsetFetchRequestTopics { name: topic.into(), partition_indexes: vec![0], ..Default::default() };
    let request = OffsetFetchRequest {
        group_id: group.as_str().into(),
        topics: Some(vec![OffsetFetchRequestTopic { name: topic.into(), partition_indexes: vec![0] }]),
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.as_str().into(),
            member_id: None,
            member_epoch: -1,
            topics: Some(vec![asked]),
        }],
        require_stable: false,
    };
    let began = recorder.now();
    let answer =
        client.send_retrying(Target::Group(&group), request, FETCH_BY_NAME, offset_fetch_code).await?;
    match offset_fetch_code(&answer) {
        0 => {}
        code => return Err(Error::refused("fetch the committed offset", code, None)),
    }
    let old = answer.topics.iter().flat_map(|it| &it.partitions).map(|it| it.committed_offset);
    let groups = answer.groups.iter().flat_map(|it| &it.topics).flat_map(|it| &it.partitions);
    let offset = old.chain(groups.map(|it| it.committed_offset)).next().filter(|it| *it >= 0);
    recorder.record(Event::FetchedCommit(FetchedCommit {
        began,
        ended: recorder.now(),
        group,
        partition: name(topic, 0),
        offset,
    }));
    Ok(())
}
