//! Placement of replicas: TP-8.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::decide::placement::place;

#[test]
fn leaders_are_spread_over_all_brokers() {
    let lab = Lab::of(3);
    for seed in 0..20 {
        let mut seed = seed;
        let layout = place(lab.image(), 9, 2, &mut || {
            seed += 1;
            seed
        })
        .unwrap();
        let mut leaders = BTreeMap::new();
        for replicas in &layout {
            *leaders.entry(replicas[0].0).or_insert(0) += 1;
        }
        assert_eq!(leaders, BTreeMap::from([(1, 3), (2, 3), (3, 3)]), "{layout:?}");
    }
}

#[test]
fn the_start_is_random() {
    let lab = Lab::of(3);
    let mut firsts = std::collections::BTreeSet::new();
    for seed in 0..50u64 {
        let layout = place(lab.image(), 1, 1, &mut || seed).unwrap();
        firsts.insert(layout[0][0]);
    }
    assert_eq!(firsts.len(), 3);
}

#[test]
fn fenced_brokers_take_replicas_only_in_need_and_never_lead() {
    let mut lab = Lab::of(3);
    lab.fence(2);
    let two = place(lab.image(), 6, 2, &mut || 0).unwrap();
    assert!(two.iter().all(|replicas| !replicas.contains(&BrokerId(2))), "{two:?}");
    let three = place(lab.image(), 6, 3, &mut || 0).unwrap();
    assert!(three.iter().all(|replicas| replicas[0] != BrokerId(2) && replicas.len() == 3), "{three:?}");
}

proptest! {
    /// No broker twice; no rack holds two replicas more than another, as far as its brokers reach; leaders are even.
    #[test]
    fn replicas_are_spread_over_racks(
        racks in prop::collection::vec(0..3usize, 1..9),
        partitions in 1..30usize,
        wanted in 1..9usize,
        seed in any::<u64>(),
    ) {
        let names = ["a", "b", "c"];
        let brokers: Vec<_> = (1..).zip(&racks).map(|(id, rack)| (id, Some(names[*rack]))).collect();
        let mut lab = Lab::with_racks(&brokers);
        lab.random = seed;
        let image = lab.image().clone();
        let wanted = wanted.min(brokers.len());
        let layout = place(&image, partitions, wanted as i16, &mut || lab.draw()).unwrap();
        prop_assert_eq!(layout.len(), partitions);
        let size = |rack: &str| brokers.iter().filter(|(_, it)| *it == Some(rack)).count();
        for replicas in &layout {
            let mut distinct = replicas.clone();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), wanted);
            let mut held: BTreeMap<&str, usize> = brokers.iter().map(|(_, rack)| (rack.unwrap(), 0)).collect();
            for id in replicas {
                *held.get_mut(image.broker(*id).unwrap().rack.as_deref().unwrap()).unwrap() += 1;
            }
            let most = *held.values().max().unwrap();
            for (rack, count) in &held {
                prop_assert!(count + 1 >= most || *count == size(rack), "{:?} in {:?}", replicas, held);
            }
        }
    }
}
