//! AlterPartitionReassignments (45) and ListPartitionReassignments (46): test id TP-13.
//!
//! A reassignment first adds the new replicas; the AlterPartition that brings them into the ISR completes it
//! ([`crate::election`]).

use milena_config::BrokerConfig;

use crate::decide::{Decision, elect, partitions};
use crate::election::{Election, PartitionChange};
use crate::{BrokerId, Image, Partition, Record, Refusal};

/// New replicas for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassignment {
    /// Its topic.
    pub name: String,
    /// Its number.
    pub index: i32,
    /// The replicas, the first preferred as leader; none to cancel.
    pub replicas: Option<Vec<BrokerId>>,
}

/// Answers in the order asked.
pub type ReassignAnswer = Vec<Result<(), Refusal>>;

/// Starts or cancels reassignments, each for itself.
pub fn alter(
    image: &Image,
    config: &BrokerConfig,
    reassignments: &[Reassignment],
    allow_replication_factor_change: bool,
) -> Decision<ReassignAnswer> {
    let mut records = Vec::new();
    let answer = reassignments
        .iter()
        .map(|wanted| alter_one(image, config, wanted, allow_replication_factor_change, &mut records))
        .collect();
    Decision { records, answer }
}

fn alter_one(
    image: &Image,
    config: &BrokerConfig,
    wanted: &Reassignment,
    allow_replication_factor_change: bool,
    records: &mut Vec<Record>,
) -> Result<(), Refusal> {
    let topic = image.topic(&wanted.name).ok_or_else(|| Refusal::NoTopicToReassign(wanted.name.clone()))?;
    let partition = topic
        .partition(wanted.index)
        .ok_or_else(|| Refusal::NoPartitionToReassign { name: wanted.name.clone(), index: wanted.index })?;
    let is_active = |id| image.is_active(id);
    let mut change = PartitionChange::new(partition, &is_active);
    match &wanted.replicas {
        None => {
            let election = elect::allowed(image, config, &topic.name);
            cancel(&mut change, wanted, election)?;
        }
        Some(target) => {
            partitions::check_assignment(image, target, None)?;
            if !allow_replication_factor_change {
                check_replication_factor(partition, target)?;
            }
            retarget(&mut change, target);
        }
    }
    if let Some(partition) = change.build() {
        records.push(Record::PartitionSet { topic: topic.id, index: wanted.index, partition });
    }
    Ok(())
}

/// KIP-860: as many replicas as there will be once a reassignment under way is through.
fn check_replication_factor(partition: &Partition, target: &[BrokerId]) -> Result<(), Refusal> {
    let from = partition.replicas.iter().filter(|id| !partition.removing.contains(id)).count();
    if from == target.len() {
        Ok(())
    } else {
        Err(Refusal::ReplicationFactorChange { from, to: target.len() })
    }
}

/// Back to the replicas from before, those that were being added left out; refused if only they could lead.
fn cancel(
    change: &mut PartitionChange<'_>,
    wanted: &Reassignment,
    election: Election,
) -> Result<(), Refusal> {
    if !change.before.is_reassigning() {
        return Err(Refusal::NoReassignment);
    }
    let adding = std::mem::take(&mut change.adding);
    change.removing.clear();
    change.replicas.retain(|id| !adding.contains(id));
    change.isr.retain(|id| !adding.contains(id));
    let unclean = election == Election::Unclean && change.replicas.iter().any(|id| (change.is_active)(*id));
    if change.isr.is_empty() && !unclean {
        return Err(Refusal::UncleanRevert { name: wanted.name.clone(), index: wanted.index });
    }
    change.election = election;
    Ok(())
}

/// The union of target and present replicas, in the target's order.
///
/// What an earlier reassignment was adding and this one does not want leaves at once if the partition has its minimum in
/// sync without it. Otherwise it may hold what nobody else does, and is removed like any other: by the change that
/// completes this reassignment.
fn retarget(change: &mut PartitionChange<'_>, target: &[BrokerId]) {
    let before = change.before;
    let was_adding = |id: &BrokerId| before.adding.contains(id);
    change.adding =
        target.iter().copied().filter(|id| was_adding(id) || !before.replicas.contains(id)).collect();
    change.removing = before.replicas.iter().copied().filter(|id| !target.contains(id)).collect();
    let left_over = |id: &BrokerId| was_adding(id) && change.removing.contains(id);
    let settled: Vec<BrokerId> = change.isr.iter().copied().filter(|id| !left_over(id)).collect();
    if change.is_enough(&settled, target.len()) {
        change.isr = settled;
        change.removing.retain(|id| !was_adding(id));
    }
    change.replicas = target.iter().chain(&change.removing).copied().collect();
}

/// A reassignment under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ongoing {
    /// Name of the topic.
    pub name: String,
    /// Number of the partition.
    pub index: i32,
    /// All replicas, those being added and removed included.
    pub replicas: Vec<BrokerId>,
    /// Those being added.
    pub adding: Vec<BrokerId>,
    /// Those being removed.
    pub removing: Vec<BrokerId>,
}

/// Reassignments under way among the partitions named, or among all. Unknown partitions are left out.
pub fn list(image: &Image, partitions: Option<&[(String, Vec<i32>)]>) -> Vec<Ongoing> {
    let ongoing = |name: &str, index: i32, partition: &Partition| {
        partition.is_reassigning().then(|| Ongoing {
            name: name.to_owned(),
            index,
            replicas: partition.replicas.clone(),
            adding: partition.adding.clone(),
            removing: partition.removing.clone(),
        })
    };
    match partitions {
        None => image
            .topics()
            .flat_map(|topic| topic.iter().filter_map(|(index, it)| ongoing(&topic.name, index, it)))
            .collect(),
        Some(named) => named
            .iter()
            .flat_map(|(name, indexes)| indexes.iter().map(move |index| (name, *index)))
            .filter_map(|(name, index)| ongoing(name, index, image.topic(name)?.partition(index)?))
            .collect(),
    }
}
