//! AlterPartitionReassignments and ListPartitionReassignments: TP-13.

use super::*;
use crate::decide::isr::{self, NewIsr};
use crate::decide::reassign::{self, Ongoing, Reassignment};

fn ask(lab: &mut Lab, replicas: Option<&[i32]>, any_factor: bool) -> Result<(), Refusal> {
    let request = Reassignment { name: "t".into(), index: 0, replicas: replicas.map(ids) };
    let decision = reassign::alter(lab.image(), &lab.config, &[request], any_factor);
    lab.commit(decision).remove(0)
}

/// The leader brings these brokers into the ISR.
fn sync(lab: &mut Lab, isr: &[i32]) -> Result<Partition, Refusal> {
    let now = lab.partition("t", 0);
    let leader = now.leader.unwrap();
    let request = NewIsr {
        topic: lab.image().topic("t").unwrap().id,
        index: 0,
        leader_epoch: now.leader_epoch,
        partition_epoch: now.partition_epoch,
        isr: isr.iter().map(|id| (BrokerId(*id), BrokerEpoch(-1))).collect(),
        recovering: false,
    };
    let decision = isr::alter(lab.image(), &lab.config, leader, lab.epoch(leader.0), &[request]).unwrap();
    lab.commit(decision).remove(0).2
}

#[test]
fn new_replicas_come_first_and_the_old_leave_when_they_are_in_sync() {
    let mut lab = Lab::of(3);
    lab.assign("t", &[&[1, 2]]);
    assert_eq!(ask(&mut lab, Some(&[3, 2]), false), Ok(()));
    let under_way = lab.partition("t", 0);
    assert_eq!(lab.shape("t", 0), (vec![3, 2, 1], vec![1, 2], vec![], Some(1)));
    assert_eq!((under_way.adding, under_way.removing), (ids(&[3]), ids(&[1])));
    let ongoing = Ongoing {
        name: "t".into(),
        index: 0,
        replicas: ids(&[3, 2, 1]),
        adding: ids(&[3]),
        removing: ids(&[1]),
    };
    assert_eq!(reassign::list(lab.image(), None), std::slice::from_ref(&ongoing));
    assert_eq!(
        reassign::list(lab.image(), Some(&[("t".into(), vec![0, 1]), ("no".into(), vec![0])])),
        [ongoing]
    );
    // The change that completes it moves leadership away from its sender.
    assert_eq!(sync(&mut lab, &[1, 2, 3]), Err(Refusal::NewLeaderElected));
    assert_eq!(lab.shape("t", 0), (vec![3, 2], vec![2, 3], vec![], Some(3)));
    assert_eq!(lab.partition("t", 0).leader_epoch.0, 1);
    assert_eq!(reassign::list(lab.image(), None), []);
}

/// What the last one was adding goes at once where the partition has its minimum without it.
#[test]
fn a_second_reassignment_takes_the_place_of_the_first() {
    let mut lab = Lab::of(4);
    lab.assign("t", &[&[1, 2]]);
    ask(&mut lab, Some(&[3, 2]), false).unwrap();
    assert_eq!(ask(&mut lab, Some(&[4, 2]), false), Ok(()));
    let now = lab.partition("t", 0);
    assert_eq!(lab.shape("t", 0), (vec![4, 2, 1], vec![1, 2], vec![], Some(1)));
    assert_eq!((now.adding, now.removing), (ids(&[4]), ids(&[1])));
    // Back to one that was being added: it still has to get in sync.
    assert_eq!(ask(&mut lab, Some(&[4, 1]), false), Ok(()));
    let now = lab.partition("t", 0);
    assert_eq!((now.replicas, now.adding, now.removing), (ids(&[4, 1, 2]), ids(&[4]), ids(&[2])));
}

