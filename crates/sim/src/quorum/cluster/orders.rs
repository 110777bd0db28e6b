//! What befalls nodes, and what they are asked.

use std::collections::BTreeSet;

use bytes::Bytes;
use milena_quorum::simulation::{Place, Process};
use milena_quorum::{LeaderInfo, NodeId};

use super::{Cluster, Event, Finished, REFUSED_US, TICK_US, Told};
use crate::queue::Time;

impl Cluster {
    /// A process begins. That it can is an oracle: whatever killed the one before it.
    pub(crate) fn start(&mut self, node: usize) {
        if self.nodes[node].process.is_some() {
            return;
        }
        let machine = Told { node, machine: (self.machines)(node), applied: self.applied.clone() };
        let it = &mut self.nodes[node];
        let place = Place {
            node,
            founders: self.founders,
            group: self.group,
            snapshot_after: self.snapshot_after,
            disk: &it.disk,
            dir: &it.dir,
            wire: &self.wire,
        };
        match Process::start(&place, machine) {
            Ok(process) => it.process = Some(process),
            Err(reason) => return self.violated(Err(format!("node {node} {reason}"))),
        }
        it.life += 1;
        it.since = self.now;
        it.stood = (0, LeaderInfo::default());
        let life = it.life;
        let after = self.random.range(1, TICK_US);
        self.queue.push(self.now + after, Event::Tick { node, life });
        self.note(|| format!("node {node} starts, life {life}"));
        self.turn(node);
    }

    /// A process is killed, or the machine under it loses its power.
    pub(crate) fn stop(&mut self, node: usize, power_lost: bool) {
        let it = &mut self.nodes[node];
        if it.process.take().is_none() {
            return;
        }
        it.life += 1;
        (it.is_writing, it.is_paused) = (false, false);
        it.backlog.clear();
        if power_lost {
            let random = &mut self.random;
            it.disk = it.disk.after_power_loss(|| random.per_mille(500));
            // sled promises nothing here: what is applied comes from the log again.
            let state = it.dir.join("state");
            if state.exists() {
                std::fs::remove_dir_all(state).expect("nobody has it open");
            }
        }
        self.note(|| format!("node {node} is gone, power lost: {power_lost}"));
        for (client, broken) in self.wire.disconnect(node) {
            // What it has sent arrives before that.
            let last = self.arrives.get(&(node, client)).copied().unwrap_or(0);
            self.queue.push(last.max(self.now) + REFUSED_US, Event::GiveUp(broken));
        }
    }

    pub(crate) fn runs(&self, node: usize) -> bool {
        self.nodes[node].process.is_some() && !self.nodes[node].is_paused
    }

    /// A process stands still for some time, and does not know it.
    pub(crate) fn pause(&mut self, node: usize, for_us: Time) {
        let it = &mut self.nodes[node];
        if it.process.is_some() && !it.is_paused {
            it.is_paused = true;
            self.queue.push(self.now + for_us, Event::Resume { node, life: it.life });
        }
    }

    /// A process that stood still goes on, with what lies in its sockets.
    pub(crate) fn resume(&mut self, node: usize) {
        self.nodes[node].is_paused = false;
        for sent in std::mem::take(&mut self.nodes[node].backlog) {
            self.deliver(sent);
        }
    }

    /// Whether packets go this way.
    pub(crate) fn connect(&mut self, from: usize, to: usize, reaches: bool) {
        match reaches {
            true => self.cut.remove(&(from, to)),
            false => self.cut.insert((from, to)),
        };
    }

    /// Whether a node's disk takes long.
    pub(crate) fn slow_down(&mut self, node: usize, is_slow: bool) {
        self.nodes[node].is_slow = is_slow;
    }

    /// The next vote that the node gives is the last thing that it does for the moment: the power is gone before the
    /// disk has written.
    pub(crate) fn lose_power_after_vote(&mut self, node: Option<usize>) {
        self.trap = node;
    }

    /// Whether many packets are late.
    pub(crate) fn be_rough(&mut self, is_rough: bool) {
        self.is_rough = is_rough;
    }

    /// Everybody believes that its leader is dead, and that `successor` should follow it.
    pub(crate) fn accuse(&mut self, successor: usize) {
        for node in 0..self.nodes.len() {
            let Some(leader) = self.leader(node).leader.filter(|_| self.runs(node)) else { continue };
            let Some(process) = &self.nodes[node].process else { continue };
            let group = process.group().clone();
            process.spawn(async move {
                // It may have heard better meanwhile.
                let _ = group.leader_died(leader, NodeId(successor as u64)).await;
            });
            self.turn(node);
        }
    }

