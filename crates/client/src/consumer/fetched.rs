//! What one answer brings for one partition, made into records that the application may see.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use milena_records::{
    BatchHeader, BatchRecords, ControlRecord, Offset, ProducerId, Record, RecordsError, TransactionResult,
    batches,
};
use milena_wire::fetch::AbortedTransaction;

use super::options::ConsumerOptions;
use crate::Error;

/// Records of one partition, in order: one batch as it was produced.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// End of what consumers could read when the answer was made.
    pub high_watermark: i64,
    from: Offset,
    records: BatchRecords,
}

impl Fetched {
    /// The records, from the consumer's position on.
    pub fn iter(&self) -> impl Iterator<Item = Result<Record<'_>, Error>> {
        let wanted =
            |it: &Result<Record<'_>, _>| it.as_ref().map_or(true, |record| record.offset >= self.from);
        self.records.iter().filter(wanted).map(|it| it.map_err(|error| self.unreadable(&error)))
    }

    /// Header of the batch: producer, codec, timestamps.
    pub fn header(&self) -> &BatchHeader {
        self.records.header()
    }

    fn unreadable(&self, error: &RecordsError) -> Error {
        unreadable(&self.topic, self.partition, self.header().base_offset, error)
    }
}

fn unreadable(topic: &str, partition: i32, offset: Offset, error: &impl ToString) -> Error {
    Error::BadRecords { topic: topic.into(), partition, offset: offset.0, reason: error.to_string() }
}

/// Cuts `bytes` into batches from `position` on; returns what the application sees and where to go on.
pub(crate) fn take_apart(
    topic: &Arc<str>,
    partition: i32,
    position: i64,
    high_watermark: i64,
    bytes: &Bytes,
    aborted: Vec<AbortedTransaction>,
    options: &ConsumerOptions,
) -> Result<(Vec<Fetched>, i64), Error> {
    let mut position = Offset(position);
    let mut fetched = Vec::new();
    let mut transactions = Transactions::new(aborted);
    let mut complete = 0;
    for batch in batches(bytes) {
        let (header, batch) = batch.map_err(|error| unreadable(topic, partition, position, &error))?;
        complete += 1;
        if options.check_crcs {
            header
                .verify_crc(&batch)
                .map_err(|error| unreadable(topic, partition, header.base_offset, &error))?;
        }
        let open = || {
            BatchRecords::of(header, batch.slice(BatchHeader::SIZE..), options.inflated_limit)
                .map_err(|error| unreadable(topic, partition, header.base_offset, &error))
        };
        transactions.reach(header.base_offset);
        if header.is_control() {
            transactions.end(&header, &open()?);
        } else if header.next_offset() > position
            && !(options.read_committed && transactions.is_aborted(&header))
        {
            let (topic, from, records) = (topic.clone(), position, open()?);
            fetched.push(Fetched { topic, partition, high_watermark, from, records });
        }
        position = position.max(header.next_offset());
    }
    if complete == 0 && !bytes.is_empty() {
        return Err(unreadable(
            topic,
            partition,
            position,
            &"the answer holds only a part of the first batch",
        ));
    }
    Ok((fetched, position.0))
}

/// Which producers are within an aborted transaction (FE-7).
struct Transactions {
    /// To come, by first offset.
    aborted: VecDeque<(Offset, ProducerId)>,
    current: HashSet<i64>,
}

impl Transactions {
    fn new(aborted: Vec<AbortedTransaction>) -> Self {
        let mut aborted: Vec<_> =
            aborted.into_iter().map(|it| (Offset(it.first_offset), ProducerId(it.producer_id))).collect();
        aborted.sort();
        Self { aborted: aborted.into(), current: HashSet::new() }
    }

    fn reach(&mut self, offset: Offset) {
        while let Some((_, producer)) = self.aborted.pop_front_if(|(first, _)| *first <= offset) {
            self.current.insert(producer.0);
        }
    }

    fn end(&mut self, header: &BatchHeader, records: &BatchRecords) {
        for record in records.iter().map_while(Result::ok) {
            let marker = ControlRecord::parse(record.key, record.value);
            if let Some(ControlRecord::EndTransaction { result: TransactionResult::Abort, .. }) = marker {
                self.current.remove(&header.producer_id.0);
            }
        }
    }

    fn is_aborted(&self, header: &BatchHeader) -> bool {
        header.is_transactional() && self.current.contains(&header.producer_id.0)
    }
}

#[cfg(test)]
#[path = "fetched_tests.rs"]
mod tests;
