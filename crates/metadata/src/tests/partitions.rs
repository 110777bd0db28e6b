//! CreatePartitions (TP-9), and AlterPartition.

use milena_records::LeaderEpoch;
use milena_wire::ErrorCode;

use super::*;
use crate::PartitionEpoch;
use crate::decide::isr::{self, NewIsr};
use crate::decide::partitions::{self, CreatePartitionsAnswer, MorePartitions};

fn more(name: &str, count: i32, assignments: Option<&[&[i32]]>) -> MorePartitions {
    let assignments = assignments.map(|list| list.iter().map(|it| ids(it)).collect());
    MorePartitions { name: name.into(), count, assignments }
}

fn grow(lab: &mut Lab, topics: &[MorePartitions], validate_only: bool) -> CreatePartitionsAnswer {
    let (image, config) = (lab.image().clone(), lab.config.clone());
    let decision = partitions::create(&image, &config, topics, validate_only, &mut || lab.draw());
    lab.commit(decision)
}

/// TP-9.
#[test]
fn partitions_are_refused_with_kafkas_codes_and_sentences() {
    let mut lab = Lab::of(2);
    lab.assign("t", &[&[1], &[2]]);
    for (request, code, text) in [
        (more("t", 2, None), ErrorCode::InvalidPartitions, "Topic already has 2 partition(s)."),
        (
            more("t", 1, None),
            ErrorCode::InvalidPartitions,
            "The topic t currently has 2 partition(s); 1 would not be an increase.",
        ),
        (
            more("t", -1, None),
            ErrorCode::InvalidPartitions,
            "The topic t currently has 2 partition(s); -1 would not be an increase.",
        ),
        (
            more("no", 3, None),
            ErrorCode::UnknownTopicOrPartition,
            "This server does not host this topic-partition.",
        ),
        (
            more("t", 4, Some(&[&[1]])),
            ErrorCode::InvalidReplicaAssignment,
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
        ),
        (
            more("t", 3, Some(&[&[1, 2]])),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes a partition with 2 replica(s), but this is not consistent with \
             previous partitions, which have 1 replica(s).",
        ),
        (
            more("t", i32::MAX, None),
            ErrorCode::PolicyViolation,
            "Excessively large number of partitions per request.",
        ),
    ] {
        let answer = grow(&mut lab, &[request], false);
        let refusal = answer[0].1.clone().unwrap_err();
        assert_eq!((refusal.code(), refusal.to_string().as_str()), (code, text));
        assert_eq!(lab.image().topic("t").unwrap().partitions.len(), 2);
    }
}

#[test]
fn new_partitions_follow_the_last() {
    let mut lab = Lab::of(2);
    lab.assign("t", &[&[1]]);
    assert_eq!(grow(&mut lab, &[more("t", 2, None)], true), [("t".into(), Ok(()))]);
    assert_eq!(lab.image().topic("t").unwrap().partitions.len(), 1, "validate only");
    assert_eq!(grow(&mut lab, &[more("t", 3, Some(&[&[2], &[1]]))], false), [("t".into(), Ok(()))]);
    assert_eq!(lab.shape("t", 1), (vec![2], vec![2], vec![], Some(2)));
    assert_eq!(lab.shape("t", 2), (vec![1], vec![1], vec![], Some(1)));
    let twice = grow(&mut lab, &[more("t", 4, None), more("t", 5, None)], false);
    assert_eq!(twice, [("t".into(), Err(Refusal::DuplicateTopicName))]);
}

/// One partition on three brokers, led by the first, at leader epoch 0 and partition epoch 0.
fn lab_with_isr() -> (Lab, Uuid) {
    let mut lab = Lab::of(3);
    lab.create(&[NewTopic {
        configs: vec![("min.insync.replicas".into(), Some("2".into()))],
        ..assigned("t", &[&[1, 2, 3]])
    }])
    .unwrap();
    let id = lab.image().topic("t").unwrap().id;
    (lab, id)
}

fn wanted(lab: &Lab, topic: Uuid, isr: &[i32]) -> NewIsr {
    let now = lab.image().partition(topic, 0);
    NewIsr {
        topic,
        index: 0,
        leader_epoch: now.map_or(LeaderEpoch(0), |it| it.leader_epoch),
        partition_epoch: now.map_or(PartitionEpoch(0), |it| it.partition_epoch),
        isr: isr.iter().map(|id| (BrokerId(*id), BrokerEpoch(-1))).collect(),
        recovering: false,
    }
}

