//! Producer ids, unique in the cluster: taken one by one out of blocks that the controller gives out (API 67).

use std::ops::Range;
use std::sync::Arc;

use milena_metadata::decide::brokers::{PRODUCER_ID_BLOCK, allocate_producer_ids};
use milena_metadata::{BrokerEpoch, BrokerId};
use tokio::sync::Mutex;

use crate::cluster::Controller;
use crate::error::Explained;

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
    pub(crate) async fn next(&self) -> Result<i64, Explained> {
        let mut block = self.block.lock().await;
        if block.is_empty() {
            let decide = |image: &_| allocate_producer_ids(image, self.broker, self.epoch);
            let first = self.controller.change(decide).await?.answer;
            *block = first..first + PRODUCER_ID_BLOCK;
        }
        Ok(block.next().expect("filled above"))
    }
}
