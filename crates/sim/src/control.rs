//! Changes of the metadata: each is decided on a broker's own image and takes effect only if the quorum still has
//! that image when it comes to it. Registration, heartbeats, fencing, operators.

use milena_metadata::decide::brokers::{self, Registration};
use milena_metadata::decide::configs::{self, Alteration, Target};
use milena_metadata::decide::elect::{self, ElectionType};
use milena_metadata::decide::isr::{self, NewIsr};
use milena_metadata::decide::reassign::{self, Reassignment};
use milena_metadata::{BrokerEpoch, BrokerId, Command, PartitionEpoch, Record, Refusal};
use milena_partition::{IsrAnswer, IsrChange, Leadership};
use milena_roles::leadership;

use crate::message::{Message, Proposed};
use crate::world::{TOPIC, TOPIC_NAME, World};

/// How long a broker may be silent, in milliseconds.
const SESSION_MS: i64 = 300;

/// How long an answer of the quorum is waited for, in milliseconds.
const PROPOSAL_MS: i64 = 400;

/// What a broker wants changed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Intent {
    Register,
    Alter { partition: usize, change: IsrChange, after: Option<Leadership> },
    Fence { id: BrokerId, epoch: BrokerEpoch },
    Unfence { id: BrokerId, epoch: BrokerEpoch },
    Shutdown { id: BrokerId, epoch: BrokerEpoch },
    Reassign { partition: usize, replicas: Vec<BrokerId> },
    MinIsr { to: i32 },
    Preferred,
}

/// An intent on its way.
#[derive(Debug)]
pub(crate) struct Proposal {
    intent: Intent,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// To be decided, now or when the broker looks around.
    Decide,
    /// Sent to the leader of the quorum at this time.
    Sent(i64),
    /// In the log at this index; with or without effect.
    Logged { index: u64, applied: bool },
}

impl World {
    /// Wants something changed.
    pub(crate) fn propose(&mut self, node: usize, intent: Intent) {
        let it = &mut self.nodes[node];
        if !matches!(intent, Intent::Alter { .. })
            && it.proposals.values().any(|known| known.intent == intent)
        {
            return;
        }
        it.next_number += 1;
        let number = it.next_number;
        it.proposals.insert(number, Proposal { intent, stage: Stage::Decide });
        self.drive(node, number);
    }

    /// Looks at all that is on its way.
    pub(crate) fn drive_all(&mut self, node: usize) {
        let numbers: Vec<u64> = self.nodes[node].proposals.keys().copied().collect();
        for number in numbers {
            self.drive(node, number);
        }
    }

    fn drive(&mut self, node: usize, number: u64) {
        let now_ms = self.now_ms(node);
        let applied_here = self.nodes[node].applied as u64;
        let Some(proposal) = self.nodes[node].proposals.get_mut(&number) else { return };
        match proposal.stage {
            Stage::Sent(at) if now_ms - at <= PROPOSAL_MS => return,
            Stage::Sent(_) => {
                if matches!(proposal.intent, Intent::Alter { .. }) {
                    return self.finish(node, number, Err(None));
                }
                proposal.stage = Stage::Decide;
            }
            Stage::Logged { index, .. } if applied_here < index => return,
            Stage::Logged { applied: true, .. } => return self.finish(node, number, Ok(())),
            Stage::Logged { applied: false, .. } => proposal.stage = Stage::Decide,
            Stage::Decide => {}
        }
        let mut intent = proposal.intent.clone();
        match self.decide(node, &mut intent) {
            Err(refusal) => self.finish(node, number, Err(Some(refusal))),
            Ok(records) => {
                let Some(proposal) = self.nodes[node].proposals.get_mut(&number) else { return };
                proposal.intent = intent;
                if records.is_empty() {
                    return self.finish(node, number, Ok(()));
                }
                let Some(leader) = self.controller_of(node) else { return };
                let Some(proposal) = self.nodes[node].proposals.get_mut(&number) else { return };
                proposal.stage = Stage::Sent(now_ms);
                let command = Command { decided_at: self.nodes[node].image.index(), records };
                self.send(node, leader, Message::Propose { number, command });
            }
        }
    }

    pub(crate) fn on_proposed(&mut self, node: usize, number: u64, outcome: Proposed) {
        let Some(proposal) = self.nodes[node].proposals.get_mut(&number) else { return };
        if !matches!(proposal.stage, Stage::Sent(_)) {
            return;
        }
        proposal.stage = match outcome {
            Proposed::Applied(index) => Stage::Logged { index, applied: true },
            Proposed::Stale(index) => Stage::Logged { index, applied: false },
            // Asked again when the broker looks around.
            Proposed::NotLeader => Stage::Decide,
        };
        if outcome != Proposed::NotLeader {
            self.drive(node, number);
        }
    }

