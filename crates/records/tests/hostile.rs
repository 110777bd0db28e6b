//! Bytes that mean harm: nothing panics, and what validation lets through can be read to the end.

use bytes::Bytes;
use milena_records::{
    BatchBuilder, BatchHeader, BatchRecords, Compression, RecordHeader, Rules, TimestampType, batches,
    decompress, validate,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const LIMIT: usize = 1 << 20;

fn rules() -> Rules {
    Rules { now: 1_000, inflated_limit: LIMIT, ..Rules::default() }
}

fn batch(codec: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    for index in 0..12_usize {
        let value = vec![index as u8; index * 40];
        let header = RecordHeader { key: b"header", value: Some(b"value") };
        builder.push(index as i64, Some(b"key"), Some(&value), &[header][..index % 2]);
    }
    builder.build().to_bytes().to_vec()
}

/// Gives a batch the checksum that its bytes have, so that what comes after the check is reached.
fn with_right_crc(mut bytes: Vec<u8>) -> Bytes {
    if let Ok(header) = BatchHeader::parse(&bytes) {
        let crc = header.compute_crc(&bytes[BatchHeader::SIZE..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    bytes.into()
}

/// Reads all there is in every way there is; whatever was validated reads to the end.
fn exercise(bytes: &Bytes) {
    for (_, batch) in batches(bytes).flatten() {
        if let Ok(records) = BatchRecords::open(&batch, LIMIT) {
            let _ = records.iter().flatten().map(|record| record.headers.count()).sum::<usize>();
        }
    }
    if let Ok(validated) = validate(bytes, &rules()) {
        let (count, header) = (validated.record_count as usize, validated.header);
        let records = BatchRecords::of(header, validated.body, LIMIT).expect("validated");
        let read: Vec<_> = records.iter().collect::<Result<_, _>>().expect("validated");
        assert_eq!(read.len(), count);
        // A false claim of LogAppendTime is put right by Kafka's rule, which looks at no record.
        let claimed =
            BatchHeader::parse(bytes).expect("validated").timestamp_type() == TimestampType::LogAppendTime;
        assert!(claimed || read.iter().all(|it| it.timestamp <= header.max_timestamp));
        assert_eq!(read.last().map(|it| it.offset), Some(header.last_offset()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..300), codec in select(&Compression::ALL)) {
        let _ = decompress(codec, &bytes, LIMIT);
        exercise(&bytes.into());
    }

    #[test]
    fn changed_batches_do_not_panic(
        codec in select(&Compression::ALL),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        keep in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = batch(codec);
        for (at, byte) in changes {
            // The length stays right, or nothing behind it is reached.
            let at = at.index(bytes.len());
            if !(8..12).contains(&at) {
                bytes[at] = byte;
            }
        }
        if cut {
            bytes.truncate(BatchHeader::SIZE + keep.index(bytes.len() - BatchHeader::SIZE));
            let length = (bytes.len() - BatchHeader::LOG_OVERHEAD) as i32;
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
        }
        exercise(&with_right_crc(bytes));
    }

    #[test]
    fn arbitrary_records_behind_a_right_header_do_not_panic(
        codec in select(&Compression::ALL),
        body in vec(any::<u8>(), 0..200),
        count in 1..40_i32,
    ) {
        let mut header = BatchHeader::parse(&batch(Compression::None)).unwrap();
        let packed = milena_records::compress(codec, Default::default(), &body);
        header.attributes = codec as i16;
        header.record_count = count;
        header.last_offset_delta = count - 1;
        header.batch_length = 49 + packed.len() as i32;
        exercise(&with_right_crc([&header.to_bytes()[..], &packed].concat()));
    }
}