    /// Who leads, as far as a node knows.
    pub(crate) fn leader(&self, node: usize) -> LeaderInfo {
        let process = self.nodes[node].process.as_ref();
        process.map_or_else(LeaderInfo::default, |it| *it.group().leader().borrow())
    }

    /// Up to where a node has applied.
    pub(crate) fn applied_index(&self, node: usize) -> u64 {
        self.nodes[node].process.as_ref().map_or(0, |it| it.group().applied_index())
    }

    /// Proposes a command to a node; [`News::Proposed`] tells what became of it, unless the node dies before.
    pub(crate) fn propose(&mut self, node: usize, ticket: u64, command: Bytes) {
        let Some(process) = self.nodes[node].process.as_ref().filter(|_| self.runs(node)) else { return };
        let (group, finished, before) =
            (process.group().clone(), self.finished.clone(), self.oracle.answered());
        process.spawn(async move {
            let outcome = group.propose(command.clone()).await;
            let proposed = Finished::Proposed { ticket, before, command, outcome };
            finished.lock().expect("nobody panics with it").push(proposed);
        });
        self.turn(node);
    }

    /// Asks a node to make these the voters, as the leader of a cluster does that is told to: those who are new listen
    /// first. Who does not vote any more goes on to listen, if `others_stay`.
    pub(crate) fn change_voters(&mut self, node: usize, voters: &BTreeSet<usize>, others_stay: bool) {
        let Some(process) = self.nodes[node].process.as_ref().filter(|_| self.runs(node)) else { return };
        let (group, voters) = (process.group().clone(), voters.iter().map(|id| NodeId(*id as u64)));
        let voters: BTreeSet<NodeId> = voters.collect();
        process.spawn(async move {
            let status = group.status();
            for new in &voters {
                let is_member = status.voters.contains(new) || status.learners.contains(new);
                if !is_member && group.add_learner(*new).await.is_err() {
                    return;
                }
            }
            // Whoever asks looks at what has become of it.
            let _ = match others_stay {
                true => group.keep_voters(voters).await,
                false => group.change_voters(voters).await,
            };
        });
        self.turn(node);
    }

    /// The voters, as far as a node knows.
    pub(crate) fn voters(&self, node: usize) -> BTreeSet<usize> {
        let status = self.nodes[node].process.as_ref().map(|process| process.group().status());
        status.map_or_else(BTreeSet::new, |it| it.voters.iter().map(|id| id.0 as usize).collect())
    }

    /// Where the nodes stand, in words.
    pub(crate) fn stands(&self) -> String {
        let stands = self.nodes.iter().filter_map(|it| it.process.as_ref()).map(|process| {
            let status = process.group().status();
            let numbers = |ids: &BTreeSet<NodeId>| ids.iter().map(|id| id.0).collect::<Vec<_>>();
            format!(
                "node {} follows {:?} in term {}, voters {:?}, learners {:?}, log to {:?}, committed {:?}",
                process.group().node_id().0,
                status.leader.map(|id| id.0),
                status.term,
                numbers(&status.voters),
                numbers(&status.learners),
                status.last_index.unwrap_or(0),
                status.committed_index.unwrap_or(0),
            )
        });
        stands.collect::<Vec<_>>().join("; ")
    }

    /// Asks a node to hand its leadership over.
    pub(crate) fn transfer(&mut self, node: usize, to: usize) {
        let Some(process) = self.nodes[node].process.as_ref().filter(|_| self.runs(node)) else { return };
        let group = process.group().clone();
        process.spawn(async move {
            let _ = group.transfer_leadership(NodeId(to as u64)).await;
        });
        self.turn(node);
    }

    /// Asks a node for the index of a read; [`News::Read`] tells it, unless the node dies before.
    pub(crate) fn read(&mut self, node: usize, ticket: u64) {
        let Some(process) = self.nodes[node].process.as_ref().filter(|_| self.runs(node)) else { return };
        let (group, finished, before) =
            (process.group().clone(), self.finished.clone(), self.oracle.answered());
        process.spawn(async move {
            let index = group.read_index().await.ok();
            finished.lock().expect("nobody panics with it").push(Finished::Read { ticket, before, index });
        });
        self.turn(node);
    }
}