    /// What the broker would have the quorum write, by its own image.
    fn decide(&mut self, node: usize, intent: &mut Intent) -> Result<Vec<Record>, Refusal> {
        let (image, config) = (self.nodes[node].image.clone(), &self.config);
        let own = BrokerId(node as i32);
        let epoch = self.nodes[node].epoch.unwrap_or_default();
        match intent {
            Intent::Register => {
                let it = &self.nodes[node];
                let request = Registration {
                    id: own,
                    incarnation: it.incarnation,
                    cluster_id: None,
                    kept: it.kept.clone(),
                    predecessor_is_gone: true,
                    endpoints: Vec::new(),
                    rack: None,
                    log_dirs: Vec::new(),
                    peer_address: String::new(),
                    broker_only: false,
                };
                brokers::register(&image, config, &request).map(|it| it.records)
            }
            Intent::Alter { partition, change, after } => {
                let wanted = NewIsr {
                    topic: TOPIC,
                    index: *partition as i32,
                    leader_epoch: change.leader_epoch,
                    partition_epoch: PartitionEpoch(change.partition_epoch),
                    isr: change.isr.iter().map(|&(id, epoch)| (BrokerId(id), BrokerEpoch(epoch))).collect(),
                    recovering: change.recovering,
                };
                let decision = isr::alter(&image, config, own, epoch, &[wanted])?;
                let record = decision.answer.into_iter().next().expect("one was asked for").2;
                match record {
                    Ok(record) => *after = Some(leadership(&record)),
                    // It takes effect all the same.
                    Err(Refusal::NewLeaderElected) => *after = None,
                    Err(refusal) => return Err(refusal),
                }
                Ok(decision.records)
            }
            Intent::Fence { id, epoch } => {
                if image.broker(*id).is_none_or(|broker| broker.epoch != *epoch) {
                    return Ok(Vec::new());
                }
                brokers::fence(&image, config, *id).map(|it| it.records)
            }
            Intent::Unfence { id, epoch } => {
                brokers::unfence(&image, config, *id, *epoch).map(|it| it.records)
            }
            Intent::Shutdown { id, epoch } => {
                brokers::begin_shutdown(&image, config, *id, *epoch).map(|it| it.records)
            }
            Intent::Reassign { partition, replicas } => {
                let wanted = Reassignment {
                    name: TOPIC_NAME.to_owned(),
                    index: *partition as i32,
                    replicas: Some(replicas.clone()),
                };
                Ok(reassign::alter(&image, config, &[wanted], true).records)
            }
            Intent::MinIsr { to } => {
                let target = Target { code: 2, name: TOPIC_NAME.to_owned() };
                let operations = vec![("min.insync.replicas".to_owned(), 0, Some(to.to_string()))];
                let alteration = Alteration { target, operations };
                Ok(configs::alter_incrementally(&image, config, own, &[alteration], false).records)
            }
            Intent::Preferred => Ok(elect::elect(&image, ElectionType::Preferred, None).records),
        }
    }

    /// The fate of an intent: done, refused, or (`None`) unknown.
    fn finish(&mut self, node: usize, number: u64, outcome: Result<(), Option<Refusal>>) {
        let Some(proposal) = self.nodes[node].proposals.remove(&number) else { return };
        let Intent::Alter { partition, change, after } = proposal.intent else { return };
        let answer = match outcome {
            Ok(()) => after.map_or(IsrAnswer::Outdated, IsrAnswer::Applied),
            Err(None | Some(Refusal::ControllerBehind)) => IsrAnswer::Unknown,
            Err(Some(Refusal::IneligibleReplica(_))) => IsrAnswer::NotApplied,
            Err(Some(_)) => IsrAnswer::Outdated,
        };
        let now_ms = self.now_ms(node);
        if let Some(hosted) = &mut self.nodes[node].hosted[partition] {
            hosted.replica.isr_answered(&change, answer, now_ms);
        }
        self.settle(node, partition);
    }

    /// Registration, heartbeats, and what the controller does.
    pub(crate) fn tick_control(&mut self, node: usize) {
        let now_ms = self.now_ms(node);
        self.drive_all(node);
        let it = &self.nodes[node];
        let Some(epoch) = it.epoch else {
            return self.propose(node, Intent::Register);
        };
        if let Some(controller) = self.controller_of(node) {
            let wants_fence = (it.applied as i64) < epoch.0;
            let wants_shutdown = it.stopping.is_some();
            let heartbeat = Message::Heartbeat { epoch, wants_fence, wants_shutdown };
            self.send(node, controller, heartbeat);
        }
        if self.nodes[node].stopping.is_some()
            && self.nodes[node]
                .image
                .broker(BrokerId(node as i32))
                .is_some_and(|it| it.fenced || it.in_controlled_shutdown)
            && brokers::leads_nothing(&self.nodes[node].image, BrokerId(node as i32))
        {
            return self.complete_shutdown(node);
        }
        if self.nodes[node].believes.is_none() {
            return;
        }
        let silent: Vec<(BrokerId, BrokerEpoch)> = self.nodes[node]
            .image
            .live_brokers()
            .filter(|it| now_ms - self.nodes[node].heard[it.id.0 as usize] > SESSION_MS)
            .filter(|it| it.id.0 != node as i32)
            .map(|it| (it.id, it.epoch))
            .collect();
        for (id, epoch) in silent {
            self.propose(node, Intent::Fence { id, epoch });
        }
    }

    pub(crate) fn on_heartbeat(
        &mut self,
        node: usize,
        from: usize,
        epoch: BrokerEpoch,
        wants_fence: bool,
        wants_shutdown: bool,
    ) {
        let now_ms = self.now_ms(node);
        let it = &mut self.nodes[node];
        if it.believes.is_none() {
            return;
        }
        let id = BrokerId(from as i32);
        let Some(broker) = it.image.broker(id).filter(|broker| broker.epoch == epoch) else { return };
        it.heard[from] = now_ms;
        if wants_shutdown {
            if !broker.in_controlled_shutdown {
                self.propose(node, Intent::Shutdown { id, epoch });
            }
        } else if broker.fenced && !wants_fence {
            self.propose(node, Intent::Unfence { id, epoch });
        }
    }
}
