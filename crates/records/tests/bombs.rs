//! A few kilobytes that inflate to a gigabyte cost no more than the limit, in memory as in output.
//!
//! The peak of the process is looked at, so that memory of C libraries counts too; tests beside it must be small.

use std::io::Write;

use bytes::Bytes;
use milena_records::{
    BatchBuilder, BatchHeader, Compression, Invalid, Level, RecordsError, Rules, compress, decompress,
    validate,
};

const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

/// A record without key whose value has a gigabyte: length, attributes, two deltas, null, length.
const HEAD: &[u8] = &[0xa0, 0x80, 0x80, 0x80, 0x08, 0, 0, 0, 1, 0x80, 0x80, 0x80, 0x80, 0x08];

/// Streams that begin with `HEAD` and go on with zeros, a gigabyte of them where that fits the form.
fn bombs() -> Vec<(&'static str, Compression, Vec<u8>)> {
    let zeros = vec![0; MIB];
    let packed = |codec| (compress(codec, Level::Default, HEAD), compress(codec, Level::Default, &zeros));
    // Streams of gzip and zstd may follow each other; blocks of lz4 and snappy do so within their frame.
    let (head, more) = packed(Compression::Gzip);
    let gzip = [head, more.repeat(1024)].concat();
    let (head, more) = packed(Compression::Zstd);
    let zstd = [head, more.repeat(1024)].concat();
    let (head, more) = packed(Compression::Snappy);
    let snappy = [head, more[16..].repeat(1024)].concat();
    let (head, more) = packed(Compression::Lz4);
    let (start, first, end) = (&head[..7], &head[7..head.len() - 4], &head[head.len() - 4..]);
    let lz4 = [start, first, &more[7..more.len() - 4].repeat(1024), end].concat();
    // One stream with the window of 128 MiB that the highest level of zstd asks for.
    let large = [HEAD, &vec![0; 256 * MIB]].concat();
    let mut window = zstd::Encoder::new(Vec::new(), 1).unwrap();
    window.window_log(27).unwrap();
    window.write_all(&large).unwrap();
    // Bare snappy blocks say their size first.
    let bare = snap::raw::Encoder::new().compress_vec(&large).unwrap();
    vec![
        ("gzip", Compression::Gzip, gzip),
        ("zstd", Compression::Zstd, zstd),
        ("zstd with a large window", Compression::Zstd, window.finish().unwrap()),
        ("framed snappy", Compression::Snappy, snappy),
        ("bare snappy", Compression::Snappy, bare),
        ("lz4", Compression::Lz4, lz4),
    ]
}

/// One record that would take everything the bomb holds.
fn batch(codec: Compression, body: &[u8]) -> Bytes {
    let mut header = BatchBuilder::new(codec).build().header();
    header.record_count = 1;
    header.batch_length = 49 + body.len() as i32;
    header.crc = header.compute_crc(body);
    [&header.to_bytes()[..], body].concat().into()
}

/// Starts counting the peak anew and returns the memory in use, in KiB.
fn resident() -> usize {
    std::fs::write("/proc/self/clear_refs", "5").expect("a process may reset its own peak");
    status("VmRSS:")
}

fn status(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_bomb_costs_no_more_than_the_limit() {
    for (name, codec, bomb) in bombs() {
        let batch = batch(codec, &bomb);
        let before = resident();
        let rules = Rules { inflated_limit: MIB, max_message_bytes: GIB, ..Rules::default() };
        let refused = validate(&batch, &rules);
        let inflated = decompress(codec, &batch[BatchHeader::SIZE..], MIB);
        let took = status("VmHWM:").saturating_sub(before);
        assert_eq!(refused, Err(Invalid::InflatesTooFar { limit: MIB }), "{name}");
        assert_eq!(inflated, Err(RecordsError::InflatesTooFar { limit: MIB }), "{name}");
        assert!(took < 4 * 1024, "{name} took {took} KiB");
    }
}

#[test]
fn a_snappy_block_cannot_declare_more_than_its_bytes_can_hold() {
    let liar = [0x80, 0x80, 0x80, 0x80, 0x04, 0];
    let reason = "a block declares more bytes than it can hold".into();
    assert_eq!(
        decompress(Compression::Snappy, &liar, 2 * GIB),
        Err(RecordsError::Codec { codec: Compression::Snappy, reason }),
    );
}
