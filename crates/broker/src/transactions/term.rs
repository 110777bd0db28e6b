//! What the coordinator does by itself, for as long as its term lasts: sends markers, aborts transactions that are
//! open for too long, forgets transactional ids that nobody uses.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use milena_peer::Peers;
use milena_peer::transactions::Transactional;
use milena_quorum::GroupHandle;
use milena_txn::{Command, TimeOut, Transactions};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::completions::{Completions, Due};
use super::lanes::Lanes;
use super::markers::MarkerSender;
use super::proposals::Proposals;
use crate::clock;
use crate::cluster::Controller;
use crate::producer_ids::ProducerIds;
use crate::settings::Settings;
use crate::view::View;

/// Transactions that are aborted for their age in one go, and ids that are forgotten in one command.
const BATCH: usize = 512;

/// The coordinator's own work.
pub(crate) struct Terms {
    pub(crate) raft: GroupHandle,
    pub(crate) transactions: Arc<RwLock<Transactions>>,
    pub(crate) proposals: Proposals,
    pub(crate) due: Arc<Due>,
    pub(crate) completions: Completions,
    pub(crate) view: Arc<View>,
    pub(crate) controller: Controller,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) settings: Arc<Settings>,
    pub(crate) local: Arc<dyn Transactional>,
    pub(crate) peers: Option<Peers>,
}

impl Terms {
    /// Works whenever this broker leads, until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut leader = self.raft.leader();
        loop {
            let now = *leader.borrow_and_update();
            tokio::select! {
                () = shutdown.cancelled() => break,
                changed = leader.wait_for(|it| *it != now) => if changed.is_err() { break },
                // Ends with the term: whatever is under way is dropped, and the next coordinator begins anew.
                () = self.term(now.term), if now.is_self => {}
            }
            self.due.close();
        }
    }

    async fn term(&self, term: u64) {
        let count = self.transactions.read().unwrap().len();
        info!(term, transactional_ids = count, "coordinates transactions");
        let sender = MarkerSender {
            term,
            transactions: Arc::clone(&self.transactions),
            proposals: self.proposals.clone(),
            due: Arc::clone(&self.due),
            completions: self.completions.clone(),
            view: Arc::clone(&self.view),
            controller: self.controller.clone(),
        };
        let lanes = Lanes::new(self.raft.node_id(), Arc::clone(&self.local), self.peers.clone());
        tokio::join!(sender.run(lanes), self.time_out(), self.expire());
    }

    /// Aborts what is open for too long (TX-9).
    async fn time_out(&self) {
        let settings = self.settings.broker().clone();
        let every = settings.transaction_abort_timed_out_transaction_cleanup_interval_ms();
        let mut ticks = ticks(every);
        loop {
            ticks.tick().await;
            let due: Vec<_> = {
                let transactions = self.transactions.read().unwrap();
                let due = transactions.due(clock::unix_ms()).take(BATCH);
                due.map(|(id, sequence)| (id.to_owned(), sequence)).collect()
            };
            join_all(due.into_iter().map(|(id, sequence)| self.abort(id, sequence))).await;
        }
    }

    async fn abort(&self, transactional_id: String, sequence: u64) {
        // Without an id it is tried again with the next sweep.
        let Ok(fresh_producer_id) = self.producer_ids.next().await else { return };
        info!(id = %transactional_id, "transaction is open for longer than its time-out: aborts it");
        let now_ms = clock::unix_ms();
        let command = Command::TimeOut(TimeOut { transactional_id, now_ms, sequence, fresh_producer_id });
        if let Err(error) = self.proposals.propose(&command).await {
            debug!(%error, "time-out not recorded");
        }
    }

    /// Forgets transactional ids that were idle for `transactional.id.expiration.ms`.
    async fn expire(&self) {
        let settings = self.settings.broker().clone();
        let mut ticks = ticks(settings.transaction_remove_expired_transaction_cleanup_interval_ms());
        let retention_ms = i64::from(settings.transactional_id_expiration_ms());
        loop {
            ticks.tick().await;
            let mut after: Option<String> = None;
            loop {
                let now_ms = clock::unix_ms();
                let idle =
                    self.transactions.read().unwrap().idle(after.as_deref(), now_ms, retention_ms, BATCH);
                let Some(last) = idle.last() else { break };
                after = Some(last.transactional_id.clone());
                info!(transactional_ids = idle.len(), "forgets transactional ids that nobody used for long");
                if self.proposals.propose(&Command::Expire(idle)).await.is_err() {
                    break;
                }
            }
        }
    }
}

fn ticks(every_ms: i32) -> tokio::time::Interval {
    let every = Duration::from_millis(every_ms.max(1) as u64);
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
