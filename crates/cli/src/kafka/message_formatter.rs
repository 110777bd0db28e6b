//! How `kafka-console-consumer` prints a record: Apache's default formatter.

use std::collections::BTreeMap;
use std::io::{self, Write};

use milena_records::TimestampType;

use super::java;
use crate::record::Consumed;

/// Settings of the formatter: Apache's `--formatter-property` names and defaults.
#[derive(Debug, Clone)]
pub struct MessageFormatter {
    timestamp: bool,
    partition: bool,
    offset: bool,
    delivery: bool,
    epoch: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: Vec<u8>,
    line_separator: Vec<u8>,
    headers_separator: Vec<u8>,
    null_literal: Vec<u8>,
    key_deserializer: Deserializer,
    value_deserializer: Deserializer,
    headers_deserializer: Deserializer,
}

/// Java's deserializers that a command line can name, by how they print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deserializer {
    /// Bytes as they are; also `StringDeserializer`.
    Bytes,
    Integer,
    Long,
    Double,
}

impl MessageFormatter {
    /// Reads the properties. `Err` names a deserializer that is not one of Apache's.
    pub fn new(properties: &BTreeMap<String, String>) -> Result<Self, String> {
        let flag =
            |name: &str, default: bool| properties.get(name).map_or(default, |text| java::is_true(text));
        let bytes = |name: &str, default: &str| {
            properties.get(name).map_or(default, String::as_str).as_bytes().to_vec()
        };
        let deserializer = |name: &str| {
            properties.get(name).map_or(Ok(Deserializer::Bytes), |class| Deserializer::of_class(class))
        };
        Ok(MessageFormatter {
            timestamp: flag("print.timestamp", false),
            partition: flag("print.partition", false),
            offset: flag("print.offset", false),
            delivery: flag("print.delivery", false),
            epoch: flag("print.epoch", false),
            headers: flag("print.headers", false),
            key: flag("print.key", false),
            value: flag("print.value", true),
            key_separator: bytes("key.separator", "\t"),
            line_separator: bytes("line.separator", "\n"),
            headers_separator: bytes("headers.separator", ","),
            null_literal: bytes("null.literal", "null"),
            key_deserializer: deserializer("key.deserializer")?,
            value_deserializer: deserializer("value.deserializer")?,
            headers_deserializer: deserializer("headers.deserializer")?,
        })
    }

    /// Prints one record: the fields asked for, with the key separator between and the line separator after.
    pub fn write(&self, out: &mut impl Write, consumed: &Consumed<'_>) -> io::Result<()> {
        let mut fields: Vec<Vec<u8>> = Vec::with_capacity(8);
        let record = &consumed.record;
        if self.timestamp {
            fields.push(timestamp(consumed).into_bytes());
        }
        if self.partition {
            fields.push(format!("Partition:{}", consumed.partition).into_bytes());
        }
        if self.offset {
            fields.push(format!("Offset:{}", record.offset.0).into_bytes());
        }
        if self.delivery {
            fields.push(b"Delivery:NOT_PRESENT".to_vec());
        }
        if self.epoch {
            // Apache's consumer loses the epoch on the way to its formatter.
            fields.push(b"Epoch:NOT_PRESENT".to_vec());
        }
        if self.headers {
            fields.push(self.headers(consumed));
        }
        if self.key {
            fields.push(self.key_deserializer.print(record.key.unwrap_or(&self.null_literal)));
        }
        if self.value {
            fields.push(self.value_deserializer.print(record.value.unwrap_or(&self.null_literal)));
        }
        out.write_all(&fields.join(self.key_separator.as_slice()))?;
        if fields.is_empty() { Ok(()) } else { out.write_all(&self.line_separator) }
    }

