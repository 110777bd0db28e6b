//! The crate `kafka-protocol` reads and writes every message as we do.
//!
//! It knows Kafka 4.1; versions that are newer are covered by `layout.rs` alone.

mod common;

use bytes::{Bytes, BytesMut};
use common::{
    notation::{Api, Role},
    random::{Encoder, Random},
};
use kafka_protocol::messages::{ApiKey as OracleKey, RequestKind, ResponseKind};
use milena_wire::{AnyRequest, AnyResponse, ApiKey, Reader, Uuid, Writer};

/// Random messages per API, version and direction.
const ROUNDS: u64 = 25;

/// Field names and values in the order of a `Debug` text, without what differs by design: names
/// of types and wrappers, unknown tagged fields, how ids and record batches are printed.
fn facts(debug: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = debug;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '"' => quoted(rest, 1),
            'b' if rest.starts_with("b\"") => quoted(rest, 2),
            _ if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ => {
                rest = &rest[c.len_utf8()..];
                continue;
            }
        };
        let (word, after) = rest.split_at(length);
        rest = after;
        if word == "Records" {
            // Ours prints the length only, theirs the bytes; the bytes are compared elsewhere.
            rest = after.trim_start_matches(is_not(')'));
            words.push("bytes".to_owned());
        } else if word.starts_with("b\"") && words.last().is_some_and(|last| last == "records") {
            words.push("bytes".to_owned());
        } else if !after.starts_with(['(']) && !after.starts_with(" {") {
            // Words of a field name are cut differently next to digits: `enable2_pc`.
            let name = || if word.contains('"') { word.to_owned() } else { word.replace('_', "") };
            words.push(canonical_uuid(word).unwrap_or_else(name));
        }
    }
    words.retain(|word| word != "unknowntaggedfields");
    words
}

fn is_not(end: char) -> impl Fn(char) -> bool {
    move |c| c != end
}

/// An id in hexadecimal groups, printed as Kafka does.
fn canonical_uuid(word: &str) -> Option<String> {
    let groups: Vec<usize> = word.split('-').map(str::len).collect();
    (groups == [8, 4, 4, 4, 12]).then_some(())?;
    let bits = u128::from_str_radix(&word.replace('-', ""), 16).ok()?;
    Some(Uuid(bits.to_be_bytes()).to_string().replace('_', ""))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// Length of a quoted text that starts at the beginning and whose content starts at `from`.
fn quoted(text: &str, from: usize) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(from) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// What the oracle makes of a message: itself printed, and its bytes.
type Reading = Result<(String, Bytes), String>;

/// Compares the two readings of random messages of every API and version that the oracle knows.
fn compare(
    role: Role,
    theirs: impl Fn(OracleKey, i16, &mut Bytes) -> Reading,
    ours: impl Fn(ApiKey, i16, Bytes) -> (String, Bytes),
) {
    let mut versions = 0;
    for api in &common::schemas() {
        let Ok(oracle) = OracleKey::try_from(api.key) else { continue };
        let known = oracle.valid_versions();
        for version in api.versions.0.max(known.min)..=api.versions.1.min(known.max) {
            versions += 1;
            for seed in 0..ROUNDS {
                let mut bytes = Vec::new();
                let mut encoder = Encoder { api, version, random: Random(seed), unknown_tags: false };
                encoder.encode(api.message(role), &mut bytes);
                let what = format!("{} v{version} {bytes:x?}", api.name);

                let mut left = Bytes::from(bytes.clone());
                let theirs = match theirs(oracle, version, &mut left) {
                    // The oracle's table names versions which its messages do not know.
                    Err(error) if error.contains("version not supported") => {
                        versions -= 1;
                        break;
                    }
                    theirs => theirs.expect(&what),
                };
                assert!(left.is_empty(), "{what}: {} bytes left", left.len());
                let ours = ours(ApiKey::from_code(api.key).unwrap(), version, theirs.1);
                assert_eq!(known_facts(&ours.0, api, known.max), facts(&theirs.0), "{what}");
                assert_eq!(ours.1, bytes, "{what}");
            }
        }
    }
    assert!(versions > 170, "the oracle was asked about {versions} versions only");
}

/// The facts of `debug` without fields that came after version `max`; none of those is nested.
fn known_facts(debug: &str, api: &Api, max: i16) -> Vec<String> {
    let fields = api.structs.iter().flat_map(|it| &it.fields);
    let newer: Vec<String> =
        fields.filter(|field| field.versions.0 > max).map(|field| field.name.replace('_', "")).collect();
    let mut words = facts(debug).into_iter();
    let mut known = Vec::new();
    while let Some(word) = words.next() {
        if newer.contains(&word) {
            words.next();
        } else {
            known.push(word);
        }
    }
    known
}

#[test]
fn requests_are_read_and_written_alike() {
    let theirs = |key, version, bytes: &mut Bytes| {
        let it = RequestKind::decode(key, bytes, version).map_err(|error| format!("{error:#}"))?;
        let mut written = BytesMut::new();
        it.encode(&mut written, version).map_err(|error| format!("{error:#}"))?;
        Ok((format!("{it:?}"), written.freeze()))
    };
    compare(Role::Request, theirs, |key, version, bytes| {
        let it = AnyRequest::decode(key, version, &mut Reader::new(bytes)).unwrap();
        let mut w = Writer::new();
        it.encode(&mut w, version).unwrap();
        (format!("{it:?}"), w.into_bytes())
    });
}

#[test]
fn responses_are_read_and_written_alike() {
    let theirs = |key, version, bytes: &mut Bytes| {
        let it = ResponseKind::decode(key, bytes, version).map_err(|error| format!("{error:#}"))?;
        let mut written = BytesMut::new();
        it.encode(&mut written, version).map_err(|error| format!("{error:#}"))?;
        Ok((format!("{it:?}"), written.freeze()))
    };
    compare(Role::Response, theirs, |key, version, bytes| {
        let it = AnyResponse::decode(key, version, &mut Reader::new(bytes)).unwrap();
        let mut w = Writer::new();
        it.encode(&mut w, version).unwrap();
        (format!("{it:?}"), w.into_bytes())
    });
}
