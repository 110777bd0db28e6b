use super::*;

fn reader(bytes: &[u8]) -> Reader {
    Reader::new(Bytes::copy_from_slice(bytes))
}

#[test]
fn varints_end_within_32_bits() {
    for (bytes, want) in [
        (&[0x00][..], Ok(0)),
        (&[0x7f], Ok(127)),
        (&[0x80, 0x01], Ok(128)),
        (&[0xff, 0xff, 0xff, 0xff, 0x0f], Ok(u32::MAX)),
        (&[0xff, 0xff, 0xff, 0xff, 0x1f], Err(DecodeError::VarintTooLong { at: 5 })),
        (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00], Err(DecodeError::VarintTooLong { at: 5 })),
        (&[0x80], Err(DecodeError::Truncated { at: 1, needed: 1 })),
    ] {
        assert_eq!(reader(bytes).varuint(), want, "{bytes:x?}");
    }
}

#[test]
fn text_lengths_are_bounded_by_the_bytes_left() {
    for (bytes, flexible, want) in [
        (&[0, 2, b'o', b'k'][..], false, Ok(Some("ok"))),
        (&[3, b'o', b'k'], true, Ok(Some("ok"))),
        (&[0xff, 0xff], false, Ok(None)),
        (&[0], true, Ok(None)),
        (&[0, 3, b'o', b'k'], false, Err(DecodeError::InvalidLength { at: 2, length: 3 })),
        (&[4, b'o', b'k'], true, Err(DecodeError::InvalidLength { at: 1, length: 3 })),
        (&[0xff, 0xfe, b'o'], false, Err(DecodeError::InvalidLength { at: 2, length: -2 })),
        (&[0, 1, 0xff], false, Err(DecodeError::NotUtf8 { at: 2 })),
    ] {
        let text = reader(bytes).nullable_text(flexible);
        assert_eq!(text.as_ref().map(|it| it.as_deref()).map_err(|it| *it), want, "{bytes:x?}");
    }
}

#[test]
fn null_is_refused_where_it_is_not_allowed() {
    assert_eq!(reader(&[0xff, 0xff]).text(false), Err(DecodeError::UnexpectedNull { at: 2 }));
    assert_eq!(reader(&[0]).bytes(true), Err(DecodeError::UnexpectedNull { at: 1 }));
    assert_eq!(reader(&[0]).array(true, 1, Reader::i8), Err(DecodeError::UnexpectedNull { at: 1 }));
}

#[test]
fn array_counts_are_refused_before_anything_is_allocated() {
    let count = |n: i32, rest: usize| [&n.to_be_bytes()[..], &vec![7; rest]].concat();
    for (bytes, min_size, want) in [
        (count(2, 8), 4, Ok(vec![0x0707_0707; 2])),
        (count(0, 0), 4, Ok(vec![])),
        // Three elements of four bytes do not fit into eleven.
        (count(3, 11), 4, Err(DecodeError::InvalidLength { at: 4, length: 3 })),
        (count(i32::MAX, 100), 4, Err(DecodeError::InvalidLength { at: 4, length: i64::from(i32::MAX) })),
        (count(-2, 8), 4, Err(DecodeError::InvalidLength { at: 4, length: -2 })),
        (count(1_000_001, 1_000_001), 1, Err(DecodeError::InvalidLength { at: 4, length: 1_000_001 })),
    ] {
        assert_eq!(reader(&bytes).array(false, min_size, Reader::i32), want, "{min_size} {}", bytes.len());
    }
}

#[test]
fn tagged_fields_end_where_their_size_says() {
    // Tag 0 holds an i32 and a stray byte; tag 5 is unknown.
    let bytes = [2, 0, 5, 0, 0, 0, 9, 0xee, 5, 2, 1, 2, 0x77];
    let mut r = reader(&bytes);
    let mut seen = vec![];
    r.tagged_fields(|tag, r| {
        if tag == 0 {
            seen.push(r.i32()?);
        }
        Ok(())
    })
    .unwrap();
    assert_eq!((seen, r.i8()), (vec![9], Ok(0x77)));

    let mut r = reader(&bytes);
    r.skip_tagged_fields().unwrap();
    assert_eq!(r.i8(), Ok(0x77));
}

#[test]
fn tagged_field_cannot_read_past_its_size() {
    let read = reader(&[1, 0, 3, 0, 0, 0, 9]).tagged_fields(|_, r| r.i32().map(|_| ()));
    assert_eq!(read, Err(DecodeError::Truncated { at: 3, needed: 1 }));
    let skipped = reader(&[1, 0, 9, 0]).skip_tagged_fields();
    assert_eq!(skipped, Err(DecodeError::Truncated { at: 3, needed: 8 }));
}

#[test]
fn slices_share_the_frame() {
    let frame = Bytes::from(vec![0, 0, 0, 3, 1, 2, 3]);
    let slice = Reader::new(frame.clone()).bytes(false).unwrap();
    assert_eq!(slice.as_ptr(), frame[4..].as_ptr());
}
