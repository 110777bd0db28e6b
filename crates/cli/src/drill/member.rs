//! Members of a group that share what the load sends.

use std::sync::Arc;

use milena_check::{Assigned, Commit, Event, Isolation, Poll};
use milena_client::{Client, Consumer, ConsumerOptions, GroupOptions, OffsetReset};
use tokio::time::sleep;

use super::committer::outcome;
use super::load::Shape;
use super::reader::{POLL, reading};
use super::record::{name, value_of};
use super::recorder::Recorder;

/// A member of a group: reads its share and commits each time it has read something.
pub async fn share(client: Client, shape: Shape, number: u32, recorder: Arc<Recorder>) {
    let group = format!("{}-group", shape.topic);
    loop {
        let how = GroupOptions { auto_commit: None, ..GroupOptions::new(group.clone()) };
        let options = ConsumerOptions { reset: OffsetReset::Earliest, ..reading(Isolation::Uncommitted) };
        let mut consumer = Consumer::subscribe(&client, options, how, [shape.topic.clone()]);
        let mut generation = -1;
        let error = loop {
            let began = recorder.now();
            let fetched = match consumer.poll(POLL).await {
                Ok(fetched) => fetched,
                Err(error) => break error,
            };
            let ended = recorder.now();
            if let Some((now, member)) = consumer.generation().filter(|(now, _)| *now != generation) {
                generation = now;
                let partitions = consumer.assignment();
                recorder.record(Event::Assigned(Assigned {
                    at: began,
                    consumer: number,
                    membership: Some((group.clone(), now, member.to_owned())),
                    partitions: partitions.iter().map(|(topic, partition)| name(topic, *partition)).collect(),
                }));
            }
            for batch in &fetched {
                let records = batch.iter().filter_map(Result::ok);
                let records = records.map(|it| (it.offset.0, value_of(it.value))).collect();
                let partition = name(&batch.topic, batch.partition);
                let isolation = Isolation::Uncommitted;
                recorder.record(Event::Poll(Poll {
                    began,
                    ended,
                    consumer: number,
                    partition,
                    records,
                    isolation,
                }));
            }
            if fetched.is_empty() {
                continue;
            }
            let positions = consumer.positions();
            let began = recorder.now();
            let committed = consumer.commit().await;
            let outcome = outcome(&committed);
            for ((topic, partition), offset) in positions {
                recorder.record(Event::Commit(Commit {
                    began,
                    ended: recorder.now(),
                    group: group.clone(),
                    partition: name(&topic, partition),
                    committer: number,
                    offset,
                    outcome: outcome.clone(),
                }));
            }
            if let Err(error) = committed {
                recorder.errors("group", error.name(), 1);
            }
        };
        recorder.errors("group", error.name(), 1);
        sleep(client.options().retry_backoff).await;
    }
}