    fn headers(&self, consumed: &Consumed<'_>) -> Vec<u8> {
        let headers = consumed.record.headers;
        if headers.len() == 0 {
            return b"NO_HEADERS".to_vec();
        }
        let print = |header: milena_records::RecordHeader<'_>| {
            let value = self.headers_deserializer.print(header.value.unwrap_or(&self.null_literal));
            [header.key, b":", &value].concat()
        };
        headers.map(print).collect::<Vec<_>>().join(self.headers_separator.as_slice())
    }
}

fn timestamp(consumed: &Consumed<'_>) -> String {
    let name = match consumed.timestamp_type {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    };
    format!("{name}:{}", consumed.record.timestamp)
}

impl Deserializer {
    fn of_class(class: &str) -> Result<Self, String> {
        match class.rsplit('.').next().unwrap_or_default() {
            "StringDeserializer" | "ByteArrayDeserializer" | "BytesDeserializer" | "" => {
                Ok(Deserializer::Bytes)
            }
            "IntegerDeserializer" => Ok(Deserializer::Integer),
            "LongDeserializer" => Ok(Deserializer::Long),
            "DoubleDeserializer" => Ok(Deserializer::Double),
            _ => Err(class.to_owned()),
        }
    }

    /// Bytes that are not of the type print as they are.
    fn print(self, bytes: &[u8]) -> Vec<u8> {
        let text = match self {
            Deserializer::Bytes => None,
            Deserializer::Integer => bytes.try_into().ok().map(|it| i32::from_be_bytes(it).to_string()),
            Deserializer::Long => bytes.try_into().ok().map(|it| i64::from_be_bytes(it).to_string()),
            Deserializer::Double => bytes.try_into().ok().map(|it| format!("{:?}", f64::from_be_bytes(it))),
        };
        text.map_or_else(|| bytes.to_vec(), String::into_bytes)
    }
}

#[cfg(test)]
mod tests {
    use milena_records::{BatchBuilder, BatchRecords, Compression, RecordHeader};

    use super::*;

    fn print(
        properties: &[&str],
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader<'_>],
    ) -> String {
        let formatter = MessageFormatter::new(&java::key_values(properties.iter().copied())).unwrap();
        let mut batch = BatchBuilder::new(Compression::None);
        batch.push(1_700_000_000_000, key, value, headers);
        let records = BatchRecords::open(&batch.build().to_bytes(), usize::MAX).unwrap();
        let record = records.iter().next().unwrap().unwrap();
        let timestamp_type = TimestampType::CreateTime;
        let consumed = Consumed { topic: "t", partition: 1, leader_epoch: 5, timestamp_type, record };
        let mut out = Vec::new();
        formatter.write(&mut out, &consumed).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_stand_in_apaches_order() {
        let all = [
            "print.timestamp=true",
            "print.key=true",
            "print.offset=true",
            "print.partition=true",
            "print.headers=true",
            "print.epoch=true",
            "print.delivery=true",
        ];
        let header = [RecordHeader { key: b"a", value: Some(b"1") }, RecordHeader { key: b"b", value: None }];
        for (properties, key, value, headers, want) in [
            (&[][..], None, Some(&b"v"[..]), &[][..], "v\n"),
            (&[], None, None, &[], "null\n"),
            (
                &all,
                None,
                Some(b"v"),
                &[],
                "CreateTime:1700000000000\tPartition:1\tOffset:0\tDelivery:NOT_PRESENT\tEpoch:NOT_PRESENT\tNO_HEADERS\tnull\tv\n",
            ),
            (&["print.headers=true", "print.value=false"], None, Some(b"v"), &header, "a:1,b:null\n"),
            (
                &["print.key=true", "key.separator=|", "null.literal=-", "line.separator=;"],
                None,
                Some(b"v"),
                &[],
                "-|v;",
            ),
            (
                &["value.deserializer=org.apache.kafka.common.serialization.LongDeserializer"],
                None,
                Some(&[0, 0, 0, 0, 0, 0, 1, 0]),
                &[],
                "256\n",
            ),
        ] {
            assert_eq!(print(properties, key, value, headers), want, "{properties:?}");
        }
    }
}
