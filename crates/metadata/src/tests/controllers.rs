//! Nodes that are controllers alone.

use super::*;
use crate::DedicatedController;
use crate::decide::controllers::register;

fn controller(id: i32, peer_address: &str) -> DedicatedController {
    DedicatedController { id: BrokerId(id), directory: Uuid([7; 16]), peer_address: peer_address.to_owned() }
}

#[test]
fn controller_is_known_once_and_followed_when_it_moves() {
    let mut lab = Lab::of(2);
    for (address, records) in [("a:9093", 1), ("a:9093", 0), ("b:9093", 1)] {
        let decision = register(lab.image(), &controller(101, address)).unwrap();
        assert_eq!(decision.records.len(), records, "{address}");
        if records > 0 {
            lab.commit(decision);
        }
        assert_eq!(lab.image().controller(BrokerId(101)).unwrap().peer_address, address);
    }
    assert_eq!(lab.image().controllers().count(), 1);
    // It is no broker: nothing is placed on it, and no client hears of it.
    assert_eq!((lab.image().brokers().count(), lab.image().broker(BrokerId(101))), (2, None));
}

#[test]
fn number_is_a_brokers_or_a_controllers() {
    let lab = Lab::of(1);
    let id = lab.image().brokers().next().unwrap().id;
    let refused = register(lab.image(), &controller(id.0, "a:9093"));
    assert_eq!(refused.err(), Some(Refusal::RegisteredAsBroker(id)));
}

#[test]
fn controller_that_comes_back_as_a_broker_is_one() {
    let mut lab = Lab::of(1);
    let decision = register(lab.image(), &controller(101, "a:9093")).unwrap();
    lab.commit(decision);
    lab.start(101, None);
    assert_eq!(lab.image().controllers().count(), 0);
    assert!(lab.image().is_active(BrokerId(101)));
}

#[test]
fn stored_pairs_give_the_same_controllers() {
    let (mut state, mut changes) = (State::default(), Vec::new());
    let records = vec![
        Record::ControllerRegistered(controller(101, "a:9093")),
        Record::ControllerRegistered(controller(102, "b:9093")),
        Record::ControllerUnregistered { id: BrokerId(102) },
    ];
    state.apply(3, &Command { decided_at: 0, records }.encode(), &mut changes);
    let mut stored = std::collections::BTreeMap::new();
    for (key, value) in changes {
        match value {
            Some(value) => drop(stored.insert(key, value)),
            None => drop(stored.remove(&key)),
        }
    }
    let restored = State::restore(stored).unwrap();
    assert_eq!(restored.image(), state.image());
    assert_eq!(restored.image().controllers().count(), 1);
}
