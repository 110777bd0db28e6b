//! The stored form: what is on disk today must be read tomorrow.

use proptest::prelude::*;

use super::lab::Lab;
use crate::stored::{self, command::Kind};
use crate::{
    Command, CommitOffsets, DecodeError, Event, Groups, OffsetToCommit, RequestId, RestoreError, Settings,
    TopicId,
};

type IsExpected = fn(&RestoreError) -> bool;
type Pairs = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn simple_commit(group: &str, partition: i32, offset: i64) -> CommitOffsets {
    CommitOffsets {
        group: group.to_owned(),
        member_id: String::new(),
        instance_id: None,
        generation: -1,
        retention_ms: None,
        knows_group_id_not_found: true,
        offsets: vec![OffsetToCommit {
            topic_id: TopicId([7; 16]),
            topic: "t".to_owned(),
            partition,
            offset,
            leader_epoch: -1,
            metadata: "m".to_owned(),
        }],
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

#[test]
fn commands_and_pairs_keep_their_bytes() {
    let form = Command(Kind::FormGeneration(stored::FormGeneration {
        group: "g".to_owned(),
        revision: 3,
        time_ms: 4,
        generation: 5,
        protocol_type: "consumer".to_owned(),
        protocol_name: "range".to_owned(),
        leader: "m".to_owned(),
        members: vec![stored::Member {
            member_id: "m".to_owned(),
            instance_id: Some("i".to_owned()),
            client_id: "c".to_owned(),
            client_host: "/h".to_owned(),
            session_timeout_ms: 6,
            rebalance_timeout_ms: 7,
            protocols: vec![stored::Protocol { name: "range".to_owned(), metadata: vec![8].into() }],
            assignment: vec![9].into(),
        }],
    }));
    assert_eq!(
        hex(&form.encode()),
        "0a3f0a01671003180420052a08636f6e73756d6572320572616e67653a016d\
         42200a016d1201691a016322022f68280630073a0a0a0572616e6765120108420109"
    );

    let mut lab = Lab::new(Settings::default());
    lab.step(Event::CommitOffsets(RequestId(0), simple_commit("a/b", 258, 300)));
    let (topic, (_, batch)) = ("07".repeat(16), &lab.log[0]);
    assert_eq!(
        hex(batch),
        format!("322f08c0843d12290a03612f62200132200a10{topic}12017418820220ac02280132016d")
    );
    let pairs: Vec<_> = lab.pairs.iter().map(|(key, value)| (hex(key), hex(value))).collect();
    assert_eq!(
        pairs,
        [
            ("672f612f62".to_owned(), "10c0843d".to_owned()),
            (format!("6f2f612f622f{topic}00000102"), "0a017410ac02180122016d28c0843d".to_owned()),
        ]
    );
}

#[test]
fn pairs_that_nobody_wrote_are_refused() {
    let offset_key = [b"o/g/".as_slice(), &[7; 16], &[0; 4]].concat();
    let cases: Vec<(Vec<u8>, Vec<u8>, IsExpected)> = vec![
        (b"x/g".to_vec(), vec![], |it| matches!(it, RestoreError::UnknownKey(_))),
        (b"o/short".to_vec(), vec![], |it| matches!(it, RestoreError::UnknownKey(_))),
        (b"g/\xff".to_vec(), vec![], |it| matches!(it, RestoreError::UnknownKey(_))),
        (b"g/g".to_vec(), vec![0xff], |it| matches!(it, RestoreError::Malformed { .. })),
        (offset_key, vec![], |it| matches!(it, RestoreError::OrphanedOffsets(_))),
    ];
    for (key, value, expected) in cases {
        let error = Groups::restore([(&key, &value)]).expect_err("nobody wrote this");
        assert!(expected(&error), "key={key:?} gives {error}");
    }
}

#[test]
fn a_command_of_a_newer_broker_is_told_apart_from_garbage() {
    // Field 15, as a later version may add it.
    assert_eq!(Command::decode([0x7a, 0x00].as_slice()), Err(DecodeError::UnknownKind));
    assert!(matches!(Command::decode([0xff].as_slice()), Err(DecodeError::Malformed(_))));
}

#[test]
fn expiry_of_many_groups_goes_in_slices() {
    let mut lab = Lab::new(Settings { offsets_retention_ms: 1, ..Settings::default() });
    for group in 0..2_500u64 {
        let commit = simple_commit(&format!("g{group}"), 0, 1);
        lab.step(Event::CommitOffsets(RequestId(group), commit));
    }
    let before = lab.log.len();
    let mut left = Vec::new();
    lab.advance(lab.settings.offsets_retention_check_interval_ms + 10, |lab| {
        left.push(lab.groups.group_count());
    });
    assert_eq!(left, [1_500, 500, 0]);
    assert_eq!(lab.log.len() - before, 3);
    lab.check_state();
}

proptest! {
    #[test]
    fn offsets_of_any_group_id_survive_a_restart(
        commits in proptest::collection::vec((".{0,8}", any::<i32>(), any::<i64>()), 1..20),
    ) {
        let mut groups = Groups::default();
        let mut lab = Lab::new(Settings::default());
        for (request, (group, partition, offset)) in (0..).zip(&commits) {
            let commit = simple_commit(group, *partition, *offset);
            lab.step(Event::CommitOffsets(RequestId(request), commit));
        }
        lab.check_state();
        let mut changes = Pairs::new();
        for (index, bytes) in &lab.log {
            groups.apply(*index, &Command::decode(bytes.as_slice()).unwrap(), &mut changes);
        }
        prop_assert_eq!(groups, lab.groups);
    }
}
