//! The last read of a round: without it nothing is proved.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use milena_check::{Driven, EndOffset, Event, Isolation};
use milena_client::{Client, Consumer, OffsetSpec};

use super::load::Shape;
use super::reader;
use super::record;
use super::recorder::Recorder;
use crate::admin::{TopicPartition, offsets};
use crate::failure::{Failure, Outcome};

/// Its number among the consumers of the history.
const LAST_READER: u32 = 99;

/// Reads every partition from its start to its end.
pub async fn last_read(client: &Client, shape: &Shape, recorder: &Recorder, patience: Duration) -> Outcome {
    let partitions: Vec<TopicPartition> =
        (0..shape.partitions).map(|it| TopicPartition::new(shape.topic.as_str(), it)).collect();
    let began = recorder.now();
    let deadline = Instant::now() + patience;
    let ends = loop {
        client.refresh(&[&shape.topic]).await?;
        match offsets::all_at(client, &partitions, offsets::at::LATEST).await {
            // Leadership may be on its way back to the preferred replica.
            Err(error) if error.is_retriable() && Instant::now() < deadline => {
                tokio::time::sleep(client.options().retry_backoff).await;
            }
            ends => break ends?,
        }
    };
    let ended = recorder.now();
    for (partition, offset) in &ends {
        let partition = partition.to_string();
        let isolation = Isolation::Uncommitted;
        recorder.record(Event::EndOffset(EndOffset { began, ended, partition, offset: *offset, isolation }));
    }
    let start = partitions.iter().map(|it| ((it.topic.clone(), it.partition), OffsetSpec::Earliest));
    let mut consumer = Consumer::assign(client, reader::reading(), start);
    let mut left: BTreeMap<i32, i64> = ends.iter().map(|(it, end)| (it.partition, *end)).collect();
    while !left.is_empty() {
        if Instant::now() > deadline {
            return Err(Failure::new(format!("the end was not reached in partitions {:?}", left.keys())));
        }
        reader::poll(&mut consumer, LAST_READER, recorder).await?;
        let positions = consumer.positions();
        left.retain(|partition, end| {
            let at = positions.get(&(shape.topic.clone(), *partition)).copied().unwrap_or(-1);
            if at >= *end {
                let partition = record::name(&shape.topic, *partition);
                let (at, consumer, end) = (recorder.now(), LAST_READER, *end);
                recorder.record(Event::Driven(Driven { at, consumer, partition, end }));
            }
            at < *end
        });
    }
    Ok(())
}
