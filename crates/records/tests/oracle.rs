//! An independent reader and writer of the format agrees with ours, both ways.

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression as TheirCompression, Record as TheirRecord, RecordBatchDecoder, RecordBatchEncoder,
    RecordEncodeOptions, TimestampType,
};
use milena_records::{
    BatchBuilder, BatchRecords, Compression, ProducerEpoch, ProducerId, RecordHeader, Rules, validate,
};

fn theirs(codec: Compression) -> TheirCompression {
    match codec {
        Compression::None => TheirCompression::None,
        Compression::Gzip => TheirCompression::Gzip,
        Compression::Snappy => TheirCompression::Snappy,
        Compression::Lz4 => TheirCompression::Lz4,
        Compression::Zstd => TheirCompression::Zstd,
    }
}

fn records() -> Vec<TheirRecord> {
    (0..50)
        .map(|index| TheirRecord {
            transactional: true,
            control: false,
            partition_leader_epoch: -1,
            producer_id: 77,
            producer_epoch: 5,
            timestamp_type: TimestampType::Creation,
            offset: index,
            sequence: 100 + index as i32,
            delete_horizon: false,
            timestamp: 1_000 + index * 37 % 11,
            key: (index % 3 != 0).then(|| Bytes::from(format!("key-{index}"))),
            value: (index % 7 != 0).then(|| Bytes::from("value ".repeat(index as usize))),
            headers: (0..index % 4)
                .map(|it| (StrBytes::from(format!("h{it}")), Some(Bytes::from("x"))))
                .collect(),
        })
        .collect()
}

fn ours(codec: Compression) -> Bytes {
    let mut builder =
        BatchBuilder::new(codec).producer(ProducerId(77), ProducerEpoch(5), 100).transactional();
    for record in records() {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(key, value)| RecordHeader { key: key.as_bytes(), value: value.as_deref() })
            .collect();
        builder.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers);
    }
    builder.build().to_bytes()
}

#[test]
fn kafka_protocol_reads_what_we_write() {
    for codec in Compression::ALL {
        let mut batch = ours(codec);
        let read = RecordBatchDecoder::decode(&mut batch).unwrap();
        assert_eq!(read.compression, theirs(codec));
        assert_eq!(read.records, records(), "{codec}");
    }
}

#[test]
fn we_take_and_read_what_kafka_protocol_writes() {
    for codec in Compression::ALL {
        let mut written = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: theirs(codec) };
        let records = records();
        RecordBatchEncoder::encode(&mut written, &records, &options).unwrap();
        let validated = validate(&written.freeze(), &Rules { now: 1_000, ..Rules::default() });
        let validated = validated.unwrap_or_else(|invalid| panic!("{codec}: {invalid}"));
        let read = BatchRecords::of(validated.header, validated.body, 1 << 20).unwrap();
        assert_eq!(read.iter().count(), records.len(), "{codec}");
        for (ours, theirs) in read.iter().map(Result::unwrap).zip(&records) {
            assert_eq!((ours.offset.0, ours.timestamp), (theirs.offset, theirs.timestamp), "{codec}");
            assert_eq!((ours.key, ours.value), (theirs.key.as_deref(), theirs.value.as_deref()), "{codec}");
            let headers: IndexMap<_, _> = ours
                .headers
                .map(|it| (StrBytes::from(it.key_text().into_owned()), it.value.map(Bytes::copy_from_slice)))
                .collect();
            assert_eq!(headers, theirs.headers, "{codec}");
        }
    }
}
