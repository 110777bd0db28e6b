//! Offsets of transactions: when they show, when they go, and who may not commit them.

use std::collections::BTreeMap;
use std::thread::spawn;

use milena_bugs::{Bug, with};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::stored::{self, command::Kind};
use crate::{Answer, Command, CommitInTransaction, Groups, OffsetToCommit, Refusal, TopicId};

const T: TopicId = TopicId([1; 16]);
const U: TopicId = TopicId([2; 16]);

/// Groups and what is stored of them, without a coordinator.
#[derive(Default)]
struct Desk {
    groups: Groups,
    pairs: BTreeMap<Vec<u8>, Vec<u8>>,
    index: u64,
}

fn place(topic_id: TopicId, partition: i32, offset: i64) -> OffsetToCommit {
    OffsetToCommit {
        topic_id,
        topic: "t".to_owned(),
        partition,
        offset,
        leader_epoch: 4,
        metadata: format!("m{offset}"),
    }
}

/// By a client that is no member.
fn nobody(producer_id: i64, offsets: Vec<OffsetToCommit>) -> CommitInTransaction {
    CommitInTransaction {
        group: "g".to_owned(),
        member_id: String::new(),
        instance_id: None,
        generation: -1,
        producer_id,
        producer_epoch: 0,
        offsets,
    }
}

fn member(member_id: &str, generation: i32) -> CommitInTransaction {
    CommitInTransaction { member_id: member_id.to_owned(), generation, ..nobody(1, vec![place(T, 0, 5)]) }
}

impl Desk {
    fn store(&mut self, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
        for (key, value) in changes {
            match value {
                Some(value) => self.pairs.insert(key, value),
                None => self.pairs.remove(&key),
            };
        }
        assert_eq!(Groups::restore(&self.pairs).as_ref(), Ok(&self.groups), "restored from pairs");
    }

    fn apply(&mut self, kind: Kind) -> Answer {
        self.index += 1;
        let mut changes = Vec::new();
        let command = Command::decode(Command(kind).encode().as_slice()).expect("own bytes decode");
        let answer = self.groups.apply(self.index, &command, &mut changes);
        self.store(changes);
        answer
    }

    fn pend(&mut self, commit: CommitInTransaction) -> Result<(), Refusal> {
        let (command, _) = Command::commit_in_transaction(commit, 7, 4_096);
        match self.apply(command.0) {
            Answer::OffsetsPending(it) => it,
            other => panic!("{other:?} to TxnOffsetCommit"),
        }
    }

    fn settle(&mut self, producer_id: i64, producer_epoch: i16, commit: bool) {
        let mut changes = Vec::new();
        self.groups.settle(["g", "unknown"], producer_id, producer_epoch, commit, &mut changes);
        self.store(changes);
    }

    fn commit(&mut self, offset: OffsetToCommit) {
        let item = stored::CommitItem {
            group: "g".to_owned(),
            generation: -1,
            offsets: vec![offset.into()],
            ..stored::CommitItem::default()
        };
        let answer =
            self.apply(Kind::CommitBatch(stored::CommitBatch { leader_time_ms: 7, items: vec![item] }));
        assert_eq!(answer, Answer::Commits(vec![Ok(())]));
    }

    /// One member `m`, as instance `i`.
    fn form(&mut self, generation: i32, assigned: bool) {
        let revision = self.groups.record("g").map_or(0, |it| it.revision);
        let member = stored::Member {
            member_id: format!("m{generation}"),
            instance_id: Some("i".to_owned()),
            ..stored::Member::default()
        };
        self.apply(Kind::FormGeneration(stored::FormGeneration {
            group: "g".to_owned(),
            revision,
            generation,
            protocol_type: "consumer".to_owned(),
            members: vec![member],
            ..stored::FormGeneration::default()
        }));
        if assigned {
            let revision = self.index;
            let group = "g".to_owned();
            self.apply(Kind::StoreAssignment(stored::StoreAssignment {
                group,
                revision,
                ..stored::StoreAssignment::default()
            }));
        }
    }

    fn offset(&self, topic_id: TopicId, partition: i32) -> Option<i64> {
        self.groups.offset("g", topic_id, partition).map(|it| it.offset)
    }

    fn expire(&mut self, now_ms: i64) -> Answer {
        let revision = self.groups.record("g").map_or(0, |it| it.revision);
        let group = stored::GroupAtRevision { group: "g".to_owned(), revision };
        self.apply(Kind::ExpireOffsets(stored::ExpireOffsets {
            now_ms,
            retention_ms: 1,
            groups: vec![group],
        }))
    }
}

