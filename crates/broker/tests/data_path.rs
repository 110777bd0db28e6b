//! Produce, fetch and offsets, through a broker's front door, over restarts.

mod common;

use bytes::Bytes;
use common::{Broker, Connection, batch, bytes};
use milena_records::{BatchHeader, ProducerEpoch, ProducerId};
use milena_wire::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use milena_wire::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use milena_wire::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};

fn fetch(connection: &mut Connection, topic: &str, offset: i64) -> PartitionData {
    let request = FetchRequest {
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic: topic.into(),
            partitions: vec![FetchPartition {
                fetch_offset: offset,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    connection.call(&request, 11).responses[0].partitions[0].clone()
}

fn offset_at(connection: &mut Connection, topic: &str, timestamp: i64) -> i64 {
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.into(),
            partitions: vec![ListOffsetsPartition { timestamp, ..Default::default() }],
        }],
        ..Default::default()
    };
    let found = &connection.call(&request, 5).topics[0].partitions[0];
    assert_eq!(found.error_code, 0);
    found.offset
}

/// A batch of an idempotent producer.
fn sequenced(first: i32, values: &[&str]) -> Bytes {
    bytes(batch(values).producer(ProducerId(4_000), ProducerEpoch(0), first))
}

#[test]
fn batches_come_back_as_they_were_sent_but_for_offset_and_epoch() {
    let (_dir, broker) = Broker::fresh();
    let mut connection = broker.connect();
    connection.create_topic("t", 1);
    let sent = [bytes(batch(&["a", "b"])), bytes(batch(&["c"]))];
    for (sent, base_offset) in sent.iter().zip([0, 2]) {
        let answer = connection.produce("t", sent.clone());
        assert_eq!((answer.error_code, answer.base_offset, answer.log_start_offset), (0, base_offset, 0));
    }
    let data = fetch(&mut connection, "t", 1);
    assert_eq!((data.error_code, data.high_watermark, data.last_stable_offset), (0, 3, 3));
    let records = data.records.unwrap().into_bytes();
    let mut at = 0;
    for (sent, base_offset) in sent.iter().zip([0, 2]) {
        let header = BatchHeader::parse(&records[at..]).unwrap();
        assert_eq!((header.base_offset.0, header.partition_leader_epoch.0), (base_offset, 0));
        assert_eq!(records[at + 16..at + header.total_size()], sent[16..], "from magic to the last record");
        at += header.total_size();
    }
    assert_eq!(at, records.len());
}

#[test]
fn fetch_knows_the_ends_of_a_partition() {
    let (_dir, broker) = Broker::fresh();
    let mut connection = broker.connect();
    connection.create_topic("t", 1);
    connection.produce("t", bytes(batch(&["a", "b"])));
    for (offset, error_code, is_empty) in [(0, 0, false), (2, 0, true), (3, 1, true), (-1, 1, true)] {
        let data = fetch(&mut connection, "t", offset);
        assert_eq!(data.error_code, error_code, "offset {offset}");
        assert_eq!(data.records.unwrap().is_empty(), is_empty, "offset {offset}");
        assert_eq!(data.high_watermark, if error_code == 0 { 2 } else { -1 }, "offset {offset}");
    }
    assert_eq!(fetch(&mut connection, "absent", 0).error_code, 3);
}

#[test]
fn repeats_of_an_idempotent_producer_are_appended_once_also_after_restarts() {
    let dir = tempfile::TempDir::new().unwrap();
    let restart = |broker: Broker| {
        broker.stop();
        Broker::start(dir.path(), &[])
    };
    let broker = Broker::start(dir.path(), &[]);
    let mut connection = broker.connect();
    connection.create_topic("t", 1);
    assert_eq!(connection.produce("t", sequenced(0, &["a", "b"])).base_offset, 0);
    assert_eq!(connection.produce("t", sequenced(2, &["c"])).base_offset, 2);
    let broker = restart(broker);
    let mut connection = broker.connect();
    for (first, values, want) in [
        (2, &["c"][..], (0, 2)),
        (0, &["a", "b"], (0, 0)),
        (4, &["e"], (45, -1)),
        (3, &["d"], (0, 3)),
        (3, &["d"], (0, 3)),
    ] {
        let answer = connection.produce("t", sequenced(first, values));
        assert_eq!((answer.error_code, answer.base_offset), want, "sequence {first}");
    }
    assert_eq!(offset_at(&mut connection, "t", -1), 4);
}

fn delete_before(connection: &mut Connection, topic: &str, offset: i64) -> (i16, i64) {
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: topic.into(),
            partitions: vec![DeleteRecordsPartition { partition_index: 0, offset }],
        }],
        timeout_ms: 10_000,
    };
    let result = connection.call(&request, 2).topics[0].partitions[0].clone();
    (result.error_code, result.low_watermark)
}

#[test]
fn deleted_records_stay_deleted() {
    let dir = tempfile::TempDir::new().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut connection = broker.connect();
    connection.create_topic("t", 1);
    connection.produce("t", bytes(batch(&["a", "b", "c"])));
    for (offset, want) in [(2, (0, 2)), (4, (1, -1)), (-2, (1, -1))] {
        assert_eq!(delete_before(&mut connection, "t", offset), want, "offset {offset}");
    }
    broker.stop();
    let broker = Broker::start(dir.path(), &[]);
    let mut connection = broker.connect();
    assert_eq!(offset_at(&mut connection, "t", -2), 2);
    assert_eq!(fetch(&mut connection, "t", 1).error_code, 1);
    assert_eq!(fetch(&mut connection, "t", 2).error_code, 0);
}

#[test]
fn records_are_not_said_to_be_deleted_when_the_checkpoint_cannot_be_written() {
    let (dir, broker) = Broker::fresh();
    let mut connection = broker.connect();
    connection.create_topic("t", 1);
    connection.produce("t", bytes(batch(&["a", "b", "c"])));
    // A file cannot be renamed to the name of a directory.
    let checkpoint = dir.path().join("log-start-offset-checkpoint");
    let _ = std::fs::remove_file(&checkpoint);
    std::fs::create_dir(&checkpoint).unwrap();
    let storage_error = 56;
    assert_eq!(delete_before(&mut connection, "t", 2), (storage_error, -1));
    assert_eq!(delete_before(&mut connection, "t", 4), (1, -1), "a refusal of its own stays as it is");

    std::fs::remove_dir(&checkpoint).unwrap();
    assert_eq!(delete_before(&mut connection, "t", 2), (0, 2));
}

#[test]
fn flush_messages_puts_batches_on_disk_before_the_answer() {
    for (flush_messages, recovery_point) in [("1", "t 0 3"), ("1000", "t 0 0")] {
        let dir = tempfile::TempDir::new().unwrap();
        let setting = format!("log.flush.interval.messages={flush_messages}");
        let broker = Broker::start(dir.path(), &[&setting]);
        let mut connection = broker.connect();
        connection.create_topic("t", 1);
        for base_offset in 0..3 {
            assert_eq!(connection.produce("t", bytes(batch(&["a"]))).base_offset, base_offset);
        }
        // Deleting nothing writes the checkpoints, which tell what is on disk.
        assert_eq!(delete_before(&mut connection, "t", 0), (0, 0));
        let checkpoint =
            std::fs::read_to_string(dir.path().join("recovery-point-offset-checkpoint")).unwrap();
        assert!(checkpoint.lines().any(|line| line == recovery_point), "{flush_messages}: {checkpoint}");
    }
}
