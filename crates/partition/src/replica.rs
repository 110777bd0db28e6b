//! What one replica knows about its role and about how far its records are committed.
//!
//! The high watermark follows the slowest member of the maximal ISR and stands still while fewer than
//! `min.insync.replicas` copies exist, KIP-966. Only the follower positions of the current leader epoch
//! count. Source of the rules: KIP-101, KIP-497, KIP-966.

use std::collections::BTreeMap;

use milena_records::{LeaderEpoch, Offset};

/// Who leads the partition, as the committed metadata says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    /// Leader's broker id; -1 while nobody leads.
    pub leader: i32,
    /// Grows whenever the leader changes.
    pub leader_epoch: LeaderEpoch,
    /// Grows with every change of the partition's record.
    pub partition_epoch: i32,
    /// Assigned brokers, preferred leader first.
    pub replicas: Vec<i32>,
    /// In-sync replicas, the leader included.
    pub isr: Vec<i32>,
    /// Copies that an `acks=all` write needs, `min.insync.replicas`.
    pub min_insync_replicas: i32,
}

/// What this broker does for the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Serves clients and followers.
    Leader,
    /// Fetches from the leader.
    Follower,
}

/// How far a follower is, as its last fetch said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerPosition {
    /// Next offset it asked for: it holds all before.
    pub log_end: Offset,
    /// First offset it still has.
    pub log_start: Offset,
}

/// Why an append is refused before anything is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendRefusal {
    /// NOT_LEADER_OR_FOLLOWER.
    #[error("broker is not the leader; broker {leader} leads in epoch {leader_epoch}")]
    NotLeader {
        /// Present leader, -1 if none.
        leader: i32,
        /// Its epoch.
        leader_epoch: i32,
    },
    /// NOT_ENOUGH_REPLICAS: `acks=all` and too few in-sync replicas (PR-11).
    #[error("{in_sync} in-sync replicas, {required} required by min.insync.replicas")]
    NotEnoughReplicas {
        /// Committed in-sync replicas.
        in_sync: usize,
        /// Copies demanded.
        required: usize,
    },
}

/// A leader epoch in a request that does not fit (FE-9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EpochRefusal {
    /// FENCED_LEADER_EPOCH: the client's metadata is old.
    #[error("leader epoch {got} is older than {current}")]
    Fenced {
        /// Epoch here.
        current: i32,
        /// Epoch in the request.
        got: i32,
    },
    /// UNKNOWN_LEADER_EPOCH: the client knows more than this broker; it retries.
    #[error("leader epoch {got} is newer than {current}")]
    Unknown {
        /// Epoch here.
        current: i32,
        /// Epoch in the request.
        got: i32,
    },
}

/// One replica's view of its partition.
#[derive(Debug, Clone)]
pub struct Replica {
    broker: i32,
    leadership: Leadership,
    log_end: Offset,
    high_watermark: Offset,
    followers: BTreeMap<i32, FollowerPosition>,
}

impl Replica {
    /// A replica on `broker` whose log ends at `log_end` and which knows `high_watermark` from its
    /// checkpoint; a checkpoint beyond the log is bounded to it.
    pub fn new(broker: i32, leadership: Leadership, log_end: Offset, high_watermark: Offset) -> Self {
        let mut replica = Self {
            broker,
            leadership,
            log_end,
            high_watermark: high_watermark.min(log_end),
            followers: BTreeMap::new(),
        };
        replica.advance_high_watermark();
        replica
    }

    /// Role under the current metadata.
    pub fn role(&self) -> Role {
        if self.leadership.leader == self.broker { Role::Leader } else { Role::Follower }
    }

    /// The metadata in force.
    pub fn leadership(&self) -> &Leadership {
        &self.leadership
    }

    /// First offset not yet held by every in-sync replica; consumers read below it.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Next offset to be written.
    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// Takes newer metadata. Metadata that is not newer by partition epoch is ignored. Returns whether
    /// leadership changed, in which case the followers' positions start anew and parked requests of the
    /// old epoch must fail.
    pub fn lead(&mut self, leadership: Leadership) -> bool {
        if leadership.partition_epoch < self.leadership.partition_epoch {
            return false;
        }
        let changed = leadership.leader_epoch != self.leadership.leader_epoch
            || leadership.leader != self.leadership.leader;
        if changed {
            self.followers.clear();
        }
        self.leadership = leadership;
        self.advance_high_watermark();
        changed
    }

    /// Whether a client's append may go ahead.
    pub fn check_append(&self, requires_all: bool) -> Result<(), AppendRefusal> {
        if self.role() != Role::Leader {
            return Err(AppendRefusal::NotLeader {
                leader: self.leadership.leader,
                leader_epoch: self.leadership.leader_epoch.0,
            });
        }
        let (in_sync, required) = (self.leadership.isr.len(), self.required_copies());
        if requires_all && in_sync < required {
            return Err(AppendRefusal::NotEnoughReplicas { in_sync, required });
        }
        Ok(())
    }

    /// Checks the leader epoch that a client believes in; -1 means that it does not say.
    pub fn check_epoch(&self, client: i32) -> Result<(), EpochRefusal> {
        let current = self.leadership.leader_epoch.0;
        match client {
            c if c < 0 || c == current => Ok(()),
            got if got < current => Err(EpochRefusal::Fenced { current, got }),
            got => Err(EpochRefusal::Unknown { current, got }),
        }
    }

    /// The log was written up to `end`. Returns whether the high watermark moved.
    pub fn appended(&mut self, end: Offset) -> bool {
        debug_assert!(end >= self.log_end, "log end went back: {end:?} < {:?}", self.log_end);
        self.log_end = end;
        self.advance_high_watermark()
    }

    /// A follower fetched in the current leader epoch. Returns whether the high watermark moved.
    pub fn follower_fetched(&mut self, follower: i32, position: FollowerPosition) -> bool {
        if !self.leadership.replicas.contains(&follower) || follower == self.broker {
            return false;
        }
        self.followers.insert(follower, position);
        self.advance_high_watermark()
    }

    /// The log was cut to `end`, by a divergence from the leader.
    pub fn truncated(&mut self, end: Offset) {
        self.log_end = end;
        self.high_watermark = self.high_watermark.min(end);
    }

    /// The log start moved up to `start`; the high watermark is never below it.
    pub fn log_start_moved(&mut self, start: Offset) {
        self.log_end = self.log_end.max(start);
        self.high_watermark = self.high_watermark.max(start);
    }

    /// Copies that count as enough: `min.insync.replicas`, but never more than there are replicas.
    fn required_copies(&self) -> usize {
        (self.leadership.min_insync_replicas.max(1) as usize).min(self.leadership.replicas.len())
    }

    fn advance_high_watermark(&mut self) -> bool {
        if self.role() != Role::Leader || self.leadership.isr.len() < self.required_copies() {
            return false;
        }
        let slowest = self
            .leadership
            .isr
            .iter()
            .filter(|&&id| id != self.broker)
            .map(|id| self.followers.get(id).map_or(Offset(0), |position| position.log_end))
            .min();
        let candidate = slowest.map_or(self.log_end, |end| end.min(self.log_end));
        if candidate <= self.high_watermark {
            return false;
        }
        self.high_watermark = candidate;
        true
    }
}

#[cfg(test)]
#[path = "replica_tests.rs"]
mod tests;
