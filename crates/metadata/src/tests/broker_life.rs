//! Life of a broker: registration, fencing, shutdown.

use super::*;
use crate::decide::configs::{self, Replacement, Target};

fn since(epoch: BrokerEpoch) -> Kept {
    Kept { epoch: Some(epoch), ..Kept::default() }
}

fn restart(lab: &mut Lab, id: i32, kept: bool) -> Result<BrokerEpoch, Refusal> {
    let kept = if kept { since(lab.epoch(id)) } else { Kept::default() };
    lab.register(Registration { kept, predecessor_is_gone: true, ..registration(id, None) })
}

#[test]
fn an_epoch_is_the_index_of_the_registration() {
    let mut lab = Lab::of(1);
    let first = lab.epoch(1);
    let second = restart(&mut lab, 1, true).unwrap();
    assert!(second > first);
    assert_eq!(second.0 as u64, lab.image().index());
    assert!(lab.image().broker(BrokerId(1)).unwrap().fenced);
}

#[test]
fn a_number_is_taken_over_only_from_the_dead() {
    let mut lab = Lab::of(1);
    let epoch = lab.epoch(1);
    let newcomer = registration(1, None);
    assert_eq!(lab.register(newcomer.clone()), Err(Refusal::DuplicateRegistration));
    // The same process asking again is answered as before.
    let incarnation = lab.image().broker(BrokerId(1)).unwrap().incarnation;
    assert_eq!(lab.register(Registration { incarnation, ..newcomer.clone() }), Ok(epoch));
    // Wrong epoch proves nothing; the right one does.
    let wrong = Registration { kept: since(BrokerEpoch(1)), ..newcomer.clone() };
    assert_eq!(lab.register(wrong), Err(Refusal::DuplicateRegistration));
    let right = Registration { kept: since(epoch), ..newcomer.clone() };
    assert!(lab.register(right).is_ok());
    // A fenced one is not in the way.
    assert!(lab.register(newcomer).is_ok());
    let stranger = Registration { cluster_id: Some("other".into()), ..registration(2, None) };
    assert_eq!(
        lab.register(stranger),
        Err(Refusal::OtherCluster { expected: "5L6g3nShT-eMCtK--X86sw".into(), got: "other".into() })
    );
}

/// A process that died before it heard of its registration has lost no more than one that heard of it.
#[test]
fn a_registration_that_nobody_heard_of_is_vouched_for_by_its_incarnation() {
    let shape_after = |vouches_for: &[u8]| {
        let mut lab = Lab::of(2);
        lab.assign("t", &[&[1, 2]]);
        let heard = since(lab.epoch(1));
        lab.fence(2);
        let restarted = |incarnation: u8, kept| Registration {
            incarnation: Uuid([incarnation; 16]),
            kept,
            predecessor_is_gone: true,
            ..registration(1, None)
        };
        lab.register(restarted(1, heard.clone())).unwrap();
        let incarnations = vouches_for.iter().map(|it| Uuid([*it; 16])).collect();
        lab.register(restarted(9, Kept { incarnations, ..heard })).unwrap();
        let (_, isr, elr, _) = lab.shape("t", 0);
        [isr, elr].concat()
    };
    assert!(shape_after(&[1, 2]).contains(&1));
    assert!(shape_after(&[2, 1]).contains(&1));
    assert!(!shape_after(&[2]).contains(&1), "another process was registered, perhaps from an older copy");
}

/// A node alone must serve its data again after any kind of stop.
#[test]
fn a_single_broker_leads_again_after_clean_and_unclean_stops() {
    let mut lab = Lab::of(1);
    lab.assign("t", &[&[1]]);
    for (kept, recovering) in [(true, false), (false, true)] {
        restart(&mut lab, 1, kept).unwrap();
        assert_eq!(lab.partition("t", 0).leader, None);
        let epoch = lab.partition("t", 0).leader_epoch;
        lab.unfence(1);
        assert_eq!(lab.shape("t", 0), (vec![1], vec![1], vec![], Some(1)), "kept={kept}");
        let partition = lab.partition("t", 0);
        assert_eq!((partition.recovering, partition.last_known_elr.len()), (recovering, 0));
        assert!(partition.leader_epoch > epoch);
    }
    // Fenced first (its session expired), then back without its tail.
    lab.fence(1);
    restart(&mut lab, 1, false).unwrap();
    lab.unfence(1);
    assert_eq!(lab.shape("t", 0), (vec![1], vec![1], vec![], Some(1)));
}

#[test]
fn one_command_moves_all_partitions_of_a_dead_broker() {
    let mut lab = Lab::of(3);
    lab.assign("a", &[&[1, 2, 3], &[2, 3, 1], &[1, 3, 2]]);
    lab.assign("b", &[&[3, 2, 1], &[1, 2, 3]]);
    let decision = brokers::fence(lab.image(), &lab.config, BrokerId(1)).unwrap();
    let index = lab.index;
    lab.commit(decision);
    assert_eq!(lab.index, index + 2, "one command");
    let leaders = |topic: &str, count: i32| (0..count).map(|it| lab.shape(topic, it).3).collect::<Vec<_>>();
    assert_eq!((leaders("a", 3), leaders("b", 2)), (vec![Some(2), Some(2), Some(3)], vec![Some(3), Some(2)]));
    for partition in lab.image().topics().flat_map(|topic| topic.partitions.iter()) {
        assert!(!partition.isr.contains(&BrokerId(1)));
    }
    assert_eq!(brokers::fence(lab.image(), &lab.config, BrokerId(1)).unwrap().records, [], "once is enough");
}

