//! Sends records one after the other and learns what became of each.

use std::collections::VecDeque;

use milena_client::{Client, Delivered, Delivery, Error, Producer, ProducerOptions, ProducerRecord};
use milena_records::RecordHeader;

use super::NewRecord;

/// A producer and the records that are on their way.
pub struct Sending {
    producer: Producer,
    /// In the order they were sent; bounded by the producer's memory.
    pending: VecDeque<(Delivery, Sent)>,
}

/// What is remembered of a record until it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Number of the line it came from, from 1.
    pub line: usize,
    /// Length of its key, if it has one.
    pub key: Option<usize>,
    /// Length of its value, if it has one.
    pub value: Option<usize>,
}

impl Sent {
    /// What is remembered of the record of a line.
    pub fn of(record: &NewRecord, line: usize) -> Self {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(Vec::len);
        Sent { line, key: length(&record.key), value: length(&record.value) }
    }
}

/// A record and its result.
pub type Settled = (Sent, Result<Delivered, Error>);

impl Sending {
    /// Starts a producer.
    pub async fn start(client: &Client, options: ProducerOptions) -> Result<Self, Error> {
        Ok(Sending { producer: Producer::start(client, options).await?, pending: VecDeque::new() })
    }

    /// Hands a record to the producer; waits while its memory is full.
    pub async fn send(&mut self, topic: &str, record: &NewRecord, line: usize) -> Result<Delivery, Error> {
        let headers: Vec<RecordHeader<'_>> = record
            .headers
            .iter()
            .map(|(key, value)| RecordHeader { key: key.as_bytes(), value: value.as_deref() })
            .collect();
        let delivery = self
            .producer
            .send(ProducerRecord {
                topic,
                partition: record.partition,
                timestamp: record.timestamp,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &headers,
            })
            .await?;
        self.pending.push_back((delivery.clone(), Sent::of(record, line)));
        Ok(delivery)
    }

    /// The next record that has a result already.
    pub fn settled(&mut self) -> Option<Settled> {
        let result = self.pending.front()?.0.result()?;
        let (_, sent) = self.pending.pop_front()?;
        Some((sent, result))
    }

    /// Sends what still waits for company.
    pub async fn flush(&self) -> Result<(), Error> {
        self.producer.flush().await
    }
}
