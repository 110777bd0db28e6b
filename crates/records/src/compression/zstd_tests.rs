use std::io::Write;

use crate::{Compression, Level, RecordsError, compress, decompress};

fn inflate(stream: &[u8]) -> Result<Vec<u8>, RecordsError> {
    decompress(Compression::Zstd, stream, 1 << 20)
}

fn pack(content: &[u8]) -> Vec<u8> {
    compress(Compression::Zstd, Level::Default, content)
}

#[test]
fn streams_of_several_frames_and_of_unknown_size_are_read() {
    let content = b"some words, ".repeat(20_000);
    let mut encoder = ::zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_contentsize(false).unwrap();
    encoder.write_all(&content).unwrap();
    let unknown = encoder.finish().unwrap();
    assert!(inflate(&unknown) == Ok(content.clone()));
    let several = [&unknown[..], &pack(b""), &pack(b"more")].concat();
    assert!(inflate(&several) == Ok([&content[..], b"more"].concat()));
    assert_eq!(inflate(b""), Ok(vec![]));
}

#[test]
fn a_broken_stream_leaves_nothing_for_the_next_one() {
    let good = pack(&b"some words, ".repeat(20_000));
    let reason = |reason: &str| RecordsError::Codec { codec: Compression::Zstd, reason: reason.into() };
    for cut in [1, 5, 12, good.len() / 2, good.len() - 1] {
        assert_eq!(inflate(&good[..cut]), Err(reason("unexpected end of file")), "cut at {cut}");
        assert_eq!(inflate(&good).map(|it| it.len()), Ok(240_000), "after a cut at {cut}");
    }
    assert_eq!(inflate(b"no zstd"), Err(reason("Unknown frame descriptor")));
    // A reader that was given up half-way, too.
    assert_eq!(decompress(Compression::Zstd, &good, 7), Err(RecordsError::InflatesTooFar { limit: 7 }));
    assert_eq!(inflate(&good).map(|it| it.len()), Ok(240_000));
}
