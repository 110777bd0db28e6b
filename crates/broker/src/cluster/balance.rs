//! Which leaderships go back to the first replica of their partition (`auto.leader.rebalance.enable`). Pure.
//!
//! Kafka looks every 300 s. A leader that was restarted is back within a second here, so we look every 10 s; a
//! first replica must have been in sync at two looks in a row, lest leaderships follow a broker that comes and goes.

use std::collections::{BTreeMap, BTreeSet};

use milena_metadata::{BrokerId, Image};
use milena_wire::Uuid;

/// Most partitions that move at one look: each move costs its clients a round of metadata.
const MOST: usize = 200;

/// Remembers who could have led at the last look.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    ready: BTreeSet<(Uuid, i32)>,
}

impl Balance {
    /// The partitions to be led by their first replicas again, by topic; of those brokers that lack more than
    /// `percentage` of the leaderships that are theirs (`leader.imbalance.per.broker.percentage`).
    pub(crate) fn look(&mut self, image: &Image, percentage: i32) -> Vec<(String, Vec<i32>)> {
        let mut share: BTreeMap<BrokerId, (usize, usize)> = BTreeMap::new();
        let mut ready = BTreeSet::new();
        for (topic, (index, partition)) in
            image.topics().flat_map(|topic| topic.iter().map(move |it| (topic, it)))
        {
            let Some(preferred) = partition.replicas.first().copied() else { continue };
            let (lacking, all) = share.entry(preferred).or_default();
            *all += 1;
            if partition.has_preferred_leader() {
                continue;
            }
            *lacking += 1;
            if image.is_active(preferred) && partition.isr.contains(&preferred) && !partition.is_reassigning()
            {
                ready.insert((topic.id, index));
            }
        }
        let is_uneven = |id: &BrokerId| {
            share.get(id).is_some_and(|(lacking, all)| lacking * 100 > all * percentage.max(0) as usize)
        };
        let mut moves: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        let twice = ready.iter().filter(|it| self.ready.contains(it));
        let uneven = twice.filter_map(|(id, index)| {
            let topic = image.topic_by_id(*id)?;
            let preferred = topic.partition(*index)?.replicas.first()?;
            is_uneven(preferred).then_some((&*topic.name, *index))
        });
        for (topic, index) in uneven.take(MOST) {
            moves.entry(topic).or_default().push(index);
        }
        let moves = moves.into_iter().map(|(topic, indexes)| (topic.to_owned(), indexes)).collect();
        self.ready = ready;
        moves
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use milena_metadata::{Broker, BrokerEpoch, Partition, Record};

    /// Ten partitions with broker 1 as the first replica, so many of them led by 2; broker 1 is back in all ISRs.
    fn image(led_by_other: i32, fenced: bool) -> Image {
        let mut image = Image::default();
        let topic = Uuid([9; 16]);
        for id in [1, 2].map(BrokerId) {
            image.apply(
                1,
                &Record::BrokerRegistered(Broker {
                    id,
                    epoch: BrokerEpoch(1),
                    incarnation: Uuid([1; 16]),
                    endpoints: Vec::new(),
                    rack: None,
                    fenced: fenced && id == BrokerId(1),
                    in_controlled_shutdown: false,
                    log_dirs: Vec::new(),
                    peer_address: String::new(),
                    broker_only: false,
                }),
            );
        }
        image.apply(2, &Record::TopicCreated { id: topic, name: "orders".to_owned() });
        for index in 0..10 {
            let both = vec![BrokerId(1), BrokerId(2)];
            let mut partition = Partition::new(both.clone(), both, 1);
            if index < led_by_other {
                partition.leader = Some(BrokerId(2));
            }
            image.apply(3, &Record::PartitionSet { topic, index, partition });
        }
        image
    }

    #[test]
    fn leaderships_go_back_at_the_second_look_and_only_if_enough_are_amiss() {
        for (led_by_other, fenced, want) in [
            (3, false, vec![("orders".to_owned(), vec![0, 1, 2])]),
            // One of ten is ten percent, and not more.
            (1, false, vec![]),
            (3, true, vec![]),
        ] {
            let mut balance = Balance::default();
            let image = image(led_by_other, fenced);
            assert_eq!(balance.look(&image, 10), vec![], "at once");
            assert_eq!(balance.look(&image, 10), want, "{led_by_other} {fenced}");
        }
    }

    #[test]
    fn broker_that_was_away_between_two_looks_waits_again() {
        let mut balance = Balance::default();
        assert_eq!(balance.look(&image(3, false), 10), vec![]);
        assert_eq!(balance.look(&image(3, true), 10), vec![]);
        assert_eq!(balance.look(&image(3, false), 10), vec![]);
        assert_eq!(balance.look(&image(3, false), 10).len(), 1);
    }
}
