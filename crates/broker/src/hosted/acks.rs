//! Producers that wait for all in-sync replicas.
//!
//! They wait by offset, so that a high watermark that moves wakes those whose batches it passed and nobody else.

use std::collections::VecDeque;

use milena_partition::{Replica, Replication};
use milena_records::{LeaderEpoch, Offset};
use tokio::sync::oneshot;

/// Waiters of one partition, by the end of their batches.
#[derive(Default)]
pub(super) struct ParkedAcks {
    waiting: VecDeque<ParkedAck>,
    /// Length at which those who gave up are looked for next.
    sweep_at: usize,
}

struct ParkedAck {
    leader_epoch: LeaderEpoch,
    end: Offset,
    done: oneshot::Sender<Replication>,
}

/// Fewest waiters among which those who gave up are looked for.
const SWEEP: usize = 64;

impl ParkedAcks {
    /// Tells when the batch that ends at `end` and was written in `leader_epoch` is replicated, or why it is not.
    pub(super) fn park(&mut self, leader_epoch: LeaderEpoch, end: Offset) -> oneshot::Receiver<Replication> {
        if self.waiting.len() >= self.sweep_at.max(SWEEP) {
            self.waiting.retain(|ack| !ack.done.is_closed());
            self.sweep_at = 2 * self.waiting.len();
        }
        let (done, outcome) = oneshot::channel();
        let at = self.waiting.partition_point(|ack| ack.end <= end);
        self.waiting.insert(at, ParkedAck { leader_epoch, end, done });
        outcome
    }

    /// Answers those about whom `replica` knows more by now.
    pub(super) fn settle(&mut self, replica: &Replica) {
        while let Some(first) = self.waiting.front() {
            let outcome = replica.replication_of(first.leader_epoch, first.end);
            if outcome == Replication::Pending {
                return;
            }
            let first = self.waiting.pop_front().expect("looked at just now");
            // Who gave up does not listen.
            let _ = first.done.send(outcome);
        }
    }
}
