//! Whatever happens, in whatever order: invariants of partitions, and one state however it came about.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::decide::configs::{Alteration, Target, alter_incrementally};
use crate::decide::elect::{self, ElectionType};
use crate::decide::isr::{self, NewIsr};
use crate::decide::partitions::{self as more, MorePartitions};
use crate::decide::reassign::{self, Reassignment};
use crate::decide::topics::{DoomedTopic, delete};
use crate::{Change, DecodeError};

const BROKERS: i32 = 4;
const TOPICS: usize = 3;

/// Something that happens to a cluster of four brokers and up to three topics.
#[derive(Debug, Clone)]
enum Event {
    Create { topic: usize, partitions: i32, replication: i16, min_isr: i32 },
    Delete { topic: usize },
    Grow { topic: usize, by: i32 },
    Fence { broker: i32 },
    Unfence { broker: i32 },
    Restart { broker: i32, kept: bool },
    Shutdown { broker: i32 },
    Alter { topic: usize, index: i32, members: u8 },
    Elect { unclean: bool },
    Reassign { topic: usize, index: i32, replicas: Option<Vec<i32>> },
    MinIsr { topic: usize, to: Option<i32> },
    Unclean { topic: usize, to: bool },
    ProducerIds,
}

fn event() -> impl Strategy<Value = Event> {
    let broker = 1..=BROKERS;
    let topic = 0..TOPICS;
    let replicas = Just((1..=BROKERS).collect::<Vec<_>>())
        .prop_shuffle()
        .prop_flat_map(|all| (1..=all.len()).prop_map(move |count| all[..count].to_vec()));
    prop_oneof![
        3 => (topic.clone(), 1..4i32, 1..=4i16, 1..4i32)
            .prop_map(|(topic, partitions, replication, min_isr)| Event::Create { topic, partitions, replication, min_isr }),
        1 => topic.clone().prop_map(|topic| Event::Delete { topic }),
        1 => (topic.clone(), 1..3i32).prop_map(|(topic, by)| Event::Grow { topic, by }),
        4 => broker.clone().prop_map(|broker| Event::Fence { broker }),
        4 => broker.clone().prop_map(|broker| Event::Unfence { broker }),
        2 => (broker.clone(), any::<bool>()).prop_map(|(broker, kept)| Event::Restart { broker, kept }),
        1 => broker.prop_map(|broker| Event::Shutdown { broker }),
        6 => (topic.clone(), 0..3i32, any::<u8>()).prop_map(|(topic, index, members)| Event::Alter { topic, index, members }),
        1 => any::<bool>().prop_map(|unclean| Event::Elect { unclean }),
        2 => (topic.clone(), 0..3i32, prop::option::of(replicas))
            .prop_map(|(topic, index, replicas)| Event::Reassign { topic, index, replicas }),
        1 => (topic.clone(), prop::option::of(1..4i32)).prop_map(|(topic, to)| Event::MinIsr { topic, to }),
        1 => (topic, any::<bool>()).prop_map(|(topic, to)| Event::Unclean { topic, to }),
        1 => Just(Event::ProducerIds),
    ]
}

fn name(topic: usize) -> String {
    ["a.b", "a_c", "orders"][topic].to_owned()
}

