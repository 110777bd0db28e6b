//! WriteTxnMarkers (27), versions 1 to 2: ends transactions in partitions of this broker.
//!
//! Between Milena's brokers markers travel over the peer channel. This is for `kafka-transactions abort`, which ends a
//! transaction that no coordinator knows of any more (KIP-664). Each partition is answered when its marker is on all in-sync
//! replicas. Version 2 brings the level of `transaction.version` under which the transaction ran (KIP-1228).

use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_partition::Marker;
use milena_records::{ProducerEpoch, ProducerId, TransactionResult};
use milena_wire::ErrorCode;
use milena_wire::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};

use crate::hosted::{Acks, Appended, Hosted};
use crate::partitions::{Partitions, TopicRef};

/// Longest wait for replicas, Kafka's `request.timeout.ms`.
const REPLICATION: Duration = Duration::from_secs(30);

/// A marker that is in the log, and where its answer goes.
struct Parked {
    marker: usize,
    topic: usize,
    partition: usize,
    hosted: Arc<Hosted>,
    appended: Appended,
}

/// Appends all markers, then waits until they are replicated.
pub(crate) async fn answer(
    partitions: Arc<Partitions>,
    request: WriteTxnMarkersRequest,
) -> WriteTxnMarkersResponse {
    let deadline = Instant::now() + REPLICATION;
    let mut parked = Vec::new();
    let markers = request.markers.iter().enumerate();
    let markers = markers.map(|(at, marker)| append(&partitions, at, marker, &mut parked)).collect();
    let mut response = WriteTxnMarkersResponse { markers };
    for it in parked {
        let code = it.hosted.settled(&it.appended, Acks::All, deadline).await;
        response.markers[it.marker].topics[it.topic].partitions[it.partition].error_code = code.code();
    }
    response
}

fn append(
    partitions: &Partitions,
    at: usize,
    asked: &WritableTxnMarker,
    parked: &mut Vec<Parked>,
) -> WritableTxnMarkerResult {
    let marker = Marker {
        producer_id: ProducerId(asked.producer_id),
        producer_epoch: ProducerEpoch(asked.producer_epoch),
        coordinator_epoch: asked.coordinator_epoch,
        result: if asked.transaction_result { TransactionResult::Commit } else { TransactionResult::Abort },
        transaction_version: asked.transaction_version,
    };
    let topics = asked.topics.iter().enumerate().map(|(topic, named)| {
        let reference = TopicRef::Name(named.name.clone());
        let results = named.partition_indexes.iter().enumerate().map(|(partition, &partition_index)| {
            let code = match append_one(partitions, &reference, partition_index, &marker) {
                Ok((hosted, appended)) => {
                    parked.push(Parked { marker: at, topic, partition, hosted, appended });
                    ErrorCode::None
                }
                Err(code) => code,
            };
            WritableTxnMarkerPartitionResult { partition_index, error_code: code.code() }
        });
        WritableTxnMarkerTopicResult { name: named.name.clone(), partitions: results.collect() }
    });
    WritableTxnMarkerResult { producer_id: asked.producer_id, topics: topics.collect() }
}

fn append_one(
    partitions: &Partitions,
    topic: &TopicRef,
    index: i32,
    marker: &Marker,
) -> Result<(Arc<Hosted>, Appended), ErrorCode> {
    if !partitions.may_lead() {
        return Err(ErrorCode::NotLeaderOrFollower);
    }
    // A marker of nobody would be a batch that no producer can be found for.
    if !marker.producer_id.is_some() || marker.producer_epoch.0 < 0 {
        return Err(ErrorCode::InvalidRequest);
    }
    let hosted = partitions.find(topic, index)?;
    let appended = hosted.append_marker(marker, None).map_err(|refusal| refusal.code())?;
    Ok((hosted, appended))
}