#[test]
fn offsets_show_when_their_transaction_commits() {
    let mut desk = Desk::default();
    desk.commit(place(T, 0, 1));
    assert_eq!(desk.pend(nobody(1, vec![place(T, 0, 5), place(U, 3, 6)])), Ok(()));
    assert_eq!((desk.offset(T, 0), desk.offset(U, 3)), (Some(1), None));
    assert!(desk.groups.has_pending("g", T, 0) && desk.groups.has_pending("g", U, 3));
    assert!(!desk.groups.has_pending("g", T, 3) && !desk.groups.has_pending("h", T, 0));
    desk.settle(2, 0, true);
    assert!(desk.groups.has_pending("g", T, 0));
    desk.settle(1, 0, true);
    assert_eq!((desk.offset(T, 0), desk.offset(U, 3)), (Some(5), Some(6)));
    assert!(!desk.groups.has_pending("g", T, 0) && !desk.groups.has_pending("g", U, 3));
    let committed = desk.groups.offset("g", U, 3).expect("committed");
    assert_eq!((committed.metadata.as_str(), committed.leader_epoch, committed.commit_time_ms), ("m6", 4, 7));
}

#[test]
fn offsets_of_an_aborted_transaction_go() {
    let mut desk = Desk::default();
    assert_eq!(desk.pend(nobody(1, vec![place(T, 0, 5)])), Ok(()));
    desk.settle(1, 0, false);
    assert_eq!(desk.offset(T, 0), None);
    assert!(!desk.groups.has_pending("g", T, 0));
    // Left by another epoch: not this transaction's.
    assert_eq!(desk.pend(nobody(1, vec![place(T, 0, 5)])), Ok(()));
    desk.settle(1, 1, true);
    assert_eq!(desk.offset(T, 0), None);
    assert!(!desk.groups.has_pending("g", T, 0));
}

#[test]
fn a_member_of_another_generation_may_not_commit() {
    let mut desk = Desk::default();
    assert_eq!(desk.pend(member("m3", 3)), Err(Refusal::IllegalGeneration));
    assert!(!desk.groups.contains("g"));
    desk.form(3, true);
    let instance = |it: CommitInTransaction| CommitInTransaction { instance_id: Some("i".to_owned()), ..it };
    for (commit, want) in [
        (member("m3", 3), Ok(())),
        (instance(member("m3", 3)), Ok(())),
        (member("m3", 2), Err(Refusal::IllegalGeneration)),
        (member("m3", 4), Err(Refusal::IllegalGeneration)),
        (member("m3", -1), Err(Refusal::IllegalGeneration)),
        (member("m2", 3), Err(Refusal::UnknownMemberId)),
        (member("", 3), Err(Refusal::UnknownMemberId)),
        (instance(member("m2", 3)), Err(Refusal::FencedInstanceId)),
        // Older clients say nothing, and nobody is fenced.
        (member("", -1), Ok(())),
    ] {
        assert_eq!(desk.pend(commit.clone()), want, "{commit:?}");
    }
    // Unlike a plain commit: while the leader computes the assignment.
    desk.form(4, false);
    assert_eq!(desk.pend(member("m4", 4)), Ok(()));
    assert_eq!(desk.pend(member("m3", 3)), Err(Refusal::UnknownMemberId));
}

#[test]
fn of_two_offsets_the_one_committed_last_counts() {
    let mut desk = Desk::default();
    assert_eq!(desk.pend(nobody(1, vec![place(T, 0, 5)])), Ok(()));
    assert_eq!(desk.pend(nobody(2, vec![place(T, 0, 6)])), Ok(()));
    desk.settle(2, 0, true);
    desk.settle(1, 0, true);
    assert_eq!(desk.offset(T, 0), Some(6));
    assert_eq!(desk.pend(nobody(1, vec![place(T, 0, 7)])), Ok(()));
    desk.commit(place(T, 0, 8));
    desk.settle(1, 0, true);
    assert_eq!(desk.offset(T, 0), Some(8));
}

#[test]
fn what_is_pending_does_not_expire() {
    let mut desk = Desk::default();
    desk.commit(place(T, 0, 1));
    desk.commit(place(T, 1, 1));
    assert_eq!(desk.pend(nobody(1, vec![place(T, 0, 5)])), Ok(()));
    assert_eq!(desk.expire(1_000), Answer::Removed { offsets: 1, groups: 0 });
    assert_eq!((desk.offset(T, 0), desk.offset(T, 1)), (Some(1), None));
    desk.settle(1, 0, false);
    assert_eq!(desk.expire(1_000), Answer::Removed { offsets: 1, groups: 1 });

    assert_eq!(desk.pend(nobody(1, vec![place(T, 0, 5)])), Ok(()));
    assert_eq!(desk.expire(1_000), Answer::Removed { offsets: 0, groups: 0 });
    assert!(desk.groups.contains("g"));
}

#[test]
fn deletion_takes_what_is_pending_too() {
    let partition = stored::TopicPartition { topic_id: T.to_stored(), partition: 0 };
    let (group, partitions) = ("g".to_owned(), vec![partition]);
    let deletions = [
        Kind::DeleteTopics(stored::DeleteTopics { topic_ids: vec![T.to_stored()] }),
        Kind::DeleteGroup(stored::DeleteGroup { group: group.clone() }),
        Kind::DeleteOffsets(stored::DeleteOffsets { group, partitions }),
    ];
    for deletion in deletions {
        let mut desk = Desk::default();
        assert_eq!(desk.pend(nobody(1, vec![place(T, 0, 5)])), Ok(()));
        assert_eq!(desk.groups.topic_ids().into_iter().collect::<Vec<_>>(), [T]);
        desk.apply(deletion.clone());
        assert!(!desk.groups.has_pending("g", T, 0), "{deletion:?}");
        desk.settle(1, 0, true);
        assert_eq!(desk.offset(T, 0), None, "{deletion:?}");
    }
}

