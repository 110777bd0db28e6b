//! Where a fuzzer starts: one small valid message of every API and version, for the targets in `fuzz/`.
//!
//! A fuzzer would guess most bodies in time; given them it spends its time on what is wrong with them.

mod common;

use std::{fs, path::Path};

use common::{
    notation::{Api, Role},
    random::{Encoder, Random},
};
use milena_wire::{AnyRequest, AnyResponse, ApiKey, Reader, RequestHeader, Writer, frame};

/// Longest seed in bytes: mutations of a short message hit its structure more often.
const LONGEST: usize = 600;

/// The shortest of a few random messages.
fn body(api: &Api, role: Role, version: i16) -> Vec<u8> {
    let message = |seed| {
        let mut out = Vec::new();
        let unknown_tags = seed % 2 == 0;
        Encoder { api, version, random: Random(seed), unknown_tags }.encode(api.message(role), &mut out);
        out
    };
    let messages = (1..=16).map(message);
    // Not the very shortest, which are empty lists: the largest that is short enough, or else the smallest.
    messages
        .max_by_key(|it| if it.len() <= LONGEST { it.len() as isize } else { -(it.len() as isize) })
        .unwrap()
}

/// What `fuzz/targets/request.rs` reads.
fn request(api: &Api, version: i16) -> Vec<u8> {
    let mut w = Writer::new();
    frame::put_request_header(&mut w, ApiKey::from_code(api.key).unwrap(), version, 7, Some("fuzz"));
    [w.into_bytes().to_vec(), body(api, Role::Request, version)].concat()
}

/// What `fuzz/targets/response.rs` reads.
fn response(api: &Api, version: i16) -> Vec<u8> {
    let place = ApiKey::ALL.iter().position(|it| it.code() == api.key).unwrap();
    let choice = [place as u8, (version - api.versions.0) as u8];
    [choice.to_vec(), body(api, Role::Response, version)].concat()
}

fn for_each(mut visit: impl FnMut(&Api, i16)) {
    for api in &common::schemas() {
        (api.versions.0..=api.versions.1).for_each(|version| visit(api, version));
    }
}

#[test]
fn every_seed_is_a_whole_message() {
    for_each(|api, version| {
        let (name, key) = (&api.name, ApiKey::from_code(api.key).unwrap());
        let mut r = Reader::new(request(api, version));
        let header = RequestHeader::decode(&mut r).unwrap();
        assert_eq!((header.api(), header.api_version), (Some(key), version));
        AnyRequest::decode(key, version, &mut r).unwrap_or_else(|error| panic!("{name} v{version}: {error}"));
        assert_eq!(r.remaining(), 0, "request {name} v{version}");

        let mut r = Reader::new(response(api, version)[2..].to_vec());
        AnyResponse::decode(key, version, &mut r)
            .unwrap_or_else(|error| panic!("{name} v{version}: {error}"));
        assert_eq!(r.remaining(), 0, "response {name} v{version}");
    });
}

#[test]
#[ignore = "writes files: fuzz/README.md says when"]
fn write_seeds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for folder in ["request", "response"] {
        fs::create_dir_all(corpus.join(folder)).unwrap();
    }
    for_each(|api, version| {
        let file = format!("{}-v{version}", api.name);
        fs::write(corpus.join("request").join(&file), request(api, version)).unwrap();
        fs::write(corpus.join("response").join(&file), response(api, version)).unwrap();
    });
}
