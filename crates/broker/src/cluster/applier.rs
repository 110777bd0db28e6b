//! Applies committed metadata to this broker: opens, configures and drops partitions, then shows the image to
//! clients.
//!
//! Disk work is done here and not where Raft applies, so that a slow disk delays topics and not elections.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use milena_config::TopicConfig;
use milena_config::tables::RETIRED_TOPIC_SETTINGS;
use milena_disk::Level;
use milena_group::TopicId;
use milena_metadata::{BrokerId, Delta, Image, Partition, PartitionChanged, Resource, Topic};
use milena_partition::Lives;
use milena_roles::{leadership, lives};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::Committed;
use super::turns::{Turn, Turns};
use crate::coordination::Coordination;
use crate::data_dir::{DataDir, OnDamage};
use crate::hosted::Hosted;
use crate::partitions::Partitions;
use crate::replication::{Fetchers, IsrQueue, PartitionKey};
use crate::settings::Settings;
use crate::transactions::TransactionCoordinator;
use crate::view::View;

/// Between two attempts to make the directories of partitions that found no room.
const LOOK: Duration = Duration::from_secs(1);

/// Threads that open logs at start.
const OPENERS: usize = 4;

/// So many new partitions are made durable by one call, which waits for whatever else was written to the disk. The
/// first appends to fewer of them see to it themselves.
const MANY: usize = 32;

/// Keeps partitions and view in step with the committed image.
pub(crate) struct Applier {
    pub(crate) broker: BrokerId,
    pub(crate) committed: Committed,
    pub(crate) view: Arc<View>,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) data_dir: Arc<DataDir>,
    pub(crate) settings: Arc<Settings>,
    /// What this broker follows is fetched by these.
    pub(crate) fetchers: Arc<Fetchers>,
    /// Where partitions go whose ISR may have to change.
    pub(crate) isr: Arc<IsrQueue>,
    /// New partitions for which the disk had no room.
    pub(crate) without_room: Mutex<BTreeSet<PartitionKey>>,
}

impl Applier {
    /// Applies all that is committed by now, opening logs on several threads.
    pub(crate) fn start(&self) {
        let image = self.committed.image();
        self.settings.apply(&image, self.broker);
        let delta = Delta::between(&self.view.image(), &image);
        let changes = delta.partitions;
        let chunk = changes.len().div_ceil(OPENERS).max(1);
        let lives = lives(&image);
        std::thread::scope(|threads| {
            for chunk in changes.chunks(chunk) {
                let (image, lives) = (&image, &lives);
                threads.spawn(move || {
                    for change in chunk {
                        self.apply_partition(image, lives, change);
                    }
                });
            }
        });
        self.view.publish(image);
        let data_dir = Arc::clone(&self.data_dir);
        std::thread::spawn(move || data_dir.clear_leftovers());
    }

    /// Follows the committed image until `shutdown`.
    pub(crate) async fn run(
        self: Arc<Self>,
        coordination: Coordination,
        transactions: TransactionCoordinator,
        shutdown: CancellationToken,
    ) {
        let mut turns = Turns::new(self.committed.changes(), LOOK);
        loop {
            let turn = tokio::select! {
                () = shutdown.cancelled() => None,
                turn = turns.next(self.waits_for_room()) => turn,
            };
            let Some(turn) = turn else { return };
            let applier = Arc::clone(&self);
            let apply = tokio::task::spawn_blocking(move || match turn {
                Turn::Apply => applier.apply(),
                Turn::TryAgain => {
                    applier.open_what_found_no_room();
                    Vec::new()
                }
            });
            let deleted = apply.await.unwrap_or_default();
            if !deleted.is_empty() {
                transactions.topics_deleted(&deleted).await;
                coordination.topics_deleted(deleted).await;
            }
        }
    }

    fn waits_for_room(&self) -> bool {
        !self.without_room.lock().unwrap().is_empty()
    }

    /// Tries partitions again that found no room, as far as there still are such.
    fn open_what_found_no_room(&self) {
        if self.partitions.room() == Level::Full {
            return;
        }
        let waiting = std::mem::take(&mut *self.without_room.lock().unwrap());
        let image = self.view.image();
        let lives = lives(&image);
        for key in waiting {
            let PartitionKey { topic: id, index } = key;
            let Some(topic) = image.topic_by_id(id) else { continue };
            let Some(after) = topic.partition(index).cloned() else { continue };
            let name = Arc::clone(&topic.name);
            let change = PartitionChanged { name, topic: id, index, before: None, after };
            self.apply_partition(&image, &lives, &change);
            if self.partitions.get(id, index).is_some() {
                info!(topic = %change.name, partition = index, "partition is online: there is room again");
            }
        }
    }

