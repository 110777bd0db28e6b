//! DeleteRecords (21), versions 0 to 2: raises the log start offset (KIP-107, TP-11). The checkpoint is on disk
//! before the answer, so that what was deleted stays deleted after a crash; if it cannot be written, the answer is no.
//! It comes when all live replicas have moved theirs, with the lowest of them, or says that the time is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_records::Offset;
use milena_wire::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};
use milena_wire::{ErrorCode, Text};
use tracing::warn;

use crate::hosted::{DeleteRefusal, Hosted};
use crate::parked::Parked;
use crate::partitions::TopicRef;
use crate::services::Services;

/// Answers each partition for itself.
pub(crate) async fn answer(services: Arc<Services>, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let deadline = Instant::now() + Duration::from_millis(request.timeout_ms.max(0) as u64);
    let deleter = Arc::clone(&services);
    // Moves no data, but writes a file: not for a data thread.
    let work = tokio::task::spawn_blocking(move || {
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| one(&deleter, &topic.name, asked));
            DeleteRecordsTopicResult { partitions: partitions.collect(), name: topic.name.clone() }
        });
        let mut topics: Vec<_> = topics.collect();
        if let Err(error) = deleter.checkpoint() {
            warn!(%error, "log start offsets not written; DeleteRecords is refused");
            topics.iter_mut().flat_map(|topic| &mut topic.partitions).for_each(refuse);
        }
        DeleteRecordsResponse { topics, ..Default::default() }
    });
    let mut response = work.await.unwrap_or_default();
    for topic in &mut response.topics {
        let reference = TopicRef::Name(topic.name.clone());
        for result in topic.partitions.iter_mut().filter(|it| it.error_code == ErrorCode::None.code()) {
            let hosted = services.partitions.find(&reference, result.partition_index);
            let outcome = match hosted {
                Ok(hosted) => everywhere(&hosted, Offset(result.low_watermark), deadline).await,
                Err(code) => Err(code),
            };
            result.low_watermark = outcome.map_or(-1, |low| low.0);
            result.error_code = outcome.err().unwrap_or(ErrorCode::None).code();
        }
    }
    response
}

/// Waits until no live replica has anything before `start`; returns the lowest log start.
async fn everywhere(hosted: &Arc<Hosted>, start: Offset, deadline: Instant) -> Result<Offset, ErrorCode> {
    let parked = Parked::with(std::iter::once(Arc::clone(hosted)));
    loop {
        match hosted.low_watermark() {
            None => return Err(ErrorCode::NotLeaderOrFollower),
            Some(low) if low >= start => return Ok(low),
            Some(_) => {}
        }
        if tokio::time::timeout_at(deadline.into(), parked.woken()).await.is_err() {
            return Err(ErrorCode::RequestTimedOut);
        }
    }
}

/// Takes a success back: the log start is raised, but would not be after a crash.
fn refuse(result: &mut DeleteRecordsPartitionResult) {
    if result.error_code == ErrorCode::None.code() {
        (result.error_code, result.low_watermark) = (ErrorCode::KafkaStorageError.code(), -1);
    }
}

fn one(services: &Services, topic: &Text, asked: &DeleteRecordsPartition) -> DeleteRecordsPartitionResult {
    let outcome = if milena_metadata::names::is_internal(topic) {
        Err(ErrorCode::InvalidTopicException)
    } else {
        let hosted = services.partitions.find(&TopicRef::Name(topic.clone()), asked.partition_index);
        hosted.and_then(|hosted| hosted.delete_records(asked.offset).map_err(DeleteRefusal::code))
    };
    DeleteRecordsPartitionResult {
        partition_index: asked.partition_index,
        low_watermark: outcome.map_or(-1, |start| start.0),
        error_code: outcome.err().unwrap_or(ErrorCode::None).code(),
    }
}
