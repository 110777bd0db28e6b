//! Which brokers hold a new partition: spread over racks, leaderships spread over brokers (test id TP-8).
//!
//! Racks are visited in a circle, and so are the brokers of each. The first replica of partition n comes from the n-th
//! rack on, from a random start, so leaders alternate between racks; the further replicas come from the racks that
//! follow, so that no rack holds two while another holds none. Fenced brokers take replicas only when the others do not
//! suffice, and never lead. The idea is Kafka's `StripedReplicaPlacer`.

use std::collections::BTreeMap;

use crate::decide::Random;
use crate::{BrokerId, Image, Refusal};

/// Chooses `replication` brokers for each of `partitions` new partitions.
pub fn place(
    image: &Image,
    partitions: usize,
    replication: i16,
    random: Random<'_>,
) -> Result<Vec<Vec<BrokerId>>, Refusal> {
    let wanted = usize::try_from(replication).unwrap_or(0);
    let mut racks = Racks::new(image, random);
    if wanted == 0 {
        return Err(Refusal::NonPositiveReplicationFactor);
    }
    if racks.unfenced == 0 {
        return Err(Refusal::AllBrokersFenced { wanted: replication });
    }
    if wanted > racks.registered {
        return Err(Refusal::TooFewBrokers { wanted: replication, registered: racks.registered });
    }
    Ok((0..partitions).map(|_| racks.next(wanted)).collect())
}

/// The brokers by rack, with a place in the circle.
struct Racks {
    /// Per rack the brokers that take replicas first, then the fenced ones.
    racks: Vec<(Vec<BrokerId>, Vec<BrokerId>)>,
    registered: usize,
    unfenced: usize,
    /// Rack that the next partition starts at.
    start: usize,
    /// Partitions placed so far, over a random start: the place in each rack's circle.
    round: usize,
}

impl Racks {
    fn new(image: &Image, random: Random<'_>) -> Self {
        let mut by_name: BTreeMap<Option<&str>, (Vec<BrokerId>, Vec<BrokerId>)> = BTreeMap::new();
        let (mut registered, mut unfenced) = (0, 0);
        for broker in image.brokers().filter(|broker| !broker.in_controlled_shutdown) {
            let rack = by_name.entry(broker.rack.as_deref()).or_default();
            registered += 1;
            if broker.fenced {
                rack.1.push(broker.id);
            } else {
                unfenced += 1;
                rack.0.push(broker.id);
            }
        }
        let mut racks: Vec<_> = by_name.into_values().collect();
        for (unfenced, fenced) in &mut racks {
            shuffle(unfenced, random);
            shuffle(fenced, random);
        }
        let start = below(racks.len(), random);
        Self { racks, registered, unfenced, start, round: 0 }
    }

    /// The replicas of the next partition. `wanted` is between 1 and the number of registered brokers, and at least
    /// one of them is not fenced.
    fn next(&mut self, wanted: usize) -> Vec<BrokerId> {
        let racks = self.racks.len();
        // One step in the circle of a rack each time the circle of racks is through, so that with several brokers per
        // rack every broker gets its turn as leader.
        let turn = self.round / racks;
        let mut replicas = Vec::with_capacity(wanted);
        let first = (0..racks)
            .map(|step| (self.start + step) % racks)
            .find(|rack| !self.racks[*rack].0.is_empty())
            .expect("at least one broker is not fenced");
        let mut taken = vec![0; racks];
        for step in 0.. {
            let rack = (first + step) % racks;
            if let Some(broker) = self.nth(rack, turn, taken[rack]) {
                taken[rack] += 1;
                replicas.push(broker);
            }
            if replicas.len() == wanted {
                break;
            }
        }
        self.round += 1;
        self.start = (self.start + 1) % racks;
        replicas
    }

    /// The broker that comes `n`-th in a rack when its circle starts at `turn`, fenced ones last.
    fn nth(&self, rack: usize, turn: usize, n: usize) -> Option<BrokerId> {
        let (unfenced, fenced) = &self.racks[rack];
        if n < unfenced.len() {
            Some(unfenced[(turn + n) % unfenced.len()])
        } else {
            let n = n - unfenced.len();
            (n < fenced.len()).then(|| fenced[(turn + n) % fenced.len()])
        }
    }
}

/// A number below `bound`, or 0.
fn below(bound: usize, random: Random<'_>) -> usize {
    if bound == 0 { 0 } else { (random() % bound as u64) as usize }
}

fn shuffle(list: &mut [BrokerId], random: Random<'_>) {
    for end in (1..list.len()).rev() {
        list.swap(end, below(end + 1, random));
    }
}
