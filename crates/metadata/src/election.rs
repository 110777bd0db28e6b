//! From one record of a partition to the next: ISR, eligible leaders, leader, epochs (KIP-966, KIP-455).
//!
//! What is left out: choosing among several replicas after an unclean stop of all of them by their log ends
//! (balanced recovery, `unclean.recovery.strategy`), which KIP-966 plans and Kafka 4.3 has no setting for. With ISR and
//! ELR empty only the last known leader comes back by itself; an operator's unclean election takes any live replica.

use milena_bugs::{Bug, is_on};
use milena_records::LeaderEpoch;

use crate::{BrokerId, Partition, PartitionEpoch};

/// How far an election may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Election {
    /// Keep a leader that can stay; else take the first eligible replica.
    Online,
    /// Take the first replica if it is eligible; else as [`Election::Online`].
    Preferred,
    /// As [`Election::Online`], and if nobody is eligible take any live replica, losing what it lacks.
    Unclean,
}

/// A change to one partition. Set what shall be different, then [`Self::build`].
pub struct PartitionChange<'a> {
    /// The record before.
    pub before: &'a Partition,
    /// The ISR wanted; fenced brokers are the caller's to leave out.
    pub isr: Vec<BrokerId>,
    /// The replicas wanted.
    pub replicas: Vec<BrokerId>,
    /// Replicas being added.
    pub adding: Vec<BrokerId>,
    /// Replicas being removed.
    pub removing: Vec<BrokerId>,
    /// `min.insync.replicas` wanted.
    pub min_insync_replicas: i32,
    /// Whether the leader is still settling after an unclean election.
    pub recovering: bool,
    /// How far to go for a leader.
    pub election: Election,
    /// A broker that lost its tail: it is no longer eligible, whatever it held.
    pub unclean_shutdown: Option<BrokerId>,
    /// Whether a broker may lead.
    pub is_active: &'a dyn Fn(BrokerId) -> bool,
}

impl<'a> PartitionChange<'a> {
    /// No change yet.
    pub fn new(before: &'a Partition, is_active: &'a dyn Fn(BrokerId) -> bool) -> Self {
        Self {
            before,
            isr: before.isr.clone(),
            replicas: before.replicas.clone(),
            adding: before.adding.clone(),
            removing: before.removing.clone(),
            min_insync_replicas: before.min_insync_replicas,
            recovering: before.recovering,
            election: Election::Online,
            unclean_shutdown: None,
            is_active,
        }
    }

    /// The record after, with its epochs; nothing if nothing changes.
    pub fn build(mut self) -> Option<Partition> {
        self.complete_reassignment();
        let elr = self.eligible();
        let mut after = Partition {
            replicas: self.replicas.clone(),
            isr: self.isr.clone(),
            elr,
            last_known_elr: self.before.last_known_elr.clone(),
            leader: self.before.leader,
            leader_epoch: self.before.leader_epoch,
            partition_epoch: self.before.partition_epoch,
            adding: self.adding.clone(),
            removing: self.removing.clone(),
            directories: self.directories(),
            min_insync_replicas: self.min_insync_replicas,
            recovering: self.recovering,
        };
        self.elect(&mut after);
        self.remember_last_leader(&mut after);
        let dropped = self.before.replicas.iter().any(|id| !after.replicas.contains(id));
        if after.leader != self.before.leader || (dropped && !is_on(Bug::M9)) {
            after.leader_epoch = LeaderEpoch(self.before.leader_epoch.0 + 1);
        }
        if after == *self.before {
            return None;
        }
        after.partition_epoch = PartitionEpoch(self.before.partition_epoch.0 + 1);
        Some(after)
    }

    /// A reassignment is complete when all that it adds is in sync, and somebody who stays is.
    fn complete_reassignment(&mut self) {
        if self.adding.is_empty() && self.removing.is_empty() {
            return;
        }
        let staying = |list: &[BrokerId]| -> Vec<BrokerId> {
            list.iter().copied().filter(|id| !self.removing.contains(id)).collect()
        };
        let (replicas, isr) = (staying(&self.replicas), staying(&self.isr));
        if self.adding.iter().all(|id| isr.contains(id)) && self.is_enough(&isr, replicas.len()) {
            self.replicas = replicas;
            self.isr = isr;
            self.adding.clear();
            self.removing.clear();
        }
    }