#[test]
fn below_the_minimum_those_who_leave_stay_eligible_and_lead_again() {
    let mut lab = Lab::of(2);
    lab.create(&[NewTopic {
        configs: vec![("min.insync.replicas".into(), Some("2".into()))],
        ..assigned("t", &[&[1, 2]])
    }])
    .unwrap();
    lab.fence(1);
    assert_eq!(lab.shape("t", 0), (vec![1, 2], vec![2], vec![1], Some(2)));
    lab.fence(2);
    assert_eq!(lab.shape("t", 0), (vec![1, 2], vec![], vec![1, 2], None));
    lab.unfence(1);
    assert_eq!(lab.shape("t", 0), (vec![1, 2], vec![1], vec![2], Some(1)));
}

/// With the minimum lowered meanwhile, the new leader is enough by itself and may move on alone.
#[test]
fn a_leader_that_is_enough_by_itself_leaves_nobody_else_eligible() {
    let mut lab = Lab::of(2);
    let min_isr = |value: &str| vec![("min.insync.replicas".to_owned(), Some(value.to_owned()))];
    lab.create(&[NewTopic { configs: min_isr("2"), ..assigned("t", &[&[1, 2]]) }]).unwrap();
    lab.fence(1);
    lab.fence(2);
    let replacement = Replacement { target: Target { code: 2, name: "t".into() }, configs: min_isr("1") };
    let decision = configs::replace(lab.image(), &lab.config, BrokerId(1), &[replacement], false);
    lab.commit(decision);
    assert_eq!(lab.shape("t", 0), (vec![1, 2], vec![], vec![1, 2], None));
    lab.unfence(2);
    assert_eq!(lab.shape("t", 0), (vec![1, 2], vec![2], vec![], Some(2)));
}

/// KIP-966: who lost its tail is not eligible, whatever it held before.
#[test]
fn an_unclean_stop_leaves_every_list() {
    let mut lab = Lab::of(2);
    lab.create(&[NewTopic {
        configs: vec![("min.insync.replicas".into(), Some("2".into()))],
        ..assigned("t", &[&[1, 2]])
    }])
    .unwrap();
    lab.fence(1);
    assert_eq!(lab.shape("t", 0).2, [1]);
    restart(&mut lab, 1, false).unwrap();
    assert_eq!(lab.shape("t", 0), (vec![1, 2], vec![2], vec![], Some(2)));
    lab.unfence(1);
    lab.fence(2);
    assert_eq!(lab.shape("t", 0), (vec![1, 2], vec![], vec![2], None), "1 may not lead, alive as it is");
}

#[test]
fn an_unclean_election_happens_only_where_it_is_allowed() {
    for (allowed, leader, isr) in [("false", None, vec![]), ("true", Some(1), vec![1])] {
        let mut lab = Lab::of(2);
        let configs = vec![
            ("min.insync.replicas".into(), Some("1".into())),
            ("unclean.leader.election.enable".into(), Some(allowed.into())),
        ];
        lab.create(&[NewTopic { configs, ..assigned("t", &[&[1, 2]]) }]).unwrap();
        lab.fence(1);
        lab.unfence(1);
        assert_eq!(lab.shape("t", 0).1, [2]);
        lab.fence(2);
        assert_eq!((lab.shape("t", 0).3, lab.shape("t", 0).1), (leader, isr), "allowed={allowed}");
        assert_eq!(lab.partition("t", 0).recovering, allowed == "true");
    }
}

#[test]
fn a_broker_that_shuts_down_hands_over_and_stays_out() {
    let mut lab = Lab::of(2);
    lab.assign("t", &[&[1, 2]]);
    let decision = brokers::begin_shutdown(lab.image(), &lab.config, BrokerId(1), lab.epoch(1)).unwrap();
    assert!(!brokers::leads_nothing(lab.image(), BrokerId(1)));
    lab.commit(decision);
    assert!(brokers::leads_nothing(lab.image(), BrokerId(1)));
    assert_eq!(lab.shape("t", 0), (vec![1, 2], vec![2], vec![], Some(2)));
    let broker = lab.image().broker(BrokerId(1)).unwrap();
    assert_eq!((broker.fenced, broker.is_active()), (false, false));
    // Clients still see it: its connections are open (MD-6).
    assert_eq!(lab.image().live_brokers().count(), 2);
    assert_eq!(lab.create(&[assigned("u", &[&[1]])]).unwrap()[0].1, Err(Refusal::InactiveAssignment(0)));
}

#[test]
fn an_unregistered_broker_is_forgotten() {
    let mut lab = Lab::of(2);
    lab.assign("t", &[&[1, 2]]);
    let decision = brokers::unregister(lab.image(), &lab.config, BrokerId(1)).unwrap();
    lab.commit(decision);
    assert_eq!(lab.shape("t", 0), (vec![1, 2], vec![2], vec![], Some(2)));
    assert_eq!(
        brokers::unregister(lab.image(), &lab.config, BrokerId(1)).map(|_| ()),
        Err(Refusal::BrokerNotRegistered(BrokerId(1)))
    );
}

#[test]
fn producer_ids_are_given_out_once() {
    let mut lab = Lab::of(1);
    let mut firsts = Vec::new();
    for _ in 0..3 {
        let decision = brokers::allocate_producer_ids(lab.image(), BrokerId(1), lab.epoch(1)).unwrap();
        firsts.push(lab.commit(decision));
    }
    assert_eq!(firsts, [0, 1000, 2000]);
    let stale = brokers::allocate_producer_ids(lab.image(), BrokerId(1), BrokerEpoch(0)).map(|_| ());
    assert_eq!(stale, Err(Refusal::StaleBrokerEpoch { expected: lab.epoch(1), got: BrokerEpoch(0) }));
}