#[test]
fn metadata_that_is_too_long_is_refused_alone() {
    let commit = nobody(1, vec![place(T, 0, 100), place(T, 1, 1)]);
    let (command, verdicts) = Command::commit_in_transaction(commit, 7, 3);
    assert_eq!(verdicts, [Err(Refusal::OffsetMetadataTooLarge), Ok(())]);
    let mut desk = Desk::default();
    desk.apply(command.0);
    assert_eq!(desk.groups.pending("g").collect::<Vec<_>>(), [(T, 1, 1)]);
}

/// One thing that happens to the offsets of `g`.
#[derive(Debug, Clone)]
enum Act {
    Pend { producer: i64, partition: i32, as_generation: i32 },
    Commit { partition: i32 },
    Settle { producer: i64, commit: bool },
    Rebalance,
    Forget,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (1i64..4, 0..3, 0i32..3).prop_map(|(producer, partition, behind)| Act::Pend {
            producer,
            partition,
            as_generation: -behind,
        }),
        2 => (0..3).prop_map(|partition| Act::Commit { partition }),
        5 => (1i64..4, any::<bool>()).prop_map(|(producer, commit)| Act::Settle { producer, commit }),
        2 => Just(Act::Rebalance),
        1 => Just(Act::Forget),
    ]
}

/// Plays against a list of everything that was committed, in order. Each producer's epoch grows with its
/// transactions.
fn play(acts: &[Act]) {
    let mut desk = Desk::default();
    let mut generation = 1;
    desk.form(generation, true);
    let mut epochs: BTreeMap<i64, i16> = BTreeMap::new();
    // Partition, offset, whose, and whether it counts: unknown while the transaction is open.
    let mut history: Vec<(i32, i64, i64, Option<bool>)> = Vec::new();
    for act in acts {
        let offset = history.len() as i64;
        match *act {
            Act::Pend { producer, partition, as_generation } => {
                let claimed = generation + as_generation;
                let epoch = *epochs.entry(producer).or_default();
                let commit = CommitInTransaction {
                    producer_epoch: epoch,
                    producer_id: producer,
                    offsets: vec![place(T, partition, offset)],
                    ..member(&format!("m{claimed}"), claimed)
                };
                if desk.pend(commit).is_ok() {
                    assert_eq!(
                        claimed, generation,
                        "a member of generation {claimed} commits in {generation}"
                    );
                    history.push((partition, offset, producer, None));
                }
            }
            Act::Commit { partition } => {
                let item = stored::CommitItem {
                    group: "g".to_owned(),
                    member_id: format!("m{generation}"),
                    generation,
                    offsets: vec![place(T, partition, offset).into()],
                    ..stored::CommitItem::default()
                };
                let batch = stored::CommitBatch { leader_time_ms: 7, items: vec![item] };
                assert_eq!(desk.apply(Kind::CommitBatch(batch)), Answer::Commits(vec![Ok(())]));
                history.push((partition, offset, 0, Some(true)));
            }
            Act::Settle { producer, commit } => {
                let epoch = epochs.entry(producer).or_default();
                desk.settle(producer, *epoch, commit);
                *epoch += 1;
                for it in history.iter_mut().filter(|it| it.2 == producer && it.3.is_none()) {
                    it.3 = Some(commit);
                }
            }
            Act::Rebalance => {
                generation += 1;
                desk.form(generation, true);
            }
            Act::Forget => {
                desk.apply(Kind::DeleteTopics(stored::DeleteTopics { topic_ids: vec![T.to_stored()] }));
                history.clear();
            }
        }
        for partition in 0..3 {
            let all = history.iter().filter(|it| it.0 == partition);
            let visible = all.clone().rfind(|it| it.3 == Some(true)).map(|it| it.1);
            assert_eq!(
                desk.offset(T, partition),
                visible,
                "partition {partition} after {act:?}: {history:?}"
            );
            // What may still change the visible offset: of a later commit than it.
            let unstable = all.clone().any(|it| it.3.is_none() && Some(it.1) > visible);
            assert_eq!(desk.groups.has_pending("g", T, partition), unstable, "partition {partition}");
        }
    }
}

proptest! {
    #[test]
    fn the_last_commit_that_counts_is_visible(acts in vec(act(), 1..60)) {
        play(&acts);
    }
}

#[test]
fn a_fenced_member_that_commits_is_noticed() {
    let zombie = vec![Act::Rebalance, Act::Pend { producer: 1, partition: 0, as_generation: -1 }];
    let outcome = spawn(move || with(Some(Bug::T12), || play(&zombie))).join();
    assert!(outcome.is_err(), "T12 goes unnoticed");
}
