//! Makes a process the broker with its id: founds the cluster's metadata, registers, and takes part (KIP-631).

use std::time::Duration;

use milena_config::BrokerConfig;
use milena_config::topic_list::TopicToCreate;
use milena_log::MetaProperties;
use milena_metadata::decide::brokers::{self, Kept, Registration};
use milena_metadata::decide::{features, topics};
use milena_metadata::{BrokerEpoch, BrokerId, Endpoint, Image, Refusal};
use milena_wire::Uuid;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::cluster::{ChangeError, Controller};
use crate::data_dir::DataDir;
use crate::error::Explained;
use crate::random;

/// Before a registration that was refused for a living predecessor is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// What a broker registers.
pub(crate) struct Applicant<'a> {
    pub(crate) config: &'a BrokerConfig,
    pub(crate) meta: &'a MetaProperties,
    pub(crate) incarnation: Uuid,
    pub(crate) endpoints: &'a [Endpoint],
    /// Where other brokers reach it; empty if it has no peers.
    pub(crate) peer_address: String,
    pub(crate) data_dir: &'a DataDir,
}

impl<'a> Applicant<'a> {
    pub(crate) fn new(
        config: &'a BrokerConfig,
        meta: &'a MetaProperties,
        endpoints: &'a [Endpoint],
        data_dir: &'a DataDir,
    ) -> Self {
        let peer_address = String::new();
        Self { config, meta, incarnation: random::uuid(), endpoints, peer_address, data_dir }
    }

    fn id(&self) -> BrokerId {
        BrokerId(self.meta.node_id)
    }

    fn directory(&self) -> Option<Uuid> {
        self.meta.directory_id.parse().ok()
    }

    fn request(&self, image: &Image) -> Registration {
        let before = image.broker(self.id());
        let is_alone = image.brokers().all(|broker| broker.id == self.id());
        let registered = before.and_then(|broker| broker.log_dirs.first().copied());
        Registration {
            id: self.id(),
            incarnation: self.incarnation,
            cluster_id: Some(self.meta.cluster_id.clone()),
            kept: match before {
                // Whatever its log has lost, nobody else has it.
                Some(before) if is_alone => Kept { epoch: Some(before.epoch), ..Kept::default() },
                _ => self.data_dir.kept(),
            },
            // Its directory is locked by this process.
            predecessor_is_gone: registered.is_some() && registered == self.directory(),
            endpoints: self.endpoints.to_vec(),
            rack: self.config.rack().map(str::to_owned),
            log_dirs: self.directory().into_iter().collect(),
            peer_address: self.peer_address.clone(),
            broker_only: !self.config.roles().controller,
        }
    }

    /// Registers, fenced at first; on failure again until the configured time is over, as a quorum may have to form
    /// and a predecessor elsewhere to be given up.
    pub(crate) async fn register(&self, controller: &Controller) -> Result<BrokerEpoch, Explained> {
        let patience = self.config.initial_broker_registration_timeout_ms().max(1) as u64;
        let deadline = Instant::now() + Duration::from_millis(patience);
        let mut complained = false;
        if let Err(error) = self.data_dir.mark_registering(self.incarnation) {
            warn!(%error, "a crash before this broker knows of its registration will count as unclean");
        }
        loop {
            let refused = match self.try_to_register(controller, deadline).await {
                Ok(epoch) => return Ok(epoch),
                Err(ChangeError::Refused(refusal @ Refusal::OtherCluster { .. })) => {
                    return Err((&refusal).into());
                }
                Err(refused) => refused,
            };
            if Instant::now() >= deadline {
                return Err(refused.into());
            }
            if !complained {
                warn!(reason = %refused, "not registered yet; trying on");
                complained = true;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_to_register(
        &self,
        controller: &Controller,
        deadline: Instant,
    ) -> Result<BrokerEpoch, ChangeError<Refusal>> {
        controller.catch_up(deadline).await.map_err(ChangeError::Unknown)?;
        controller.change(|image| Ok(features::format(image, &self.meta.cluster_id))).await?;
        controller.change(|image| brokers::register(image, self.config, &self.request(image))).await?;
        let image = controller.image();
        let registered = image.broker(self.id()).filter(|broker| broker.incarnation == self.incarnation);
        let superseded = || ChangeError::Refused(Refusal::DuplicateRegistration);
        registered.map(|broker| broker.epoch).ok_or_else(superseded)
    }
}

/// Ends the fencing that a registration begins with. Returns the index at which it has ended.
pub(crate) async fn unfence(
    controller: &Controller,
    config: &BrokerConfig,
    id: BrokerId,
    epoch: BrokerEpoch,
) -> Result<u64, Explained> {
    Ok(controller.change(|image| brokers::unfence(image, config, id, epoch)).await?.index)
}

/// The topics that a container is told to create at the first start of its cluster. Returns the index at which they
/// are there.
pub(crate) async fn create_topics(
    controller: &Controller,
    config: &BrokerConfig,
    wanted: &[TopicToCreate],
) -> Result<u64, Explained> {
    let new = |topic: &TopicToCreate| {
        let policy = topic.cleanup_policy.iter();
        topics::NewTopic {
            name: topic.name.clone(),
            partitions: topic.partitions,
            replication_factor: topic.replication_factor,
            assignments: Vec::new(),
            configs: policy.map(|policy| ("cleanup.policy".to_owned(), Some(policy.clone()))).collect(),
        }
    };
    let decide = |image: &Image| {
        // Another broker of a new cluster may be told the same.
        let absent: Vec<_> =
            wanted.iter().filter(|topic| image.topic(&topic.name).is_none()).map(new).collect();
        topics::create(image, config, &absent, false, &mut random::word)
    };
    let changed = controller.change(decide).await?;
    for (name, outcome) in changed.answer {
        match outcome {
            Ok(created) => info!(topic = name, partitions = created.partitions, "topic created"),
            Err(refusal) => warn!(topic = name, %refusal, "topic not created"),
        }
    }
    Ok(changed.index)
}
