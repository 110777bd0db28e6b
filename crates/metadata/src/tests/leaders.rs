//! Who leads after a change of one partition: rows M7 and M10 of the catalogue.

use super::*;
use crate::election::{Election, PartitionChange};

fn ids(list: &[i32]) -> Vec<BrokerId> {
    list.iter().copied().map(BrokerId).collect()
}

#[test]
fn a_leader_is_alive_and_eligible_whatever_the_election() {
    let (online, preferred, unclean) = (Election::Online, Election::Preferred, Election::Unclean);
    // ISR, ELR, last known leader, who lives, election, who leads.
    for (isr, elr, last, alive, election, leader) in [
        (&[1, 2][..], &[][..], &[][..], &[1, 2, 3][..], online, Some(2)),
        (&[1, 2], &[], &[], &[1, 2, 3], preferred, Some(1)),
        (&[1, 2], &[], &[], &[2, 3], preferred, Some(2)),
        (&[1, 2], &[], &[], &[3], online, None),
        (&[1, 2], &[], &[], &[3], unclean, Some(3)),
        (&[], &[1, 3], &[], &[1, 2, 3], online, Some(1)),
        (&[], &[1, 3], &[], &[2, 3], online, Some(3)),
        (&[], &[1, 3], &[], &[2], online, None),
        // The last known leader, and only if it lives (row M7).
        (&[], &[], &[1], &[1, 2, 3], online, Some(1)),
        (&[], &[], &[1], &[2, 3], online, None),
        (&[], &[], &[1], &[2, 3], unclean, Some(2)),
        (&[], &[], &[1], &[], unclean, None),
        // Nobody knows which of two was last.
        (&[], &[], &[1, 2], &[1, 2, 3], online, None),
    ] {
        let before = Partition {
            leader: isr.get(1).copied().map(BrokerId),
            isr: ids(isr),
            elr: ids(elr),
            last_known_elr: ids(last),
            ..Partition::new(ids(&[1, 2, 3]), ids(&[1, 2, 3]), 2)
        };
        let is_active = |id: BrokerId| alive.contains(&id.0);
        let change = PartitionChange { election, ..PartitionChange::new(&before, &is_active) };
        let after = change.build().unwrap_or_else(|| before.clone());
        let case = format!("isr {isr:?} elr {elr:?} last {last:?} alive {alive:?} {election:?}");
        assert_eq!(after.leader, leader.map(BrokerId), "{case}");
    }
}

/// A new leader epoch would have the others ask anew, and fall out of the ISR one after the other in a rolling restart
/// (KAFKA-15021).
#[test]
fn a_smaller_isr_does_not_change_the_leader_epoch() {
    let before = Partition::new(ids(&[1, 2, 3]), ids(&[1, 2, 3]), 2);
    let is_active = |id: BrokerId| id != BrokerId(3);
    let change = PartitionChange { isr: ids(&[1, 2]), ..PartitionChange::new(&before, &is_active) };
    let after = change.build().expect("the ISR is another");
    assert_eq!((after.leader, after.leader_epoch), (before.leader, before.leader_epoch));
    assert_eq!(after.partition_epoch, PartitionEpoch(before.partition_epoch.0 + 1));
}
