//! The consumer that reads everything as it comes.

use std::sync::Arc;
use std::time::Duration;

use milena_check::{Event, Isolation, Poll};
use milena_client::{Client, Consumer, ConsumerOptions, Error, OffsetReset, OffsetSpec};
use tokio::time::sleep;

use super::load::Shape;
use super::record::{name, value_of};
use super::recorder::Recorder;

/// Their numbers among the consumers of the history: of the one that reads all, and of the one that reads what is
/// committed.
const READERS: [u32; 2] = [1, 2];
/// Longest that a poll waits.
pub const POLL: Duration = Duration::from_millis(100);

/// How readers read: nothing is passed over silently.
pub fn reading(isolation: Isolation) -> ConsumerOptions {
    let read_committed = isolation == Isolation::Committed;
    ConsumerOptions { reset: OffsetReset::None, max_wait: POLL, read_committed, ..ConsumerOptions::default() }
}

/// Reads every partition from its start, and begins anew where it was when something fails.
pub async fn read(client: Client, shape: Shape, isolation: Isolation, recorder: Arc<Recorder>) {
    let number = READERS[usize::from(isolation == Isolation::Committed)];
    let mut positions: Vec<i64> = vec![0; shape.partitions as usize];
    loop {
        let start = positions
            .iter()
            .zip(0..)
            .map(|(at, partition)| ((shape.topic.clone(), partition), OffsetSpec::At(*at)));
        let mut consumer = Consumer::assign(&client, reading(isolation), start);
        let error = loop {
            match poll(&mut consumer, number, isolation, &recorder).await {
                Ok(read) => {
                    read.into_iter().for_each(|(partition, next)| positions[partition as usize] = next)
                }
                Err(error) => break error,
            }
        };
        recorder.errors("consumer", error.name(), 1);
        sleep(client.options().retry_backoff).await;
    }
}

/// Polls once and takes note of it; returns the positions behind what was read.
pub async fn poll(
    consumer: &mut Consumer,
    number: u32,
    isolation: Isolation,
    recorder: &Recorder,
) -> Result<Vec<(i32, i64)>, Error> {
    let began = recorder.now();
    let fetched = consumer.poll(POLL).await?;
    let ended = recorder.now();
    let mut positions = Vec::new();
    for batch in fetched {
        let mut records = Vec::new();
        for record in batch.iter() {
            let record = record?;
            records.push((record.offset.0, value_of(record.value)));
        }
        if let Some((last, _)) = records.last() {
            positions.push((batch.partition, last + 1));
        }
        let partition = name(&batch.topic, batch.partition);
        recorder.record(Event::Poll(Poll { began, ended, consumer: number, partition, records, isolation }));
    }
    Ok(positions)
}
