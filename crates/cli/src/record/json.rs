//! A record as one line of JSON: what `milena consume -f json` prints and `milena produce -f json` reads.
//!
//! Text stays text. Bytes that are not UTF-8 stand in Base64 under the same name with `_base64`
//! after it, so that every record comes back exactly as it was.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use milena_records::TimestampType;
use serde::{Deserialize, Serialize};

use super::{Consumed, NewHeader, NewRecord};

/// The line's schema. Fields may be added, never renamed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_type: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<Header>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// Splits bytes into the field for text and the one for Base64.
fn fields(bytes: Option<&[u8]>) -> (Option<String>, Option<String>) {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => (None, None),
        Some((Ok(text), _)) => (Some(text.to_owned()), None),
        Some((Err(_), bytes)) => (None, Some(BASE64_STANDARD.encode(bytes))),
    }
}

/// Puts the two fields together again.
fn bytes(name: &str, text: Option<String>, base64: Option<String>) -> Result<Option<Vec<u8>>, String> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(format!("both {name} and {name}_base64 are given")),
        (Some(text), None) => Ok(Some(text.into_bytes())),
        (None, Some(base64)) => {
            BASE64_STANDARD.decode(base64).map(Some).map_err(|error| format!("{name}_base64: {error}"))
        }
        (None, None) => Ok(None),
    }
}

/// One line without the line break.
pub fn to_line(consumed: &Consumed<'_>) -> String {
    let record = &consumed.record;
    let (key, key_base64) = fields(record.key);
    let (value, value_base64) = fields(record.value);
    let headers = record.headers.map(|header| {
        let (value, value_base64) = fields(header.value);
        Header { key: header.key_text().into_owned(), value, value_base64 }
    });
    let timestamp_type = match consumed.timestamp_type {
        TimestampType::CreateTime => "create",
        TimestampType::LogAppendTime => "append",
    };
    let line = Line {
        topic: Some(consumed.topic.to_owned()),
        partition: Some(consumed.partition),
        offset: Some(record.offset.0),
        timestamp: Some(record.timestamp),
        timestamp_type: Some(timestamp_type.to_owned()),
        headers: headers.collect(),
        key,
        key_base64,
        value,
        value_base64,
    };
    serde_json::to_string(&line).expect("strings and numbers are always JSON")
}

/// Reads a line that [`to_line`] wrote or a person typed; `offset` and `timestamp_type` are ignored.
pub fn from_line(line: &str) -> Result<NewRecord, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let header = |header: Header| -> Result<NewHeader, String> {
        Ok((header.key, bytes("value", header.value, header.value_base64)?))
    };
    Ok(NewRecord {
        topic: line.topic,
        partition: line.partition,
        timestamp: line.timestamp.filter(|timestamp| *timestamp >= 0),
        key: bytes("key", line.key, line.key_base64)?,
        value: bytes("value", line.value, line.value_base64)?,
        headers: line.headers.into_iter().map(header).collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use milena_records::{BatchBuilder, BatchRecords, Compression, RecordHeader};
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn line_of(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[RecordHeader<'_>]) -> String {
        let mut batch = BatchBuilder::new(Compression::None);
        batch.push(1_700_000_000_000, key, value, headers);
        let records = BatchRecords::open(&batch.build().to_bytes(), usize::MAX).unwrap();
        let record = records.iter().next().unwrap().unwrap();
        to_line(&Consumed {
            topic: "t",
            partition: 2,
            leader_epoch: 0,
            timestamp_type: TimestampType::CreateTime,
            record,
        })
    }

    #[test]
    fn records_round_trip() {
        let header =
            |key: &'static str, value: Option<&'static [u8]>| RecordHeader { key: key.as_bytes(), value };
        type Case<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, Vec<RecordHeader<'a>>);
        let cases: [Case<'_>; 4] = [
            (Some(b"k"), Some(b"v"), vec![]),
            (None, None, vec![]),
            (Some(b""), Some(b"\xff\x00"), vec![header("a", Some(b"1")), header("a", None)]),
            (Some("ключ".as_bytes()), Some(b"\"quoted\"\n"), vec![header("b", Some(b"\xfe"))]),
        ];
        for (key, value, headers) in cases {
            let line = line_of(key, value, &headers);
            assert!(!line.contains('\n'), "{line}");
            let want = NewRecord {
                topic: Some("t".to_owned()),
                partition: Some(2),
                timestamp: Some(1_700_000_000_000),
                key: key.map(<[u8]>::to_vec),
                value: value.map(<[u8]>::to_vec),
                headers: headers
                    .iter()
                    .map(|it| (it.key_text().into_owned(), it.value.map(<[u8]>::to_vec)))
                    .collect(),
            };
            assert_eq!(from_line(&line), Ok(want), "{line}");
        }
    }

    proptest! {
        #[test]
        fn every_record_comes_back_as_it_was(
            key in option::of(vec(any::<u8>(), 0..20)),
            value in option::of(vec(any::<u8>(), 0..20)),
            headers in vec((".{0,5}", option::of(vec(any::<u8>(), 0..5))), 0..3),
        ) {
            let borrowed: Vec<_> = headers
                .iter()
                .map(|(key, value)| RecordHeader { key: key.as_bytes(), value: value.as_deref() })
                .collect();
            let read = from_line(&line_of(key.as_deref(), value.as_deref(), &borrowed)).unwrap();
            prop_assert_eq!((read.key, read.value, read.headers), (key, value, headers));
        }

        #[test]
        fn any_line_is_read_or_refused(line in ".{0,80}") {
            let _ = from_line(&line);
        }
    }

    #[test]
    fn the_schema_is_stable() {
        assert_eq!(
            line_of(Some(b"k"), Some(b"\xff"), &[RecordHeader { key: b"h", value: Some(b"x") }]),
            r#"{"topic":"t","partition":2,"offset":0,"timestamp":1700000000000,"timestamp_type":"create","headers":[{"key":"h","value":"x"}],"key":"k","value_base64":"/w=="}"#
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, want) in [
            (r#"{"value":"a","value_base64":"YQ=="}"#, "both value and value_base64 are given"),
            (r#"{"key_base64":"%"}"#, "key_base64: Invalid symbol 37, offset 0."),
            (r#"{"vlaue":"a"}"#, "unknown field `vlaue`"),
        ] {
            let error = from_line(line).unwrap_err();
            assert!(error.starts_with(want), "{error}");
        }
    }
}
