//! Producer ids, unique in the cluster: taken one by one out of blocks that the controller gives out (API 67).

use std::ops::Range;
use std::sync::Arc;

use milena_metadata::decide::brokers::{PRODUCER_ID_BLOCK, allocate_producer_ids};
use milena_metadata::{BrokerEpoch, BrokerId};
use tokio::sync::Mutex;
use tokio::time::{Duration, timeout};

use crate::cluster::Controller;

/// Longest wait for a block, behind others who wait for it included: an election takes less, and what takes longer is
/// better asked for again, as Kafka's brokers have it. The disk of a single broker may be full.
const PATIENCE: Duration = Duration::from_secs(3);

/// There is no id now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no producer id was given out in time: {0}")]
pub(crate) struct NoProducerId(String);

/// The ids that this broker may give out.
#[derive(Clone)]
pub(crate) struct ProducerIds {
    controller: Controller,
    broker: BrokerId,
    epoch: BrokerEpoch,
    block: Arc<Mutex<Range<i64>>>,
}

impl ProducerIds {
    /// For this life of this broker. The rest of an earlier life's block is never used.
    pub(crate) fn new(controller: Controller, broker: BrokerId, epoch: BrokerEpoch) -> Self {
        Self { controller, broker, epoch, block: Arc::new(Mutex::new(0..0)) }
    }

    /// An id that nobody has had.
    pub(crate) async fn next(&self) -> Result<i64, NoProducerId> {
        let taken = timeout(PATIENCE, async {
            let mut block = self.block.lock().await;
            if block.is_empty() {
                let decide = |image: &_| allocate_producer_ids(image, self.broker, self.epoch);
                let changed = self.controller.change(decide).await;
                let first = changed.map_err(|error| NoProducerId(error.to_string()))?.answer;
                *block = first..first + PRODUCER_ID_BLOCK;
            }
            Ok(block.next().expect("filled above"))
        });
        taken.await.unwrap_or_else(|_| Err(NoProducerId("the metadata quorum has not answered".to_owned())))
    }
}
