//! ElectLeaders: TP-12.

use super::*;
use crate::decide::elect::{self, ElectionType};

#[test]
fn a_preferred_leader_takes_over_when_it_is_in_sync() {
    let mut lab = Lab::of(2);
    lab.assign("t", &[&[1, 2], &[2, 1]]);
    lab.fence(1);
    lab.unfence(1);
    let ask = |lab: &Lab, partitions: &[i32]| {
        elect::elect(lab.image(), ElectionType::Preferred, Some(&[("t".into(), partitions.to_vec())]))
    };
    let decision = ask(&lab, &[0, 1, 2]);
    assert_eq!(
        decision.answer,
        [(
            "t".to_owned(),
            vec![
                (0, Err(Refusal::PreferredLeaderNotAvailable)),
                (1, Err(Refusal::ElectionNotNeeded)),
                (2, Err(Refusal::NoPartitionToElectFor { name: "t".into(), index: 2 })),
            ]
        )]
    );
    assert_eq!(decision.records, []);
    // Back in the ISR it can lead.
    let id = lab.image().topic("t").unwrap().id;
    let now = lab.partition("t", 0);
    let request = crate::decide::isr::NewIsr {
        topic: id,
        index: 0,
        leader_epoch: now.leader_epoch,
        partition_epoch: now.partition_epoch,
        isr: vec![(BrokerId(2), lab.epoch(2)), (BrokerId(1), lab.epoch(1))],
        recovering: false,
    };
    let decision =
        crate::decide::isr::alter(lab.image(), &lab.config, BrokerId(2), lab.epoch(2), &[request]).unwrap();
    lab.commit(decision);
    let decision = ask(&lab, &[0]);
    assert_eq!(lab.commit(decision), [("t".to_owned(), vec![(0, Ok(()))])]);
    assert_eq!(lab.shape("t", 0).3, Some(1));
}

#[test]
fn all_partitions_answer_only_with_those_that_need_an_election() {
    let mut lab = Lab::of(2);
    lab.assign("t", &[&[1, 2], &[2, 1]]);
    lab.fence(1);
    let decision = elect::elect(lab.image(), ElectionType::Preferred, None);
    assert_eq!(decision.answer, [("t".to_owned(), vec![(0, Err(Refusal::PreferredLeaderNotAvailable))])]);
}

#[test]
fn an_unclean_election_is_for_partitions_without_leader() {
    let mut lab = Lab::of(2);
    lab.assign("t", &[&[1, 2]]);
    let ask = |lab: &Lab| elect::elect(lab.image(), ElectionType::Unclean, Some(&[("t".into(), vec![0])]));
    assert_eq!(ask(&lab).answer[0].1, [(0, Err(Refusal::ElectionNotNeeded))]);
    lab.fence(2);
    lab.unfence(2);
    lab.fence(1);
    assert_eq!(lab.shape("t", 0), (vec![1, 2], vec![], vec![1], None));
    let decision = ask(&lab);
    assert_eq!(lab.commit(decision)[0].1, [(0, Ok(()))]);
    assert_eq!(lab.shape("t", 0), (vec![1, 2], vec![2], vec![], Some(2)));
    assert!(lab.partition("t", 0).recovering);
    lab.fence(2);
    assert_eq!(ask(&lab).answer[0].1, [(0, Err(Refusal::EligibleLeadersNotAvailable))]);
}

#[test]
fn unknown_things_are_named() {
    let lab = Lab::of(1);
    let decision = elect::elect(lab.image(), ElectionType::Preferred, Some(&[("no".into(), vec![0])]));
    assert_eq!(decision.answer[0].1, [(0, Err(Refusal::NoTopicToElectFor("no".into())))]);
    assert_eq!(ElectionType::from_code(2), Err(Refusal::UnknownElectionType(2)));
}
