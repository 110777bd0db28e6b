//! What a Produce request has to ask the transaction coordinator before its batches may be appended (KIP-890).
//!
//! The first batch of a transaction in a partition makes the leader ask: for clients of Produce 12 and later the coordinator adds
//! the partition to the transaction, for older ones it says whether they have. A request that asks nothing, which is
//! every request outside of transactions and most within, is appended at once. Older clients may be spared the question
//! (`transaction.partition.verification.enable`).

use std::sync::Arc;

use milena_partition::Guard;
use milena_records::BatchHeader;
use milena_wire::produce::ProduceRequest;
use milena_wire::{ErrorCode, Records};

use crate::hosted::Hosted;
use crate::partitions::{Partitions, TopicRef};
use crate::transactions::{Enlister, Enlistment, Support, Target};

/// What the coordinator said about the partitions of a request.
#[derive(Default)]
pub(crate) struct Grants {
    /// By the places of topic and partition in the request, ascending.
    by_place: Vec<((usize, usize), Result<Guard, ErrorCode>)>,
    /// For what nothing was asked about.
    otherwise: Option<Guard>,
}

impl Grants {
    /// Nothing is asked, and everything may be appended.
    pub(crate) fn waived() -> Self {
        Self { otherwise: Some(Guard::WAIVED), ..Self::default() }
    }

    /// The guard to append a batch with; none if nothing was asked about it, and nothing waived. An error is the answer for its partition.
    pub(crate) fn of(&self, topic: usize, partition: usize) -> Result<Option<Guard>, ErrorCode> {
        match self.by_place.binary_search_by_key(&(topic, partition), |(place, _)| *place) {
            Ok(at) => self.by_place[at].1.map(Some),
            Err(_) => Ok(self.otherwise),
        }
    }
}

/// The producer of a request's transactional batches; `None` if it has none.
///
/// # Errors
/// The code for the whole request: transactional batches need a transactional id, and one producer (PR-19).
pub(crate) fn transaction(request: &ProduceRequest) -> Result<Option<BatchHeader>, ErrorCode> {
    let batches = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let mut producer: Option<BatchHeader> = None;
    for header in batches.filter_map(|data| transactional(data.records.as_ref())) {
        let others = |first: &BatchHeader| {
            (first.producer_id, first.producer_epoch) != (header.producer_id, header.producer_epoch)
        };
        if producer.as_ref().is_some_and(others) {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        producer = Some(header);
    }
    match producer {
        Some(_) if request.transactional_id.is_none() => Err(ErrorCode::TransactionalIdAuthorizationFailed),
        producer => Ok(producer),
    }
}

/// The header of a batch that is part of a transaction.
fn transactional(records: Option<&Records>) -> Option<BatchHeader> {
    let bytes = records?.parts().first()?;
    if !milena_records::looks_transactional(bytes) {
        return None;
    }
    BatchHeader::parse(bytes).ok().filter(BatchHeader::is_transactional)
}

/// A question to the coordinator, ready to be asked.
pub(crate) struct Question {
    enlistment: Enlistment,
    asked: Vec<Asked>,
}

struct Asked {
    place: (usize, usize),
    guard: Guard,
    hosted: Arc<Hosted>,
    header: BatchHeader,
}

impl Question {
    /// What `request`, whose transactional batches are those of `producer`, has to ask; `None` if nothing. Partitions
    /// that are not led here are left out: they are refused anyway.
    pub(crate) fn of(
        partitions: &Partitions,
        request: &ProduceRequest,
        producer: &BatchHeader,
        version: i16,
    ) -> Option<Self> {
        let support = Support::of_produce(version);
        let (mut asked, mut targets) = (Vec::new(), Vec::new());
        for (topic_place, topic) in request.topic_data.iter().enumerate() {
            let reference =
                if version >= 13 { TopicRef::Id(topic.topic_id) } else { TopicRef::Name(topic.name.clone()) };
            for (place, data) in topic.partition_data.iter().enumerate() {
                let Some(header) = transactional(data.records.as_ref()) else { continue };
                let Ok(hosted) = partitions.find(&reference, data.index) else { continue };
                let Some(guard) = hosted.verify(&header, !support.verifies_only()) else { continue };
                targets.push(Target {
                    topic_id: hosted.topic_id,
                    topic: Arc::clone(&hosted.topic),
                    index: hosted.index,
                });
                asked.push(Asked { place: (topic_place, place), guard, hosted, header });
            }
        }
        let enlistment = Enlistment {
            transactional_id: request.transactional_id.as_ref()?.to_string(),
            producer_id: producer.producer_id.0,
            producer_epoch: producer.producer_epoch.0,
            support,
            targets,
        };
        (!asked.is_empty()).then_some(Self { enlistment, asked })
    }

    /// Asks, and tells what may be appended.
    pub(crate) async fn ask(self, enlister: &Enlister) -> Grants {
        let answers = enlister.enlist(&self.enlistment).await;
        let granted = self.asked.into_iter().zip(answers).map(|(asked, answer)| {
            if answer == Err(ErrorCode::NotEnoughReplicas) {
                // Its client sends it again; what it sent behind it must not be first.
                asked.hosted.turned_away(&asked.header);
            }
            (asked.place, answer.map(|()| asked.guard))
        });
        Grants { by_place: granted.collect(), otherwise: None }
    }
}