    /// Whether the partition can live on these alone when it has so many replicas: they are its minimum, and one at least.
    pub(crate) fn is_enough(&self, isr: &[BrokerId], replicas: usize) -> bool {
        isr.len() >= self.min_isr_of(replicas).max(1)
    }

    /// The minimum in force for so many replicas.
    fn min_isr_of(&self, replicas: usize) -> usize {
        usize::try_from(self.min_insync_replicas).unwrap_or(0).min(replicas)
    }

    /// Who is eligible besides the ISR: while it is below its minimum, everybody who was in it or eligible before and
    /// did not lose its tail. The high watermark cannot have moved since they left. A new minimum starts afresh where
    /// there is a leader, as it may have advanced under the old one.
    fn eligible(&self) -> Vec<BrokerId> {
        if self.isr.len() >= self.min_isr_of(self.replicas.len()) {
            return Vec::new();
        }
        let afresh =
            self.min_insync_replicas != self.before.min_insync_replicas && !self.before.isr.is_empty();
        let afresh = afresh && !is_on(Bug::M8);
        let left = self.before.isr.iter().chain(if afresh { &[][..] } else { &self.before.elr[..] });
        let mut elr: Vec<BrokerId> = left
            .copied()
            .filter(|id| !self.isr.contains(id) && self.replicas.contains(id))
            .filter(|id| self.unclean_shutdown != Some(*id))
            .collect();
        elr.sort_unstable();
        elr.dedup();
        elr
    }

    fn elect(&self, after: &mut Partition) {
        let eligible = |id: BrokerId| {
            (after.isr.contains(&id) || (after.isr.is_empty() && after.elr.contains(&id)))
                && (self.is_active)(id)
        };
        let preferred = after.replicas.first().copied().filter(|_| self.election == Election::Preferred);
        let clean = preferred
            .into_iter()
            .chain(self.before.leader)
            .chain(after.replicas.iter().copied())
            .find(|id| eligible(*id));
        match clean.map(|id| (id, false)).or_else(|| self.unclean_leader(after).map(|id| (id, true))) {
            Some((leader, unclean)) => {
                after.leader = Some(leader);
                if unclean || after.isr.is_empty() {
                    after.isr = vec![leader];
                    after.recovering |= unclean;
                }
                after.elr.retain(|id| *id != leader);
                // A leader that is enough by itself may advance the high watermark past the others.
                if unclean || after.isr.len() >= after.effective_min_isr() {
                    after.elr.clear();
                }
            }
            None => after.leader = None,
        }
    }

    /// Who leads although it may lack records: the last leader once nobody is eligible, or, where allowed, anybody.
    fn unclean_leader(&self, after: &Partition) -> Option<BrokerId> {
        let nobody = after.isr.is_empty() && after.elr.is_empty();
        let last = match after.last_known_elr[..] {
            [last] if nobody && after.replicas.contains(&last) => {
                Some(last).filter(|id| (self.is_active)(*id))
            }
            _ => None,
        };
        last.or_else(|| {
            let allowed = self.election == Election::Unclean;
            after.replicas.iter().copied().find(|id| allowed && (self.is_active)(*id))
        })
    }

    /// Keeps the last leader while there is none and nobody is in sync.
    fn remember_last_leader(&self, after: &mut Partition) {
        if after.leader.is_some() {
            after.last_known_elr.clear();
        } else if after.isr.is_empty() && after.last_known_elr.is_empty() {
            after.last_known_elr.extend(self.before.leader);
        }
    }

    /// The directories in the order of the new replicas; a new replica's broker chooses.
    fn directories(&self) -> Vec<milena_wire::Uuid> {
        let of = |id: &BrokerId| {
            let at = self.before.replicas.iter().position(|it| it == id)?;
            self.before.directories.get(at).copied()
        };
        self.replicas.iter().map(|id| of(id).unwrap_or_default()).collect()
    }
}