/// What the event makes the controller propose. Refusals propose nothing.
fn decide(lab: &mut Lab, event: &Event) -> Vec<Record> {
    let (image, config) = (lab.image().clone(), lab.config.clone());
    let records = |decision: Result<Decision<()>, Refusal>| decision.map(|it| it.records).unwrap_or_default();
    let epoch = |broker: i32| image.broker(BrokerId(broker)).map_or(BrokerEpoch(-1), |it| it.epoch);
    let set = |topic: usize, key: &str, value: Option<String>| {
        let operation = if value.is_some() { 0 } else { 1 };
        let alteration = Alteration {
            target: Target { code: 2, name: name(topic) },
            operations: vec![(key.to_owned(), operation, value)],
        };
        alter_incrementally(&image, &config, BrokerId(1), &[alteration], false).records
    };
    match event.clone() {
        Event::Create { topic, partitions, replication, min_isr } => {
            let topic = NewTopic {
                configs: vec![("min.insync.replicas".into(), Some(min_isr.to_string()))],
                ..sized(&name(topic), partitions, replication)
            };
            topics::create(&image, &config, &[topic], false, &mut || lab.draw()).unwrap().records
        }
        Event::Delete { topic } => {
            let doomed = DoomedTopic { name: Some(name(topic)), id: Uuid::ZERO };
            delete(&image, &config, &[doomed]).unwrap().records
        }
        Event::Grow { topic, by } => {
            let count = image.topic(&name(topic)).map_or(0, |topic| topic.partitions.len() as i32) + by;
            let request = MorePartitions { name: name(topic), count, assignments: None };
            more::create(&image, &config, &[request], false, &mut || lab.draw()).records
        }
        Event::Fence { broker } => records(brokers::fence(&image, &config, BrokerId(broker))),
        Event::Unfence { broker } => {
            records(brokers::unfence(&image, &config, BrokerId(broker), epoch(broker)))
        }
        Event::Shutdown { broker } => {
            records(brokers::begin_shutdown(&image, &config, BrokerId(broker), epoch(broker)))
        }
        Event::Restart { broker, kept } => {
            let request = Registration {
                incarnation: Uuid((lab.draw() as u128).to_be_bytes()),
                kept: Kept { epoch: kept.then(|| epoch(broker)), ..Kept::default() },
                predecessor_is_gone: true,
                ..registration(broker, None)
            };
            records(brokers::register(&image, &config, &request))
        }
        Event::Alter { topic, index, members } => {
            let Some(topic) = image.topic(&name(topic)) else { return Vec::new() };
            let Some(partition) = topic.partition(index) else { return Vec::new() };
            let Some(leader) = partition.leader else { return Vec::new() };
            let isr = partition.replicas.iter().filter(|id| **id == leader || members & (1 << id.0) != 0);
            let request = NewIsr {
                topic: topic.id,
                index,
                leader_epoch: partition.leader_epoch,
                partition_epoch: partition.partition_epoch,
                isr: isr.map(|id| (*id, epoch(id.0))).collect(),
                recovering: false,
            };
            isr::alter(&image, &config, leader, epoch(leader.0), &[request])
                .map(|it| it.records)
                .unwrap_or_default()
        }
        Event::Elect { unclean } => {
            let kind = if unclean { ElectionType::Unclean } else { ElectionType::Preferred };
            elect::elect(&image, kind, None).records
        }
        Event::Reassign { topic, index, replicas } => {
            let request = Reassignment { name: name(topic), index, replicas: replicas.map(|it| ids(&it)) };
            reassign::alter(&image, &config, &[request], true).records
        }
        Event::MinIsr { topic, to } => set(topic, "min.insync.replicas", to.map(|it| it.to_string())),
        Event::Unclean { topic, to } => set(topic, "unclean.leader.election.enable", Some(to.to_string())),
        Event::ProducerIds => brokers::allocate_producer_ids(&image, BrokerId(1), epoch(1))
            .map(|it| it.records)
            .unwrap_or_default(),
    }
}

/// The invariants that [`Partition`] states, and those between partitions and brokers.
fn check(image: &Image) {
    for (topic, index, partition) in image.all_partitions() {
        let place = format!("{topic}-{index}: {partition:?}");
        let distinct = |list: &[BrokerId]| {
            let mut sorted = list.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            sorted.len() == list.len()
        };
        assert!(!partition.replicas.is_empty(), "{place}");
        for list in
            [&partition.replicas, &partition.isr, &partition.elr, &partition.adding, &partition.removing]
        {
            assert!(distinct(list), "{place}");
            assert!(list.iter().all(|id| partition.replicas.contains(id)), "{place}");
        }
        assert!(partition.replicas.iter().all(|id| image.broker(*id).is_some()), "{place}");
        assert!(partition.isr.iter().all(|id| image.is_active(*id)), "fenced brokers are in no isr: {place}");
        assert!(partition.isr.iter().all(|id| !partition.elr.contains(id)), "{place}");
        assert!(partition.isr.len() < partition.effective_min_isr() || partition.elr.is_empty(), "{place}");
        assert_eq!(partition.directories.len(), partition.replicas.len(), "{place}");
        match partition.leader {
            Some(leader) => {
                assert!(partition.isr.contains(&leader), "{place}");
                assert!(partition.last_known_elr.is_empty(), "{place}");
            }
            None => assert!(partition.isr.is_empty(), "an isr has a leader: {place}"),
        }
    }
}

