//! The stored form: what is on disk today must be read tomorrow.

use proptest::collection::vec;
use proptest::prelude::*;

use super::script::{Script, partitions, producer};
use crate::{Command, DecodeError, EndTransaction, Idle, MarkersWritten, RestoreError, Transactions};

type IsExpected = fn(&RestoreError) -> bool;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

#[test]
fn commands_and_pairs_keep_their_bytes() {
    let topic = format!("74{}", "00".repeat(15));
    let end = Command::EndTransaction(EndTransaction {
        transactional_id: "a".to_owned(),
        now_ms: 300,
        producer: producer("5/6"),
        commit: true,
        bumps: true,
        fresh_producer_id: Some(7),
    });
    assert_eq!(hex(&end.encode()), "2a120a016110ac021a0408051006200128013007");
    let written = Command::MarkersWritten(MarkersWritten {
        transactional_id: "a".to_owned(),
        now_ms: 1,
        producer: producer("5/6"),
        sequence: 9,
        partitions: partitions(&["t-0", "t-3"]),
    });
    let encoded = format!("3a280a016110011a040805100620092a190a10{topic}1201741a020003");
    assert_eq!(hex(&written.encode()), encoded);
    let expire = Command::Expire(vec![Idle { transactional_id: "a".to_owned(), update_time_ms: 2 }]);
    assert_eq!(hex(&expire.encode()), "4a070a050a01611002");

    let mut script = Script::default();
    script.run("init a/b => 1000/0 \n add a/b 1000/0 t-3 => ok \n group a/b 1000/0 g => ok");
    let pairs: Vec<_> = script.pairs.iter().map(|(key, value)| (hex(key), hex(value))).collect();
    let value = format!("0a0308e80728e807300142180a10{topic}1201741a01034a016750006002");
    assert_eq!(pairs, [("782f612f62".to_owned(), value)]);
}

#[test]
fn pairs_that_nobody_wrote_are_refused() {
    let cases: [(&[u8], &[u8], IsExpected); 5] = [
        (b"g/a", b"", |it| matches!(it, RestoreError::UnknownKey(_))),
        (b"x/\xff", b"", |it| matches!(it, RestoreError::UnknownKey(_))),
        (b"x/a", b"\xff", |it| matches!(it, RestoreError::Malformed { .. })),
        // Without a producer, and of state 9.
        (b"x/a", b"", |it| matches!(it, RestoreError::Invalid(_))),
        (b"x/a", b"\x0a\x00\x30\x09", |it| matches!(it, RestoreError::Invalid(_))),
    ];
    for (key, value, expected) in cases {
        let error = Transactions::restore([(key, value)]).expect_err("nobody wrote this");
        assert!(expected(&error), "key={key:?} value={value:?} gives {error}");
    }
}

#[test]
fn commands_of_a_newer_broker_are_told_apart_from_garbage() {
    // Field 15, as a later version may add it.
    assert_eq!(Command::decode([0x7a, 0x00].as_slice()), Err(DecodeError::UnknownKind));
    assert!(matches!(Command::decode([0xff].as_slice()), Err(DecodeError::Malformed(_))));
    // EndTxn of nobody, and of an epoch that is none.
    assert_eq!(Command::decode([0x2a, 0x00].as_slice()), Err(DecodeError::Producer));
    let epoch = [0x2a, 0x06, 0x1a, 0x04, 0x10, 0x80, 0x80, 0x02];
    assert_eq!(Command::decode(epoch.as_slice()), Err(DecodeError::Producer));
}

proptest! {
    #[test]
    fn arbitrary_bytes_neither_decode_to_panics_nor_restore(
        bytes in vec(any::<u8>(), 0..200),
        key in vec(any::<u8>(), 0..20),
    ) {
        let _ = Command::decode(bytes.as_slice()).map(|it| {
            Transactions::default().apply(1, &it, &mut Vec::new())
        });
        let _ = Transactions::restore([(key, &bytes)]);
        let _ = Transactions::restore([(b"x/a", bytes)]);
    }
}
