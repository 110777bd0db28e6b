//! Messages made up from the schemas survive decoding and encoding, byte for byte.

mod common;

use bytes::Bytes;
use common::{
    notation::{Api, Role},
    random::{Encoder, Random},
};
use milena_wire::{AnyRequest, AnyResponse, ApiKey, DecodeError, Reader, Writer};

/// Random messages per API and version.
const ROUNDS: u64 = 20;

/// Calls `f` for a number of random messages of every API and version.
fn for_each_message(role: Role, unknown_tags: bool, mut f: impl FnMut(ApiKey, i16, Bytes)) {
    for api in &common::schemas() {
        for version in api.versions.0..=api.versions.1 {
            for seed in 0..ROUNDS {
                let bytes = random_message(api, role, version, seed, unknown_tags);
                f(ApiKey::from_code(api.key).unwrap(), version, bytes);
            }
        }
    }
}

fn random_message(api: &Api, role: Role, version: i16, seed: u64, unknown_tags: bool) -> Bytes {
    let mut out = Vec::new();
    let mut encoder = Encoder { api, version, random: Random(seed), unknown_tags };
    encoder.encode(api.message(role), &mut out);
    out.into()
}

fn request_bytes(request: &AnyRequest, version: i16) -> Bytes {
    let mut w = Writer::new();
    request.encode(&mut w, version).unwrap();
    let length = w.len();
    let bytes = w.into_bytes();
    assert_eq!(bytes.len(), length);
    bytes
}

fn response_bytes(response: &AnyResponse, version: i16) -> Bytes {
    let mut w = Writer::new();
    response.encode(&mut w, version).unwrap();
    w.into_bytes()
}

#[test]
fn requests_encode_to_the_bytes_they_were_decoded_from() {
    for_each_message(Role::Request, false, |key, version, bytes| {
        let mut r = Reader::new(bytes.clone());
        let request = AnyRequest::decode(key, version, &mut r).unwrap();
        assert_eq!(r.remaining(), 0, "{key} v{version}");
        assert_eq!(request.key(), key);
        assert_eq!(request_bytes(&request, version), bytes, "{key} v{version} {request:?}");
    });
}

#[test]
fn responses_encode_to_the_bytes_they_were_decoded_from() {
    for_each_message(Role::Response, false, |key, version, bytes| {
        let mut r = Reader::new(bytes.clone());
        let response = AnyResponse::decode(key, version, &mut r).unwrap();
        assert_eq!(r.remaining(), 0, "{key} v{version}");
        assert_eq!(response.key(), key);
        assert_eq!(response_bytes(&response, version), bytes, "{key} v{version} {response:?}");
    });
}

#[test]
fn unknown_tagged_fields_are_skipped() {
    for_each_message(Role::Request, true, |key, version, bytes| {
        let mut r = Reader::new(bytes);
        let request = AnyRequest::decode(key, version, &mut r).unwrap();
        assert_eq!(r.remaining(), 0, "{key} v{version}");
        let again = AnyRequest::decode(key, version, &mut Reader::new(request_bytes(&request, version)));
        assert_eq!(again.unwrap(), request, "{key} v{version}");
    });
}

#[test]
fn every_proper_prefix_is_refused() {
    for_each_message(Role::Request, false, |key, version, bytes| {
        for end in 0..bytes.len() {
            let cut = AnyRequest::decode(key, version, &mut Reader::new(bytes.slice(..end)));
            assert!(
                matches!(cut, Err(DecodeError::Truncated { .. } | DecodeError::InvalidLength { .. })),
                "{key} v{version} cut at {end} of {}: {cut:?}",
                bytes.len()
            );
        }
    });
}

#[test]
fn versions_outside_of_the_table_are_refused() {
    for api in ApiKey::ALL {
        let versions = api.versions();
        for version in [versions.start() - 1, versions.end() + 1, i16::MIN, i16::MAX] {
            let want = DecodeError::UnsupportedVersion { api: *api, version };
            let bytes = Bytes::from_static(&[0; 64]);
            assert_eq!(AnyRequest::decode(*api, version, &mut Reader::new(bytes.clone())), Err(want));
            assert_eq!(AnyResponse::decode(*api, version, &mut Reader::new(bytes)), Err(want));
        }
    }
}
