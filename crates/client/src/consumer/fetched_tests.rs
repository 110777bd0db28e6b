use milena_records::{BatchBuilder, Compression, LeaderEpoch, ProducerEpoch};

use super::*;

/// A log of batches, as the broker would answer it from its start.
#[derive(Default)]
struct Log {
    bytes: Vec<u8>,
    end: i64,
}

impl Log {
    fn batch(mut self, codec: Compression, values: &[&str]) -> Self {
        let mut builder = BatchBuilder::new(codec);
        values.iter().for_each(|it| builder.push(7, None, Some(it.as_bytes()), &[]));
        self.append(builder.build(), values.len());
        self
    }

    fn transactional(mut self, producer: i64, values: &[&str]) -> Self {
        let builder =
            BatchBuilder::new(Compression::None).producer(ProducerId(producer), ProducerEpoch(0), 0);
        let mut builder = builder.transactional();
        values.iter().for_each(|it| builder.push(7, None, Some(it.as_bytes()), &[]));
        self.append(builder.build(), values.len());
        self
    }

    fn marker(mut self, producer: i64, result: TransactionResult) -> Self {
        self.append(ControlRecord::end_transaction(result, 0, ProducerId(producer), ProducerEpoch(0), 7), 1);
        self
    }

    fn append(&mut self, mut batch: milena_records::StoredBatch, count: usize) {
        batch.stamp(Offset(self.end), LeaderEpoch(0));
        self.bytes.extend_from_slice(&batch.to_bytes());
        self.end += count as i64;
    }

    /// What the application sees from `position` on, and the next position.
    fn read(
        &self,
        position: i64,
        aborted: &[(i64, i64)],
        options: &ConsumerOptions,
    ) -> Result<(Vec<(i64, String)>, i64), Error> {
        let aborted = aborted
            .iter()
            .map(|(producer_id, first_offset)| AbortedTransaction {
                producer_id: *producer_id,
                first_offset: *first_offset,
            })
            .collect();
        let bytes = Bytes::from(self.bytes.clone());
        let (fetched, next) = take_apart(&"t".into(), 0, position, self.end, &bytes, aborted, options)?;
        let mut seen = Vec::new();
        for record in fetched.iter().flat_map(Fetched::iter) {
            let record = record?;
            seen.push((record.offset.0, String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
        }
        Ok((seen, next))
    }
}

fn seen(values: &[(i64, &str)]) -> Vec<(i64, String)> {
    values.iter().map(|(offset, value)| (*offset, value.to_string())).collect()
}

#[test]
fn records_before_the_position_are_left_out() {
    let options = ConsumerOptions::default();
    let log = Log::default().batch(Compression::Lz4, &["a", "b", "c"]).batch(Compression::None, &["d"]);
    let all = seen(&[(0, "a"), (1, "b"), (2, "c"), (3, "d")]);
    for position in 0..4 {
        assert_eq!(log.read(position, &[], &options), Ok((all[position as usize..].to_vec(), 4)));
    }
    assert_eq!(log.read(9, &[], &options), Ok((vec![], 9)));
}

#[test]
fn markers_are_passed_over_and_aborted_records_only_by_those_who_read_committed() {
    let log = Log::default()
        .transactional(1, &["a"])
        .transactional(2, &["b"])
        .marker(1, TransactionResult::Abort)
        .transactional(1, &["c"])
        .marker(2, TransactionResult::Commit)
        .batch(Compression::None, &["d"])
        .marker(1, TransactionResult::Commit);
    let aborted = [(1, 0)];
    for (read_committed, want) in [
        (false, seen(&[(0, "a"), (1, "b"), (3, "c"), (5, "d")])),
        (true, seen(&[(1, "b"), (3, "c"), (5, "d")])),
    ] {
        let options = ConsumerOptions { read_committed, ..Default::default() };
        assert_eq!(log.read(0, &aborted, &options), Ok((want, 7)), "read_committed={read_committed}");
    }
}

#[test]
fn a_cut_tail_is_left_for_the_next_fetch_and_a_cut_head_is_an_error() {
    let options = ConsumerOptions::default();
    let mut log = Log::default().batch(Compression::None, &["a"]);
    let whole = log.bytes.len();
    log = log.batch(Compression::None, &["b"]);
    log.bytes.truncate(whole + 60);
    assert_eq!(log.read(0, &[], &options), Ok((seen(&[(0, "a")]), 1)));
    log.bytes.truncate(whole - 1);
    let refused = log.read(0, &[], &options).unwrap_err();
    assert_eq!(refused.to_string(), "t-0 at offset 0: the answer holds only a part of the first batch");
}

#[test]
fn changed_bytes_are_noticed_unless_that_is_switched_off() {
    let mut log = Log::default().batch(Compression::None, &["a"]);
    // The value is the last byte but one; no headers follow it.
    let at = log.bytes.len() - 2;
    log.bytes[at] = b'z';
    let refused = log.read(0, &[], &ConsumerOptions::default());
    assert!(matches!(refused, Err(Error::BadRecords { offset: 0, .. })), "{refused:?}");
    let careless = ConsumerOptions { check_crcs: false, ..Default::default() };
    assert_eq!(log.read(0, &[], &careless), Ok((seen(&[(0, "z")]), 1)));
}

#[test]
fn a_bomb_is_refused() {
    let value = "x".repeat(100_000);
    let log = Log::default().batch(Compression::Gzip, &[&value]);
    let options = ConsumerOptions { inflated_limit: 1_000, ..Default::default() };
    let refused = log.read(0, &[], &options).unwrap_err();
    assert_eq!(refused.to_string(), "t-0 at offset 0: the records inflate to more than 1000 bytes");
}
