//! Registration, fencing, shutdown and removal of brokers (KIP-631), and producer id blocks.
//!
//! When a broker must be fenced is the caller's to know: it has the clock and the connections. One decision moves all
//! partitions of the broker, so that they fail over together.

use milena_wire::Uuid;

use crate::decide::Decision;
use crate::election::PartitionChange;
use crate::{Broker, BrokerEpoch, BrokerId, Endpoint, Image, Partition, Record, Refusal};
use milena_config::BrokerConfig;

/// Since when a broker has kept everything that it ever reported as stored: its last life, if it stopped cleanly or only
/// the process died. Empty if something may be lost, or if it is new.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// The last registration that it has heard of.
    pub epoch: Option<BrokerEpoch>,
    /// Its processes that asked to be registered after that and ended before they heard of it.
    pub incarnations: Vec<Uuid>,
}

impl Kept {
    /// Everything that was reported in this registration is still there.
    pub fn covers(&self, registered: &Broker) -> bool {
        self.epoch == Some(registered.epoch) || self.incarnations.contains(&registered.incarnation)
    }
}

/// A broker that starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Its number.
    pub id: BrokerId,
    /// Random id of the process.
    pub incarnation: Uuid,
    /// The cluster id in its data directory, if it has one.
    pub cluster_id: Option<String>,
    /// What it can vouch for.
    pub kept: Kept,
    /// The caller knows that no other process lives under this number: its session expired, or it is this machine's.
    pub predecessor_is_gone: bool,
    /// Addresses for clients.
    pub endpoints: Vec<Endpoint>,
    /// Rack, if it has one.
    pub rack: Option<String>,
    /// Ids of its log directories.
    pub log_dirs: Vec<Uuid>,
    /// Where other brokers reach it.
    pub peer_address: String,
    /// It is no controller (`process.roles=broker`).
    pub broker_only: bool,
}

/// Registers a broker, fenced at first. Its epoch is the index at which the command is applied: read it from the
/// image by the incarnation.
///
/// A broker that may have lost its tail leaves every ISR and ELR in the same step (notes: KIP-966).
pub fn register(
    image: &Image,
    config: &BrokerConfig,
    request: &Registration,
) -> Result<Decision<()>, Refusal> {
    if let (Some(expected), Some(got)) = (image.cluster_id(), &request.cluster_id)
        && expected != got
    {
        return Err(Refusal::OtherCluster { expected: expected.to_owned(), got: got.clone() });
    }
    let before = image.broker(request.id);
    if let Some(before) = before {
        if before.incarnation == request.incarnation {
            return Ok(Decision::unchanged(()));
        }
        if !(before.fenced || request.kept.covers(before) || request.predecessor_is_gone) {
            return Err(Refusal::DuplicateRegistration);
        }
    }
    let kept = before.is_some_and(|before| request.kept.covers(before));
    let mut records = vec![Record::BrokerRegistered(Broker {
        id: request.id,
        epoch: BrokerEpoch::default(),
        incarnation: request.incarnation,
        endpoints: request.endpoints.clone(),
        rack: request.rack.clone(),
        fenced: true,
        in_controlled_shutdown: false,
        log_dirs: request.log_dirs.clone(),
        peer_address: request.peer_address.clone(),
        broker_only: request.broker_only,
    })];
    if image.controller(request.id).is_some() {
        records.push(Record::ControllerUnregistered { id: request.id });
    }
    records.extend(without(image, config, request.id, (!kept).then_some(request.id)));
    Ok(Decision { records, answer: () })
}

/// Fences a broker: it leaves all ISRs (for the ELR where they fall short) and others lead in its place.
pub fn fence(image: &Image, config: &BrokerConfig, id: BrokerId) -> Result<Decision<()>, Refusal> {
    let broker = image.broker(id).ok_or(Refusal::BrokerNotRegistered(id))?;
    if broker.fenced {
        return Ok(Decision::unchanged(()));
    }
    let mut records = vec![Record::BrokerChanged {
        id,
        fenced: true,
        in_controlled_shutdown: broker.in_controlled_shutdown,
    }];
    records.extend(without(image, config, id, None));
    Ok(Decision { records, answer: () })
}

/// Lets a broker take part that has caught up with its own registration; it leads partitions that waited for it.
pub fn unfence(
    image: &Image,
    config: &BrokerConfig,
    id: BrokerId,
    epoch: BrokerEpoch,
) -> Result<Decision<()>, Refusal> {
    let broker = check_epoch(image, id, epoch)?;
    if !broker.fenced {
        return Ok(Decision::unchanged(()));
    }
    let in_controlled_shutdown = broker.in_controlled_shutdown;
    let mut records = vec![Record::BrokerChanged { id, fenced: false, in_controlled_shutdown }];
    if !in_controlled_shutdown {
        let is_active = |other: BrokerId| other == id || image.is_active(other);
        records.extend(changes(
            image,
            config,
            |partition| partition.leader.is_none() && partition.names(id),
            |_| (),
            &is_active,
        ));
    }
    Ok(Decision { records, answer: () })
}

