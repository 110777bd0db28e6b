use super::*;

fn written(write: impl FnOnce(&mut Writer)) -> Bytes {
    let mut w = Writer::new();
    write(&mut w);
    w.into_bytes()
}

#[test]
fn large_slices_are_chained_in_place_and_not_copied() {
    let large = Bytes::from(vec![7; CHAIN_FROM]);
    let small = Bytes::from(vec![8; CHAIN_FROM - 1]);
    let mut w = Writer::new();
    w.slice(&large);
    w.i16(1);
    w.slice(&small);
    w.slice(&large);
    w.slice(&large);
    w.i8(2);
    assert_eq!(w.len(), 3 * CHAIN_FROM + 2 + small.len() + 1);
    let parts = w.finish();
    let mut middle = vec![0, 1];
    middle.extend(&small);
    assert_eq!(parts, [&large[..], &middle, &large, &large, &[2]]);
    assert_eq!(parts[0].as_ptr(), large.as_ptr());
}

#[test]
fn records_keep_their_parts() {
    let parts = vec![Bytes::from(vec![1; 2_000]), Bytes::from(vec![2; 3]), Bytes::from(vec![3; 2_000])];
    let mut w = Writer::new();
    w.records(&Some(Records::from(parts.clone())), false);
    let sent = w.finish();
    assert_eq!(sent, [&4003i32.to_be_bytes()[..], &parts[0], &parts[1], &parts[2]]);
    assert_eq!(sent[3].as_ptr(), parts[2].as_ptr());
    assert_eq!(&written(|w| w.records(&Some(Records::empty()), true))[..], [1]);
    assert_eq!(&written(|w| w.records(&None, true))[..], [0]);
}

#[test]
fn none_is_empty_where_a_version_has_no_null() {
    for (nullable, flexible, want) in
        [(true, false, &[0xff, 0xff][..]), (true, true, &[0]), (false, false, &[0, 0]), (false, true, &[1])]
    {
        assert_eq!(&written(|w| w.nullable_text(&None, flexible, nullable))[..], want);
    }
    assert_eq!(
        &written(|w| w.nullable_array(&None::<Vec<i8>>, false, false, |w, it| w.i8(*it)))[..],
        [0, 0, 0, 0]
    );
}

#[test]
fn tagged_field_has_its_size_even_if_chained() {
    let large = Bytes::from(vec![7; 2_000]);
    let bytes = written(|w| w.tagged_field(3, |w| w.slice(&large)));
    assert_eq!(bytes[..3], [3, 0xd0, 0x0f]);
    assert_eq!(bytes[3..], large);
}

#[test]
fn text_longer_than_an_int16_is_an_error_of_old_versions_only() {
    let text = "x".repeat(SHORT + 1);
    for (flexible, want) in
        [(false, Err(EncodeError::TooLong { length: SHORT + 1, limit: SHORT })), (true, Ok(()))]
    {
        let mut w = Writer::new();
        w.text(&text, flexible);
        assert_eq!(w.take_error(), want);
    }
}
