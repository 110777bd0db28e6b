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

/// Its number among the consumers of the history, if it reads everything.
const LAST_READER: u32 = 99;
/// The same, if it reads what is committed.
const LAST_COMMITTED_READER: u32 = 98;

/// Reads every partition from its start to its end; once more as a reader of what is committed, if there were
/// transactions. Nothing is written any more.
pub async fn last_read(client: &Client, shape: &Shape, recorder: &Recorder, patience: Duration) -> Outcome {
    read_all(client, shape, Isolation::Uncommitted, recorder, patience).await?;
    match shape.transactional {
        true => read_all(client, shape, Isolation::Committed, recorder, patience).await,
        false => Ok(()),
    }
}

async fn read_all(
    client: &Client,
    shape: &Shape,
    isolation: Isolation,
    recorder: &Recorder,
    patience: Duration,
) -> Outcome {
    let number = match isolation {
        Isolation::Uncommitted => LAST_READER,
        Isolation::Committed => LAST_COMMITTED_READER,
    };
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
        // Asked for without isolation in any case: a reader of what is committed comes as far, or something hangs.
        let isolation = Isolation::Uncommitted;
        recorder.record(Event::EndOffset(EndOffset { began, ended, partition, offset: *offset, isolation }));
    }
    let start = partitions.iter().map(|it| ((it.topic.clone(), it.partition), OffsetSpec::Earliest));
    let mut consumer = Consumer::assign(client, reader::reading(isolation), start);
    let mut left: BTreeMap<i32, i64> = ends.iter().map(|(it, end)| (it.partition, *end)).collect();
    while !left.is_empty() {
        if Instant::now() > deadline {
            return Err(Failure::new(format!("the end was not reached in partitions {:?}", left.keys())));
        }
        reader::poll(&mut consumer, number, isolation, recorder).await?;
        let positions = consumer.positions();
        left.retain(|partition, end| {
            let at = positions.get(&(shape.topic.clone(), *partition)).copied().unwrap_or(-1);
            if at >= *end {
                let partition = record::name(&shape.topic, *partition);
                let (at, consumer, end) = (recorder.now(), number, *end);
                recorder.record(Event::Driven(Driven { at, consumer, partition, end }));
            }
            at < *end
        });
    }
    Ok(())
}