/// Epochs only grow, and grow whenever something changes. Who holds all that was acknowledged stays one who may lead, but
/// for those whose disks lost it.
fn check_step(before: &Image, event: &Event, after: &Image) {
    let somebody = |partition: &Partition| !partition.isr.is_empty() || !partition.elr.is_empty();
    let loses = matches!(event, Event::Restart { kept: false, .. });
    for (topic, index, now) in after.all_partitions() {
        let Some(old) = before.partition(topic, index) else { continue };
        assert!(somebody(now) || !somebody(old) || loses, "{event:?}: {old:?} -> {now:?}");
        assert!(now.leader_epoch >= old.leader_epoch && now.partition_epoch >= old.partition_epoch);
        assert!(now == old || now.partition_epoch > old.partition_epoch, "{old:?} -> {now:?}");
        assert!(now.leader == old.leader || now.leader_epoch > old.leader_epoch, "{old:?} -> {now:?}");
    }
    for broker in after.brokers() {
        let old = before.broker(broker.id).map_or(BrokerEpoch(0), |it| it.epoch);
        assert!(broker.epoch >= old);
    }
    assert!(after.next_producer_id() >= before.next_producer_id());
}

/// Applies changed pairs as the quorum's store does.
fn store(pairs: &mut BTreeMap<Bytes, Bytes>, changes: Vec<Change>) {
    for (key, value) in changes {
        match value {
            Some(value) => pairs.insert(key, value),
            None => pairs.remove(&key),
        };
    }
}

/// The registrations of a cluster as one command.
fn birth_records(image: &Image) -> Vec<Record> {
    image.brokers().map(|broker| Record::BrokerRegistered((**broker).clone())).collect()
}

#[test]
fn a_stale_command_does_nothing() {
    let mut lab = Lab::of(1);
    let before = lab.image().clone();
    let records = vec![Record::ProducerIdsAllocated { next: 5000 }];
    for decided_at in [0, before.index() - 1, before.index() + 1] {
        let command = Command { decided_at, records: records.clone() }.encode();
        let mut changes = Vec::new();
        assert_eq!(lab.state.apply(999, &command, &mut changes), Outcome::Stale);
        assert_eq!((lab.image(), changes), (&before, vec![]));
    }
    for outcome in [Outcome::Applied, Outcome::Stale] {
        assert_eq!(Outcome::decode(&outcome.encode()), Some(outcome));
    }
}

/// A later release's pair is not dropped in silence.
#[test]
fn an_unknown_key_is_an_error() {
    let refusal = State::restore([(Bytes::from_static(b"z/1"), Bytes::new())]).map(|_| ());
    assert_eq!(refusal, Err(DecodeError::Missing("key")));
}

proptest! {
    #[test]
    fn invariants_hold_and_replay_equals_live_equals_restored(
        events in prop::collection::vec(event(), 1..60),
        seed in any::<u64>(),
    ) {
        let mut lab = Lab::of(BROKERS);
        lab.random = seed;
        // Begin again from nothing, with the brokers' registrations as the first command.
        let births = birth_records(lab.image());
        lab.state = State::default();
        let mut log: Vec<(u64, Bytes)> = Vec::new();
        let mut pairs = BTreeMap::new();
        let mut step = |state: &mut State, index: u64, records: Vec<Record>| {
            let bytes = Command { decided_at: state.image().index(), records }.encode();
            let mut changes = Vec::new();
            let outcome = state.apply(index, &bytes, &mut changes);
            store(&mut pairs, changes);
            log.push((index, bytes));
            outcome
        };
        let mut index = 1;
        prop_assert_eq!(step(&mut lab.state, index, births), Outcome::Applied);
        for event in &events {
            let before = lab.image().clone();
            let records = decide(&mut lab, event);
            if records.is_empty() {
                continue;
            }
            index += 2;
            prop_assert_eq!(step(&mut lab.state, index, records), Outcome::Applied);
            check(lab.image());
            check_step(&before, event, lab.image());
        }
        let mut replayed = State::default();
        for (index, bytes) in &log {
            replayed.apply(*index, bytes, &mut Vec::new());
        }
        prop_assert_eq!(replayed.image(), lab.image());
        let restored = State::restore(pairs).unwrap();
        prop_assert_eq!(restored.image(), lab.image());
    }

    #[test]
    fn arbitrary_bytes_are_no_command_and_change_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut lab = Lab::of(1);
        let before = lab.image().clone();
        let mut changes = Vec::new();
        // Empty bytes decode as a command decided at index 0, which is long past.
        prop_assert_eq!(lab.state.apply(99, &bytes, &mut changes), Outcome::Stale);
        prop_assert_eq!(lab.image(), &before);
        prop_assert_eq!(changes, vec![]);
    }

    #[test]
    fn arbitrary_pairs_do_not_panic(
        key in prop::collection::vec(any::<u8>(), 0..30),
        prefix in prop::sample::select(vec!["b/", "c/", "f/", "m/index", "t/", ""]),
        value in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let key: Vec<u8> = prefix.bytes().chain(key).collect();
        let _ = State::restore([(Bytes::from(key), Bytes::from(value))]);
    }
}