/// Otherwise nobody would be left who may lead, and what it alone has acknowledged would be lost.
#[test]
fn the_last_replica_in_sync_stays_until_others_are() {
    let mut lab = Lab::of(4);
    lab.assign("t", &[&[1, 2]]);
    ask(&mut lab, Some(&[3, 4]), false).unwrap();
    sync(&mut lab, &[1, 3]).unwrap();
    lab.fence(1);
    lab.fence(2);
    assert_eq!(ask(&mut lab, Some(&[4, 2]), false), Ok(()));
    let now = lab.partition("t", 0);
    assert_eq!((now.isr, now.leader), (ids(&[3]), Some(BrokerId(3))));
    assert_eq!((now.replicas, now.adding, now.removing), (ids(&[4, 2, 3, 1]), ids(&[4]), ids(&[3, 1])));
    // The change that makes another one enough takes the leadership from it.
    assert_eq!(sync(&mut lab, &[3, 4]), Err(Refusal::NewLeaderElected));
    assert_eq!(lab.shape("t", 0), (vec![4, 2], vec![4], vec![], Some(4)));
}

#[test]
fn an_order_alone_changes_at_once() {
    let mut lab = Lab::of(2);
    lab.assign("t", &[&[1, 2]]);
    assert_eq!(ask(&mut lab, Some(&[2, 1]), false), Ok(()));
    assert_eq!(lab.shape("t", 0), (vec![2, 1], vec![1, 2], vec![], Some(1)));
    assert!(!lab.partition("t", 0).is_reassigning());
}

#[test]
fn a_cancelled_reassignment_goes_back() {
    let mut lab = Lab::of(3);
    lab.assign("t", &[&[1, 2]]);
    assert_eq!(ask(&mut lab, None, false), Err(Refusal::NoReassignment));
    ask(&mut lab, Some(&[2, 3]), false).unwrap();
    assert_eq!(ask(&mut lab, None, false), Ok(()));
    let (mut replicas, isr, _, leader) = lab.shape("t", 0);
    replicas.sort_unstable();
    assert_eq!((replicas, isr, leader), (vec![1, 2], vec![1, 2], Some(1)));
    assert!(!lab.partition("t", 0).is_reassigning());
}

/// Where unclean elections are allowed a cancellation may lose records, but not the partition: there must be one to elect.
#[test]
fn a_cancellation_needs_somebody_to_go_back_to() {
    for (unclean, is_back, want) in [("false", true, false), ("true", false, false), ("true", true, true)] {
        let mut lab = Lab::of(2).configured(&[("unclean.leader.election.enable", unclean)]);
        lab.assign("t", &[&[1]]);
        ask(&mut lab, Some(&[2]), false).unwrap();
        // As after the only leader went, and the new one was elected uncleanly.
        let mut partition = lab.partition("t", 0);
        (partition.isr, partition.leader) = (ids(&[2]), Some(BrokerId(2)));
        let topic = lab.image().topic("t").unwrap().id;
        let records = vec![Record::PartitionSet { topic, index: 0, partition }];
        lab.commit(Decision { records, answer: () });
        if !is_back {
            lab.fence(1);
        }
        let refused = Refusal::UncleanRevert { name: "t".into(), index: 0 };
        assert_eq!(
            ask(&mut lab, None, false),
            if want { Ok(()) } else { Err(refused) },
            "{unclean} {is_back}"
        );
        assert_eq!(lab.partition("t", 0).leader, Some(BrokerId(if want { 1 } else { 2 })));
    }
}

#[test]
fn bad_lists_are_refused() {
    let mut lab = Lab::of(2);
    lab.assign("t", &[&[1, 2]]);
    for (replicas, any_factor, want) in [
        (&[][..], true, Refusal::EmptyAssignment),
        (&[1, 1], true, Refusal::RepeatedReplica(BrokerId(1))),
        (&[1, 9], true, Refusal::UnknownReplica(BrokerId(9))),
        (&[1], false, Refusal::ReplicationFactorChange { from: 2, to: 1 }),
    ] {
        assert_eq!(ask(&mut lab, Some(replicas), any_factor), Err(want));
    }
    assert_eq!(ask(&mut lab, Some(&[1]), true), Ok(()));
    assert_eq!(lab.shape("t", 0), (vec![1], vec![1], vec![], Some(1)));
    let unknown = Reassignment { name: "no".into(), index: 0, replicas: None };
    let gap = Reassignment { name: "t".into(), index: 4, replicas: None };
    assert_eq!(
        reassign::alter(lab.image(), &lab.config, &[unknown, gap], true).answer,
        [
            Err(Refusal::NoTopicToReassign("no".into())),
            Err(Refusal::NoPartitionToReassign { name: "t".into(), index: 4 })
        ]
    );
}
