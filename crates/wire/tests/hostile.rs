//! Hostile bytes: decoding never panics and never asks for more memory than the bytes warrant.
//!
//! `MILENA_HOSTILE_FRAMES` sets how many mutated frames are decoded; the default suits every run.

// Counting what is allocated takes a global allocator, which is unsafe by its interface.
#![allow(unsafe_code)]

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use bytes::Bytes;
use common::{
    notation::{Api, Role},
    random::{Encoder, Random},
};
use milena_wire::{AnyRequest, AnyResponse, ApiKey, Reader, RequestHeader};
use proptest::prelude::*;

/// Counts what the current thread allocates, and the largest single request.
struct Counting;

thread_local! {
    static TOTAL: Cell<usize> = const { Cell::new(0) };
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TOTAL.set(TOTAL.get() + layout.size());
        LARGEST.set(LARGEST.get().max(layout.size()));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes of memory that one byte of a frame may cost, all allocations of a decode together.
const PER_BYTE: usize = 32;
/// What any frame may cost besides.
const PER_FRAME: usize = 1024;

fn frames() -> u64 {
    std::env::var("MILENA_HOSTILE_FRAMES").map_or(400_000, |n| n.parse().expect("a number of frames"))
}

/// Turns a valid message into one that lies about something.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.next() as u8),
            // Lengths that are huge, or negative, in each width.
            2 => overwrite(bytes, at, &[0x7f, 0xff, 0xff, 0xff]),
            3 => overwrite(bytes, at, &[0xff, 0xff, 0xff, 0xff, 0x07]),
            4 => overwrite(bytes, at, &[random.next() as u8]),
            _ => overwrite(bytes, at, &[0, random.below(4) as u8, random.next() as u8]),
        }
    }
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    for (byte, with) in bytes[at..].iter_mut().zip(with) {
        *byte = *with;
    }
}

/// Decodes and returns what that allocated: in all, and at most at once.
fn cost(decode: impl FnOnce()) -> (usize, usize) {
    TOTAL.set(0);
    LARGEST.set(0);
    decode();
    (TOTAL.get(), LARGEST.get())
}

fn decode(api: &Api, role: Role, version: i16, bytes: Bytes) {
    let (key, mut r) = (ApiKey::from_code(api.key).unwrap(), Reader::new(bytes));
    match role {
        Role::Request => drop(AnyRequest::decode(key, version, &mut r)),
        _ => drop(AnyResponse::decode(key, version, &mut r)),
    }
}

#[test]
fn mutated_messages_cost_no_more_than_their_bytes_warrant() {
    let schemas = common::schemas();
    let mut random = Random(2026);
    for frame in 0..frames() {
        let api = &schemas[random.below(schemas.len() as u64) as usize];
        let (min, max) = api.versions;
        let version = min + random.below((max - min + 1) as u64) as i16;
        let role = if random.one_in(4) { Role::Response } else { Role::Request };

        let mut bytes = Vec::new();
        let mut encoder = Encoder { api, version, random: Random(random.next()), unknown_tags: false };
        encoder.encode(api.message(role), &mut bytes);
        mutate(&mut bytes, &mut random);

        let shared = Bytes::from(bytes.clone());
        let (total, largest) = cost(|| decode(api, role, version, shared));
        let limit = bytes.len() * PER_BYTE + PER_FRAME;
        assert!(
            total <= limit,
            "frame={frame} {} v{version} {role:?}: {total} bytes, {largest} at once, for {}: {bytes:x?}",
            api.name,
            bytes.len()
        );
    }
}

#[test]
fn arrays_of_the_smallest_elements_cost_no_more_than_their_bytes_warrant() {
    // Zeros and ones are the shortest encodings of nearly everything; a count in front of a long
    // run of them makes the most of each byte.
    for api in &common::schemas() {
        for version in api.versions.0..=api.versions.1 {
            for (role, fill, prefix) in [Role::Request, Role::Response]
                .into_iter()
                .flat_map(|role| [0u8, 1, 2].map(|fill| (role, fill)))
                .flat_map(|(role, fill)| (0..24).map(move |prefix| (role, fill, prefix)))
            {
                let mut bytes = vec![fill; 4_000];
                let count: &[u8] =
                    if version >= api.flexible_from { &[0xa0, 0x06] } else { &[0, 0, 3, 0x20] };
                overwrite(&mut bytes, prefix, count);
                let shared = Bytes::from(bytes);
                let (total, largest) = cost(|| decode(api, role, version, shared));
                assert!(
                    total <= 4_000 * PER_BYTE + PER_FRAME,
                    "{} v{version} {role:?} {fill} {prefix}: {total} bytes, {largest} at once",
                    api.name
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = RequestHeader::decode(&mut Reader::new(bytes.clone()));
        for api in ApiKey::ALL {
            for version in api.versions() {
                let _ = AnyRequest::decode(*api, version, &mut Reader::new(bytes.clone()));
            }
        }
    }
}
