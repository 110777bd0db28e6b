//! The coordinators of groups and of transactions, put together; both rest on the `coordination` Raft group.

use std::sync::Arc;
use std::time::Duration;

use milena_config::BrokerConfig;
use milena_metadata::{BrokerEpoch, BrokerId};
use milena_peer::transactions::{Transactional, transactions_service};
use milena_quorum::GroupHandle;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Committed, Controller};
use crate::coordination::{self, Calls, Coordination, CoordinationState};
use crate::forming::Peering;
use crate::partitions::Partitions;
use crate::producer_ids::ProducerIds;
use crate::quorum::Quorum;
use crate::settings::Settings;
use crate::transactions::{self, Desk, Enlister, Queue, Reattempts, Terms, TransactionCoordinator};
use crate::view::View;

/// Most bytes of one group's members, which travel in one command; half of what the Raft log takes, so that
/// names and framing have room.
const MAX_GROUP_BYTES: usize = milena_quorum::MAX_COMMAND / 2;

/// What the coordinators rest on.
pub(crate) struct Ground<'a> {
    pub(crate) config: &'a BrokerConfig,
    pub(crate) quorum: &'a Quorum,
    pub(crate) peering: Option<&'a Peering>,
    pub(crate) controller: &'a Controller,
    pub(crate) settings: &'a Arc<Settings>,
    pub(crate) view: &'a Arc<View>,
    pub(crate) partitions: &'a Arc<Partitions>,
    pub(crate) broker: BrokerId,
    /// Of this process.
    pub(crate) epoch: BrokerEpoch,
}

/// How to reach the coordinators, on this broker or another.
pub(crate) struct Coordinators {
    pub(crate) groups: Coordination,
    pub(crate) transactions: TransactionCoordinator,
    /// How a partition that this broker leads asks the coordinator of a transaction.
    pub(crate) enlister: Enlister,
    pub(crate) producer_ids: ProducerIds,
}

/// What they do by themselves; nothing moves before it runs.
pub(crate) struct Work {
    groups: Coordination,
    controller: Controller,
    committed: Committed,
    raft: GroupHandle,
    state: CoordinationState,
    settings: milena_group::Settings,
    calls: Calls,
    proposed: Queue,
    terms: Terms,
}

impl Coordinators {
    /// Also serves the other brokers' questions.
    pub(crate) fn new(ground: &Ground<'_>) -> (Self, Work) {
        let Ground { config, quorum, controller, .. } = *ground;
        let (raft, state) = (&quorum.coordination, &quorum.coordinated);
        let patience = Duration::from_millis(config.offsets_commit_timeout_ms().max(1) as u64);
        let (groups, calls) = Coordination::new(Arc::clone(&state.groups), raft.clone(), patience);
        let producer_ids = ProducerIds::new(controller.clone(), ground.broker, ground.epoch);
        let (proposals, proposed) = transactions::proposals();
        let transactions = TransactionCoordinator::new(
            raft.clone(),
            Arc::clone(&state.transactions),
            proposals.clone(),
            state.completions.clone(),
            producer_ids.clone(),
        );
        let desk: Arc<dyn Transactional> =
            Arc::new(Desk::new(Arc::clone(ground.partitions), transactions.clone(), Handle::current()));
        if let Some(peering) = ground.peering
            && let Some(identity) = peering.identity()
        {
            peering.routes.add(transactions_service(identity, Arc::clone(&desk)));
        }
        let reattempts = Reattempts::of(config);
        let enlister = Enlister::new(raft.clone(), quorum.peers.clone(), Arc::clone(&desk), reattempts);
        let terms = Terms {
            raft: raft.clone(),
            transactions: Arc::clone(&state.transactions),
            proposals,
            due: Arc::clone(&state.due),
            completions: state.completions.clone(),
            view: Arc::clone(ground.view),
            controller: controller.clone(),
            producer_ids: producer_ids.clone(),
            settings: Arc::clone(ground.settings),
            local: desk,
            peers: quorum.peers.clone(),
        };
        let work = Work {
            groups: groups.clone(),
            controller: controller.clone(),
            committed: quorum.committed.clone(),
            raft: raft.clone(),
            state: state.clone(),
            settings: group_settings(config),
            calls,
            proposed,
            terms,
        };
        (Self { groups, transactions, enlister, producer_ids }, work)
    }
}

impl Work {
    /// Runs until `shutdown`.
    pub(crate) fn spawn(self, tasks: &mut JoinSet<()>, shutdown: &CancellationToken) {
        let stop = || shutdown.clone();
        let Self { raft, state, .. } = self;
        tasks.spawn(coordination::remove_orphans(self.groups, self.controller, self.committed, stop()));
        tasks.spawn(transactions::run(self.proposed, raft.clone(), state.answers.clone(), stop()));
        tasks.spawn(self.terms.run(stop()));
        tasks.spawn(coordination::run(self.calls, raft, state.groups, state.answers, self.settings, stop()));
    }
}

fn group_settings(config: &BrokerConfig) -> milena_group::Settings {
    milena_group::Settings {
        min_session_timeout_ms: config.group_min_session_timeout_ms(),
        max_session_timeout_ms: config.group_max_session_timeout_ms(),
        initial_rebalance_delay_ms: config.group_initial_rebalance_delay_ms(),
        max_group_size: config.group_max_size().max(0) as usize,
        max_offset_metadata: config.offset_metadata_max_bytes().max(0) as usize,
        offsets_retention_ms: i64::from(config.offsets_retention_minutes()) * 60_000,
        offsets_retention_check_interval_ms: config.offsets_retention_check_interval_ms().max(1) as u64,
        max_group_bytes: MAX_GROUP_BYTES,
        ..milena_group::Settings::default()
    }
}