/// Begins a controlled shutdown: the broker leaves the ISRs and leads nothing, where others can take over.
///
/// Ask again, as heartbeats come in, until [`leads_nothing`].
pub fn begin_shutdown(
    image: &Image,
    config: &BrokerConfig,
    id: BrokerId,
    epoch: BrokerEpoch,
) -> Result<Decision<()>, Refusal> {
    let broker = check_epoch(image, id, epoch)?;
    if broker.fenced || broker.in_controlled_shutdown {
        return Ok(Decision::unchanged(()));
    }
    let mut records = vec![Record::BrokerChanged { id, fenced: false, in_controlled_shutdown: true }];
    records.extend(without(image, config, id, None));
    Ok(Decision { records, answer: () })
}

/// Whether no partition is led by the broker.
pub fn leads_nothing(image: &Image, id: BrokerId) -> bool {
    image.all_partitions().all(|(_, _, partition)| partition.leader != Some(id))
}

/// Forgets a broker that will not come back. Its replicas stay assigned to it until they are reassigned.
pub fn unregister(image: &Image, config: &BrokerConfig, id: BrokerId) -> Result<Decision<()>, Refusal> {
    image.broker(id).ok_or(Refusal::BrokerNotRegistered(id))?;
    let mut records: Vec<Record> = without(image, config, id, Some(id)).collect();
    records.push(Record::BrokerUnregistered { id });
    Ok(Decision { records, answer: () })
}

/// Producer ids in one block, as in Kafka.
pub const PRODUCER_ID_BLOCK: i64 = 1000;

/// Gives a broker a block of producer ids: the first of [`PRODUCER_ID_BLOCK`] in a row (API 67).
pub fn allocate_producer_ids(
    image: &Image,
    id: BrokerId,
    epoch: BrokerEpoch,
) -> Result<Decision<i64>, Refusal> {
    check_epoch(image, id, epoch)?;
    let first = image.next_producer_id();
    let next = first.checked_add(PRODUCER_ID_BLOCK).expect("producer ids outlast the universe");
    Ok(Decision { records: vec![Record::ProducerIdsAllocated { next }], answer: first })
}

/// The broker, if it is the process life that `epoch` says.
pub(crate) fn check_epoch(image: &Image, id: BrokerId, epoch: BrokerEpoch) -> Result<&Broker, Refusal> {
    let broker = image.broker(id).ok_or(Refusal::BrokerNotRegistered(id))?;
    if broker.epoch != epoch {
        return Err(Refusal::StaleBrokerEpoch { expected: broker.epoch, got: epoch });
    }
    Ok(broker)
}

/// The changes that take a broker out of every ISR and leadership, and, if it stopped uncleanly, out of every ELR.
fn without<'a>(
    image: &'a Image,
    config: &'a BrokerConfig,
    id: BrokerId,
    unclean: Option<BrokerId>,
) -> impl Iterator<Item = Record> + 'a {
    let is_active = move |other: BrokerId| other != id && image.is_active(other);
    let concerned = move |partition: &Partition| {
        partition.leader == Some(id)
            || partition.isr.contains(&id)
            || (unclean.is_some() && partition.elr.contains(&id))
    };
    let change = move |change: &mut PartitionChange<'_>| {
        change.isr.retain(|member| *member != id);
        change.unclean_shutdown = unclean;
    };
    changes(image, config, concerned, change, &is_active).into_iter()
}

/// Changes every partition that is `concerned`, electing uncleanly where its topic allows that.
fn changes(
    image: &Image,
    config: &BrokerConfig,
    concerned: impl Fn(&Partition) -> bool,
    change: impl Fn(&mut PartitionChange<'_>),
    is_active: &dyn Fn(BrokerId) -> bool,
) -> Vec<Record> {
    let mut records = Vec::new();
    for topic in image.topics.values() {
        let mut election = None;
        for (index, partition) in topic.iter().filter(|(_, partition)| concerned(partition)) {
            let mut wanted = PartitionChange::new(partition, is_active);
            wanted.election =
                *election.get_or_insert_with(|| crate::decide::elect::allowed(image, config, &topic.name));
            change(&mut wanted);
            if let Some(partition) = wanted.build() {
                records.push(Record::PartitionSet { topic: topic.id, index, partition });
            }
        }
    }
    records
}
