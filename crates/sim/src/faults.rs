//! What befalls the cluster: faults as they begin and end, and what operators ask for.

use milena_metadata::BrokerId;
use milena_records::Offset;

use crate::control::Intent;
use crate::message::Event;
use crate::plan::Fault;
use crate::world::{TOPIC, World};

impl World {
    /// A broker that was told to stop has nothing left to lead.
    pub(crate) fn complete_shutdown(&mut self, node: usize) {
        let down_ms = self.nodes[node].stopping.take().unwrap_or(0);
        for hosted in self.nodes[node].hosted.iter_mut().flatten() {
            hosted.log.durable = hosted.log.end().0;
            hosted.log.checkpoint = hosted.replica.high_watermark().0;
        }
        self.trace(|_| format!("node {node} stops"));
        self.stop(node, false);
        self.queue.push(self.now + down_ms * 1_000, Event::Restart { node });
    }

    pub(crate) fn befall(&mut self, number: usize) {
        let fault = self.plan.faults[number].1.clone();
        self.stats.faults += 1;
        self.trace(|_| format!("fault {fault:?}"));
        let now = self.now;
        let mut heal = |after_ms: u64| self.queue.push(now + after_ms * 1_000, Event::Heal { number });
        match fault {
            Fault::Kill { node, down_ms } => {
                self.stop(node, false);
                self.queue.push(now + down_ms * 1_000, Event::Restart { node });
            }
            Fault::PowerLoss { node, down_ms } => {
                if !self.may_lose_power(node) {
                    return;
                }
                self.stop(node, true);
                self.queue.push(now + down_ms * 1_000, Event::Restart { node });
            }
            Fault::Pause { node, for_ms } => {
                // Not for longer while it is: what waits for its end already would come behind what is sent later.
                let it = &mut self.nodes[node];
                if it.paused_until <= now {
                    it.paused_until = now + for_ms * 1_000;
                    self.with_consensus(|it| it.pause(node, for_ms * 1_000));
                }
            }
            Fault::Cut { from, to, for_ms } => {
                heal(for_ms);
                self.network.cut(from, to, 1);
            }
            Fault::Isolate { node, for_ms } => {
                heal(for_ms);
                self.isolate(node, 1);
            }
            Fault::Slow { for_ms } => {
                heal(for_ms);
                self.network.slow += 1;
            }
            Fault::MuteAnswers { for_ms } => {
                heal(for_ms);
                self.network.mute_answers += 1;
            }
            Fault::Elect if self.consensus.is_some() => {
                let successor = self.random.below(self.nodes.len());
                self.with_consensus(|it| it.accuse(successor));
            }
            Fault::Elect => self.elect(),
            Fault::Shutdown { node, down_ms } => {
                if self.nodes[node].epoch.is_some() {
                    self.nodes[node].stopping = Some(down_ms);
                }
            }
            Fault::Reassign { partition, shift, count } => {
                let nodes = self.nodes.len();
                let replicas = (0..count).map(|at| BrokerId(((shift + at) % nodes) as i32)).collect();
                self.operate(Intent::Reassign { partition, replicas });
            }
            Fault::MinIsr { to } => self.operate(Intent::MinIsr { to }),
            Fault::Preferred => self.operate(Intent::Preferred),
            Fault::DeleteRecords { partition } => {
                let Some(node) =
                    (0..self.nodes.len()).find(|it| self.runs(*it) && self.leads(*it, partition))
                else {
                    return;
                };
                let Some(hosted) = &mut self.nodes[node].hosted[partition] else { return };
                // Not what a producer may still ask for: a replica that begins later would not know it.
                let start = Offset((hosted.replica.high_watermark().0 - 200).max(hosted.log.start));
                hosted.log.move_start(start);
                hosted.replica.log_start_moved(start);
            }
        }
        self.connect_all();
    }

    pub(crate) fn mend(&mut self, number: usize) {
        match self.plan.faults[number].1 {
            Fault::Cut { from, to, .. } => self.network.cut(from, to, -1),
            Fault::Isolate { node, .. } => self.isolate(node, -1),
            Fault::Slow { .. } => self.network.slow = self.network.slow.saturating_sub(1),
            Fault::MuteAnswers { .. } => {
                self.network.mute_answers = self.network.mute_answers.saturating_sub(1);
            }
            _ => {}
        }
        self.connect_all();
    }

    fn isolate(&mut self, node: usize, by: i32) {
        for other in 0..self.nodes.len() {
            self.network.cut(node, other, by);
            self.network.cut(other, node, by);
        }
    }

    /// An operator asks some broker that runs.
    fn operate(&mut self, intent: Intent) {
        let asked = self.random.below(self.nodes.len());
        if self.runs(asked) && self.nodes[asked].epoch.is_some() {
            self.propose(asked, intent);
        }
    }

    /// Whether a loss of power leaves as many copies as were promised: no other broker lacks what it lost before.
    fn may_lose_power(&mut self, node: usize) -> bool {
        let image = self.raft.image().clone();
        for (number, it) in self.nodes.iter_mut().enumerate().filter(|(_, it)| it.tainted) {
            let id = BrokerId(number as i32);
            let in_sync = (0..self.plan.partitions).all(|partition| {
                let record = image.partition(TOPIC, partition as i32);
                record.is_none_or(|record| !record.replicas.contains(&id) || record.isr.contains(&id))
            });
            let is_known = it.epoch.is_some() && image.broker(id).map(|broker| broker.epoch) == it.epoch;
            it.tainted = !(in_sync && is_known && it.up);
        }
        (0..self.nodes.len()).all(|other| other == node || !self.nodes[other].tainted)
    }
}