    /// Applies what is new. Returns the topics that are gone.
    fn apply(self: Arc<Self>) -> Vec<TopicId> {
        let began = Instant::now();
        let image = self.committed.image();
        let delta = Delta::between(&self.view.image(), &image);
        if delta.is_empty() {
            self.view.publish(image);
            return Vec::new();
        }
        self.settings.apply(&image, self.broker);
        // Names must be free before a topic of the same name is created again.
        let mut doomed = Vec::new();
        for topic in &delta.deleted {
            doomed.extend(self.drop_topic(topic));
        }
        delta.partitions.iter().for_each(|change| self.partitions.changes.count(self.broker, change));
        let lives = lives(&image);
        if !delta.brokers.is_empty() {
            self.partitions.all().iter().for_each(|hosted| hosted.see_brokers(&lives));
        }
        doomed.extend(
            delta.partitions.iter().filter_map(|change| self.apply_partition(&image, &lives, change)),
        );
        delta.configs.iter().for_each(|resource| self.configure(&image, resource));
        self.make_durable(&delta);
        self.view.publish(image);
        debug!(
            index = self.view.image().index(),
            partitions = delta.partitions.len(),
            elapsed_us = began.elapsed().as_micros(),
            "metadata is applied"
        );
        if !doomed.is_empty() {
            let data_dir = Arc::clone(&self.data_dir);
            std::thread::spawn(move || doomed.iter().for_each(|path| data_dir.remove(path)));
        }
        delta.deleted.iter().map(|topic| TopicId(topic.id.0)).collect()
    }

    /// Makes the directories of many new partitions durable behind everybody's back, so that their first records need
    /// not wait for each of them: a topic of a thousand partitions, or markers in as many.
    fn make_durable(&self, delta: &Delta) {
        let new = delta.partitions.iter().filter(|change| change.before.is_none());
        let hosted: Vec<_> =
            new.filter_map(|change| self.partitions.get(change.topic, change.index)).collect();
        if hosted.len() < MANY {
            return;
        }
        let data_dir = Arc::clone(&self.data_dir);
        std::thread::spawn(move || match data_dir.sync_all() {
            Ok(synced) => hosted.iter().for_each(|it| it.creation_is_durable(&synced)),
            Err(error) => warn!(%error, "new partitions are not durable yet; their first appends see to it"),
        });
    }

    fn drop_topic(&self, topic: &Topic) -> Vec<PathBuf> {
        info!(topic = %topic.name, id = %topic.id, "topic deleted");
        let hosted = self.partitions.remove_topic(topic.id);
        hosted.iter().for_each(|it| self.fetchers.stop(PartitionKey::of(it)));
        let abandoned = hosted.iter().filter(|it| it.abandon().is_some());
        abandoned.filter_map(|it| self.data_dir.rename_deleted(&it.topic, it.index)).collect()
    }

    /// Takes one partition's change; the order within is part of the protocol (replication notes 1.11). Returns the
    /// directory that is to go if this broker is no longer a replica.
    fn apply_partition(&self, image: &Image, lives: &Lives, change: &PartitionChanged) -> Option<PathBuf> {
        let key = PartitionKey { topic: change.topic, index: change.index };
        let leads = change.after.leader == Some(self.broker);
        let is_replica = change.after.replicas.contains(&self.broker);
        // Before it leads: a leader is in no fetcher.
        if leads || !is_replica {
            self.fetchers.stop(key);
        }
        if !is_replica {
            return self.drop_partition(change);
        }
        let hosted = match self.partitions.get(change.topic, change.index) {
            Some(hosted) => hosted,
            None => self.open_partition(image, lives, change)?,
        };
        let transition = hosted.lead(leadership(&change.after));
        match change.after.leader {
            Some(leader) if leader != self.broker => self.fetchers.follow(&hosted, leader, transition),
            _ => self.fetchers.stop(key),
        }
        None
    }

