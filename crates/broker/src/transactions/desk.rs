//! What this broker does for others: writes markers to partitions that it leads, and answers for transactions that
//! it coordinates. A question of this broker to itself comes here, too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use milena_partition::{Marker, MarkerAddress};
use milena_peer::transactions::Transactional;
use milena_peer::transactions::message::{
    self, EnlistRequest, EnlistResponse, MarkerResult, WriteMarkersRequest, WriteMarkersResponse,
};
use milena_records::{LeaderEpoch, ProducerEpoch, ProducerId, TransactionResult};
use milena_wire::ErrorCode;
use tokio::runtime::Handle;

use super::coordinator::TransactionCoordinator;
use super::enlister::topic_id;
use crate::hosted::{Acks, Appended, Hosted};
use crate::partitions::Partitions;

/// Longest for a marker to be on all in-sync replicas. Afterwards the coordinator sends it again, perhaps to another
/// leader.
const REPLICATION: Duration = Duration::from_secs(1);

/// Markers written before others get a turn on the thread: where nothing was written yet, each creates files.
const APPENDS_AT_ONCE: usize = 64;

/// Serves `proto/transactions.proto`.
pub(crate) struct Desk {
    partitions: Arc<Partitions>,
    coordinator: TransactionCoordinator,
    /// Requests of other brokers come on the control runtime, where nothing may take long.
    runtime: Handle,
}

impl Desk {
    /// Works on `runtime`, whoever calls.
    pub(crate) fn new(
        partitions: Arc<Partitions>,
        coordinator: TransactionCoordinator,
        runtime: Handle,
    ) -> Self {
        Self { partitions, coordinator, runtime }
    }
}

#[milena_peer::async_trait]
impl Transactional for Desk {
    async fn write_markers(&self, request: WriteMarkersRequest) -> WriteMarkersResponse {
        let partitions = Arc::clone(&self.partitions);
        let counts: Vec<_> = request.markers.iter().map(|marker| marker.partitions.len()).collect();
        let written = self.runtime.spawn(async move { write_markers(&partitions, request).await }).await;
        let failed = |_| counts.iter().map(|count| vec![ErrorCode::UnknownServerError; *count]).collect();
        let codes: Vec<Vec<ErrorCode>> = written.unwrap_or_else(failed);
        let markers = codes.into_iter().map(|codes| MarkerResult { codes: numbers(&codes) });
        WriteMarkersResponse { markers: markers.collect() }
    }

    async fn enlist(&self, request: EnlistRequest) -> EnlistResponse {
        let count = request.partitions.len();
        let coordinator = self.coordinator.clone();
        let asked = self.runtime.spawn(async move { coordinator.enlist(request).await }).await;
        let codes = asked.unwrap_or_else(|_| vec![ErrorCode::UnknownServerError; count]);
        EnlistResponse { codes: numbers(&codes) }
    }
}

fn numbers(codes: &[ErrorCode]) -> Vec<i32> {
    codes.iter().map(|code| code.code().into()).collect()
}

/// Appends all markers, then waits for all of them: replication of one does not wait for the append of the next.
async fn write_markers(partitions: &Partitions, request: WriteMarkersRequest) -> Vec<Vec<ErrorCode>> {
    let (mut count, mut markers) = (0_usize, Vec::with_capacity(request.markers.len()));
    for message in &request.markers {
        let mut appended = Vec::with_capacity(message.partitions.len());
        for partition in &message.partitions {
            let (topic, address) = (topic_id(partition), address(message, partition));
            appended
                .push(marker(message).and_then(|marker| {
                    append(partitions, topic, partition.index, &marker, address.as_ref())
                }));
            count += 1;
            if count.is_multiple_of(APPENDS_AT_ONCE) {
                tokio::task::yield_now().await;
            }
        }
        markers.push(appended);
    }
    let deadline = Instant::now() + REPLICATION;
    let markers = markers
        .into_iter()
        .map(|appended| join_all(appended.into_iter().map(|written| settled(written, deadline))));
    join_all(markers).await
}

fn marker(message: &message::Marker) -> Result<Marker, ErrorCode> {
    Ok(Marker {
        producer_id: ProducerId(message.producer_id),
        producer_epoch: ProducerEpoch(
            message.producer_epoch.try_into().map_err(|_| ErrorCode::InvalidRequest)?,
        ),
        coordinator_epoch: message.coordinator_epoch,
        result: match message.committed {
            true => TransactionResult::Commit,
            false => TransactionResult::Abort,
        },
        transaction_version: message.transaction_version.try_into().map_err(|_| ErrorCode::InvalidRequest)?,
    })
}

/// For which transaction the marker is, and for which leader, if the coordinator says so.
fn address(message: &message::Marker, partition: &message::Partition) -> Option<MarkerAddress> {
    let leader_epoch = LeaderEpoch(partition.leader_epoch?);
    (message.sequence > 0).then_some(MarkerAddress { sequence: message.sequence, leader_epoch })
}

fn append(
    partitions: &Partitions,
    topic: milena_wire::Uuid,
    index: i32,
    marker: &Marker,
    address: Option<&MarkerAddress>,
) -> Result<(Arc<Hosted>, Appended), ErrorCode> {
    if !partitions.may_lead() {
        return Err(ErrorCode::NotLeaderOrFollower);
    }
    let hosted = partitions.get(topic, index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let appended = hosted.append_marker(marker, address).map_err(|refusal| refusal.code())?;
    Ok((hosted, appended))
}

/// Waits until an appended marker is as durable as `acks=all` promises.
async fn settled(written: Result<(Arc<Hosted>, Appended), ErrorCode>, deadline: Instant) -> ErrorCode {
    let (hosted, appended) = match written {
        Ok(written) => written,
        Err(code) => return code,
    };
    hosted.settled(&appended, Acks::All, deadline).await
}
