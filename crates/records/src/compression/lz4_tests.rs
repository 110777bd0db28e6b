use std::io::Write;

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use crate::{Compression, RecordsError, decompress};

const LIMIT: usize = 1 << 20;

/// Text that compresses, then bytes that do not: both kinds of block.
fn content() -> Vec<u8> {
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    let mut content = b"the same words again and again, ".repeat(5_000);
    content.extend(noise.take(200_000));
    content
}

fn frame(info: FrameInfo) -> Vec<u8> {
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(&content()).unwrap();
    encoder.finish().unwrap()
}

fn independent() -> FrameInfo {
    FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB)
}

fn inflate(frame: &[u8]) -> Result<Vec<u8>, RecordsError> {
    decompress(Compression::Lz4, frame, LIMIT)
}

fn refused(reason: &str) -> Result<Vec<u8>, RecordsError> {
    Err(RecordsError::Codec { codec: Compression::Lz4, reason: reason.into() })
}

#[test]
fn every_kind_of_frame_that_kafka_reads_is_read() {
    for info in [
        independent(),
        independent().block_size(BlockSize::Max256KB),
        independent().block_size(BlockSize::Max4MB),
        independent().block_checksums(true),
        independent().content_checksum(true),
        independent().content_size(Some(content().len() as u64)),
    ] {
        assert!(inflate(&frame(info.clone())) == Ok(content()), "{info:?}");
    }
}

#[test]
fn what_javas_reader_refuses_is_refused() {
    let good = frame(independent());
    let with = |at: usize, byte: u8| {
        let mut changed = good.clone();
        changed[at] = byte;
        changed
    };
    let mut wrong_block = frame(independent().block_checksums(true));
    let at = wrong_block.len() - 5;
    wrong_block[at] ^= 1;
    for (frame, reason) in [
        (frame(independent().block_mode(BlockMode::Linked)), "the blocks of the frame depend on each other"),
        (with(0, 5), "the magic number of a frame is missing"),
        (with(4, good[4] | 0x80), "the frame is of an unknown kind"),
        (with(4, good[4] | 1), "the frame is of an unknown kind"),
        (with(5, 0x30), "the largest block has no valid size"),
        (with(6, good[6] ^ 1), "the checksum of the frame's header is wrong"),
        (with(9, 0x7f), "a block is larger than the frame allows"),
        (wrong_block, "the checksum of a block is wrong"),
    ] {
        assert_eq!(inflate(&frame), refused(reason));
    }
    for cut in [3, 5, 6, 9, 20, good.len() - 4, good.len() - 1] {
        assert_eq!(inflate(&good[..cut]), refused("unexpected end of file"), "cut at {cut}");
    }
}

#[test]
fn a_block_gets_no_more_than_its_frame_allows() {
    // One literal, then a copy whose length says 255 a thousand times.
    let mut block = vec![0x1f, b'x', 1, 0];
    block.extend([255; 1_000]);
    block.extend([0, 0]);
    let mut frame = frame(independent())[..7].to_vec();
    frame.extend((block.len() as u32).to_le_bytes());
    frame.extend(&block);
    assert_eq!(inflate(&frame), refused("a block inflates to more than the frame allows"));
}

#[test]
fn nothing_inflates_past_the_limit_whatever_the_block() {
    for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max4MB] {
        let frame = frame(independent().block_size(size));
        for limit in [0, 1, 64 * 1024, content().len() - 1] {
            let refused = Err(RecordsError::InflatesTooFar { limit });
            assert_eq!(decompress(Compression::Lz4, &frame, limit), refused, "{size:?}");
        }
        assert!(decompress(Compression::Lz4, &frame, content().len()) == Ok(content()), "{size:?}");
    }
}
