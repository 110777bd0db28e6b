//! AlterPartition (56): a leader asks for another ISR (KIP-497, KIP-903, KIP-966).

use milena_bugs::{Bug, is_on};
use milena_config::BrokerConfig;
use milena_wire::Uuid;

use crate::decide::{Decision, brokers, elect};
use crate::election::PartitionChange;
use crate::{BrokerEpoch, BrokerId, Image, Partition, PartitionEpoch, Record, Refusal};
use milena_records::LeaderEpoch;

/// The ISR that a leader wants for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewIsr {
    /// Id of the topic.
    pub topic: Uuid,
    /// Number of the partition.
    pub index: i32,
    /// The leader epoch that the sender leads at.
    pub leader_epoch: LeaderEpoch,
    /// The version of the record that the change starts from.
    pub partition_epoch: PartitionEpoch,
    /// The members, each with the process life in which the leader saw it caught up.
    pub isr: Vec<(BrokerId, BrokerEpoch)>,
    /// Whether the leader is still settling after an unclean election.
    pub recovering: bool,
}

/// Answers by partition, in the order asked: the record as it will be.
///
/// The leader takes ISR and minimum from it together (replication notes, 1.10).
pub type AlterPartitionAnswer = Vec<(Uuid, i32, Result<Partition, Refusal>)>;

/// Changes ISRs for the leader `sender`, each partition for itself.
///
/// A change that completes a reassignment may move leadership away from the sender: it then answers
/// [`Refusal::NewLeaderElected`] although it takes effect.
pub fn alter(
    image: &Image,
    config: &BrokerConfig,
    sender: BrokerId,
    epoch: BrokerEpoch,
    partitions: &[NewIsr],
) -> Result<Decision<AlterPartitionAnswer>, Refusal> {
    brokers::check_epoch(image, sender, epoch)?;
    let mut records = Vec::new();
    let answer = partitions
        .iter()
        .map(|wanted| (wanted.topic, wanted.index, alter_one(image, config, sender, wanted, &mut records)))
        .collect();
    Ok(Decision { records, answer })
}

fn alter_one(
    image: &Image,
    config: &BrokerConfig,
    sender: BrokerId,
    wanted: &NewIsr,
    records: &mut Vec<Record>,
) -> Result<Partition, Refusal> {
    let topic = image.topic_by_id(wanted.topic).ok_or(Refusal::UnknownTopicId(wanted.topic))?;
    let partition = topic.partition(wanted.index).ok_or(Refusal::UnknownTopic)?;
    check(image, partition, sender, wanted)?;
    let is_active = |id| image.is_active(id);
    let mut change = PartitionChange::new(partition, &is_active);
    change.isr = wanted.isr.iter().map(|(id, _)| *id).collect();
    change.recovering = wanted.recovering;
    change.election = elect::allowed(image, config, &topic.name);
    let Some(after) = change.build() else { return Ok((**partition).clone()) };
    records.push(Record::PartitionSet { topic: topic.id, index: wanted.index, partition: after.clone() });
    if after.leader != Some(sender) { Err(Refusal::NewLeaderElected) } else { Ok(after) }
}

/// In the order of Kafka's controller: epochs above ours first, as then we are the ones who are behind.
fn check(image: &Image, partition: &Partition, sender: BrokerId, wanted: &NewIsr) -> Result<(), Refusal> {
    if wanted.leader_epoch > partition.leader_epoch || wanted.partition_epoch > partition.partition_epoch {
        return Err(Refusal::ControllerBehind);
    }
    if wanted.leader_epoch < partition.leader_epoch {
        return Err(Refusal::FencedLeaderEpoch);
    }
    if partition.leader != Some(sender) {
        return Err(Refusal::NotTheLeader);
    }
    if wanted.partition_epoch < partition.partition_epoch {
        return Err(Refusal::OldPartitionEpoch);
    }
    let members: Vec<BrokerId> = wanted.isr.iter().map(|(id, _)| *id).collect();
    let repeated = members.iter().enumerate().any(|(at, id)| members[..at].contains(id));
    let settles = wanted.recovering && (members.len() > 1 || !partition.recovering);
    if repeated
        || settles
        || !members.contains(&sender)
        || !members.iter().all(|id| partition.replicas.contains(id))
    {
        return Err(Refusal::InvalidIsr);
    }
    for (id, epoch) in &wanted.isr {
        // Kafka's brokers of old send -1 for an epoch they do not know.
        let same_life = |broker: &crate::Broker| epoch.0 == -1 || broker.epoch == *epoch || is_on(Bug::M5);
        let may_join = |broker: &crate::Broker| broker.is_active() || is_on(Bug::M3);
        if !image.broker(*id).is_some_and(|broker| may_join(broker) && same_life(broker)) {
            return Err(Refusal::IneligibleReplica(*id));
        }
    }
    Ok(())
}