fn alter(lab: &mut Lab, sender: i32, request: NewIsr) -> Result<Partition, Refusal> {
    let decision = isr::alter(lab.image(), &lab.config, BrokerId(sender), lab.epoch(sender), &[request])?;
    lab.commit(decision).remove(0).2
}

#[test]
fn a_leader_shrinks_and_grows_the_isr() {
    let (mut lab, id) = lab_with_isr();
    let request = wanted(&lab, id, &[1, 2]);
    let after = alter(&mut lab, 1, request).unwrap();
    assert_eq!((numbers(&after.isr), after.leader_epoch.0, after.partition_epoch.0), (vec![1, 2], 0, 1));
    // Below the minimum, those who leave stay eligible: they hold all below the high watermark.
    let request = wanted(&lab, id, &[1]);
    alter(&mut lab, 1, request).unwrap();
    assert_eq!(lab.shape("t", 0), (vec![1, 2, 3], vec![1], vec![2], Some(1)));
    let request = wanted(&lab, id, &[1, 2, 3]);
    alter(&mut lab, 1, request).unwrap();
    assert_eq!(lab.shape("t", 0), (vec![1, 2, 3], vec![1, 2, 3], vec![], Some(1)));
    let epoch = lab.partition("t", 0).partition_epoch;
    let request = wanted(&lab, id, &[1, 2, 3]);
    assert_eq!(alter(&mut lab, 1, request).unwrap().partition_epoch, epoch, "no change, no new epoch");
}

#[test]
fn an_isr_is_refused_that_does_not_rest_on_the_present() {
    let (mut lab, id) = lab_with_isr();
    let request = wanted(&lab, id, &[1, 2]);
    alter(&mut lab, 1, request).unwrap();
    lab.fence(3);
    let good = wanted(&lab, id, &[1, 2]);
    let epoch = |leader: i32, partition: i32| NewIsr {
        leader_epoch: LeaderEpoch(good.leader_epoch.0 + leader),
        partition_epoch: PartitionEpoch(good.partition_epoch.0 + partition),
        ..good.clone()
    };
    let isr = |isr: &[i32]| wanted(&lab, id, isr);
    let other_life =
        NewIsr { isr: vec![(BrokerId(1), BrokerEpoch(-1)), (BrokerId(2), BrokerEpoch(1))], ..good.clone() };
    for (sender, request, want) in [
        (1, epoch(1, 0), Refusal::ControllerBehind),
        (1, epoch(0, 1), Refusal::ControllerBehind),
        (1, epoch(-1, 0), Refusal::FencedLeaderEpoch),
        (1, epoch(0, -1), Refusal::OldPartitionEpoch),
        (2, good.clone(), Refusal::NotTheLeader),
        (1, isr(&[2]), Refusal::InvalidIsr),
        (1, isr(&[1, 9]), Refusal::InvalidIsr),
        (1, isr(&[1, 1]), Refusal::InvalidIsr),
        (1, NewIsr { recovering: true, ..isr(&[1]) }, Refusal::InvalidIsr),
        (1, isr(&[1, 2, 3]), Refusal::IneligibleReplica(BrokerId(3))),
        (1, other_life, Refusal::IneligibleReplica(BrokerId(2))),
        (1, NewIsr { topic: Uuid([9; 16]), ..good.clone() }, Refusal::UnknownTopicId(Uuid([9; 16]))),
        (1, NewIsr { index: 5, ..good.clone() }, Refusal::UnknownTopic),
    ] {
        let before = lab.image().clone();
        let decision = isr::alter(
            lab.image(),
            &lab.config,
            BrokerId(sender),
            lab.epoch(sender),
            std::slice::from_ref(&request),
        );
        assert_eq!(
            decision.map(|it| (it.records, it.answer[0].2.clone())),
            Ok((vec![], Err(want))),
            "{request:?}"
        );
        assert_eq!(*lab.image(), before);
    }
    let stale = isr::alter(lab.image(), &lab.config, BrokerId(1), BrokerEpoch(1), &[good]).map(|_| ());
    assert_eq!(stale, Err(Refusal::StaleBrokerEpoch { expected: lab.epoch(1), got: BrokerEpoch(1) }));
}
