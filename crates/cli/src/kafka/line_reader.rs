//! How `kafka-console-producer` turns a line into a record.

use std::collections::BTreeMap;

use super::exception::Exception;
use super::java;
use crate::record::{NewHeader, NewRecord};

/// Settings of the reader: Apache's `--reader-property` names and defaults.
#[derive(Debug, Clone)]
pub struct LineReader {
    parse_key: bool,
    parse_headers: bool,
    ignore_error: bool,
    key_separator: String,
    headers_delimiter: String,
    headers_separator: String,
    headers_key_separator: String,
    null_marker: Option<String>,
}

impl LineReader {
    /// Reads the properties; two separators that are equal are refused.
    pub fn new(properties: &BTreeMap<String, String>) -> Result<Self, Exception> {
        let flag = |name: &str| properties.get(name).is_some_and(|text| java::is_true(text));
        let text =
            |name: &str, default: &str| properties.get(name).cloned().unwrap_or_else(|| default.to_owned());
        let reader = LineReader {
            parse_key: flag("parse.key"),
            parse_headers: flag("parse.headers"),
            ignore_error: flag("ignore.error"),
            key_separator: text("key.separator", "\t"),
            headers_delimiter: text("headers.delimiter", "\t"),
            headers_separator: text("headers.separator", ","),
            headers_key_separator: text("headers.key.separator", ":"),
            null_marker: properties.get("null.marker").cloned(),
        };
        reader.check()?;
        Ok(reader)
    }

    fn check(&self) -> Result<(), Exception> {
        let key = ("key.separator", Some(&self.key_separator));
        let delimiter = ("headers.delimiter", Some(&self.headers_delimiter));
        let separator = ("headers.separator", Some(&self.headers_separator));
        let pair = ("headers.key.separator", Some(&self.headers_key_separator));
        let marker = ("null.marker", self.null_marker.as_ref());
        let differ = [
            (delimiter, separator),
            (delimiter, pair),
            (separator, pair),
            (marker, key),
            (marker, separator),
            (marker, delimiter),
            (marker, pair),
        ];
        match differ.iter().find(|(one, other)| one.1.is_some() && one.1 == other.1) {
            None => Ok(()),
            Some((one, other)) => {
                Err(Exception::general(format!("{} and {} may not be equal", one.0, other.0)))
            }
        }
    }

    /// The record of a line without its line break; `number` counts lines from 1.
    pub fn read(&self, line: &str, number: usize) -> Result<NewRecord, Exception> {
        let parse =
            |enabled: bool, text: &'_ str, separator: &str, name: &str| -> Result<Option<usize>, Exception> {
                match text.find(separator) {
                    _ if !enabled => Ok(None),
                    None if self.ignore_error => Ok(None),
                    None => {
                        Err(Exception::general(format!("No {name} found on line number {number}: '{line}'")))
                    }
                    found => Ok(found),
                }
            };
        let mut rest = line;
        let mut headers = None;
        if let Some(at) = parse(self.parse_headers, rest, &self.headers_delimiter, "headers delimiter")? {
            headers = Some(&rest[..at]);
            rest = &rest[at + self.headers_delimiter.len()..];
        }
        let mut key = None;
        if let Some(at) = parse(self.parse_key, rest, &self.key_separator, "key separator")? {
            key = Some(&rest[..at]);
            rest = &rest[at + self.key_separator.len()..];
        }
        Ok(NewRecord {
            key: key.and_then(|key| self.bytes(key)),
            value: self.bytes(rest),
            headers: match headers {
                Some(headers) if !self.is_null(headers) => self.split_headers(headers, number)?,
                _ => Vec::new(),
            },
            ..NewRecord::default()
        })
    }

    fn split_headers(&self, headers: &str, number: usize) -> Result<Vec<NewHeader>, Exception> {
        // Java's split drops empty strings at the end.
        let pairs =
            headers.trim_end_matches(self.headers_separator.as_str()).split(self.headers_separator.as_str());
        pairs.map(|pair| self.header(pair, number)).collect()
    }

    fn header(&self, pair: &str, number: usize) -> Result<NewHeader, Exception> {
        match pair.split_once(self.headers_key_separator.as_str()) {
            Some((key, _)) if self.is_null(key) => Err(Exception::general(format!(
                "Header keys should not be equal to the null marker '{key}' as they can't be null"
            ))),
            Some((key, value)) => Ok((key.to_owned(), self.bytes(value))),
            None if self.ignore_error => Ok((pair.to_owned(), None)),
            None => Err(Exception::general(format!(
                "No header key separator found in pair '{pair}' on line number {number}"
            ))),
        }
    }

    fn is_null(&self, text: &str) -> bool {
        self.null_marker.as_deref() == Some(text)
    }

    fn bytes(&self, text: &str) -> Option<Vec<u8>> {
        (!self.is_null(text)).then(|| text.as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reader(properties: &[&str]) -> Result<LineReader, Exception> {
        LineReader::new(&java::key_values(properties.iter().copied()))
    }

    fn record(key: Option<&str>, value: Option<&str>, headers: &[(&str, Option<&str>)]) -> NewRecord {
        let bytes = |text: &str| text.as_bytes().to_vec();
        NewRecord {
            key: key.map(bytes),
            value: value.map(bytes),
            headers: headers.iter().map(|(key, value)| ((*key).to_owned(), value.map(bytes))).collect(),
            ..NewRecord::default()
        }
    }

    #[test]
    fn lines_become_records() {
        let all = ["parse.key=true", "parse.headers=true", "null.marker=NULL"];
        for (properties, line, want) in [
            (&[][..], "a\tb", record(None, Some("a\tb"), &[])),
            (&["parse.key=true"], "k\tv\tw", record(Some("k"), Some("v\tw"), &[])),
            (&["parse.key=true", "key.separator=:"], "k:v", record(Some("k"), Some("v"), &[])),
            (&["parse.key=true", "ignore.error=true"], "lone", record(None, Some("lone"), &[])),
            (&all, "h:1,i:NULL\tk\tv", record(Some("k"), Some("v"), &[("h", Some("1")), ("i", None)])),
            (&all, "NULL\tNULL\tNULL", record(None, None, &[])),
        ] {
            assert_eq!(reader(properties).unwrap().read(line, 1), Ok(want), "{properties:?} {line:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (properties, line, want) in [
            (&["parse.key=true"][..], "lone", "No key separator found on line number 7: 'lone'"),
            (&["parse.headers=true"], "lone", "No headers delimiter found on line number 7: 'lone'"),
            (&["parse.headers=true"], "h\tv", "No header key separator found in pair 'h' on line number 7"),
        ] {
            let error = reader(properties).unwrap().read(line, 7).unwrap_err();
            assert_eq!(error, Exception::general(want), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in ".{0,40}|[a,:\t]{0,20}", key: bool, headers: bool, lenient: bool) {
            let flags = [format!("parse.key={key}"), format!("parse.headers={headers}"), format!("ignore.error={lenient}")];
            let reader = reader(&flags.each_ref().map(String::as_str)).unwrap();
            prop_assert!(reader.read(&line, 1).is_ok() || !lenient);
        }
    }

    #[test]
    fn separators_must_differ() {
        for (properties, want) in [
            (&["headers.separator=:"][..], "headers.separator and headers.key.separator may not be equal"),
            (&["headers.delimiter=,"], "headers.delimiter and headers.separator may not be equal"),
            (&["null.marker=\t"], "null.marker and key.separator may not be equal"),
        ] {
            assert_eq!(reader(properties).unwrap_err(), Exception::general(want));
        }
    }
}
