//! What must never be. The names are those of the properties of Vanlightly's specification of KIP-966.

use std::collections::BTreeMap;

use milena_metadata::decide::brokers::Kept;
use milena_metadata::{BrokerId, Image, Partition};
use milena_partition::Role;
use milena_records::{LeaderEpoch, Offset};

use crate::disk::Record;
use crate::world::{TOPIC, World};

/// What was seen that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When, in microseconds of simulated time.
    pub at_us: u64,
    /// What.
    pub what: String,
}

/// What was promised about one partition.
#[derive(Default)]
pub(crate) struct Promised {
    /// Every record below a high watermark that a leader ever had, by offset.
    pub(crate) committed: Vec<Record>,
    /// The last sequence of each producer among them.
    sequences: BTreeMap<u32, i32>,
    /// Who led in each epoch.
    leaders: BTreeMap<LeaderEpoch, usize>,
    /// The largest end that a consumer was told.
    latest: i64,
    /// Records acknowledged with `acks=all`.
    pub(crate) acked: u64,
}

impl Promised {
    /// The epoch of the newest leader.
    pub(crate) fn newest_epoch(&self) -> LeaderEpoch {
        self.leaders.keys().next_back().copied().unwrap_or(LeaderEpoch::NONE)
    }
}

impl World {
    pub(crate) fn violate(&mut self, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { at_us: self.now, what: what() });
        }
    }

    /// LeaderCompleteness: a new leader has all that was ever committed. One leader per epoch.
    pub(crate) fn oracle_leader_elected(&mut self, node: usize, partition: usize) {
        let Some(hosted) = &self.nodes[node].hosted[partition] else { return };
        let epoch = hosted.replica.leadership().leader_epoch;
        let promised = &mut self.promised[partition];
        let is_newest = promised.leaders.keys().all(|known| *known < epoch);
        let before = *promised.leaders.entry(epoch).or_insert(node);
        if before != node {
            return self
                .violate(|| format!("both {before} and {node} lead partition {partition} in {epoch:?}"));
        }
        if is_newest && let Some(what) = missing(&promised.committed, &hosted.log) {
            self.violate(|| {
                format!("LeaderCompleteness: node {node} leads partition {partition} without {what}")
            });
        }
        self.stats.elections += 1;
    }

    pub(crate) fn oracle_appended(&mut self, node: usize, partition: usize, epoch: LeaderEpoch) {
        if self.promised[partition].leaders.get(&epoch) != Some(&node) {
            self.violate(|| {
                format!("node {node} appends to partition {partition} in {epoch:?}, which it does not lead")
            });
        }
    }

    /// The high watermark of a leader says what is committed: for ever, in this order, once.
    pub(crate) fn oracle_high_watermark(&mut self, node: usize, partition: usize) {
        let Some(hosted) = &self.nodes[node].hosted[partition] else { return };
        let replica = &hosted.replica;
        let (start, high_watermark, end) = (replica.log_start(), replica.high_watermark(), replica.log_end());
        if !(start <= high_watermark && high_watermark <= end) || end != hosted.log.end() {
            let log_end = hosted.log.end();
            return self.violate(|| {
                format!("node {node} partition {partition}: {start} <= {high_watermark} <= {end}, log end {log_end}")
            });
        }
        let promised = &mut self.promised[partition];
        let known = promised.committed.len() as i64;
        if replica.role() != Role::Leader || high_watermark.0 <= known {
            return;
        }
        for offset in known..high_watermark.0 {
            let Some(record) = hosted.log.get(offset) else {
                return self.violate(|| {
                    format!("node {node} partition {partition}: committed {offset} is not there")
                });
            };
            promised.committed.push(*record);
            let last = promised.sequences.insert(record.producer, record.sequence).unwrap_or(-1);
            // What acks=1 acknowledged may be gone, and an unknown producer begins anywhere (PR-16).
            let may_skip = !self.patient.contains(&record.producer) && record.sequence > last;
            if record.sequence != last + 1 && !may_skip {
                let (record, kind) =
                    (*record, if record.sequence <= last { "twice" } else { "out of order" });
                return self.violate(|| {
                    format!(
                        "partition {partition} offset {offset}: {record:?} is committed {kind}, after {last}"
                    )
                });
            }
        }
        self.oracle_candidates(partition);
    }

    /// LeaderCandidateCompleteness: whoever may be elected has all that was ever committed.
    pub(crate) fn oracle_candidates(&mut self, partition: usize) {
        let image = self.raft.image();
        let Some(record) = image.partition(TOPIC, partition as i32) else { return };
        let committed = &self.promised[partition].committed;
        for id in record.isr.iter().chain(&record.elr) {
            let node = &self.nodes[id.0 as usize];
            // One that lost its tail leaves with its registration, before it can lead.
            let lost_tail = node.kept == Kept::default() && node.epoch.is_none();
            let end = node.log(partition).map_or(Offset(0), |log| log.end());
            if !lost_tail && end.0 < committed.len() as i64 {
                let (id, record, known) = (*id, record.clone(), committed.len());
                return self.violate(|| {
                    format!(
                        "LeaderCandidateCompleteness: node {id} ends at {end} in partition {partition}, {known} are \
                         committed, {}",
                        shape(&record)
                    )
                });
            }
        }
    }

    /// What may be said of every record of a partition that the controller writes.
    pub(crate) fn metadata_committed(&mut self, before: &Image) {
        let image = self.raft.image().clone();
        for partition in 0..self.plan.partitions {
            let Some(record) = image.partition(TOPIC, partition as i32) else { continue };
            let min_isr = record.effective_min_isr();
            let fenced = record.isr.iter().find(|id| !image.is_active(**id));
            let wrong = if let Some(id) = fenced {
                Some(format!("broker {id} is in the isr and not active"))
            } else if record.isr.iter().any(|id| record.elr.contains(id)) {
                Some("isr and elr overlap".to_owned())
            } else if record.isr.len() >= min_isr && !record.elr.is_empty() {
                Some("elr beside a full isr".to_owned())
            } else if record.leader.is_some_and(|leader| !record.isr.contains(&leader)) {
                Some("the leader is not in the isr".to_owned())
            } else if let Some(id) = self.struck_off(before, &image, partition as i32) {
                Some(format!("broker {id} has kept everything and is no candidate any more"))
            } else {
                let old = before.partition(TOPIC, partition as i32);
                old.filter(|old| {
                    old.leader_epoch > record.leader_epoch || old.partition_epoch > record.partition_epoch
                })
                .map(|_| "an epoch goes back".to_owned())
            };
            if let Some(wrong) = wrong {
                let shape = shape(record);
                return self.violate(|| format!("partition {partition}: {wrong}: {shape}"));
            }
            self.oracle_candidates(partition);
        }
        self.trace(|_| {
            let shapes = (0..).map_while(|index| image.partition(TOPIC, index)).map(|it| shape(it));
            format!("metadata {}: {}", image.index(), shapes.collect::<Vec<_>>().join("; "))
        });
    }

    /// A broker that may lead no longer because it has registered anew, though its data is all there and the partition
    /// is short of replicas.
    fn struck_off(&self, before: &Image, after: &Image, partition: i32) -> Option<BrokerId> {
        let (old, new) = (before.partition(TOPIC, partition)?, after.partition(TOPIC, partition)?);
        let incarnation = |image: &Image, id| image.broker(id).map(|broker| broker.incarnation);
        let may_lead = |record: &Partition, id| record.isr.contains(&id) || record.elr.contains(&id);
        new.replicas.iter().copied().find(|&id| {
            self.nodes[id.0 as usize].kept != Kept::default()
                && incarnation(before, id) != incarnation(after, id)
                && may_lead(old, id)
                && !may_lead(new, id)
                && new.isr.len() < new.effective_min_isr()
        })
    }

    /// Nothing that was committed is cut, unless it is not what was committed.
    pub(crate) fn oracle_truncates(&mut self, node: usize, partition: usize, to: Offset) {
        let Some(log) = self.nodes[node].log(partition) else { return };
        let committed = &self.promised[partition].committed;
        let cut = (to.0..log.end().0).find(|offset| {
            let kept = committed.get(*offset as usize);
            kept.is_some() && kept == log.get(*offset)
        });
        if let Some(offset) = cut {
            self.violate(|| format!("node {node} partition {partition} cuts committed offset {offset}"));
        }
    }

    /// LogMatching: below a follower's high watermark is what was committed.
    pub(crate) fn oracle_followed(&mut self, node: usize, partition: usize) {
        let Some(hosted) = &mut self.nodes[node].hosted[partition] else { return };
        let committed = &self.promised[partition].committed;
        let high_watermark = hosted.replica.high_watermark().0;
        let from = hosted.verified.max(hosted.log.start);
        let wrong =
            (from..high_watermark).find(|offset| hosted.log.get(*offset) != committed.get(*offset as usize));
        hosted.verified = hosted.verified.max(high_watermark);
        if let Some(offset) = wrong {
            let (got, want) = (hosted.log.get(offset).copied(), committed.get(offset as usize).copied());
            self.violate(|| {
                format!("LogMatching: node {node} partition {partition} offset {offset}: {got:?}, committed {want:?}")
            });
        }
    }

    /// ConsistentRead: what a consumer gets is what was committed, from whomever it reads.
    pub(crate) fn oracle_consumed(&mut self, node: usize, partition: usize) {
        let Some(hosted) = &self.nodes[node].hosted[partition] else { return };
        let committed = &self.promised[partition].committed;
        let high_watermark = hosted.replica.high_watermark().0;
        let from = (high_watermark - 20).max(hosted.log.start);
        for offset in from..high_watermark {
            let (got, want) = (hosted.log.get(offset), committed.get(offset as usize));
            if got != want {
                let (got, want) = (got.copied(), want.copied());
                return self.violate(|| {
                    format!("ConsistentRead: node {node} partition {partition} offset {offset}: {got:?}, not {want:?}")
                });
            }
        }
        self.stats.reads += 1;
    }

    /// The end that consumers are told does not go back, among leaders of the newest epoch (KIP-207).
    pub(crate) fn oracle_latest(&mut self, node: usize, partition: usize, latest: Offset) {
        let Some(hosted) = &self.nodes[node].hosted[partition] else { return };
        let epoch = hosted.replica.leadership().leader_epoch;
        let promised = &mut self.promised[partition];
        if promised.leaders.keys().next_back() != Some(&epoch) {
            return;
        }
        let told = promised.latest;
        promised.latest = told.max(latest.0);
        if latest.0 < told {
            self.violate(|| {
                format!("node {node} partition {partition}: the latest offset goes from {told} to {latest}")
            });
        }
    }

    /// NoCommittedRecordLost: what is acknowledged to `acks=all` is committed, where the producer was told.
    pub(crate) fn oracle_acked(&mut self, partition: usize, value: (u32, i32), offset: Offset, all: bool) {
        self.stats.acked += 1;
        if !all {
            return;
        }
        self.promised[partition].acked += 1;
        let committed = self.promised[partition].committed.get(offset.0 as usize).map(Record::value);
        if committed != Some(value) {
            self.violate(|| {
                format!(
                    "partition {partition}: {value:?} is acknowledged at {offset}, where {committed:?} is"
                )
            });
        }
    }

    /// Costly ones, for one log: epochs and producers are what the records say.
    pub(crate) fn oracle_derived(&mut self, node: usize, partition: usize) {
        let Some(hosted) = &self.nodes[node].hosted[partition] else { return };
        let grows = hosted
            .log
            .epochs
            .entries()
            .windows(2)
            .all(|pair| pair[0].epoch < pair[1].epoch && pair[0].start_offset < pair[1].start_offset);
        let wrong = (hosted.log.start..hosted.log.end().0)
            .find(|offset| hosted.log.epochs.epoch_of(Offset(*offset)) != hosted.log.epoch_at(*offset));
        if !grows || wrong.is_some() {
            return self
                .violate(|| format!("node {node} partition {partition}: epochs are wrong at {wrong:?}"));
        }
        if hosted.producers.entries() != hosted.log.replayed_producers().entries() {
            self.violate(|| format!("node {node} partition {partition}: producers are not those of the log"));
        }
    }

    /// What is not yet as it should be when nothing fails any more; `None` when all is well.
    pub(crate) fn unsettled(&self) -> Option<String> {
        for (number, node) in self.nodes.iter().enumerate() {
            if !self.runs(number) || node.epoch.is_none() || node.applied < self.raft.committed() {
                return Some(format!("node {number} is not back"));
            }
        }
        if !self.raft.is_idle() || !self.taken.is_empty() {
            return Some("the quorum is busy".to_owned());
        }
        if let Some(broker) = self.raft.image().brokers().find(|broker| !broker.is_active()) {
            return Some(format!("broker {} is not active", broker.id));
        }
        for partition in 0..self.plan.partitions {
            let record = self.raft.image().partition(TOPIC, partition as i32)?;
            let all_in_sync = record.replicas.iter().all(|id| record.isr.contains(id));
            if record.leader.is_none() || !all_in_sync || record.is_reassigning() {
                return Some(format!("partition {partition} is {}", shape(record)));
            }
            let end = self.nodes[record.leader?.0 as usize].log(partition)?.end();
            for id in &record.replicas {
                let hosted = self.nodes[id.0 as usize].hosted[partition].as_ref()?;
                if hosted.log.end() != end || hosted.replica.high_watermark() != end {
                    return Some(format!("node {id} is behind in partition {partition}"));
                }
                if hosted.replica.is_isr_change_pending() || !hosted.waiting.is_empty() {
                    return Some(format!("node {id} has something pending in partition {partition}"));
                }
            }
            for (client, it) in self.clients.iter().enumerate() {
                if let Some(oldest) = it.streams[partition].queue.front() {
                    let sequence = oldest.sequence;
                    return Some(format!("client {client} waits for {sequence} in partition {partition}"));
                }
            }
        }
        None
    }

    /// In the end every replica has exactly what was committed.
    pub(crate) fn oracle_end(&mut self) {
        for partition in 0..self.plan.partitions {
            for node in 0..self.nodes.len() {
                let Some(hosted) = &self.nodes[node].hosted[partition] else { continue };
                let committed = &self.promised[partition].committed;
                let what = missing(committed, &hosted.log).or_else(|| {
                    (hosted.log.end().0 > committed.len() as i64).then(|| "an uncommitted end".to_owned())
                });
                if let Some(what) = what {
                    self.violate(|| {
                        format!("in the end node {node} is without {what} in partition {partition}")
                    });
                }
                self.oracle_derived(node, partition);
            }
        }
    }
}

/// The first committed record that a log does not have.
fn missing(committed: &[Record], log: &crate::disk::Log) -> Option<String> {
    let offset =
        (log.start..committed.len() as i64).find(|at| log.get(*at) != committed.get(*at as usize))?;
    Some(format!("{:?} at {offset}, it has {:?}", committed[offset as usize], log.get(offset)))
}

/// A partition's record at a glance.
pub(crate) fn shape(record: &Partition) -> String {
    let ids = |list: &[BrokerId]| list.iter().map(|id| id.0).collect::<Vec<_>>();
    format!(
        "leader {} epoch {}/{} replicas {:?} isr {:?} elr {:?} min {}",
        record.leader.map_or(-1, |id| id.0),
        record.leader_epoch.0,
        record.partition_epoch.0,
        ids(&record.replicas),
        ids(&record.isr),
        ids(&record.elr),
        record.min_insync_replicas
    )
}