    /// Opens a partition's log, or makes it. It has no role yet.
    fn open_partition(&self, image: &Image, lives: &Lives, change: &PartitionChanged) -> Option<Arc<Hosted>> {
        let config = Arc::new(self.topic_config(image, &change.name));
        let is_new = !self.data_dir.has_found(&change.name, change.index);
        let on_damage = on_damage(self.settings.broker().log_damage(), self.broker, &change.after);
        match self.data_dir.open_partition(&change.name, change.topic, change.index, &config, on_damage) {
            Ok(opened) => {
                let hosted = Arc::new(Hosted::new(
                    (Arc::clone(&change.name), change.topic, change.index),
                    self.broker.0,
                    config,
                    opened,
                    Arc::clone(&self.isr),
                ));
                hosted.see_brokers(lives);
                self.partitions.insert(Arc::clone(&hosted));
                Some(hosted)
            }
            // The partition stays offline; the others are not concerned.
            Err(error) => {
                error!(topic = %change.name, partition = change.index, %error, "partition is offline");
                // Of one that has files, what was known of them is used up: that takes a start.
                if is_new && error.is_full() {
                    let key = PartitionKey { topic: change.topic, index: change.index };
                    self.without_room.lock().unwrap().insert(key);
                }
                None
            }
        }
    }

    /// Stops serving a partition that a reassignment took from this broker.
    fn drop_partition(&self, change: &PartitionChanged) -> Option<PathBuf> {
        let hosted = self.partitions.remove(change.topic, change.index)?;
        info!(topic = %hosted.topic, partition = hosted.index, "this broker is no longer a replica");
        hosted.abandon()?;
        self.data_dir.rename_deleted(&hosted.topic, hosted.index)
    }

    /// Hands changed settings to the topics that they concern.
    fn configure(&self, image: &Image, resource: &Resource) {
        match resource {
            Resource::Topic(name) => {
                let overrides = image.overrides(resource);
                for setting in
                    RETIRED_TOPIC_SETTINGS.iter().filter(|setting| overrides.contains_key(**setting))
                {
                    warn!(topic = name, setting, "this setting went with Kafka 4.0 and changes nothing");
                }
                if let Some(topic) = image.topic(name) {
                    self.configure_topic(image, topic);
                }
            }
            // Defaults of topics are settings of brokers.
            Resource::Broker(_) => image.topics().for_each(|topic| self.configure_topic(image, topic)),
            Resource::ClientMetrics(_) | Resource::Group(_) => {}
        }
    }

    fn configure_topic(&self, image: &Image, topic: &Topic) {
        let config = Arc::new(self.topic_config(image, &topic.name));
        self.partitions.of_topic(topic.id).iter().for_each(|hosted| hosted.configure(Arc::clone(&config)));
    }

    fn topic_config(&self, image: &Image, topic: &str) -> TopicConfig {
        let overrides = image.overrides(&Resource::Topic(topic.to_owned()));
        TopicConfig::resolve(&overrides, &self.settings.broker())
    }
}

/// What `milena.log.damage` means for a partition. A log is never set aside that may be the last: another broker must
/// lead, and this one must not be among those who may be elected for what they have.
fn on_damage(setting: &str, me: BrokerId, partition: &Partition) -> OnDamage {
    let is_spare = partition.leader.is_some_and(|leader| leader != me)
        && !partition.isr.contains(&me)
        && !partition.elr.contains(&me);
    match setting {
        "cut" => OnDamage::Cut,
        "refetch" if is_spare => OnDamage::SetAside,
        _ => OnDamage::Refuse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_log_is_set_aside_only_where_it_cannot_be_the_last() {
        let ids = |ids: &[i32]| ids.iter().map(|id| BrokerId(*id)).collect::<Vec<_>>();
        let me = BrokerId(1);
        for (leader, isr, elr, want) in [
            (Some(2), &[2, 3][..], &[][..], OnDamage::SetAside),
            (Some(2), &[1, 2], &[], OnDamage::Refuse),
            (Some(2), &[2], &[1], OnDamage::Refuse),
            (Some(1), &[1, 2], &[], OnDamage::Refuse),
            (None, &[], &[2], OnDamage::Refuse),
        ] {
            let mut partition = Partition::new(ids(&[1, 2, 3]), ids(isr), 2);
            (partition.elr, partition.leader) = (ids(elr), leader.map(BrokerId));
            assert_eq!(on_damage("refetch", me, &partition), want, "{partition:?}");
            assert_eq!(on_damage("refuse", me, &partition), OnDamage::Refuse);
            assert_eq!(on_damage("cut", me, &partition), OnDamage::Cut);
        }
    }
}
