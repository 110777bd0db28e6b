//! Keeps the ISRs of the partitions that this broker leads: asks for changes, many partitions in one command.
//!
//! Whether a follower may come in or must go is decided by [`milena_partition::Replica`]. What has been asked
//! for stays pending, and the larger set counts, until the outcome is known (KIP-497). One command is under way
//! at a time, and what comes up meanwhile goes with the next.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use milena_metadata::decide::isr::{self, NewIsr};
use milena_metadata::{BrokerEpoch, BrokerId, PartitionEpoch, Refusal};
use milena_partition::{IsrAnswer, IsrChange, Patience};
use milena_roles::leadership;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::cluster::{ChangeError, Controller};
use crate::hosted::Hosted;
use crate::settings::Settings;

/// How often partitions with a member of the ISR that lags are looked at.
const LAG_TICK: Duration = Duration::from_millis(100);
/// The same while a command's fate is open.
const RETRY_TICK: Duration = Duration::from_millis(10);
/// Most partitions of one command.
const BATCH: usize = 5_000;

/// Partitions whose ISR may have to change. Each is in each list once, so they are no longer than the broker has
/// partitions.
#[derive(Default)]
pub(crate) struct IsrQueue {
    /// A follower made progress: to be looked at now.
    considered: Mutex<Vec<Arc<Hosted>>>,
    /// To be looked at as time passes.
    watched: Mutex<Vec<Arc<Hosted>>>,
    filled: Notify,
}

impl IsrQueue {
    /// A follower outside of the ISR made progress.
    pub(crate) fn consider(&self, hosted: &Arc<Hosted>) {
        if !hosted.isr_considered.swap(true, Ordering::AcqRel) {
            self.considered.lock().unwrap().push(Arc::clone(hosted));
            self.filled.notify_one();
        }
    }

    /// Something was appended that the followers do not have yet.
    pub(crate) fn watch(&self, hosted: &Arc<Hosted>) {
        if !hosted.isr_watched.load(Ordering::Relaxed) && !hosted.isr_watched.swap(true, Ordering::AcqRel) {
            let mut watched = self.watched.lock().unwrap();
            watched.push(Arc::clone(hosted));
            if watched.len() == 1 {
                self.filled.notify_one();
            }
        }
    }

    fn is_watching(&self) -> bool {
        !self.watched.lock().unwrap().is_empty()
    }

    /// What to look at; the watched ones too if `tick`, less those that have nothing to wait for.
    fn take(&self, tick: bool) -> Vec<Arc<Hosted>> {
        let mut taken = std::mem::take(&mut *self.considered.lock().unwrap());
        if tick {
            let watched = std::mem::take(&mut *self.watched.lock().unwrap());
            let mut restless = Vec::with_capacity(watched.len());
            for hosted in watched {
                // First the mark, then the look: an append in between puts it back.
                hosted.isr_watched.store(false, Ordering::Release);
                if hosted.is_isr_restless() {
                    taken.push(Arc::clone(&hosted));
                    restless.push(hosted);
                }
            }
            restless.iter().for_each(|hosted| self.watch(hosted));
        }
        taken
    }
}

/// Sees to it that the ISRs of led partitions change as they must.
pub(crate) struct IsrKeeper {
    pub(crate) queue: Arc<IsrQueue>,
    pub(crate) controller: Controller,
    pub(crate) settings: Arc<Settings>,
    pub(crate) broker: BrokerId,
    /// Of this process.
    pub(crate) broker_epoch: BrokerEpoch,
}

/// A change that is being asked for.
struct Asked {
    hosted: Arc<Hosted>,
    change: IsrChange,
}

impl IsrKeeper {
    /// Runs until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&self) {
        let mut pause = LAG_TICK;
        loop {
            let tick = tokio::select! {
                () = self.queue.filled.notified() => false,
                () = tokio::time::sleep(pause), if self.queue.is_watching() => true,
            };
            let patience = Patience {
                lag_max_ms: self.settings.broker().replica_lag_time_max_ms(),
                ..Patience::default()
            };
            let mut asked = Vec::new();
            for hosted in self.queue.take(tick) {
                if let Some(change) = hosted.next_isr_change(&patience) {
                    asked.push(Asked { hosted, change });
                }
            }
            let mut unknown = false;
            for asked in asked.chunks(BATCH) {
                unknown |= !self.ask(asked).await;
            }
            pause = if unknown { RETRY_TICK } else { LAG_TICK };
        }
    }

    /// Asks for changes and tells what became of them. Returns whether that is known.
    async fn ask(&self, asked: &[Asked]) -> bool {
        let wanted: Vec<NewIsr> = asked.iter().map(Asked::wanted).collect();
        let config = self.settings.broker().clone();
        let decide = |image: &_| isr::alter(image, &config, self.broker, self.broker_epoch, &wanted);
        match self.controller.change(decide).await {
            Ok(changed) => {
                for (asked, (_, _, answer)) in asked.iter().zip(changed.answer) {
                    let answer = answer.map(|partition| leadership(&partition));
                    asked.tell(match answer {
                        Ok(leadership) => IsrAnswer::Applied(leadership),
                        Err(refusal) => meaning(&refusal),
                    });
                }
                true
            }
            Err(ChangeError::Refused(refusal)) => {
                warn!(%refusal, partitions = asked.len(), "isr changes refused");
                asked.iter().for_each(|asked| asked.tell(IsrAnswer::Outdated));
                true
            }
            Err(error @ ChangeError::Unknown(_)) => {
                debug!(%error, partitions = asked.len(), "isr changes are asked for again");
                for asked in asked {
                    asked.tell(IsrAnswer::Unknown);
                    self.queue.watch(&asked.hosted);
                }
                false
            }
        }
    }
}

impl Asked {
    fn wanted(&self) -> NewIsr {
        NewIsr {
            topic: self.hosted.topic_id,
            index: self.hosted.index,
            leader_epoch: self.change.leader_epoch,
            partition_epoch: PartitionEpoch(self.change.partition_epoch),
            isr: self.change.isr.iter().map(|(id, epoch)| (BrokerId(*id), BrokerEpoch(*epoch))).collect(),
            recovering: self.change.recovering,
        }
    }

    fn tell(&self, answer: IsrAnswer) {
        let isr: Vec<_> = self.change.isr.iter().map(|(id, _)| id).collect();
        match &answer {
            IsrAnswer::Applied(_) => {
                info!(topic = %self.hosted.topic, partition = self.hosted.index, ?isr, "isr changed")
            }
            IsrAnswer::NotApplied | IsrAnswer::Outdated => {
                debug!(topic = %self.hosted.topic, partition = self.hosted.index, ?isr, ?answer, "isr not changed")
            }
            IsrAnswer::Unknown => {}
        }
        self.hosted.isr_answered(&self.change, answer);
    }
}

/// What a refusal says about the fate of a change (replication notes 1.9).
fn meaning(refusal: &Refusal) -> IsrAnswer {
    match refusal {
        Refusal::IneligibleReplica(_) => IsrAnswer::NotApplied,
        // Decided on an image older than the one that this leader goes by: the next will do.
        Refusal::ControllerBehind => IsrAnswer::Unknown,
        _ => IsrAnswer::Outdated,
    }
}
